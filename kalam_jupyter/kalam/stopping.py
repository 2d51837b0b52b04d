"""Ending a network client's query early: when its time is up, or when the client is gone.

The query engine lets go of a query only between its steps, and a step may be as long as a join of all rows
with all others. So what may take long runs in a thread of its own. Nobody waits for it once it is told to
end, it takes processor time only where nobody else wants it, and only a few may be left behind like that.
"""

from __future__ import annotations

import ctypes
import math
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from kalam_jupyter.kalam.errors import StatementError
from kalam_jupyter.kalam.priority import give_way
from kalam_jupyter.kalam.sql_engine import as_table

if TYPE_CHECKING:
    from datafusion import DataFrame

#: While so many queries do not end although they were told to, no more are begun that may take long.
MOST_LEFT: Final = 4
#: Those that can be ended have ended by then, in seconds: the query engine looks once a second.
_ENDING: Final = 3.0


class Stop:
    """Ends the statements of one request.

    Parameters
    ----------
    seconds : float
        Time the request may take, from now; 0 for any.
    """

    def __init__(self, seconds: float = 0) -> None:
        self._seconds = seconds
        self._until = time.monotonic() + seconds if seconds else None
        self._lock = threading.Lock()
        self._running: _Run | None = None
        self._cancelled = False

    def cancel(self) -> None:
        """The client is gone: end what runs, and start nothing more."""
        with self._lock:
            self._cancelled = True
            running = self._running
        if running is not None:
            running.end()

    def check(self) -> None:
        """Raise `StatementError` if the request must end."""
        if self._cancelled:
            raise StatementError("timeout", "Query cancelled: the client is gone")
        if self._until is not None and time.monotonic() > self._until:
            raise self._late()

    def _late(self) -> StatementError:
        return StatementError("timeout", f"Query timeout: it took longer than {self._seconds:g} seconds")

    def collect(self, frame: DataFrame) -> pa.Table:
        """Run a query in full.

        Raises
        ------
        StatementError
            Of kind ``timeout``, when it was ended.
        """
        self.check()
        if _left_behind() >= MOST_LEFT:
            raise StatementError("execution", f"Resources exhausted: {MOST_LEFT} ended queries still run")
        with self._lock:
            run = self._running = _Run(frame)
            cancelled = self._cancelled
        if cancelled:
            run.end()
        try:
            return as_table(
                run.outcome.result(None if self._until is None else self._until - time.monotonic()), frame
            )
        except _EndedError:
            self.check()
            raise
        except TimeoutError:
            run.end()
            raise self._late() from None
        finally:
            self._running = None


class _EndedError(BaseException):
    """A run is to end. No `Exception`, as nothing on its way may take it for a failure."""


class _Run:
    """A query in a thread of its own.

    Attributes
    ----------
    outcome : Future
        Its batches; `_EndedError` once it was told to end.
    ended : float
        When it was told to, on the monotonic clock; infinite before.
    """

    def __init__(self, frame: DataFrame) -> None:
        self.outcome: Future[list[pa.RecordBatch]] = Future()
        self.ended = math.inf
        self._frame = frame
        self._lock = threading.Lock()
        self._over = False
        self._thread = threading.Thread(target=self._work, name="kalam-query", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        found: list[pa.RecordBatch] | BaseException
        try:
            try:
                found = self._frame.collect()
            finally:
                with self._lock:
                    self._over = True  # from here on nothing is raised in this thread
        except BaseException as error:  # whatever it is, panics included, is for who waits
            found = error
        _left.discard(self)
        if self.outcome.done():
            return
        if isinstance(found, BaseException):
            self.outcome.set_exception(found)
        else:
            self.outcome.set_result(found)

    def end(self) -> None:
        """Have it end as soon as the query engine looks for signals: once a second, between its steps."""
        with self._lock:
            if self._over or self.outcome.done():
                return
            self.ended = time.monotonic()
            _left.add(self)
            self.outcome.set_exception(_EndedError())
            thread = self._thread
            assert thread.ident is not None
            give_way(thread)
            raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
            raise_in(ctypes.c_ulong(thread.ident), ctypes.py_object(_EndedError))


#: What was told to end, and has not.
_left: set[_Run] = set()


def _left_behind() -> int:
    """Return how many do not end although they were told to."""
    return sum(time.monotonic() - run.ended > _ENDING for run in list(_left))

"""Ending a network client's query early: when its time is up, or when the client is gone.

The query engine lets go of a query only between its steps, and only when it runs as an asynchronous task.
That costs more than a small query does, so queries whose work is bounded by the rows of their tables are run
plainly (see `Prepared.references`).
"""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import CancelledError, Future
from functools import cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from kalam_jupyter.kalam.errors import StatementError
from kalam_jupyter.kalam.sql_engine import as_table

if TYPE_CHECKING:
    from datafusion import DataFrame


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
        self._running: Future[Any] | None = None
        self._cancelled = False

    def cancel(self) -> None:
        """The client is gone: end what runs, and start nothing more."""
        with self._lock:
            self._cancelled = True
            running = self._running
        if running is not None:
            running.cancel()

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
        future = asyncio.run_coroutine_threadsafe(_drain(frame), _loop())
        with self._lock:
            self._running = future
            cancelled = self._cancelled
        if cancelled:
            future.cancel()
        try:
            batches = future.result(None if self._until is None else self._until - time.monotonic())
        except CancelledError:
            self.check()
            raise
        except TimeoutError:
            future.cancel()
            raise self._late() from None
        finally:
            self._running = None
        return as_table(batches, frame)


async def _drain(frame: DataFrame) -> list[pa.RecordBatch]:
    return [batch.to_pyarrow() async for batch in frame.execute_stream()]


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """The loop all such queries are waited for on: in a thread of its own, begun by the first of them."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="kalam-queries", daemon=True).start()
    return loop

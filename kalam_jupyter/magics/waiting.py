"""How long a cell waits: for a statement, and for the rows a query has now."""

from __future__ import annotations

import re
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TYPE_CHECKING

from kalam_jupyter.client.progress import Waiting
from kalam_jupyter.magics.errors import InterruptedCellError
from kalam_jupyter.widgets.buffer import make_buffer

if TYPE_CHECKING:
    import pyarrow as pa

    from kalam_jupyter.client import Result, Stream
    from kalam_jupyter.widgets.live_widget import LiveWidget

#: A query that gave nothing for so long has given what there is.
QUIET_S = 1.0
#: Rows that --once keeps at most; a live table is for more.
ONCE_ROWS = 1_000_000
#: Characters of a statement that the line about it shows.
_SHOWN = 60
_TEXT_LITERAL = re.compile(r"'(?:[^']|'')*'?")


class Deadline:
    """The moment --timeout ends.

    Parameters
    ----------
    seconds : float or None
        From now; None never ends.
    """

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self._at = None if seconds is None else time.monotonic() + seconds

    def left(self, at_most: float | None = None) -> float | None:
        """Return the seconds that are left, `at_most` if that is less; None: no end."""
        if self._at is None:
            return at_most
        left = max(0.0, self._at - time.monotonic())
        return left if at_most is None else min(left, at_most)

    def run(self, work: Callable[[], list[Result]]) -> list[Result]:
        """Run a request, and stop waiting for it at the deadline.

        Raises
        ------
        InterruptedCellError
            If it took longer. A query that begins later is ended; a statement that was sent may still take
            effect, as when a connection breaks.
        """
        if self._at is None:
            return work()
        future: Future[list[Result]] = Future()
        threading.Thread(target=_settle, args=(future, work), name="kalam-statement", daemon=True).start()
        try:
            return future.result(self.left())
        except FutureTimeoutError:
            future.add_done_callback(_abandon)
            raise InterruptedCellError(
                f"Stopped waiting after {self.seconds:g} s. What was sent may still take effect."
            ) from None
        except KeyboardInterrupt:
            future.add_done_callback(_abandon)
            raise


def stop_after(table: LiveWidget, seconds: float) -> None:
    """End a live table when it has run that long; it is not kept alive for that."""
    known = weakref.ref(table)

    def stop() -> None:
        found = known()
        if found is not None:
            found.stop()

    timer = threading.Timer(seconds, stop)
    timer.daemon = True
    timer.start()


def _settle(future: Future[list[Result]], work: Callable[[], list[Result]]) -> None:
    try:
        future.set_result(work())
    except BaseException as error:  # handed to the thread that waits, whatever it is
        future.set_exception(error)


def _abandon(future: Future[list[Result]]) -> None:
    if future.exception() is None:
        for result in future.result():
            if result.stream is not None:
                result.stream.close()


def shortened(text: str) -> str:
    """Return the beginning of statements as one line; texts in them, which may be secret, are left out."""
    words = " ".join(_TEXT_LITERAL.sub("'…'", text).split())
    return words if len(words) <= _SHOWN else f"{words[: _SHOWN - 1]}…"


def read_once(stream: Stream, deadline: Deadline) -> pa.Table:
    """Return the rows a query has now, the latest of each key if it has one, and end it.

    It has given them when it finished, when the engine says that it and the queries before it are caught up,
    when the deadline came, or when nothing came for `QUIET_S`: a cluster does not say.

    Raises
    ------
    ClientError
        If the query failed.
    """
    buffer = make_buffer(stream.schema, stream.key, ONCE_ROWS)
    rows = 0

    def figures() -> str:
        behind = stream.behind()
        return f"{rows:,} rows so far" + (f" · {behind:,} records behind" if behind else "")

    try:
        with Waiting(shortened(stream.sql), figures):
            while not stream.finished and deadline.left() != 0:
                behind = stream.behind()
                changes = stream.poll()
                if changes is not None:
                    buffer.add(changes)
                    rows += changes.batch.num_rows
                elif behind == 0 or (not stream.finished and not stream.wait(deadline.left(QUIET_S))):
                    break
    finally:
        stream.close()
    if stream.error is not None:
        raise stream.error
    return buffer.table()

"""Sending the rows of a frame to a stream, at once or at a chosen rate."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pyarrow as pa

from kalam_jupyter.client.errors import ClientError
from kalam_jupyter.client.progress import EVERY_S, PATIENCE_S, Bundle, Output, bar, in_kernel, line

if TYPE_CHECKING:
    import pandas as pd

    from kalam_jupyter.client.transport import Transport

#: Appends a second while a rate is given: enough to look continuous, few enough to cost nothing.
_STEPS_PER_SECOND = 20
#: Rows of one append without a rate: few enough for a progress bar to move, enough to cost nothing.
_SLICE_ROWS = 100_000


class Replay:
    """The rows of one frame on their way to a stream.

    Attributes
    ----------
    name : str
        The stream.
    num_rows : int
        Rows to send.
    sent : int
        Rows that the engine has acknowledged.
    error : ClientError or None
        Why it stopped early.
    """

    def __init__(
        self,
        transport: Transport,
        frame: pd.DataFrame | pa.Table,
        name: str,
        key: str | None,
        timestamp: str | None,
        rate: float | None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if rate is not None and not rate > 0:
            raise ClientError(f"rate must be a positive number of rows a second, not {rate!r}")
        table = to_table(frame)
        for column in (key, timestamp):
            if column is not None and column not in table.column_names:
                known = ", ".join(table.column_names)
                raise ClientError(f"the frame has no column '{column}'; it has {known}")
        if timestamp is not None:
            table = table.sort_by(timestamp)
        self.name, self.num_rows, self.sent = name, table.num_rows, 0
        self.error: ClientError | None = None
        self._transport, self._table = transport, table
        self._key, self._timestamp, self._rate = key, timestamp, rate
        self._stop, self._done = threading.Event(), threading.Event()
        self._clock = clock
        self._began = clock()
        self._ended: float | None = None
        self._output, self._looked, self._lock = Output(), self._began, threading.Lock()

    def __repr__(self) -> str:
        state = "done" if self.done else f"{self._rate:g} rows/s"
        return f"Replay({self.name!r}, {self.sent:,} of {self.num_rows:,} rows, {state})"

    @property
    def done(self) -> bool:
        """Whether nothing more will be sent."""
        return self._done.is_set()

    def start(self) -> None:
        """Send everything now, or begin to send at the rate in a daemon thread."""
        self._began = self._clock()
        if self._rate is None:
            self._send_all()
            return
        # An empty append first, so that a frame that does not fit is refused here, not in the thread.
        self._send(self._table.slice(0, 0))
        self._began = self._clock()
        threading.Thread(target=self._run, name=f"replay-{self.name}", daemon=True).start()

    def stop(self) -> None:
        """Send no more rows."""
        self._stop.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is done; False when `timeout` seconds were not enough.

        Raises
        ------
        ClientError
            If it stopped because the engine refused rows.
        """
        patience = PATIENCE_S if timeout is None else min(timeout, PATIENCE_S)
        done = self._done.wait(patience)
        if not done and in_kernel():
            self._show()
        done = self._done.wait(None if timeout is None else timeout - patience)
        if self.error is not None:
            raise self.error
        return done

    def _send(self, table: pa.Table) -> int:
        return self._transport.stream_table(self.name, table, self._key, self._timestamp)

    def _send_all(self) -> None:
        """Send everything now; a bar shows how far it is if that takes long, and goes."""
        try:
            for start in range(0, max(self.num_rows, 1), _SLICE_ROWS):
                self.sent += self._send(self._table.slice(start, _SLICE_ROWS))
                if not self._output.shown and self._clock() - self._began > PATIENCE_S and in_kernel():
                    self._show()
                self._look()
        finally:
            self._end()
            with self._lock:
                self._output.clear()  # what the cell shows of the replay comes after it

    def _run(self) -> None:
        assert self._rate is not None
        try:
            while self.sent < self.num_rows:
                due = min(self.num_rows, int((self._clock() - self._began) * self._rate) + 1)
                if due > self.sent:
                    self.sent += self._send(self._table.slice(self.sent, due - self.sent))
                    self._look()
                if self.sent == self.num_rows or self._stop.wait(max(1 / _STEPS_PER_SECOND, 1 / self._rate)):
                    break
        except ClientError as error:
            self.error = error
        finally:
            self._end()

    # ---- what a notebook shows

    def _ipython_display_(self) -> None:
        if in_kernel():
            self._show()
        else:
            print(repr(self))

    def _show(self) -> None:
        with self._lock:
            self._looked = self._clock()
            self._output.show(self._picture())

    def _look(self) -> None:
        """Bring the bar up to date, if it is shown and was not a moment ago."""
        now = self._clock()
        with self._lock:
            if self._output.shown and now - self._looked >= EVERY_S:
                self._looked = now
                self._output.update(self._picture())

    def _end(self) -> None:
        try:
            with self._lock:
                self._ended = self._clock()
                self._output.update(self._picture())
        finally:
            self._done.set()

    def _picture(self) -> Bundle:
        """Return a bar while rows are sent, and one line when none will be."""
        seconds = (self._clock() if self._ended is None else self._ended) - self._began
        if self._ended is None:
            return bar(self.sent, self.num_rows, seconds)
        rows = f"{self.sent:,} row{'s' * (self.sent != 1)}"
        if self.sent == self.num_rows:
            return line(f"sent {rows} in {seconds:,.{1 if seconds >= 1 else 2}f} s")
        why = "" if self.error is None else f": {self.error.message}"
        return line(f"stopped after {rows} of {self.num_rows:,}{why}")


def to_table(frame: pd.DataFrame | pa.Table) -> pa.Table:
    """Return a frame as Arrow; the named levels of a pandas index are columns, in front.

    Raises
    ------
    ClientError
        If it has no columns, two of one name, or values that have no SQL type.
    """
    table = frame if isinstance(frame, pa.Table) else _from_pandas(frame)
    if not table.column_names:
        raise ClientError("the frame has no columns")
    return table


def _from_pandas(frame: pd.DataFrame) -> pa.Table:
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise ClientError(f"two columns of the frame are named '{twice[0]}'; rename one of them")
    levels = [name for name in frame.index.names if name is not None and name not in frame.columns]
    try:
        return pa.Table.from_pandas(frame.reset_index(levels) if levels else frame, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        why = ": ".join(str(part) for part in reversed(error.args))  # Arrow names the column last
        raise ClientError(f"the frame holds values that have no SQL type: {why}") from error

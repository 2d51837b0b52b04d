"""Sending the rows of a frame to a stream, at once or at a chosen rate."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pyarrow as pa

from kalam_jupyter.client.errors import ClientError

if TYPE_CHECKING:
    import pandas as pd

    from kalam_jupyter.client.transport import Transport

#: Appends a second while a rate is given: enough to look continuous, few enough to cost nothing.
_STEPS_PER_SECOND = 20


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

    def __repr__(self) -> str:
        state = "done" if self.done else f"{self._rate:g} rows/s"
        return f"Replay({self.name!r}, {self.sent:,} of {self.num_rows:,} rows, {state})"

    @property
    def done(self) -> bool:
        """Whether nothing more will be sent."""
        return self._done.is_set()

    def start(self) -> None:
        """Send everything now, or begin to send at the rate in a daemon thread."""
        if self._rate is None:
            try:
                self.sent = self._send(self._table)
            finally:
                self._done.set()
            return
        # An empty append first, so that a frame that does not fit is refused here, not in the thread.
        self._send(self._table.slice(0, 0))
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
        done = self._done.wait(timeout)
        if self.error is not None:
            raise self.error
        return done

    def _send(self, table: pa.Table) -> int:
        return self._transport.stream_table(self.name, table, self._key, self._timestamp)

    def _run(self) -> None:
        assert self._rate is not None
        began = time.monotonic()
        try:
            while self.sent < self.num_rows:
                due = min(self.num_rows, int((time.monotonic() - began) * self._rate) + 1)
                if due > self.sent:
                    self.sent += self._send(self._table.slice(self.sent, due - self.sent))
                if self._stop.wait(max(1 / _STEPS_PER_SECOND, 1 / self._rate)):
                    break
        except ClientError as error:
            self.error = error
        finally:
            self._done.set()


def to_table(frame: pd.DataFrame | pa.Table) -> pa.Table:
    """Return a frame as Arrow.

    Raises
    ------
    ClientError
        If it holds values that have no SQL type.
    """
    if isinstance(frame, pa.Table):
        return frame
    try:
        return pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise ClientError(f"the frame holds values that have no SQL type: {error}") from error

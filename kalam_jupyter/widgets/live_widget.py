"""What live tables and charts share: a stream, its buffer and pacer, a status, a snapshot in the file."""

from __future__ import annotations

import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import traitlets as t

from kalam_jupyter.widgets import snapshot
from kalam_jupyter.widgets.buffer import Frame, make_buffer
from kalam_jupyter.widgets.pacer import Pacer, Stats
from kalam_jupyter.widgets.shown import ShownWidget
from kalam_jupyter.widgets.sight import Sight

if TYPE_CHECKING:
    import pandas as pd

    from kalam_jupyter.client.stream import Stream

#: Seconds between two snapshots of a widget that keeps changing.
SNAPSHOT_EVERY_S = 5.0
#: The first one comes early: a cell that ends soon should not be saved empty.
SNAPSHOT_FIRST_S = 0.5

_widgets: weakref.WeakSet[LiveWidget] = weakref.WeakSet()


def live_widgets() -> list[LiveWidget]:
    """Return the live tables and charts that still run, oldest first."""
    return sorted((widget for widget in _widgets if not widget.ended), key=lambda widget: widget.started)


class LiveWidget(ShownWidget):
    """The rows of a stream, shown live. Abstract: `LiveTable` and `LiveChart` say how.

    Parameters
    ----------
    stream : Stream
        Belongs to the widget from now on.
    max_rows : int
        Rows retained, here and in the browser.
    height : int
        Of the part with the rows, in pixels.
    **traits
        Of the subclass.

    Attributes
    ----------
    status : {"running", "paused", "stopped", "finished", "failed"}
    error : str
        Why it failed, or why no rows come while the connection is tried again; "" otherwise.
    waiting : str
        Said where no row is yet: what it waits for.
    """

    title = t.Unicode().tag(sync=True)
    columns = t.List(t.Dict()).tag(sync=True)
    max_rows = t.Int(5_000).tag(sync=True)
    height = t.Int(320).tag(sync=True)
    status = t.Unicode("running").tag(sync=True)
    error = t.Unicode().tag(sync=True)
    waiting = t.Unicode().tag(sync=True)

    def __init__(self, stream: Stream, *, max_rows: int, height: int, **traits: Any) -> None:
        super().__init__(
            title=stream.sql,
            columns=[
                {"name": f.name, "type": _type_text(f.type), "key": f.name in stream.key}
                for f in stream.schema
            ],
            max_rows=max_rows,
            height=height,
            **traits,
        )
        self.stream = stream
        self.started = time.monotonic()
        self._buffer = make_buffer(stream.schema, stream.key, max_rows)
        self._progress = threading.Condition()
        self._sight = Sight()
        self._shown_at, self._shown_rows = self.started + SNAPSHOT_FIRST_S - SNAPSHOT_EVERY_S, 0
        self._pacer = Pacer(stream, self._buffer, _Browser(self))
        self.on_msg(self._on_message)
        _widgets.add(self)
        self._pacer.start()

    # ---- what people call

    @property
    def stats(self) -> Stats:
        """Rows so far, rows a second, and how many changes were conflated."""
        return self._pacer.stats

    @property
    def ended(self) -> bool:
        """Whether the stream is over."""
        return self.status in ("stopped", "finished", "failed")

    def pause(self) -> None:
        """Freeze what is shown; the query goes on and is counted."""
        if self.status == "running":
            self._pacer.pause()
            self.status = "paused"
            self.update_snapshot()

    def resume(self) -> None:
        """Show what goes on again."""
        if self.status == "paused":
            self.status = "running"
            self._pacer.resume()

    def stop(self, timeout: float = 5.0) -> None:
        """End the query and wait until it is over, `timeout` seconds at most."""
        self._pacer.stop()
        self._pacer.join(timeout)

    def wait(self, rows: int | None = None, timeout: float | None = None) -> bool:
        """Wait until `rows` changes have come, or for the end of the stream.

        Returns
        -------
        bool
            False when `timeout` seconds were not enough, or it ended with fewer rows.
        """

        def enough() -> bool:
            return rows is not None and self._buffer.rows_in >= rows

        with self._progress:
            self._progress.wait_for(lambda: self.ended or enough(), timeout)
        return enough() or (rows is None and self.ended)

    def table(self) -> pa.Table:
        """Return the retained rows as an Arrow table."""
        return self._buffer.table()

    def frame(self) -> pd.DataFrame:
        """Return the retained rows as a DataFrame with Arrow-backed columns."""
        from kalam_jupyter.client.result import to_frame

        return to_frame(self.table())

    # ---- display

    def update_snapshot(self) -> None:
        """Put the rows of this moment into the saved output."""
        self._shown_at, self._shown_rows = time.monotonic(), self._buffer.rows_in
        super().update_snapshot()

    def _snapshot(self) -> dict[str, str]:
        """Return ``text/html`` and ``text/plain`` of this moment: the last rows."""
        table = self.table()
        last = table.slice(max(0, table.num_rows - snapshot.SNAPSHOT_ROWS))
        return snapshot.render(last, self._caption)

    @property
    def _caption(self) -> str:
        status = "reconnecting" if self.error and self.status == "running" else self.status
        state = f"{status}: {self.error}" if self.error else status
        return f"{state} · {self._buffer.rows_in:,} rows in"

    # ---- messages from the browser; any thread may bring them

    def _on_message(self, _widget: object, content: dict[str, Any], _buffers: object) -> None:
        match content:
            case {"type": "ack", "seq": int(seq)}:
                self._pacer.acknowledge(seq)
            case {"type": "resync"}:
                self._pacer.resync()
            case {"type": "visible", "page": str(page), "turn": int(turn), "value": bool(visible)}:
                self._pacer.set_visible(self._sight.tell(page, turn, visible))
            case {"type": "command", "name": ("pause" | "resume") as name}:
                getattr(self, name)()
            case {"type": "command", "name": "stop"}:
                self._pacer.stop()


class _Browser:
    """The pacer's way to the front ends of one widget."""

    def __init__(self, widget: LiveWidget) -> None:
        self._widget = widget

    def send_frame(self, seq: int, frame: Frame, stats: Stats) -> None:
        message = {
            "type": "frame",
            "seq": seq,
            "reset": frame.reset,
            "deletes": frame.deletes,
            "stats": vars(stats),
        }
        self._widget.send(message, buffers=[_ipc(frame.table)])

    def send_stats(self, seq: int, stats: Stats) -> None:
        self._widget.send({"type": "stats", "seq": seq, "stats": vars(stats)})

    def drained(self) -> None:
        widget = self._widget
        with widget._progress:
            widget._progress.notify_all()
        interruption = widget.stream.interruption
        widget.error = f"{interruption}; trying again" if interruption else ""
        is_new = widget._buffer.rows_in != widget._shown_rows
        due = time.monotonic() - widget._shown_at >= SNAPSHOT_EVERY_S
        if is_new and due and widget.status == "running":
            widget.update_snapshot()

    def ended(self, status: str, error: str) -> None:
        widget = self._widget
        widget.error = error
        widget.status = status
        widget.update_snapshot()
        with widget._progress:
            widget._progress.notify_all()


def _ipc(table: pa.Table) -> memoryview:
    """Encode a table as one Arrow IPC stream of one batch."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return memoryview(sink.getvalue())


_TYPE_TEXT = {
    pa.int16(): "SMALLINT",
    pa.int32(): "INT",
    pa.int64(): "BIGINT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.bool_(): "BOOLEAN",
    pa.string(): "STRING",
    pa.binary(): "BYTES",
    pa.date32(): "DATE",
}


def _type_text(type_: pa.DataType) -> str:
    """Name an Arrow type as SQL does."""
    if type_ in _TYPE_TEXT:
        return _TYPE_TEXT[type_]
    if pa.types.is_timestamp(type_):
        return "TIMESTAMP"
    if pa.types.is_time(type_):
        return "TIME"
    if pa.types.is_decimal(type_):
        return f"DECIMAL({type_.precision}, {type_.scale})"
    if pa.types.is_map(type_):
        return f"MAP<{_type_text(type_.key_type)}, {_type_text(type_.item_type)}>"
    if pa.types.is_struct(type_):
        return "STRUCT<" + ", ".join(f"{f.name} {_type_text(f.type)}" for f in type_) + ">"
    if pa.types.is_list(type_) or pa.types.is_fixed_size_list(type_):
        return f"ARRAY<{_type_text(type_.value_type)}>"
    return str(type_).upper()

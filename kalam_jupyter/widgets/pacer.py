"""Feeds a live table from a stream, at a pace the browser can follow.

One daemon thread per live table drains the stream into a conflating buffer and sends at most ten
frames a second. Frames carry sequence numbers; the browser acknowledges every few. With eight frames
in flight nothing more is sent until it does: the buffer conflates instead. When no acknowledgement
comes at all (the page is closed, the kernel is in a long cell, nobody is there but nbclient) one
self-contained frame a second is still sent. Nothing here ever waits for the browser.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from kalam_jupyter.client.errors import ClientError
from kalam_jupyter.widgets.flow import HEARTBEAT_S, FlowControl

if TYPE_CHECKING:
    from kalam_jupyter.client.stream import Stream
    from kalam_jupyter.widgets.buffer import Buffer, Frame

#: A frame holds what came in its interval, up to what the browser retains and up to this size.
FRAME_BYTES = 4 << 20
#: Nobody acknowledges: one such frame a second must not fill the kernel's queues.
SILENT_BYTES = 1 << 20
POLL_ROWS = 10_000
RATE_WINDOW_S = 2.0


@dataclass(frozen=True)
class Stats:
    """What the footer shows.

    Attributes
    ----------
    rows_in : int
        Changes the stream gave so far.
    rate : int
        Changes a second, over the last two seconds.
    conflated : int
        Changes that no frame carried, because newer ones came in the same interval.
    """

    rows_in: int = 0
    rate: int = 0
    conflated: int = 0


class Display(Protocol):
    """Where a pacer's frames go. All methods are called from the pacer's thread; after the end, from any."""

    def send_frame(self, seq: int, frame: Frame, stats: Stats) -> None:
        """Send rows."""

    def send_stats(self, seq: int, stats: Stats) -> None:
        """Send new figures without rows; `seq` is the last frame's number."""

    def drained(self) -> None:
        """Called after each look at the stream; must be quick."""

    def ended(self, status: str, error: str) -> None:
        """Called once, at the end. `status` is ``stopped``, ``finished`` or ``failed``."""


class Pacer:
    """See the module. Made and started once; every public method may be called from any thread.

    Parameters
    ----------
    stream : Stream
        Polled and closed by the pacer's thread only.
    buffer : Buffer
    display : Display
    """

    def __init__(self, stream: Stream, buffer: Buffer, display: Display) -> None:
        self._stream, self._buffer, self._display = stream, buffer, display
        self._flow = FlowControl()
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._ending, self._over = threading.Lock(), False
        self._stats_sent, self._stats_sent_at = Stats(), float("-inf")
        self._row_bytes = row_bytes(stream.schema)
        self._samples: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])
        self._thread = threading.Thread(target=self._run, name=f"live-{stream.id}", daemon=True)

    def start(self) -> None:
        """Begin to drain and send."""
        self._stream.on_wake(self._wake.set)
        self._thread.start()

    def acknowledge(self, seq: int) -> None:
        """The browser has every frame up to `seq`."""
        self._flow.acknowledge(seq, time.monotonic())
        self._wake.set()

    def resync(self) -> None:
        """The browser missed something, or is new: the next frame starts afresh."""
        with self._ending:
            self._flow.resync(time.monotonic())
            self._buffer.rewind()
            if self._over:
                self._flush(time.monotonic(), final=True)
        self._wake.set()

    def set_visible(self, visible: bool) -> None:
        """Send frames only while somebody can see them."""
        self._flow.set_visible(visible)
        self._wake.set()

    def pause(self) -> None:
        """Send no frames; the stream is drained and counted all the same."""
        self._flow.set_paused(True)

    def resume(self) -> None:
        """Send frames again."""
        self._flow.set_paused(False)
        self._wake.set()

    def stop(self) -> None:
        """End the stream; what it gave so far is still sent."""
        self._stopping.set()
        self._wake.set()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end; False when `timeout` seconds were not enough."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def stats(self) -> Stats:
        """The figures of this moment."""
        then, before = self._samples[0]
        seconds = max(time.monotonic() - then, self._flow.interval)
        rate = round((self._buffer.rows_in - before) / seconds)
        return Stats(self._buffer.rows_in, rate, self._buffer.conflated)

    # ---- the pacer's thread

    def _run(self) -> None:
        error = ""
        try:
            while not (self._stopping.is_set() or self._stream.finished):
                self._step()
            if self._stream.error is not None:
                error = self._stream.error.message
        except ClientError as lost:
            error = lost.message
        except Exception as bug:  # the end of a thread: what is not shown here is seen by nobody
            error = f"{type(bug).__name__}: {bug}"
        stopped = self._stopping.is_set()
        self._stream.close()
        with self._ending:
            self._flush(time.monotonic(), final=True)
            self._over = True
        self._display.ended("failed" if error else "stopped" if stopped else "finished", error)

    def _step(self) -> None:
        self._wake.clear()
        began = time.monotonic()
        due = began + self._flow.interval
        more = self._drain(due)
        self._display.drained()
        self._flush(time.monotonic())
        if more:
            return
        # At most one look per interval: rows that come one by one are taken by the handful.
        self._stopping.wait(max(0.0, due - time.monotonic()))
        if not (self._buffer.pending and self._flow.open):
            self._wake.wait(HEARTBEAT_S)

    def _drain(self, deadline: float) -> bool:
        """Poll until nothing is there or time is up; True when more may be there."""
        while (changes := self._stream.poll(POLL_ROWS)) is not None:
            self._buffer.add(changes)
            if time.monotonic() >= deadline or self._stopping.is_set():
                return True
        return False

    def _flush(self, now: float, *, final: bool = False) -> None:
        self._sample(now)
        what = "frame" if final else self._flow.next(now)
        if what in ("restart", "alone"):
            self._buffer.rewind()
        room = SILENT_BYTES if what == "alone" else FRAME_BYTES
        frame = self._buffer.take(max(1, room // self._row_bytes)) if what else None
        if frame is not None:
            self._stats_sent, self._stats_sent_at = self.stats, now
            self._row_bytes = max(1, frame.table.nbytes // max(1, frame.table.num_rows))
            self._display.send_frame(self._flow.sent(now), frame, self._stats_sent)
        elif final or now - self._stats_sent_at >= HEARTBEAT_S:
            stats = self.stats
            if stats != self._stats_sent:
                self._stats_sent, self._stats_sent_at = stats, now
                self._display.send_stats(self._flow.seq, stats)

    def _sample(self, now: float) -> None:
        self._samples.append((now, self._buffer.rows_in))
        while len(self._samples) > 1 and self._samples[1][0] <= now - RATE_WINDOW_S:
            self._samples.popleft()


def row_bytes(schema: pa.Schema) -> int:
    """Guess what a row takes, before one was seen."""
    return sum(32 if not pa.types.is_primitive(field.type) else 8 for field in schema)

"""Feeds a live table from a stream, at a pace the browser can follow.

One daemon thread per live table drains the stream into a conflating buffer and sends at most ten
frames a second. Frames carry sequence numbers; the browser acknowledges every few. With eight frames
in flight nothing more is sent until it does: the buffer conflates instead. When no
acknowledgement comes at all (the page is closed, the kernel is in a long cell, nobody is there but
nbclient) one self-contained frame a second is still sent. Nothing here ever waits for the browser.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Protocol

from kalam_jupyter.client.errors import ClientError

if TYPE_CHECKING:
    from kalam_jupyter.client.stream import Stream
    from kalam_jupyter.widgets.buffer import Buffer, Frame

FRAMES_PER_SECOND = 10
WINDOW = 8
FRAME_ROWS = 5_000
FRAME_BYTES = 1 << 20
POLL_ROWS = 10_000
HEARTBEAT_S = 1.0
SILENCE_S = 2.0
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
    """Where a pacer's frames go. All methods are called from the pacer's thread."""

    def send_frame(self, seq: int, frame: Frame, stats: Stats) -> None:
        """Send rows."""

    def send_stats(self, stats: Stats) -> None:
        """Send new figures without rows."""

    def drained(self) -> None:
        """Called after each look at the stream; must be quick."""

    def ended(self, status: str, error: str) -> None:
        """Called once, at the end. `status` is ``stopped``, ``finished`` or ``failed``."""


class Pacer:
    """See the module.

    Parameters
    ----------
    stream : Stream
        Polled and closed by the pacer's thread only.
    buffer : Buffer
    display : Display
    frames_per_second : float
    clock : callable
        Seconds, monotonic.
    """

    def __init__(
        self,
        stream: Stream,
        buffer: Buffer,
        display: Display,
        *,
        frames_per_second: float = FRAMES_PER_SECOND,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream, self._buffer, self._display, self._clock = stream, buffer, display, clock
        self._interval = 1 / frames_per_second
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._lock = threading.Lock()  # guards what the browser's callbacks change
        self._seq = self._acked = 0
        self._sent_at = self._acked_at = float("-inf")
        self._paused = False
        self._visible = True
        self._stats_sent = Stats()
        self._stats_sent_at = float("-inf")
        self._row_bytes = 1
        self._samples: deque[tuple[float, int]] = deque([(clock(), 0)])
        self._thread = threading.Thread(target=self._run, name=f"live-{stream.id}", daemon=True)

    # ---- from any thread

    def start(self) -> None:
        """Begin to drain and send."""
        self._stream.on_wake(self._wake.set)
        self._thread.start()

    def acknowledge(self, seq: int) -> None:
        """The browser has every frame up to `seq`."""
        with self._lock:
            self._acked = max(self._acked, min(seq, self._seq))
            self._acked_at = self._clock()
        self._wake.set()

    def resync(self) -> None:
        """The browser missed something, or is new: the next frame starts afresh."""
        with self._lock:
            self._acked, self._acked_at = self._seq, self._clock()
            self._buffer.rewind()
        self._wake.set()

    def set_visible(self, visible: bool) -> None:
        """Send frames only while somebody can see them."""
        self._visible = visible
        self._wake.set()

    def pause(self) -> None:
        """Send no frames; the stream is drained and counted all the same."""
        self._paused = True

    def resume(self) -> None:
        """Send frames again."""
        self._paused = False
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
    def watched(self) -> bool:
        """Whether a browser has acknowledged frames lately."""
        return self._clock() - self._acked_at < SILENCE_S

    @property
    def stats(self) -> Stats:
        """The figures of this moment."""
        (then, before), now = self._samples[0], self._clock()
        rate = (self._buffer.rows_in - before) / max(now - then, self._interval)
        return Stats(self._buffer.rows_in, round(rate), self._buffer.conflated)

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
        self._flush(final=True)
        self._display.ended("failed" if error else "stopped" if stopped else "finished", error)

    def _step(self) -> None:
        self._wake.clear()
        began = self._clock()
        more = self._drain(began + self._interval)
        self._display.drained()
        self._flush()
        if more:
            return
        # At most one look per interval: rows that come one by one are taken by the handful.
        self._stopping.wait(max(0.0, began + self._interval - self._clock()))
        if not (self._buffer.pending and self._window_open()):
            self._wake.wait(HEARTBEAT_S)

    def _drain(self, deadline: float) -> bool:
        """Poll until nothing is there or time is up; True when more may be there."""
        while (changes := self._stream.poll(POLL_ROWS)) is not None:
            self._buffer.add(changes)
            if self._clock() >= deadline:
                return True
        return False

    def _window_open(self) -> bool:
        return self._visible and not self._paused and self._seq - self._acked < WINDOW

    def _flush(self, *, final: bool = False) -> None:
        now = self._clock()
        self._sample(now)
        with self._lock:
            heartbeat = self._must_heartbeat(now)
            if heartbeat:
                self._buffer.rewind()
            frame = None
            if final or heartbeat or (self._window_open() and now - self._sent_at >= self._interval * 0.9):
                frame = self._buffer.take(self._frame_rows())
            if frame is not None:
                self._seq += 1
                self._sent_at = now
        if frame is not None:
            self._send(frame)
        elif now - self._stats_sent_at >= HEARTBEAT_S or final:
            self._send_stats(now)

    def _must_heartbeat(self, now: float) -> bool:
        """Nobody acknowledges: send one frame a second that needs no other frame."""
        return (
            self._visible
            and not self._paused
            and self._buffer.pending
            and self._seq - self._acked >= WINDOW
            and now - self._acked_at >= SILENCE_S
            and now - self._sent_at >= HEARTBEAT_S
        )

    def _frame_rows(self) -> int:
        return max(1, min(FRAME_ROWS, FRAME_BYTES // self._row_bytes))

    def _send(self, frame: Frame) -> None:
        self._row_bytes = max(1, frame.table.nbytes // max(1, frame.table.num_rows))
        stats = self._stats_sent = self.stats
        self._stats_sent_at = self._clock()
        self._display.send_frame(self._seq, frame, stats)

    def _send_stats(self, now: float) -> None:
        stats = self.stats
        if asdict(stats) != asdict(self._stats_sent):
            self._stats_sent, self._stats_sent_at = stats, now
            self._display.send_stats(stats)

    def _sample(self, now: float) -> None:
        self._samples.append((now, self._buffer.rows_in))
        while len(self._samples) > 1 and self._samples[1][0] <= now - RATE_WINDOW_S:
            self._samples.popleft()

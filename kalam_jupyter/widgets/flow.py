"""When a frame may go to the browser: rate, window, acknowledgements, and what to do in silence."""

from __future__ import annotations

import threading
from typing import Literal

FRAMES_PER_SECOND = 10
WINDOW = 8
HEARTBEAT_S = 1.0
SILENCE_S = 2.0


class FlowControl:
    """The state between a pacer and its browsers. Times are seconds of any monotonic clock.

    Attributes
    ----------
    interval : float
        Seconds between two frames, at least.
    """

    def __init__(self, *, frames_per_second: float = FRAMES_PER_SECOND) -> None:
        self.interval = 1 / frames_per_second
        self._lock = threading.Lock()
        self._seq = self._acked = 0
        self._sent_at = self._acked_at = float("-inf")
        self._paused = False
        self._visible = True
        self._restart = self._alone = False

    def acknowledge(self, seq: int, now: float) -> None:
        """The browser has every frame up to `seq`."""
        with self._lock:
            self._acked = max(self._acked, min(seq, self._seq))
            self._acked_at = now
            if self._alone:
                self._alone, self._restart = False, True

    def resync(self, now: float) -> None:
        """The browser missed something, or is new: frames so far do not count, the next starts afresh."""
        with self._lock:
            self._acked, self._acked_at = self._seq, now
            self._restart = True

    def set_visible(self, visible: bool) -> None:
        """Whether anybody can see the frames."""
        self._visible = visible

    def set_paused(self, paused: bool) -> None:
        """Whether the user froze the display."""
        self._paused = paused

    @property
    def seq(self) -> int:
        """The number of the last frame."""
        return self._seq

    @property
    def open(self) -> bool:
        """Whether a frame could go but for the rate."""
        return self._visible and not self._paused and self._seq - self._acked < WINDOW

    def next(self, now: float) -> Literal["frame", "restart", "alone"] | None:
        """Say what may be sent now.

        Returns
        -------
        "frame"
            The rows not sent yet.
        "restart"
            All that is retained: the browser asked for it, paused or not, or is back after a silence.
        "alone"
            A small frame that needs no other: nobody acknowledges. There is one a second: enough for a page
            whose acknowledgements wait behind a long cell.
        None
            Nothing.
        """
        if not self._visible or (self._paused and not self._restart):
            return None
        since = now - self._sent_at
        if self._seq - self._acked < WINDOW:
            if since < self.interval * 0.9:
                return None
            return "restart" if self._restart else "frame"
        silent = now - self._acked_at >= SILENCE_S and since >= HEARTBEAT_S
        if silent:
            self._alone = True
        return "alone" if silent else None

    def sent(self, now: float) -> int:
        """A frame goes out now; return its sequence number, from 1."""
        with self._lock:
            self._seq += 1
            self._sent_at = now
            self._restart = False
            return self._seq

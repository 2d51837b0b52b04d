"""When the records of a topic arrived, as far as retention has to know it.

Retention goes by when records arrived (Kafka's ``LogAppendTime``), not by their own timestamps: data of
2013 that is loaded today is a few seconds old.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

#: Times are noted so many times within the shortest period that is asked about.
STEPS = 100


class ArrivalTimes:
    """Runs of records that arrived one after the other: first sequence and latest time of each.

    Parameters
    ----------
    period_ms : int
        The shortest period that will be asked about; a hundredth of it is a run.
    """

    __slots__ = ("_due", "_latest", "_sequences", "_step")

    def __init__(self, period_ms: int) -> None:
        self._step = max(1, period_ms // STEPS)
        self._sequences: list[int] = []
        self._latest: list[int] = []
        self._due = -1

    def note(self, sequence: int, now_ms: int) -> None:
        """Note that records from `sequence` on arrive now."""
        if now_ms >= self._due:
            self._sequences.append(sequence)
            self._latest.append(now_ms)
            self._due = now_ms + self._step
        elif now_ms > self._latest[-1]:
            self._latest[-1] = now_ms

    def undo(self, sequence: int) -> None:
        """Forget what was noted of the records from `sequence` on."""
        while self._sequences and self._sequences[-1] >= sequence:
            self._sequences.pop()
            self._due = self._latest.pop()

    def before(self, ms: int, end: int) -> int:
        """Return the first sequence that may have arrived at `ms` or later; `end` if none has."""
        count = bisect_left(self._latest, ms)
        return self._sequences[count] if count < len(self._sequences) else end

    def forget(self, sequence: int) -> None:
        """Forget runs that end at or before `sequence`: they count as older than all that is known."""
        count = max(0, bisect_right(self._sequences, sequence) - 1)
        del self._sequences[:count], self._latest[:count]

    def state(self) -> list[list[int]]:
        """Return what `load` takes."""
        return [[s, t] for s, t in zip(self._sequences, self._latest, strict=True)]

    def load(self, state: Iterable[list[int]]) -> None:
        """Take back a `state`."""
        for sequence, latest in state:
            self._sequences.append(sequence)
            self._latest.append(latest)
            self._due = latest

"""Where the records of one partition are among those of its topic."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable


class Partition:
    """Runs of records, one for each batch that has some: first offset, and a sequence in the batch.

    Attributes
    ----------
    start, end : int
        First offset that is retained, and the offset that the next record gets.
    """

    __slots__ = ("_offsets", "_sequences", "end", "start")

    def __init__(self, start: int = 0) -> None:
        self.start = self.end = start
        self._offsets: list[int] = []
        self._sequences: list[int] = []

    def add(self, sequence: int, count: int) -> None:
        """Note that a batch with `sequence` has the next `count` records."""
        self.note(sequence, self.end)
        self.end += count

    def note(self, sequence: int, offset: int) -> None:
        """Note that the records of a batch with `sequence` begin at `offset`."""
        self._offsets.append(offset)
        self._sequences.append(sequence)

    def insert(self, sequence: int, offset: int) -> None:
        """As `note`, of a batch between others."""
        at = bisect_left(self._sequences, sequence)
        self._offsets.insert(at, offset)
        self._sequences.insert(at, sequence)

    def runs(self, offset: int, limit: int) -> list[int]:
        """Return sequences of the batches to read for `limit` records from `offset` on."""
        first = max(0, bisect_right(self._offsets, offset) - 1)
        return self._sequences[first : first + limit + 1]  # compaction may have emptied the rest of the first

    def offset_at(self, sequence: int) -> int:
        """Return the offset of the first record in the batches from `sequence` on."""
        first = bisect_left(self._sequences, sequence)
        return self._offsets[first] if first < len(self._offsets) else self.end

    def undo(self, sequence: int) -> None:
        """Forget the batches from `sequence` on."""
        keep = bisect_left(self._sequences, sequence)
        if keep < len(self._offsets):
            self.end = self._offsets[keep]
            del self._offsets[keep:], self._sequences[keep:]

    def drop_before(self, sequence: int) -> None:
        """Forget the batches before `sequence`: they are no longer retained."""
        drop = bisect_left(self._sequences, sequence)
        del self._offsets[:drop], self._sequences[:drop]
        self.start = self._offsets[0] if self._offsets else self.end

    def replace_before(self, sequence: int, runs: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """Put other (offset, sequence) in the place of those before `sequence`; return what was there."""
        count = bisect_left(self._sequences, sequence)
        before = list(zip(self._offsets[:count], self._sequences[:count], strict=True))
        made = list(runs)
        self._offsets[:count] = [offset for offset, _ in made]
        self._sequences[:count] = [sequence for _, sequence in made]
        return before

    def merge(self, sequence: int, batch_of: Callable[[int], int]) -> None:
        """Keep one run for each batch, as `batch_of` finds them by sequence, from `sequence` on."""
        first = bisect_left(self._sequences, sequence)
        runs = list(zip(self._offsets[first:], self._sequences[first:], strict=True))
        del self._offsets[first:], self._sequences[first:]
        last = -1
        for offset, sequence_ in runs:
            batch = batch_of(sequence_)
            if batch != last:
                self._offsets.append(offset)
                self._sequences.append(sequence_)
                last = batch

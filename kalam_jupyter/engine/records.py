"""The records of a topic: batches in order of arrival, with gaps where compaction was.

What a topic keeps, and for how long, is the business of `kalam_jupyter.engine.topic`.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import groupby
from typing import Any, Final

import numpy as np

from kalam_jupyter.engine.batch import SMALL_BATCH, Batch, Int64s, StoredBatch, merge, merge_key
from kalam_jupyter.engine.compaction import MAX_BATCH, Cleaned, Compaction
from kalam_jupyter.engine.errors import EngineError, LogCorruptError, OverrunError
from kalam_jupyter.engine.history import History
from kalam_jupyter.engine.partition import Partition

#: So many small appends in a row are merged into one batch.
MERGE_AFTER: Final = 1_024
#: Most small appends that a processor is fed at once.
MERGE_STEP: Final = 256
#: Fewer new records than this are not worth a compaction, however few keys there are (Kafka waits for a
#: segment of a gigabyte): it costs 40 ns a record where few keys are left, 300 ns where most are.
MIN_DIRTY: Final = 1_000_000


class Records(History[StoredBatch]):
    """The batches of one topic.

    Parameters
    ----------
    name : str
    partitions : int
    lock : threading.RLock
    weighed : bool
        Whether to know how many bytes there are.

    Attributes
    ----------
    cleaned : Cleaned
        How far they are compacted.
    """

    def __init__(self, name: str, partitions: int, lock: threading.RLock, weighed: bool) -> None:
        super().__init__(lock)
        self.name = name
        self.partitions = partitions
        self.cleaned = Cleaned(offsets=(0,) * partitions)
        self._clean_at = MIN_DIRTY
        self._start = 0
        self._weighed = weighed
        self._sizes: list[int] = []
        self._size = 0
        self._small = 0
        self._partitions = [Partition() for _ in range(partitions)]

    @property
    def start(self) -> int:
        """As `start_sequence`. Compaction leaves it where it is, though the first record may be gone."""
        return self._start

    @property
    def end_sequence(self) -> int:
        """Sequence that the next record gets."""
        return self.end

    @property
    def start_sequence(self) -> int:
        """Sequence of the first record that is retained."""
        return self._start

    @property
    def num_records(self) -> int:
        """How many records there are."""
        with self._lock:
            return sum(item.num_rows for item in self.items)

    # Reading

    def read(self, sequence: int, max_records: int = MAX_BATCH) -> list[StoredBatch]:
        """Return batches from `sequence` on, at most `max_records` records.

        Raises
        ------
        OverrunError
            If `sequence` is no longer retained.
        """
        with self._lock:
            return self.read_from(sequence, max_records)[0]

    def read_step(self, sequence: int, before: int | None = None) -> StoredBatch:
        """Return the next batch for a processor; small appends that wait are taken together.

        Parameters
        ----------
        sequence : int
            Of the first record; it is retained, and there.
        before : int or None
            Log position that ends the step: what was appended later is left for the next.
        """
        at = self.find(sequence)
        first = self.items[at].since(sequence).slice(0, MAX_BATCH)
        # None but the small ones at the end: others may be in a checkpoint, where recovery cannot merge them.
        if at < len(self.items) - self._small or merge_key(first.batch) is None:
            return first
        key, run = merge_key(first.batch), [first]
        for item in self.items[at + 1 : at + MERGE_STEP]:
            if (before is not None and item.position > before) or merge_key(item.batch) != key:
                break
            run.append(item)
        return _merged(run)[0]

    def read_one(self, sequence: int, count: int) -> StoredBatch:
        """Return exactly `count` records as one batch, as a step once took them.

        Raises
        ------
        LogCorruptError
            If they are not there, or cannot have been one batch.
        """
        parts = self.read_from(sequence, count)[0]
        found = _merged(parts) if len(parts) > 1 else parts
        if len(found) != 1 or found[0].num_rows != count:
            raise LogCorruptError(f"topic '{self.name}' has no batch of {count} records at {sequence}")
        return found[0]

    def step_end(self, sequence: int, count: int) -> int:
        """Return where a reader stands that has read `count` records from `sequence` on."""
        if sequence >= self.cleaned.end:
            return sequence + count
        for item in self.items[self.find(sequence) :]:
            first = item.index(sequence)
            if first + count <= item.num_rows:
                return int(item.sequence_array()[first + count - 1]) + 1
            count -= item.num_rows - first
        return self.end

    def has_step(self, sequence: int, position: int) -> bool:
        """Whether the records that a step took, at a log position, from `sequence` on are all there."""
        cleaned = self.cleaned
        return sequence >= self._start and (sequence >= cleaned.end or position > cleaned.position)

    def find(self, number: int) -> int:
        """Index of the item of a record, or of the next one that is left; the number of items at the end."""
        if number >= self.end:
            return len(self.items)
        at = max(0, bisect_right(self.starts, number) - 1)
        return at if number < self.items[at].end else at + 1

    def read_from(self, cursor: int, limit: int) -> tuple[list[StoredBatch], int]:
        """Return at most `limit` records from sequence `cursor` on, and the next cursor.

        Raises
        ------
        OverrunError
            If `cursor` is no longer retained.
        """
        if self.closed_by is not None:
            raise self.closed_by
        if cursor < self._start:
            raise OverrunError(self._start - cursor)
        found: list[StoredBatch] = []
        for i in range(self.find(cursor), len(self.items)):
            if limit <= 0:
                break
            item = self.items[i]
            first = item.index(cursor)
            part = item.slice(first, first + limit)
            found.append(part)
            limit -= part.num_rows
            cursor = part.end
        return found, cursor

    def _partition(self, partition: int) -> Partition:
        if not 0 <= partition < self.partitions:
            raise EngineError(f"topic '{self.name}' has no partition {partition}: it has {self.partitions}")
        return self._partitions[partition]

    # Writing: the transaction calls these, under the lock, and undoes them in reverse order

    def append(self, batch: Batch, position: int, positions: Int64s | None = None) -> StoredBatch:
        """Add records and return where they are; history holds them in batches of at most 65,536."""
        sequence, n = self.end, batch.num_rows
        if isinstance(batch.partitions, int):
            p = self._partition(batch.partitions)
            offsets: Int64s | int = p.end
            for start in range(0, n, MAX_BATCH):
                p.add(sequence + start, min(n - start, MAX_BATCH))
        else:
            offsets = self._assign(batch.partition_array(), sequence)
        stored = StoredBatch(batch, position, sequence, offsets, positions)
        for start in range(0, n, MAX_BATCH):
            self._push(stored.slice(start, min(start + MAX_BATCH, n)))
        return stored

    def _push(self, item: StoredBatch) -> None:
        rows = item.num_rows
        self.push(item, rows)
        weight = self._weight(item)
        self._sizes.append(weight)
        self._size += weight
        self._small = self._small + 1 if rows < SMALL_BATCH else 0

    def _weight(self, item: StoredBatch) -> int:
        return batch_bytes(item.batch) if self._weighed else 0

    def _assign(self, partitions: Any, sequence: int) -> Int64s:
        if len(partitions) and not (partitions.min() >= 0 and partitions.max() < self.partitions):
            self._partition(int(partitions.max() if partitions.min() >= 0 else partitions.min()))
        offsets = np.empty(len(partitions), dtype=np.int64)
        for start in range(0, len(partitions), MAX_BATCH):
            part = partitions[start : start + MAX_BATCH]
            for number in np.unique(part).tolist():
                p = self._partitions[number]
                where = np.flatnonzero(part == number)
                offsets[start + where] = np.arange(p.end, p.end + len(where))
                p.add(sequence + start, len(where))
        return offsets

    def undo_append(self, stored: StoredBatch) -> None:
        """Take back the last append."""
        length = bisect_left(self.starts, stored.sequence)
        self._small = max(0, self._small - (len(self.items) - length))
        self._size -= sum(self._sizes[length:])
        del self._sizes[length:]
        self.pop_to(length)
        for p in self._partitions:
            p.undo(stored.sequence)

    def drop_before(self, sequence: int) -> None:
        """Forget the batches that end at or before `sequence`."""
        count = bisect_right(self.starts, sequence) - 1 if sequence < self.end else len(self.items)
        if count <= 0:
            return
        self._size -= sum(self._sizes[:count])
        del self._sizes[:count]
        self.drop_front(count)
        self._start = self.starts[0] if self.starts else self.end
        for p in self._partitions:
            p.drop_before(self._start)

    def truncate(self) -> Any:
        """Forget all records; return what `undo_truncate` takes."""
        before = (
            (self.items, self.starts, self._sizes, self._size, self._small),
            (self._partitions, self._start, self.cleaned, self._clean_at),
        )
        self.items, self.starts, self._sizes, self._size, self._small = [], [], [], 0, 0
        self._partitions = [Partition(p.end) for p in self._partitions]
        self._start = self.end
        self._set_cleaned(Cleaned(self.end, 0, self.end, 0, tuple(p.end for p in self._partitions)))
        return before

    def undo_truncate(self, before: Any) -> None:
        """Take back a `truncate`."""
        (self.items, self.starts, self._sizes, self._size, self._small), others = before
        self._partitions, self._start, self.cleaned, self._clean_at = others

    def merge_small(self, *, final: bool = False) -> None:
        """Merge the small appends at the end into larger batches, once there are many of them.

        A batch of one record weighs about a kilobyte; in a merged one, a hundred bytes. With `final`
        the batches are merged however few they are, and none of them ever again.
        """
        small = self._small
        if small < MERGE_AFTER and not final:
            return
        self._small = 0
        if small < 2:
            return
        start = max(0, len(self.items) - small)
        items, sizes = self.items[start:], self._sizes[start:]
        del self.items[start:], self.starts[start:], self._sizes[start:]
        for _, run in groupby(zip(items, sizes, strict=True), key=lambda pair: merge_key(pair[0].batch)):
            pairs = list(run)
            merged = _merged([item for item, _ in pairs])
            self.items.extend(merged)
            self.starts.extend(item.sequence for item in merged)
            weights = [weight for _, weight in pairs]
            self._sizes.extend(weights if len(merged) == len(pairs) else [sum(weights)])
        for p in self._partitions:
            p.merge(self.starts[start], self.find)

    # Compaction

    def between(self, start: int, end: int) -> list[StoredBatch]:
        """Return the batches that begin at a sequence from `start` to `end` (exclusive)."""
        return self.items[bisect_left(self.starts, start) : bisect_left(self.starts, end)]

    def split(self, sequence: int) -> None:
        """Let a batch begin at a sequence: recovery may have merged small appends that were apart before."""
        at = self.find(sequence)
        if at == len(self.items) or not self.items[at].sequence < sequence:
            return
        parts = self.items[at].before(sequence), self.items[at].since(sequence)
        self.items[at : at + 1] = parts
        self.starts.insert(at + 1, sequence)
        self._sizes[at : at + 1] = [self._weight(part) for part in parts]
        for number, p in enumerate(self._partitions):
            for offset, first in self._runs(parts[1:], number):
                p.insert(first, offset)

    def not_yet(self) -> None:
        """Let more records arrive before the topic counts as `dirty` again."""
        self._clean_at = self.end + MIN_DIRTY // 4

    def wait_until_doubled(self) -> None:
        """Let as many records arrive as there are before the topic counts as `dirty` again."""
        self._clean_at = self.end + max(MIN_DIRTY, sum(item.num_rows for item in self.items))

    def compactable(self, needed: int | None) -> tuple[list[StoredBatch], int]:
        """Return the batches that may be compacted, and the first sequence after them.

        The last batch never is, nor the small ones at the end, nor what lies at or behind `needed`.
        """
        count = len(self.items) - max(1, self._small)
        if needed is not None:
            count = min(count, bisect_left(self.starts, needed))
            if count > 0 and self.items[count - 1].end > needed:
                count -= 1
        if count <= 0 or self.starts[count] <= self.cleaned.end:
            return [], self.cleaned.end
        return self.items[:count], self.starts[count]

    def compact(self, compaction: Compaction, items: Sequence[StoredBatch], position: int) -> Any:
        """Put `items` in the place of all before ``compaction.upto``; return what `undo_compact` takes."""
        runs = [self._runs(items, p) for p in range(self.partitions)]
        before = self._replace_before(compaction.upto, items, runs), self.cleaned, self._clean_at
        offsets = tuple(p.offset_at(compaction.upto) for p in self._partitions)
        purged = max(self.cleaned.purged, compaction.purged)
        records = sum(item.num_rows for item in items)
        self._set_cleaned(Cleaned(compaction.upto, records, purged, position, offsets))
        return before

    def undo_compact(self, before: Any) -> None:
        """Take back a `compact`."""
        (items, runs), cleaned, clean_at = before
        self._replace_before(self.cleaned.end, items, runs)
        self.cleaned, self._clean_at = cleaned, clean_at

    def _replace_before(self, sequence: int, items: Sequence[StoredBatch], runs: Any) -> Any:
        count = bisect_left(self.starts, sequence)
        before = self.items[:count]
        sizes = [self._weight(item) for item in items]
        self._size += sum(sizes) - sum(self._sizes[:count])
        self.items[:count], self.starts[:count] = items, [item.sequence for item in items]
        self._sizes[:count] = sizes
        pairs = zip(self._partitions, runs, strict=True)
        return before, [p.replace_before(sequence, new) for p, new in pairs]

    def _runs(self, items: Sequence[StoredBatch], partition: int) -> list[tuple[int, int]]:
        found = []
        for item in items:
            mine = np.flatnonzero(item.batch.partition_array() == partition)
            if len(mine):
                found.append((int(item.offset_array()[mine[0]]), item.sequence))
        return found

    def _set_cleaned(self, cleaned: Cleaned) -> None:
        self.cleaned = cleaned
        self._clean_at = cleaned.end + max(MIN_DIRTY, cleaned.records)

    # Loading a checkpoint

    def load_compacted(self, item: StoredBatch) -> None:
        """Add a batch with gaps, where it is."""
        if item.sequence >= self._start:
            self.end = item.end
            self.starts.append(item.sequence)
            self.items.append(item)
            self._sizes.append(self._weight(item))
            self._size += self._sizes[-1]
            for number, p in enumerate(self._partitions):
                for offset, sequence in self._runs([item], number):
                    p.note(sequence, offset)

    def load_batch(self, batch: Batch, position: int, positions: Int64s | None) -> None:
        """Add a batch as it was appended once."""
        self._end_compacted()
        self.append(batch, position, positions)

    def finish_load(self) -> None:
        """Note that what was loaded is final: see `merge_small`."""
        self._end_compacted()
        self._small = 0

    def _end_compacted(self) -> None:
        if self.end <= self.cleaned.end:
            self.end = self.cleaned.end
            for p, offset in zip(self._partitions, self.cleaned.offsets, strict=True):
                p.end = max(p.end, offset)


def _merged(items: Sequence[StoredBatch]) -> Sequence[StoredBatch]:
    """Return stored batches as one, or as they are if they hold columns."""
    if len(items) == 1 or merge_key(items[0].batch) is None:
        return items
    first = items[0]
    positions = np.concatenate(
        [np.full(i.num_rows, i.position) if i.positions is None else i.positions for i in items]
    )
    # where all are in one partition, their offsets follow each other
    offsets = (
        first.offsets
        if isinstance(first.batch.partitions, int) and isinstance(first.offsets, int)
        else np.concatenate([i.offset_array() for i in items])
    )
    batch = merge([i.batch for i in items])
    return [StoredBatch(batch, first.position, first.sequence, offsets, positions)]


def batch_bytes(batch: Batch) -> int:
    """Estimate what a batch weighs, without making the form it does not have."""
    if batch.made_raw is not None:
        return sum(len(k or b"") + len(v or b"") + 16 for k, v in zip(*batch.made_raw, strict=True))
    payload = batch.payload
    if payload is not None and payload.has_columns:
        arrays = (*payload.columns.key, *payload.columns.value)
        return int(sum(a.nbytes for a in arrays)) + 16 * batch.num_rows
    return batch.num_rows * (16 + 16 * len(payload.schema if payload is not None else ()))

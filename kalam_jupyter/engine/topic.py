"""Topics: partitioned, offset-addressed, retained.

Vocabulary
----------
sequence
    Arrival number of a record in its topic, over all partitions.
offset
    Number of a record in its partition.
retention
    ``retention_ms`` and ``retention_bytes`` in a topic's config drop whole batches from the front;
    without them a topic keeps everything.
"""

from __future__ import annotations

import secrets
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

import numpy as np

from kalam_jupyter.engine.batch import SMALL_BATCH, Batch, Headers, Int64s, StoredBatch, merge, merge_key
from kalam_jupyter.engine.errors import EngineError, LogCorruptError, OverrunError
from kalam_jupyter.engine.history import History

MAX_BATCH: Final = 65_536
#: So many small appends in a row are merged into one batch.
MERGE_AFTER: Final = 1_024
#: Most small appends that a processor is fed at once.
MERGE_STEP: Final = 256


@dataclass(frozen=True)
class Record:
    """One record of a topic, as bytes.

    Attributes
    ----------
    partition, offset : int
    timestamp : int
        Event time, ms since the epoch.
    key, value : bytes or None
    headers : tuple of (str, bytes or None)
    """

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class _Partition:
    """Where the records of one partition are: first offset and sequence of each run of them."""

    __slots__ = ("end", "offsets", "sequences", "start")

    def __init__(self, start: int = 0) -> None:
        self.start = self.end = start
        self.offsets: list[int] = []
        self.sequences: list[int] = []


class Topic(History[StoredBatch]):
    """The records of one topic, and where its consumer groups are."""

    def __init__(
        self,
        name: str,
        partitions: int,
        config: Mapping[str, Any],
        lock: threading.RLock,
        uid: str | None = None,
    ) -> None:
        super().__init__(lock)
        self.name = name
        self.uid = uid or secrets.token_hex(8)
        self.partitions = partitions
        self.config = dict(config)
        self._sizes: list[int] = []
        self._size = 0
        self._small = 0
        self._partitions = [_Partition() for _ in range(partitions)]
        self._groups: dict[str, dict[int, int]] = {}

    @property
    def end_sequence(self) -> int:
        """Sequence that the next record gets."""
        return self.end

    @property
    def start_sequence(self) -> int:
        """Sequence of the first record that is retained."""
        return self.start

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
        first = self.items[at].slice(sequence - self.starts[at], MAX_BATCH)
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

    def _part(
        self, item: StoredBatch, start: int, stop: int, limit: int, some: bool
    ) -> tuple[StoredBatch, int]:
        taken = min(stop - start, limit)
        return item.slice(start, start + taken), taken

    def partition_bounds(self, partition: int) -> tuple[int, int]:
        """Return the first retained offset and the next offset of a partition."""
        with self._lock:
            p = self._partition(partition)
            return p.start, p.end

    def read_partition(self, partition: int, offset: int, limit: int = 500) -> list[Record]:
        """Return up to `limit` records of one partition, from `offset` on.

        Raises
        ------
        OverrunError
            If `offset` is no longer retained.
        """
        with self._lock:
            p = self._partition(partition)
            if offset < p.start:
                raise OverrunError(p.start - offset)
            if offset >= p.end:
                return []
            run = bisect_right(p.offsets, offset) - 1
            stored = [self.items[self.find(sequence)] for sequence in p.sequences[run : run + max(limit, 1)]]
        found: list[Record] = []
        for batch in stored:
            if len(found) >= limit:
                break
            found.extend(_records(batch, partition, offset, limit - len(found)))
        return found

    def committed(self, group: str, partition: int) -> int | None:
        """Return the next offset that `group` reads in `partition`; None if it never committed."""
        with self._lock:
            return self._groups.get(group, {}).get(partition)

    def groups(self) -> list[str]:
        """Return the names of the consumer groups that committed here."""
        with self._lock:
            return sorted(self._groups)

    def _partition(self, partition: int) -> _Partition:
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
            self._index_run(p, n, sequence)
        else:
            offsets = self._assign(batch.partition_array(), sequence)
        stored = StoredBatch(batch, position, sequence, offsets, positions)
        for start in range(0, n, MAX_BATCH):
            part = stored.slice(start, min(start + MAX_BATCH, n))
            self.push(part, part.num_rows)
            weight = batch_bytes(part.batch) if "retention_bytes" in self.config else 0
            self._sizes.append(weight)
            self._size += weight
            self._small = self._small + 1 if part.num_rows < SMALL_BATCH else 0
        return stored

    def _index_run(self, p: _Partition, n: int, sequence: int) -> None:
        for start in range(0, n, MAX_BATCH):
            p.offsets.append(p.end + start)
            p.sequences.append(sequence + start)
        p.end += n

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
                p.offsets.append(p.end)
                p.sequences.append(sequence + start)
                p.end += len(where)
        return offsets

    def undo_append(self, stored: StoredBatch) -> None:
        """Take back the last append."""
        length = bisect_left(self.starts, stored.sequence)
        self._small = max(0, self._small - (len(self.items) - length))
        self._size -= sum(self._sizes[length:])
        del self._sizes[length:]
        self.pop_to(length)
        for p in self._partitions:
            keep = bisect_left(p.sequences, stored.sequence)
            if keep < len(p.offsets):
                p.end = p.offsets[keep]
                del p.offsets[keep:], p.sequences[keep:]

    def drop_before(self, sequence: int) -> None:
        """Forget the batches that end at or before `sequence`."""
        count = bisect_right(self.starts, sequence) - 1 if sequence < self.end else len(self.items)
        if count <= 0:
            return
        self._size -= sum(self._sizes[:count])
        del self._sizes[:count]
        self.drop_front(count)
        first = self.start
        for p in self._partitions:
            keep = bisect_left(p.sequences, first)
            del p.offsets[:keep], p.sequences[:keep]
            p.start = p.offsets[0] if p.offsets else p.end

    def truncate(self) -> Any:
        """Forget all records; return what `undo_truncate` takes."""
        before = self.items, self.starts, self._sizes, self._size, self._small, self._partitions
        self.items, self.starts, self._sizes, self._size, self._small = [], [], [], 0, 0
        self._partitions = [_Partition(p.end) for p in self._partitions]
        return before

    def undo_truncate(self, before: Any) -> None:
        """Take back a `truncate`."""
        self.items, self.starts, self._sizes, self._size, self._small, self._partitions = before

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
            self._merge_runs(p, bisect_left(p.sequences, self.starts[start]))

    def _merge_runs(self, p: _Partition, first: int) -> None:
        """Keep one run for each batch, from run `first` on."""
        runs = list(zip(p.offsets[first:], p.sequences[first:], strict=True))
        del p.offsets[first:], p.sequences[first:]
        last = -1
        for offset, sequence in runs:
            item = self.find(sequence)
            if item != last:
                p.offsets.append(offset)
                p.sequences.append(sequence)
                last = item

    def load(self, end: int, partition_starts: list[int]) -> None:
        """Start an empty topic at a sequence and at the offset of each partition."""
        self.end = end
        self._partitions = [_Partition(offset) for offset in partition_starts]

    def finish_load(self) -> None:
        """Note that what was loaded is final: see `merge_small`."""
        self._small = 0

    def state(self) -> dict[str, Any]:
        """Return everything but the records, as JSON."""
        return {
            "name": self.name,
            "uid": self.uid,
            "partitions": self.partitions,
            "config": self.config,
            "start": self.start,
            "end": self.end,
            "partition_starts": [p.start for p in self._partitions],
            "groups": [[g, list(offsets.items())] for g, offsets in self._groups.items()],
        }

    def retained_from(self, now_ms: int) -> int:
        """Return the first sequence that the retention settings keep."""
        keep_ms, keep_bytes = self.config.get("retention_ms"), self.config.get("retention_bytes")
        if keep_ms is None and keep_bytes is None:
            return self.start
        size, sequence = self._size, self.start
        for item, weight in zip(self.items, self._sizes, strict=True):
            too_old = keep_ms is not None and 0 <= keep_ms < now_ms - _newest(item.batch)
            too_big = keep_bytes is not None and 0 <= keep_bytes < size
            if not (too_old or too_big):
                break
            size -= weight
            sequence = item.sequence + item.num_rows
        return sequence

    def commit_offset(self, group: str, partition: int, offset: int) -> int | None:
        """Move a group forward (never back) and return where it was."""
        self._partition(partition)
        offsets = self._groups.setdefault(group, {})
        before = offsets.get(partition)
        if before is None or offset > before:
            offsets[partition] = offset
        return before

    def undo_commit(self, group: str, partition: int, before: int | None) -> None:
        """Take back a `commit_offset`."""
        offsets = self._groups[group]
        if before is not None:
            offsets[partition] = before
            return
        offsets.pop(partition, None)
        if not offsets:
            del self._groups[group]


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


def _newest(batch: Batch) -> int:
    return max(batch.timestamps) if isinstance(batch.timestamps, list) else int(batch.timestamps.max())


def batch_bytes(batch: Batch) -> int:
    """Estimate what a batch weighs, without making the form it does not have."""
    if batch.made_raw is not None:
        return sum(len(k or b"") + len(v or b"") + 16 for k, v in zip(*batch.made_raw, strict=True))
    payload = batch.payload
    if payload is not None and payload.has_columns:
        arrays = (*payload.columns.key, *payload.columns.value)
        return int(sum(a.nbytes for a in arrays)) + 16 * batch.num_rows
    return batch.num_rows * (16 + 16 * len(payload.schema if payload is not None else ()))


def _records(stored: StoredBatch, partition: int, offset: int, limit: int) -> list[Record]:
    batch = stored.batch
    keys, values = batch.encoded()
    offsets = stored.offset_array()
    mine = np.flatnonzero((batch.partition_array() == partition) & (offsets >= offset))[:limit]
    headers = batch.headers
    return [
        Record(
            partition,
            int(offsets[i]),
            int(batch.timestamps[i]),
            keys[i],
            values[i],
            () if headers is None else headers[i],
        )
        for i in mine.tolist()
    ]

"""Topics: partitioned, offset-addressed, retained.

Vocabulary
----------
sequence
    Arrival number of a record in its topic, over all partitions.
offset
    Number of a record in its partition.
retention
    ``retention_ms`` (since the records arrived) and ``retention_bytes`` in a topic's config drop whole
    batches from the front, when more arrive; without them a topic keeps everything.
compaction
    With ``cleanup_policy`` ``compact`` only the last record of each key stays (see
    `kalam_jupyter.engine.compaction`); with ``compact,delete`` retention applies as well.
"""

from __future__ import annotations

import secrets
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any, Final, NamedTuple

import numpy as np

from kalam_jupyter.engine.arrival import ArrivalTimes
from kalam_jupyter.engine.batch import SMALL_BATCH, Batch, Headers, Int64s, StoredBatch, merge, merge_key
from kalam_jupyter.engine.compaction import MAX_BATCH, Cleaned, Compaction
from kalam_jupyter.engine.errors import EngineError, LogCorruptError, OverrunError
from kalam_jupyter.engine.history import History
from kalam_jupyter.engine.partition import Partition

#: So many small appends in a row are merged into one batch.
MERGE_AFTER: Final = 1_024
#: Most small appends that a processor is fed at once.
MERGE_STEP: Final = 256
#: Fewer new records than this are not worth a compaction, however few keys there are.
MIN_DIRTY: Final = 10_000
#: How long a compacted topic keeps a tombstone for readers that lag, unless ``delete_retention_ms`` says.
DELETE_RETENTION_MS: Final = 86_400_000


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


class Committed(NamedTuple):
    """How far a consumer group is in a partition, and since when.

    Attributes
    ----------
    offset : int
        The next offset to read.
    at_ms : int or None
        None in what older versions wrote.
    """

    offset: int
    at_ms: int | None


class Topic(History[StoredBatch]):
    """The records of one topic, and where its consumer groups are.

    Attributes
    ----------
    config : dict
        ``cleanup_policy`` (delete, compact, or both with a comma), ``retention_ms``, ``retention_bytes``
        (negative: for ever), ``delete_retention_ms``; a dialect may keep settings of its own in it.
    cleaned : Cleaned
        How far it is compacted.
    """

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
        policies = _policies(name, config)
        self.compacted = "compact" in policies
        self._keep_ms = _limit(config, "retention_ms") if "delete" in policies else None
        self._keep_bytes = _limit(config, "retention_bytes") if "delete" in policies else None
        tombstones = int(config.get("delete_retention_ms", DELETE_RETENTION_MS)) if self.compacted else None
        self._keep_tombstones_ms = tombstones
        periods = [p for p in (self._keep_ms, tombstones) if p is not None]
        self._arrivals = ArrivalTimes(min(periods)) if periods else None
        self.cleaned = Cleaned(offsets=(0,) * partitions)
        self._clean_at = MIN_DIRTY
        self._start = 0
        self._sizes: list[int] = []
        self._size = 0
        self._small = 0
        self._partitions = [Partition() for _ in range(partitions)]
        self._groups: dict[str, dict[int, Committed]] = {}

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
            stored = [self.items[self.find(sequence)] for sequence in p.runs(offset, max(limit, 1))]
        found: list[Record] = []
        for batch in stored:
            if len(found) >= limit:
                break
            found.extend(_records(batch, partition, offset, limit - len(found)))
        return found

    def committed(self, group: str, partition: int) -> int | None:
        """Return the next offset that `group` reads in `partition`; None if it never committed."""
        with self._lock:
            found = self._groups.get(group, {}).get(partition)
        return None if found is None else found.offset

    def commits(self, group: str) -> dict[int, Committed]:
        """Return how far a consumer group is in each partition where it committed."""
        with self._lock:
            return dict(self._groups.get(group, {}))

    def groups(self) -> list[str]:
        """Return the names of the consumer groups that committed here."""
        with self._lock:
            return sorted(self._groups)

    def _partition(self, partition: int) -> Partition:
        if not 0 <= partition < self.partitions:
            raise EngineError(f"topic '{self.name}' has no partition {partition}: it has {self.partitions}")
        return self._partitions[partition]

    # Writing: the transaction calls these, under the lock, and undoes them in reverse order

    def append(
        self, batch: Batch, position: int, now_ms: int | None = None, positions: Int64s | None = None
    ) -> StoredBatch:
        """Add records and return where they are; history holds them in batches of at most 65,536.

        `now_ms` is None when they are loaded: when they arrived is known.
        """
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
        if self._arrivals is not None and now_ms is not None:
            self._arrivals.note(sequence, now_ms)
        return stored

    def _push(self, item: StoredBatch) -> None:
        rows = item.num_rows
        self.push(item, rows)
        weight = self._weight(item)
        self._sizes.append(weight)
        self._size += weight
        self._small = self._small + 1 if rows < SMALL_BATCH else 0

    def _weight(self, item: StoredBatch) -> int:
        return 0 if self._keep_bytes is None else batch_bytes(item.batch)

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
        if self._arrivals is not None:
            self._arrivals.undo(stored.sequence)

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
        if self._arrivals is not None:
            self._arrivals.forget(self._start)

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

    # Compaction

    @property
    def dirty(self) -> bool:
        """Whether a compaction is worth the while: half of the records, or more, came after the last one."""
        return self.compacted and self.end >= self._clean_at

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

    def tombstones_before(self, now_ms: int) -> int:
        """Return the first sequence of which a tombstone would be too young to go."""
        if self._arrivals is None or self._keep_tombstones_ms is None:
            return 0
        return self._arrivals.before(now_ms - self._keep_tombstones_ms, self.end)

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

    # Loading a checkpoint

    def load(self, state: Mapping[str, Any]) -> None:
        """Start an empty topic as a `state` says; its records follow."""
        self.end = self._start = state["start"]
        self._partitions = [Partition(offset) for offset in state["partition_starts"]]
        for group, offsets in state["groups"]:
            self._groups[group] = {p: Committed(offset, *(at or [None])) for p, offset, *at in offsets}
        if self._arrivals is not None:
            self._arrivals.load(state.get("arrivals", ()))
        if "cleaned" in state:
            cleaned = state["cleaned"]
            self._set_cleaned(Cleaned(**{**cleaned, "offsets": tuple(cleaned["offsets"])}))

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
        self.append(batch, position, None, positions)

    def finish_load(self) -> None:
        """Note that what was loaded is final: see `merge_small`."""
        self._end_compacted()
        self._small = 0

    def _end_compacted(self) -> None:
        if self.end <= self.cleaned.end:
            self.end = self.cleaned.end
            for p, offset in zip(self._partitions, self.cleaned.offsets, strict=True):
                p.end = max(p.end, offset)

    def state(self) -> dict[str, Any]:
        """Return everything but the records, as JSON."""
        return {
            "name": self.name,
            "uid": self.uid,
            "partitions": self.partitions,
            "config": self.config,
            "start": self._start,
            "end": self.end,
            "partition_starts": [p.start for p in self._partitions],
            "groups": [[g, [[p, *c] for p, c in commits.items()]] for g, commits in self._groups.items()],
            "arrivals": [] if self._arrivals is None else self._arrivals.state(),
            "cleaned": asdict(self.cleaned),
        }

    # Retention

    def expired_before(self, now_ms: int) -> int:
        """Return the first sequence that is young enough to stay."""
        if self._arrivals is None or self._keep_ms is None:
            return self._start
        return self._arrivals.before(now_ms - self._keep_ms, self.end)

    def retained_from(self, now_ms: int) -> int:
        """Return the first sequence that the retention settings keep; it begins a batch."""
        keep = self.expired_before(now_ms)
        if not self.items or keep < self.items[0].end:
            keep = self._start
        if self._keep_bytes is not None:
            size = self._size
            for item, weight in zip(self.items, self._sizes, strict=True):
                if size <= self._keep_bytes:
                    break
                size -= weight
                keep = max(keep, item.end)
        return keep

    # Consumer groups

    def commit_offset(self, group: str, partition: int, offset: int, now_ms: int) -> Committed | None:
        """Move a group forward (never back) and return where it was."""
        self._partition(partition)
        offsets = self._groups.setdefault(group, {})
        before = offsets.get(partition)
        if before is None or offset > before.offset:
            offsets[partition] = Committed(offset, now_ms)
        return before

    def undo_commit(self, group: str, partition: int, before: Committed | None) -> None:
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


def _policies(topic: str, config: Mapping[str, Any]) -> set[str]:
    policies = {p.strip() for p in str(config.get("cleanup_policy", "delete")).split(",")}
    if not policies <= {"compact", "delete"}:
        raise EngineError(
            f"topic '{topic}': cleanup_policy is delete, compact or both, not {config['cleanup_policy']}"
        )
    return policies


def _limit(config: Mapping[str, Any], name: str) -> int | None:
    """Return a retention setting; None for a negative one, and where there is none: for ever."""
    value = int(config.get(name, -1))
    return None if value < 0 else value


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

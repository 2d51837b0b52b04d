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
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from kalam_jupyter.engine.arrival import ArrivalTimes
from kalam_jupyter.engine.batch import Batch, Headers, StoredBatch
from kalam_jupyter.engine.compaction import Cleaned
from kalam_jupyter.engine.errors import EngineError, OverrunError
from kalam_jupyter.engine.partition import Partition
from kalam_jupyter.engine.records import Records

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


class Topic(Records):
    """The records of one topic, how long they stay, and where its consumer groups are.

    Attributes
    ----------
    config : dict
        ``cleanup_policy`` (delete, compact, or both with a comma), ``retention_ms``, ``retention_bytes``
        (negative: for ever), ``delete_retention_ms``; a dialect may keep settings of its own in it.
    compacted : bool
        Whether the log cleaner compacts it.
    """

    def __init__(
        self,
        name: str,
        partitions: int,
        config: Mapping[str, Any],
        lock: threading.RLock,
        uid: str | None = None,
    ) -> None:
        policies = _policies(name, config)
        self._keep_ms = _limit(config, "retention_ms") if "delete" in policies else None
        self._keep_bytes = _limit(config, "retention_bytes") if "delete" in policies else None
        super().__init__(name, partitions, lock, weighed=self._keep_bytes is not None)
        self.uid = uid or secrets.token_hex(8)
        self.config = dict(config)
        self.compacted = "compact" in policies
        tombstones = int(config.get("delete_retention_ms", DELETE_RETENTION_MS)) if self.compacted else None
        self._keep_tombstones_ms = tombstones
        periods = [p for p in (self._keep_ms, tombstones) if p is not None]
        self._arrivals = ArrivalTimes(min(periods)) if periods else None
        self._groups: dict[str, dict[int, Committed]] = {}

    # Reading

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

    # Writing: what is noted besides

    def append_at(self, batch: Batch, position: int, now_ms: int) -> StoredBatch:
        """Add records that arrive now."""
        stored = self.append(batch, position)
        if self._arrivals is not None:
            self._arrivals.note(stored.sequence, now_ms)
        return stored

    def undo_append(self, stored: StoredBatch) -> None:
        """Take back the last append."""
        super().undo_append(stored)
        if self._arrivals is not None:
            self._arrivals.undo(stored.sequence)

    def drop_before(self, sequence: int) -> None:
        """Forget the batches that end at or before `sequence`."""
        super().drop_before(sequence)
        if self._arrivals is not None:
            self._arrivals.forget(self._start)

    # Retention and compaction

    @property
    def dirty(self) -> bool:
        """Whether a compaction is worth the while: half of the records, or more, came after the last one."""
        return self.compacted and self.end >= self._clean_at

    def tombstones_before(self, now_ms: int) -> int:
        """Return the first sequence of which a tombstone would be too young to go."""
        if self._arrivals is None or self._keep_tombstones_ms is None:
            return 0
        return self._arrivals.before(now_ms - self._keep_tombstones_ms, self.end)

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

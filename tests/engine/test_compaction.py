"""Log compaction: the last record of each key stays where it was, whatever happens around it."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kalam_jupyter.engine import Clock, StepContext
from kalam_jupyter.engine.batch import Batch, Columns, Payload, StoredBatch
from tests.engine.support import COUNTS, COUNTS_CODEC, open_engine

PARTITIONS = 2
DAY = 86_400_000
Record = tuple[int, str, int | None, int]  # partition, key, value, timestamp
State = dict[tuple[int, str], tuple[int, int]]


def batch(records: Sequence[Record], form: str) -> Batch:
    """Records as rows, columns or bytes."""
    timestamps = [t for *_, t in records]
    partitions = np.array([p for p, *_ in records], np.int32)
    keys: list[Any] = [(k,) for _, k, _, _ in records]
    values: list[Any] = [None if v is None else (v,) for _, _, v, _ in records]
    payload = Payload.from_rows(COUNTS, keys, values)
    if form == "bytes":
        return Batch(timestamps, raw=COUNTS_CODEC.encode(payload), partitions=partitions)
    if form == "columns":
        c = payload.columns
        payload = Payload.from_columns(COUNTS, Columns(c.key, c.value, c.key_valid, c.value_valid), len(keys))
    return Batch(timestamps, payload, COUNTS_CODEC, partitions=partitions)


def records_of(stored: Iterable[StoredBatch]) -> list[tuple[int, int, Record]]:
    """Sequence, offset and record of all that was read."""
    found = []
    for one in stored:
        payload = one.batch.typed(COUNTS_CODEC).payload
        parts = (
            one.sequence_array().tolist(),
            one.offset_array().tolist(),
            one.batch.partition_array().tolist(),
            payload.keys,
            payload.values,
            one.batch.timestamp_list(),
        )
        for sequence, offset, p, key, value, ts in zip(*parts, strict=True):
            assert key is not None
            found.append((sequence, offset, (p, key[0], None if value is None else value[0], ts)))
    return found


def fold(records: Iterable[Record], state: State | None = None) -> State:
    """The table that records make."""
    state = dict(state or {})
    for partition, key, value, ts in records:
        if value is None:
            state.pop((partition, key), None)
        else:
            state[partition, key] = (value, ts)
    return state


class Counting:
    """A processor that must see each record exactly once: it counts them by key."""

    id = "counting"
    inputs: tuple[str, ...] = ("t",)

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def process(self, topic: str, batch: StoredBatch, context: StepContext) -> list[tuple[str, Batch]]:
        self.counts.update(k for _, _, (_, k, _, _) in records_of([batch]))
        return []

    def checkpoint(self) -> bytes:
        return repr(dict(self.counts)).encode()

    def restore(self, state: bytes) -> None:
        self.counts = Counter(eval(state))

    def reset(self) -> None:
        self.counts = Counter()

    def failed(self, error: BaseException) -> None:
        raise AssertionError from error


class Machine:
    """An engine with a compacted topic, and what was ever written to it."""

    def __init__(self, directory: str, counting: bool) -> None:
        self.directory = Path(directory)
        self.clock = Clock(1_000)
        self.copies = 0
        self.counting = Counting() if counting else None
        self.written: list[Record] = []
        self.engine = open_engine(self.directory / "e", clock=self.clock)
        config = {"cleanup_policy": "compact"}
        self.engine.transact(lambda tx: tx.create_topic("t", PARTITIONS, config))
        self.readers: list[tuple[Any, State]] = []
        self.start()

    def start(self) -> None:
        if self.counting is not None:
            self.engine.add_processor(self.counting, "earliest")
        self.engine.start()

    @property
    def topic(self) -> Any:
        return self.engine.topic("t")

    def append(self, keys: Sequence[tuple[str, int | None]], form: str) -> None:
        n = len(self.written)
        records = [(ord(k) % PARTITIONS, k, v, n + i) for i, (k, v) in enumerate(keys)]
        self.engine.transact(lambda tx: tx.append("t", batch(records, form)))
        self.written += records

    def compact(self) -> None:
        assert self.engine.settle()
        with self.engine.lock:
            self.topic.merge_small(final=True)
        self.engine.compact_topic("t")

    def advance(self, days: int) -> None:
        self.clock.advance(days * DAY)

    def read(self, at: int, limit: int) -> None:
        """Put a reader at the sequence, and let all that there are read on."""
        at = min(at, len(self.written))
        self.readers.append((self.topic.subscribe(at), fold(self.written[:at])))
        for i, (reader, state) in enumerate(self.readers):
            before = reader.position
            found = records_of(reader.poll(limit))
            assert all(before <= s < reader.position for s, _, _ in found)
            self.readers[i] = reader, fold((r for _, _, r in found), state)

    def restart(self, clean: bool) -> None:
        self.catch_up()
        self.readers = []
        path = self.engine.path
        assert path is not None
        if not clean:
            self.copies += 1
            shutil.copytree(path, copy := self.directory / f"copy{self.copies}")
        self.engine.close()
        self.engine = open_engine(path if clean else copy, clock=self.clock)
        if self.counting is not None:
            self.counting = Counting()
        self.start()

    def catch_up(self) -> None:
        """All readers have come to the same table, as has one that starts now."""
        self.read(0, 1 << 30)
        for _, state in self.readers:
            assert state == fold(self.written)

    def check(self) -> None:
        found = records_of(self.topic.read(0, 1 << 30))
        sequences = [s for s, _, _ in found]
        assert sequences == sorted(set(sequences))
        assert [r for _, _, r in found] == [self.written[s] for s in sequences]
        assert self.topic.end_sequence == len(self.written)
        for p in range(PARTITIONS):
            mine = [s for s, r in enumerate(self.written) if r[0] == p]
            assert self.topic.partition_bounds(p) == (0, len(mine))
            expected = [(o, r[3]) for _, o, r in found if r[0] == p]
            assert expected == [(mine.index(s), s) for s in sequences if self.written[s][0] == p]
            for first in range(0, len(mine) + 1, 7):
                read = [(r.offset, r.timestamp) for r in self.topic.read_partition(p, first, 3)]
                assert read == [e for e in expected if e[0] >= first][:3]
        if self.counting is not None:
            assert self.engine.settle()
            assert self.counting.counts == Counter(k for _, k, _, _ in self.written)
        self.catch_up()


ACTIONS = st.one_of(
    st.tuples(
        st.just("append"),
        st.lists(st.tuples(st.sampled_from("abcde"), st.none() | st.integers(0, 9)), min_size=1, max_size=45),
        st.sampled_from(["rows", "columns", "bytes"]),
    ),
    st.tuples(st.just("compact")),
    st.tuples(st.just("compact")),
    st.tuples(st.just("advance"), st.integers(0, 2)),
    st.tuples(st.just("read"), st.integers(0, 200), st.integers(1, 40)),
    st.tuples(st.just("restart"), st.booleans()),
)


@settings(max_examples=60, deadline=None)
@given(st.booleans(), st.lists(ACTIONS, max_size=25))
def test_the_table_is_the_same_however_it_is_compacted_read_and_reopened(
    counting: bool, actions: list[Any]
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        machine = Machine(directory, counting)
        try:
            for name, *arguments in actions:
                getattr(machine, name)(*arguments)
            machine.check()
        finally:
            machine.engine.close()

"""Log compaction: the last record of each key stays where it was, whatever happens around it."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kalam_jupyter.engine import Clock, Engine, StepContext
from kalam_jupyter.engine import cleaner as cleaner_module
from kalam_jupyter.engine import records as records_module
from kalam_jupyter.engine.batch import Batch, Columns, Payload, StoredBatch
from kalam_jupyter.engine.errors import EngineError, LogWriteError
from kalam_jupyter.engine.types import BIGINT, DOUBLE, STRING, Array, Column, Schema
from tests.engine.support import COUNTS, COUNTS_CODEC, USERS, JsonCodec, open_engine
from tests.engine.test_full_disk import fill, limit_pages

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
        """Put a reader at the sequence, and let all that there are read on.

        One that was away while tombstones went reads from the start, as `Topic.cleaned` tells it to.
        """
        at = min(at, len(self.written))
        at = 0 if at < self.topic.cleaned.purged else at
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


APPEND = st.tuples(
    st.just("append"),
    st.lists(st.tuples(st.sampled_from("abcde"), st.none() | st.integers(0, 9)), min_size=1, max_size=40),
    st.sampled_from(["rows", "columns", "bytes"]),
)
OTHER = st.one_of(
    st.tuples(st.just("compact")),
    st.tuples(st.just("advance"), st.integers(1, 2)),
    st.tuples(st.just("read"), st.integers(0, 200), st.integers(1, 40)),
    st.tuples(st.just("restart"), st.booleans()),
)
#: Now and then something else than an append; and mostly a compaction after two of them.
ROUNDS = st.lists(st.tuples(APPEND, APPEND, OTHER, st.just(("compact",)) | OTHER), min_size=1, max_size=8)


@settings(max_examples=40, deadline=None)
@given(st.booleans(), ROUNDS)
def test_the_table_is_the_same_however_it_is_compacted_read_and_reopened(
    counting: bool, rounds: list[Any]
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        machine = Machine(directory, counting)
        try:
            for action in (action for round_ in rounds for action in round_):
                getattr(machine, action[0])(*action[1:])
            machine.check()
        finally:
            machine.engine.close()


# Cases by name


@pytest.fixture
def engine() -> Any:
    with open_engine(clock=Clock(1_000)) as engine:
        engine.transact(lambda tx: tx.create_topic("t", 1, {"cleanup_policy": "compact"}))
        engine.start()
        yield engine


def put(engine: Engine, *values: tuple[str, int | None], topic: str = "t") -> None:
    """Append records as one batch that is large enough to be compacted: those of key 'pad' come last."""
    records = [(0, k, v, i) for i, (k, v) in enumerate([*values, *[("pad", i) for i in range(32)]])]
    engine.transact(lambda tx: tx.append(topic, batch(records, "columns")))


def rows(engine: Engine, topic: str = "t") -> list[tuple[str, int | None]]:
    """Keys and values that a topic has, without the padding."""
    found = records_of(engine.topic(topic).read(engine.topic(topic).start_sequence, 1 << 30))
    return [(k, v) for _, _, (_, k, v, _) in found if k != "pad"]


def test_the_last_record_of_each_key_stays_where_it_was(engine: Engine) -> None:
    put(engine, ("a", 1), ("b", 2), ("a", 3))
    put(engine, ("b", 4))
    assert engine.compact_topic("t") == 32  # a=1, and the padding but for its last
    assert rows(engine) == [("b", 2), ("a", 3), ("b", 4)]
    topic = engine.topic("t")
    assert [s.sequence_array().tolist()[:3] for s in topic.read(0, 1 << 30)] == [[1, 2, 34], [35, 36, 37]]
    assert [(r.offset, r.value) for r in topic.read_partition(0, 0, 2)] == [(1, b"[2]"), (2, b"[3]")]
    assert (topic.start_sequence, topic.end_sequence, topic.num_records) == (0, 68, 36)
    assert [topic.step_end(0, n) for n in (1, 2, 3, 4, 36)] == [2, 3, 35, 36, 68]


def test_topics_that_are_not_compacted_keep_everything(engine: Engine) -> None:
    engine.transact(lambda tx: tx.create_topic("s"))
    for _ in range(3):
        put(engine, ("a", 1), topic="s")
    assert engine.compact_topic("s") == 0 and len(rows(engine, "s")) == 3


def test_a_tombstone_goes_when_it_is_old_and_nobody_can_miss_it(engine: Engine) -> None:
    put(engine, ("a", 1))
    behind = engine.topic("t").subscribe(20)
    put(engine, ("a", None))
    engine.clock.advance(DAY)
    put(engine)
    engine.compact_topic("t")
    assert rows(engine) == [("a", None)]
    engine.clock.advance(1)
    put(engine)
    engine.compact_topic("t")
    assert rows(engine) == [("a", None)]
    assert any(r[2][1:3] == ("a", None) for r in records_of(behind.poll()))
    put(engine)
    engine.compact_topic("t")
    assert rows(engine) == []
    assert engine.topic("t").cleaned.purged == 34


@pytest.mark.parametrize("form", ["a", "b"])
def test_what_a_running_processor_has_to_read_stays_as_it_is(engine: Engine, form: str) -> None:
    processor = Counting()
    engine.transact(lambda tx: put_in(tx, "a", 1))
    engine.add_processor(processor)
    engine.pause_processor("counting")
    for i in range(3):
        put(engine, ("a", i))
    if form == "a":
        engine.compact_topic("t")  # as in Kafka: who is away gets the latest
        engine.resume_processor("counting")
        assert engine.settle() and processor.counts["a"] == 2
    else:
        engine.resume_processor("counting")
        engine.compact_topic("t")
        assert engine.settle() and processor.counts["a"] == 3


def put_in(tx: Any, key: str, value: int) -> None:
    tx.append("t", batch([(0, key, value, 0)], "rows"))


def test_a_step_on_compacted_records_is_replayed_as_it_was(tmp_path: Path) -> None:
    """A query that starts on a compacted topic, and a crash before the next checkpoint."""
    with open_engine(tmp_path / "e") as engine:
        engine.transact(lambda tx: tx.create_topic("t", 1, {"cleanup_policy": "compact"}))
        engine.start()
        for i in range(5):
            put(engine, ("a", i), (f"k{i}", i))
        engine.compact_topic("t")
        first = Counting()
        engine.add_processor(first, "earliest")
        assert engine.settle()
        position = engine.processor_positions("counting")
        engine.compact_topic("t")  # held back: the steps are in no checkpoint yet
        put(engine, ("a", 5))
        assert engine.settle()
        shutil.copytree(tmp_path / "e", tmp_path / "copy")
    with open_engine(tmp_path / "copy") as engine:
        second = Counting()
        engine.add_processor(second)
        engine.start()
        assert engine.settle() and second.counts == first.counts
        assert engine.processor_positions("counting") == {"t": position["t"] + 33}
    assert first.counts["a"] == 3  # of the compacted part, of the last batch, of the new one


def test_recovery_may_have_merged_what_was_apart_when_it_was_compacted(tmp_path: Path) -> None:
    """A checkpoint that was begun merges small appends, and may never be finished."""
    with open_engine(tmp_path / "e") as engine:
        engine.transact(lambda tx: tx.create_topic("t", PARTITIONS, {"cleanup_policy": "compact"}))
        written: list[Record] = []

        def append(count: int) -> None:
            for _ in range(count):
                n = len(written)
                written.append((n % PARTITIONS, f"k{n % 7}", n, n))
                engine.transact(lambda tx: tx.append("t", batch(written[-1:], "rows")))

        append(100)
        with engine.lock:
            engine.topic("t").merge_small(final=True)
        append(1_000)
        assert engine.compact_topic("t") == 86
        before = records_of(engine.topic("t").read(0, 1 << 30))
        shutil.copytree(tmp_path / "e", tmp_path / "copy")
    with open_engine(tmp_path / "copy") as engine:
        topic = engine.topic("t")
        assert records_of(topic.read(0, 1 << 30)) == before and len(before) == 1_014
        for p in range(PARTITIONS):
            expected = [o for _, o, r in before if r[0] == p]
            assert [r.offset for r in topic.read_partition(p, 0, 2_000)] == expected
            assert [r.offset for r in topic.read_partition(p, 60, 2)] == [60, 61]


def test_a_compacted_topic_that_a_failed_step_read_cannot_be_replayed_in_memory(engine: Engine) -> None:
    processor = Counting()
    engine.add_processor(processor)
    for i in range(3):
        put(engine, ("a", i))
    assert engine.settle()
    processor.failed = lambda error: None  # type: ignore[method-assign]
    processor.process = lambda topic, batch, context: 1 / 0  # type: ignore[method-assign,assignment,return-value]
    put(engine, ("a", 4))
    assert engine.settle()
    engine.compact_topic("t")
    with pytest.raises(EngineError, match="its input in 't' is no longer retained"):
        engine.resume_processor("counting")


def keyed(schema: Schema, keys: list[Any], codec: Any, windows: Any = None) -> Batch:
    payload = Payload.from_rows(schema, keys, [(i,) for i in range(len(keys))], windows)
    return Batch([0] * len(keys), payload, codec)


@pytest.mark.parametrize(
    ("key_type", "keys", "stay"),
    [
        (DOUBLE, [(0.0,), (-0.0,), (1.5,), (0.0,)], [1, 2, 3]),
        (Array(BIGINT), [([1],), ([2],), ([1],), ([1, 2],)], [1, 2, 3]),
        (BIGINT, [(1,), None, (1,), (2,)], [2, 3]),
        (STRING, [("a",), (None,), (None,), ("a",)], [2, 3]),
    ],
)
def test_keys_are_the_same_when_their_bytes_are(
    engine: Engine, key_type: Any, keys: list[Any], stay: list[int]
) -> None:
    schema = Schema.of([Column("k", key_type, key=True), Column("n", BIGINT)])
    codec = JsonCodec(schema)
    pad = keyed(schema, [keys[-1]] * 32, codec)
    engine.transact(lambda tx: [tx.append("t", keyed(schema, keys * 8, codec)), tx.append("t", pad)])
    engine.compact_topic("t")
    first = engine.topic("t").read(0)[0]
    assert first.sequence_array().tolist() == [28 + i for i in stay]


def test_windows_are_part_of_the_key(engine: Engine) -> None:
    windows = [(i % 3, i % 3 + 10) for i in range(32)]
    engine.transact(lambda tx: tx.append("t", keyed(COUNTS, [("a",)] * 32, COUNTS_CODEC, windows)))
    put(engine)
    engine.compact_topic("t")
    found = engine.topic("t").read(0)[0]
    assert found.sequence_array().tolist() == [29, 30, 31]
    assert list(found.batch.typed(COUNTS_CODEC).payload.windows or ()) == [(2, 12), (0, 10), (1, 11)]


def test_records_of_two_schemas_are_compared_by_their_bytes(engine: Engine) -> None:
    wider = Schema.of([*COUNTS.columns, Column("m", BIGINT)])
    old = keyed(COUNTS, [(c,) for c in "ab"] * 16, COUNTS_CODEC)
    payload = Payload.from_rows(wider, [("a",)] * 32, [(i, i) for i in range(32)])
    new = Batch([0] * 32, payload, JsonCodec(wider))
    engine.transact(lambda tx: [tx.append("t", old), tx.append("t", new), tx.append("t", new)])
    engine.compact_topic("t")
    assert [s.sequence_array().tolist() for s in engine.topic("t").read(0, 34)] == [
        [31],
        [63],
        list(range(64, 96)),
    ]


def test_windowed_tables_lose_what_is_too_old_as_well(engine: Engine) -> None:
    config = {"cleanup_policy": "compact,delete", "retention_ms": 1_000}
    engine.transact(lambda tx: tx.create_topic("w", 1, config))
    put(engine, ("a", 1), topic="w")
    engine.clock.advance(600)
    put(engine, ("b", 1), topic="w")
    engine.clock.advance(600)
    put(engine, topic="w")
    assert engine.topic("w").start_sequence == 33
    assert rows(engine, "w") == [("b", 1)]


def test_an_unknown_policy_is_refused(engine: Engine) -> None:
    with pytest.raises(EngineError, match="cleanup_policy is delete, compact or both, not shrink"):
        engine.transact(lambda tx: tx.create_topic("x", 1, {"cleanup_policy": "shrink"}))
    assert "x" not in engine.topics()


def test_topics_are_compacted_by_themselves_as_they_grow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On disk, too: a checkpoint writes only what stayed."""
    monkeypatch.setattr(records_module, "MIN_DIRTY", 1_000)
    monkeypatch.setattr(cleaner_module, "MIN_DIRTY", 1_000)
    with open_engine(tmp_path / "e") as engine:
        engine.transact(lambda tx: tx.create_topic("t", 1, {"cleanup_policy": "compact"}))
        engine.start()
        for i in range(300):
            put(engine, *[(f"k{j}", i) for j in range(68)])
            for _ in range(2):  # once it has begun the second, the writer's thread has tended the cleaner
                engine.submit(lambda tx: None).result()
            engine.cleaner.join()
        assert engine.topic("t").end_sequence == 30_000
        assert engine.topic("t").num_records < 2_500
    size = sum(p.stat().st_size for p in (tmp_path / "e" / "data").iterdir())
    with open_engine(tmp_path / "e") as engine:
        assert fold(r for _, _, r in records_of(engine.topic("t").read(0, 1 << 30))) == {
            (0, key): (value, at)
            for key, value, at in [(f"k{j}", 299, j) for j in range(68)] + [("pad", 31, 99)]
        }
    assert size < 2_500 * 60


@pytest.mark.parametrize("keys", [3_000, 2_600, 1_200])
def test_a_topic_is_left_alone_while_most_of_it_would_stay(engine: Engine, keys: int) -> None:
    put(engine, *[(f"k{i % keys}", i) for i in range(3_000)])
    put(engine, ("last", 0))
    gone = engine.cleaner.clean("t", worth=1 / 3)
    assert gone == (1_831 if keys == 1_200 else 0)
    assert gone + engine.compact_topic("t") == 3_000 - keys + 31


def test_a_log_that_cannot_be_written_leaves_the_topic_as_it_was(tmp_path: Path) -> None:
    with open_engine(tmp_path / "e") as engine:
        config = {"cleanup_policy": "compact"}
        engine.transact(lambda tx: (tx.create_topic("t", 1, config), tx.create_relation("users", USERS)))
        for i in range(3):
            put(engine, *[(f"k{j}", i) for j in range(400)])
        before = records_of(engine.topic("t").read(0, 1 << 30))
        fill(engine)
        with pytest.raises(LogWriteError):
            engine.compact_topic("t")
        assert records_of(engine.topic("t").read(0, 1 << 30)) == before
        assert engine.topic("t").read_partition(0, 5, 1)[0].offset == 5
        limit_pages(engine, 1_000_000)
        assert engine.compact_topic("t") == 463  # of 2 x 432, all but 400 and the last padding

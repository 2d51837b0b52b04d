"""Topics: sequences, partitions and offsets, retention, subscriptions, consumer groups."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kalam_jupyter.engine import Clock, Engine
from kalam_jupyter.engine.batch import Batch, Payload
from kalam_jupyter.engine.errors import EngineError, NotFoundError, OverrunError, RowError
from tests.engine.support import COUNTS, COUNTS_CODEC, WordCount, open_engine, words


@pytest.fixture
def engine() -> Any:
    with open_engine(clock=Clock(10_000)) as engine:
        engine.transact(lambda tx: tx.create_topic("t", 2))
        yield engine


def values(stored: list[Any]) -> list[bytes | None]:
    return [v for s in stored for v in s.batch.encoded()[1]]


def test_an_append_says_where_its_records_are(engine: Engine) -> None:
    batch = Batch([1, 2, 3], raw=([None] * 3, [b"a", b"b", b"c"]), partitions=np.array([1, 0, 1], np.int32))
    first = engine.transact(lambda tx: tx.append("t", batch))
    second = engine.transact(lambda tx: tx.append("t", Batch([4], raw=([None], [b"d"]), partitions=1)))
    assert (first.sequence, first.offset_array().tolist()) == (0, [0, 0, 1])
    assert (second.sequence, second.offset_array().tolist(), second.position) == (3, [2], first.position + 1)
    topic = engine.topic("t")
    assert (topic.partition_bounds(0), topic.partition_bounds(1)) == ((0, 1), (0, 3))
    assert [(r.offset, r.timestamp, r.value) for r in topic.read_partition(1, 1)] == [
        (1, 3, b"c"),
        (2, 4, b"d"),
    ]
    assert topic.read_partition(1, 3) == []


@pytest.mark.parametrize("partitions", [2, -1, np.array([0, 2], np.int32), np.array([-1, 0], np.int32)])
def test_a_partition_that_is_not_there_is_refused(engine: Engine, partitions: Any) -> None:
    batch = Batch([1, 2], raw=([None] * 2, [b"a", b"b"]), partitions=partitions)
    with pytest.raises(EngineError, match=r"topic 't' has no partition (2|-1): it has 2"):
        engine.transact(lambda tx: tx.append("t", batch))
    assert engine.topic("t").end_sequence == 0


def test_payloads_that_do_not_fit_their_schema_are_refused(engine: Engine) -> None:
    batch = Batch([1], Payload.from_rows(COUNTS, [("a",)], [("1",)]), COUNTS_CODEC)
    with pytest.raises(RowError, match="column 'n' is BIGINT: str '1'"):
        engine.transact(lambda tx: tx.append("t", batch))


def test_large_appends_are_cut(engine: Engine) -> None:
    n = 150_000
    batch = Batch(np.arange(n), raw=([None] * n, [b"x"] * n))
    stored = engine.transact(lambda tx: tx.append("t", batch))
    assert stored.num_rows == n and engine.topic("t").end_sequence == n
    assert [s.num_rows for s in engine.topic("t").read(0, n)] == [65_536, 65_536, n - 131_072]
    assert [r.offset for r in engine.topic("t").read_partition(0, 131_070, 4)] == list(
        range(131_070, 131_074)
    )


def test_reads_start_and_stop_where_asked(engine: Engine) -> None:
    for word in ("ab", "cde", "f"):
        engine.transact(lambda tx, w=word: tx.append("t", words(*w)))
    topic = engine.topic("t")
    assert values(topic.read(1, 3)) == [b"b", b"c", b"d"]
    assert [s.sequence for s in topic.read(1, 3)] == [1, 2]
    assert values(topic.read(5, 10)) == [b"f"] and topic.read(6) == []


def test_subscriptions_start_where_asked(engine: Engine) -> None:
    engine.transact(lambda tx: tx.append("t", words("a", "b")))
    topic = engine.topic("t")
    earliest, latest, second = (topic.subscribe(s) for s in ("earliest", "latest", 1))
    engine.transact(lambda tx: tx.append("t", words("c")))
    assert [values(s.poll()) for s in (earliest, latest, second)] == [
        [b"a", b"b", b"c"],
        [b"c"],
        [b"b", b"c"],
    ]
    assert earliest.poll() == [] and earliest.position == 3


def test_retention_by_time_drops_whole_batches_by_when_they_arrived(engine: Engine) -> None:
    engine.transact(lambda tx: tx.create_topic("r", 1, {"retention_ms": 1_000}))
    subscription = engine.topic("r").subscribe("earliest")
    engine.transact(lambda tx: tx.append("r", Batch([99_000, 5], raw=([None] * 2, [b"a", b"b"]))))
    engine.clock.advance(600)
    engine.transact(lambda tx: tx.append("r", Batch([5], raw=([None], [b"c"]))))
    engine.clock.advance(400)
    engine.transact(lambda tx: tx.append("r", Batch([5], raw=([None], [b"d"]))))
    assert engine.topic("r").start_sequence == 0
    engine.clock.advance(1)
    engine.transact(lambda tx: tx.append("r", Batch([5], raw=([None], [b"e"]))))
    topic = engine.topic("r")
    assert (topic.start_sequence, topic.partition_bounds(0)) == (2, (2, 5))
    for use in (lambda: topic.read(0), lambda: topic.read_partition(0, 0), subscription.poll):
        with pytest.raises(OverrunError) as caught:
            use()
        assert caught.value.lost == 2
    assert values(subscription.poll()) == [b"c", b"d", b"e"]


def test_retention_by_size(engine: Engine) -> None:
    engine.transact(lambda tx: tx.create_topic("r", 1, {"retention_bytes": 2_500}))
    for i in range(10):
        engine.transact(lambda tx, i=i: tx.append("r", words(f"{i}" * 1_000)))
    assert engine.topic("r").start_sequence == 8


def test_retention_spares_what_a_processor_has_not_read(engine: Engine) -> None:
    def setup(tx: Any) -> None:
        tx.create_topic("words", 1, {"retention_bytes": 0})
        tx.create_topic("counts")
        engine.add_processor(WordCount(), "earliest")

    engine.transact(setup)
    engine.transact(lambda tx: tx.append("words", words("a")))
    assert engine.topic("words").start_sequence == 0
    engine.start()
    assert engine.settle()
    engine.transact(lambda tx: tx.append("words", words("b")))
    assert engine.topic("words").start_sequence == 1


def test_groups_only_move_forward(engine: Engine) -> None:
    topic = engine.topic("t")
    assert topic.committed("g", 0) is None
    for offset in (3, 1, 5):
        engine.transact(lambda tx, o=offset: tx.commit_offset("t", "g", 0, o))
        assert topic.committed("g", 0) == max(offset, 3)
    assert topic.committed("g", 1) is None and topic.groups() == ["g"]
    with pytest.raises(EngineError, match="no partition 7"):
        engine.transact(lambda tx: tx.commit_offset("t", "g", 7, 1))


def test_readers_of_a_dropped_topic_are_told(engine: Engine) -> None:
    subscription = engine.topic("t").subscribe()
    engine.transact(lambda tx: tx.drop_topic("t"))
    assert subscription.wait(0)
    with pytest.raises(NotFoundError, match="topic 't' not found"):
        subscription.poll()
    assert engine.topics() == []


def test_decoding_happens_once_for_all_readers(engine: Engine) -> None:
    batch = Batch([1], raw=([b'["a"]'], [b"[1]"]))
    engine.transact(lambda tx: tx.append("t", batch))
    first, second = (engine.topic("t").read(0)[0].batch.typed(COUNTS_CODEC) for _ in range(2))
    assert first is second and first.payload.values == [(1,)]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 40), st.one_of(st.integers(0, 2), st.none())), max_size=40), st.data()
)
def test_merging_small_appends_changes_nothing_that_is_read(appends: Any, data: st.DataObject) -> None:
    with open_engine() as engine:
        engine.transact(lambda tx: tx.create_topic("t", 3))
        expected: list[tuple[int, int, bytes]] = []
        ends = [0, 0, 0]
        for i, (n, partition) in enumerate(appends):
            numbers = [j % 3 if partition is None else partition for j in range(n)]
            raw = [None] * n, [f"{i}-{j}".encode() for j in range(n)]
            given_partitions = np.array(numbers, np.int32) if partition is None else partition
            batch = Batch([i] * n, raw=raw, partitions=given_partitions)
            stored = engine.transact(lambda tx, b=batch: tx.append("t", b))
            for p, value in zip(numbers, raw[1], strict=True):
                expected.append((p, ends[p], value))
                ends[p] += 1
            assert stored.offset_array().tolist() == [o for _, o, _ in expected[len(expected) - n :]]
            if data.draw(st.booleans()):
                engine.topic("t").merge_small(final=True)
        topic = engine.topic("t")
        start = data.draw(st.integers(0, len(expected)))
        stored_after = topic.read(start, 1 << 20)
        assert values(stored_after) == [v for _, _, v in expected[start:]]
        offsets = [o for s in stored_after for o in s.offset_array().tolist()]
        assert offsets == [o for _, o, _ in expected[start:]]
        for p in range(3):
            mine = [(o, v) for q, o, v in expected if q == p]
            first = data.draw(st.integers(0, ends[p]))
            assert [(r.offset, r.value) for r in topic.read_partition(p, first, 7)] == mine[first : first + 7]

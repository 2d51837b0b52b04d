"""What a durable engine holds after it is opened again, from its log alone and from a checkpoint."""

from __future__ import annotations

import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from kalam_jupyter.engine import Clock, Constant, Engine, entry, storage
from kalam_jupyter.engine.batch import Batch, Columns, Payload
from kalam_jupyter.engine.chunk import rows_to_batch
from kalam_jupyter.engine.errors import EngineError, EngineLockedError, LogCorruptError
from kalam_jupyter.engine.types import STRING, Column, Schema
from tests.engine.support import (
    COUNTS,
    COUNTS_CODEC,
    EVENTS,
    USERS,
    WordCount,
    open_engine,
    topic_values,
    words,
)


@pytest.fixture(params=["log", "checkpoint"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A function that opens what an engine left: as after kill -9, or after a close."""
    opened: list[Engine] = []

    def again(engine: Engine, **options: Any) -> Engine:
        path = engine.path
        assert path is not None
        if request.param == "log":
            copy = tmp_path / f"copy{len(opened)}"
            shutil.copytree(path, copy)
            engine.close()
            path = copy
        else:
            engine.close()
        opened.append(open_engine(path, **options))
        return opened[-1]

    yield again
    for engine in opened:
        engine.close()


@pytest.fixture
def engine(tmp_path: Path) -> Any:
    with open_engine(tmp_path / "engine", clock=Clock(1_000)) as engine:
        yield engine


def test_rows_survive(engine: Engine, reopen: Any) -> None:
    def change(tx: Any) -> None:
        tx.create_relation("users", USERS)
        tx.insert("users", [(1, "ann", 1.5), (2, None, float("inf")), (3, "cy", None)])
        tx.upsert("users", [(2, "bob", 2.0)])
        tx.delete("users", [(3,)])

    engine.transact(change)
    engine = reopen(engine)
    assert engine.relation("users").snapshot().rows() == [(1, "ann", 1.5), (2, "bob", 2.0)]
    assert engine.relation("users").get((2,)) == (2, "bob", 2.0)
    assert engine.transact(lambda tx: tx.upsert("users", [(1, "eve", 0.0)])) == [(1, "ann", 1.5)]


def test_arrow_inserts_survive_with_their_key_index(engine: Engine, reopen: Any) -> None:
    n = 70_000
    table = pa.table({"id": np.arange(n), "name": [f"u{i}" for i in range(n)], "score": np.arange(n) / 2})
    engine.transact(lambda tx: (tx.create_relation("users", USERS), tx.insert("users", table)))
    engine.transact(lambda tx: tx.delete("users", [(5,), (n - 1,)]))
    engine = reopen(engine)
    assert engine.relation("users").count() == n - 2
    assert engine.relation("users").get((69_000,)) == (69_000, "u69000", 34_500.0)
    assert engine.relation("users").get((5,)) is None


def test_owned_rows_survive_apart(engine: Engine, reopen: Any) -> None:
    engine.transact(lambda tx: tx.create_relation("users", USERS, owned=True))
    engine.transact(lambda tx: tx.insert("users", [(1, "a", 0.0)], owner="ann"))
    engine.transact(lambda tx: tx.insert("users", [(1, "b", 0.0)], owner="bob"))
    users = reopen(engine).relation("users")
    assert users.owners() == ["ann", "bob"]
    assert users.get((1,), "ann") == (1, "a", 0.0)
    assert users.get((1,), "bob") == (1, "b", 0.0)


def test_row_ids_go_on_where_they_were(engine: Engine, reopen: Any) -> None:
    engine.transact(lambda tx: tx.create_relation("events", EVENTS))
    engine.transact(lambda tx: tx.insert("events", [("a", 1), ("b", 2), ("c", 3)]))
    engine.transact(lambda tx: tx.delete_rows("events", [1]))
    engine = reopen(engine)
    engine.transact(lambda tx: tx.insert("events", [("d", 4)]))
    assert engine.relation("events").snapshot().row_ids().tolist() == [0, 2, 3]


def test_altered_and_dropped_relations_survive(engine: Engine, reopen: Any) -> None:
    wider = Schema.of([*USERS.columns[:2], Column("mail", STRING)])

    def change(tx: Any) -> None:
        tx.create_relation("users", USERS)
        tx.insert("users", [(1, "ann", 1.0)])
        tx.create_relation("gone", EVENTS)

    engine.transact(change)
    engine.transact(lambda tx: tx.alter_relation("users", wider, [0, 1, Constant("?")]))
    engine.transact(lambda tx: tx.drop_relation("gone"))
    engine = reopen(engine)
    assert engine.relations() == ["users"]
    assert engine.relation("users").schema == wider
    assert engine.relation("users").snapshot().rows() == [(1, "ann", "?")]


def test_catalogue_survives(engine: Engine, reopen: Any) -> None:
    engine.transact(lambda tx: (tx.put("k", "a", {"x": [1, None]}), tx.put("k", "b", 2)))
    engine.transact(lambda tx: tx.remove("k", "b"))
    engine = reopen(engine)
    assert engine.catalogue.items("k") == [("a", {"x": [1, None]})]


def test_raw_records_survive_where_they_were(engine: Engine, reopen: Any) -> None:
    engine.transact(lambda tx: tx.create_topic("t", 2, {"note": "x"}))
    headers = [(("h", b"\x00\xff"), ("n", None)), ()]
    batch = Batch(
        [5, 6], raw=([b"\x80", None], [None, b"v"]), headers=headers, partitions=np.array([1, 0], np.int32)
    )
    engine.transact(lambda tx: tx.append("t", batch))
    engine.transact(lambda tx: tx.append("t", Batch([7], raw=([b"k"], [b"w"]), partitions=1)))
    engine.transact(lambda tx: tx.commit_offset("t", "g", 1, 2))
    before = [engine.topic("t").read_partition(p, 0) for p in (0, 1)]
    topic = reopen(engine).topic("t")
    assert [topic.read_partition(p, 0) for p in (0, 1)] == before
    assert before[1][0].headers == headers[0]
    assert (topic.config, topic.partitions, topic.committed("g", 1)) == ({"note": "x"}, 2, 2)
    assert topic.partition_bounds(1) == (0, 2)


@pytest.mark.parametrize("n", [3, 100])
def test_typed_payloads_survive_with_their_codec(engine: Engine, reopen: Any, n: int) -> None:
    keys = [None if i == 1 else (f"w{i}",) for i in range(n)]
    values = [None if i == 2 else (i,) for i in range(n)]
    windows = [(i, i + 10) for i in range(n)]
    payload = Payload.from_rows(COUNTS, keys, values, windows)
    engine.transact(lambda tx: tx.create_topic("t"))
    engine.transact(lambda tx: tx.append("t", Batch(list(range(n)), payload, COUNTS_CODEC)))
    engine = reopen(engine)
    (stored,) = engine.topic("t").read(0)
    assert stored.batch.payload_codec == COUNTS_CODEC
    found = stored.batch.typed(COUNTS_CODEC).payload
    assert found is stored.batch.payload
    assert (list(found.keys), list(found.values), list(found.windows or ())) == (keys, values, windows)


def test_column_payloads_survive(engine: Engine, reopen: Any) -> None:
    n = 70_000
    columns = Columns((pa.array([f"w{i}" for i in range(n)]),), (pa.array(np.arange(n)),))
    payload = Payload.from_columns(COUNTS, columns, n)
    engine.transact(lambda tx: tx.create_topic("t"))
    engine.transact(lambda tx: tx.append("t", Batch(np.arange(n), payload, COUNTS_CODEC)))
    topic = reopen(engine).topic("t")
    assert [b.num_rows for b in topic.read(0, n)] == [65_536, n - 65_536]
    assert topic.read(69_999)[0].batch.typed(COUNTS_CODEC).payload.values == [(69_999,)]


def test_truncated_topics_keep_their_numbers(engine: Engine, reopen: Any) -> None:
    engine.transact(lambda tx: tx.create_topic("t"))
    engine.transact(lambda tx: tx.append("t", words("a", "b")))
    engine.transact(lambda tx: tx.truncate_topic("t"))
    engine = reopen(engine)
    assert engine.topic("t").partition_bounds(0) == (2, 2)
    engine.transact(lambda tx: tx.append("t", words("c")))
    engine = reopen(engine)
    assert [r.offset for r in engine.topic("t").read_partition(0, 2)] == [2]


def test_segments_of_a_dropped_topic_are_not_those_of_its_namesake(engine: Engine, reopen: Any) -> None:
    engine.transact(lambda tx: (tx.create_topic("t"), tx.append("t", words("old", "old"))))
    engine = reopen(engine)
    engine.transact(lambda tx: (tx.drop_topic("t"), tx.create_topic("t"), tx.append("t", words("new"))))
    engine = reopen(engine)
    assert [r.value for r in engine.topic("t").read_partition(0, 0)] == [b"new"]


def test_many_small_appends_survive_in_order(engine: Engine, reopen: Any) -> None:
    engine.transact(lambda tx: tx.create_topic("t"))
    for i in range(3):
        engine.transact(lambda tx, i=i: [tx.append("t", words(f"{i}-{j}")) for j in range(1_000)])
        engine = reopen(engine)
    expected = [f"{i}-{j}".encode() for i in range(3) for j in range(1_000)]
    assert [r.value for r in engine.topic("t").read_partition(0, 0, 10_000)] == expected


def start_counting(engine: Engine, processor: WordCount) -> None:
    def setup(tx: Any) -> None:
        tx.create_topic("words")
        tx.create_topic("counts")
        engine.add_processor(processor, "earliest")

    engine.transact(setup)
    engine.start()


def test_a_processor_goes_on_and_emits_nothing_twice(engine: Engine, reopen: Any) -> None:
    start_counting(engine, WordCount())
    for word in ("a", "b", "a"):
        engine.transact(lambda tx, w=word: tx.append("words", words(w)))
    assert engine.settle()
    for _ in range(2):
        engine = reopen(engine)
        processor = WordCount()
        engine.add_processor(processor, "earliest")
        engine.start()
        assert engine.settle()
        engine.transact(lambda tx: tx.append("words", words("a")))
        assert engine.settle()
    assert [n for _, (n,) in topic_values(engine, "counts")] == [1, 1, 2, 3, 4]
    assert processor.counts == {"a": 4, "b": 1}


def test_replay_sees_the_same_contexts(tmp_path: Path) -> None:
    first = WordCount()
    engine = open_engine(tmp_path / "e")
    start_counting(engine, first)
    for word in ("a", "b", "c"):
        engine.transact(lambda tx, w=word: tx.append("words", words(w)))
    assert engine.settle()
    shutil.copytree(tmp_path / "e", tmp_path / "copy")
    engine.close()
    second = WordCount()
    with open_engine(tmp_path / "copy") as engine:
        engine.add_processor(second)
        engine.start()
    as_replayed = [(c.now_ms, c.seed, c.position, True) for c in first.contexts]
    assert [(c.now_ms, c.seed, c.position, c.replaying) for c in second.contexts] == as_replayed
    assert len({c.seed for c in first.contexts}) == len(first.contexts)


def test_steps_that_took_several_appends_are_replayed_as_they_were(tmp_path: Path) -> None:
    """Some of them in a checkpoint, the others in the log."""
    engine = open_engine(tmp_path / "e")
    start_counting(engine, WordCount())
    engine.pause_processor("word-count")
    for word in ("a", "b", "a"):
        engine.transact(lambda tx, w=word: tx.append("words", words(w)))
    engine.close()
    first, second = WordCount(), WordCount()
    with open_engine(tmp_path / "e") as engine:
        engine.add_processor(first)
        engine.start()
        for word in ("a", "c", "c"):
            engine.transact(lambda tx, w=word: tx.append("words", words(w)))
        engine.resume_processor("word-count")
        assert engine.settle()
        shutil.copytree(tmp_path / "e", tmp_path / "copy")
    with open_engine(tmp_path / "copy") as engine:
        engine.add_processor(second)
        engine.start()
        assert engine.settle()
        assert [n for _, (n,) in topic_values(engine, "counts")] == [1, 1, 2, 3, 1, 2]
    assert second.counts == first.counts == {"a": 3, "b": 1, "c": 2}
    assert [c.position for c in second.contexts] == [c.position for c in first.contexts]
    assert len(first.contexts) == 2


def test_a_failed_processor_is_rebuilt_before_it_goes_on(engine: Engine, reopen: Any) -> None:
    start_counting(engine, WordCount())
    engine.transact(lambda tx: tx.append("words", words("a", "b")))
    assert engine.settle()
    engine.transact(lambda tx: tx.append("words", words("a", "boom")))
    assert engine.settle()  # what failed is not waited for
    engine = reopen(engine)
    processor = WordCount()
    engine.add_processor(processor)
    engine.start()
    assert engine.settle()
    assert processor.counts["a"] == 2 and str(processor.errors[0]) == "boom"  # half a step, kept nowhere
    assert engine.processor_positions("word-count") == {"words": 2}
    engine.resume_processor("word-count")
    assert engine.settle()
    assert len(processor.errors) == 2
    assert topic_values(engine, "counts") == [(("a",), (1,)), (("b",), (1,))]


def test_removed_and_paused_processors_stay_so(engine: Engine, reopen: Any) -> None:
    start_counting(engine, WordCount())
    engine.add_processor(WordCount("other"), "earliest")
    engine.remove_processor("other")
    engine.pause_processor("word-count")
    engine = reopen(engine)
    processor = WordCount()
    engine.add_processor(processor)
    engine.start()
    engine.transact(lambda tx: tx.append("words", words("a")))
    assert engine.settle() and processor.counts == {}
    assert sorted(engine.scheduler.runners) == ["word-count"]


def test_positions_only_grow_over_restarts(engine: Engine, reopen: Any) -> None:
    engine.transact(lambda tx: tx.put("k", "a", 1))
    position = engine.position
    engine = reopen(engine)
    assert engine.position == position
    assert engine.transact(lambda tx: (tx.put("k", "a", 2), tx.position)[1]) == position + 1


def test_the_second_engine_on_a_path_is_told_where_the_first_is(tmp_path: Path) -> None:
    with open_engine(tmp_path / "e", url="http://127.0.0.1:1234") as engine:
        assert engine.durable
        with pytest.raises(EngineLockedError, match=r"it answers at http://127\.0\.0\.1:1234") as caught:
            open_engine(tmp_path / "e")
    assert caught.value.url == "http://127.0.0.1:1234"
    open_engine(tmp_path / "e").close()


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_only_the_user_can_read_the_files(engine: Engine) -> None:
    engine.transact(lambda tx: tx.put("k", "a", 1))
    path = engine.path
    assert path is not None
    engine.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in path.rglob("*") if p.is_file()}
    assert set(modes.values()) == {0o600}, modes


def test_a_damaged_log_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "e"
    open_engine(path).close()
    (path / "log.sqlite").write_bytes(b"not a database, not at all " * 100)
    with pytest.raises(LogCorruptError, match=r"log\.sqlite"):
        open_engine(path)


def test_a_checkpoint_leaves_the_log_empty_and_no_stray_files(tmp_path: Path) -> None:
    for _ in range(3):
        with open_engine(tmp_path / "e") as engine:
            engine.transact(lambda tx: tx.put("k", "a", 1))
            if "t" not in engine.topics():
                engine.transact(lambda tx: tx.create_topic("t"))
            engine.transact(lambda tx: tx.append("t", words("x")))
    assert len(list((tmp_path / "e" / "data").iterdir())) == 1  # one small segment, written again


def test_a_checkpoint_is_made_when_the_log_has_grown_again_and_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "CHECKPOINT_ENTRIES", 40)
    found = []
    with open_engine(tmp_path / "e") as engine:
        for i in range(125):
            engine.transact(lambda tx, i=i: tx.put("k", "a", i))
            while engine.storage.under_way or engine.storage.due:
                engine.submit(lambda tx: None).result()
            if (manifest := tmp_path / "e" / "checkpoint.json").exists():
                found.append(json.loads(manifest.read_bytes())["position"])
    assert sorted(set(found)) == [41, 82, 123]


def test_a_table_larger_than_the_log_takes_in_one_piece_is_written_in_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entry, "MAX_PIECE", 20_000)
    engine = open_engine(tmp_path / "e")
    engine.transact(lambda tx: tx.create_relation("users", USERS))
    wide = [(i, str(i) * 100, 0.5) for i in range(300)]
    engine.transact(lambda tx: tx.insert("users", rows_to_batch(USERS, wide)))
    huge = rows_to_batch(USERS, [(1_000 + i, "x" * 30_000, 0.5) for i in range(256)])
    with pytest.raises(EngineError, match="too large to be written at once"):
        engine.transact(lambda tx: (tx.delete("users", [(0,)]), tx.insert("users", huge)))
    shutil.copytree(tmp_path / "e", tmp_path / "copy")
    engine.close()
    for path in ("e", "copy"):
        with open_engine(tmp_path / path) as again:
            assert again.relation("users").snapshot().rows() == wide


def test_steps_on_a_dropped_topic_are_not_replayed_on_its_namesake(engine: Engine, reopen: Any) -> None:
    start_counting(engine, WordCount())
    engine.transact(lambda tx: tx.append("words", words("a", "boom")))
    engine.transact(lambda tx: tx.append("words", words("b")))
    assert engine.settle()
    engine.transact(lambda tx: (tx.drop_topic("words"), tx.create_topic("words")))
    engine.transact(lambda tx: tx.append("words", words("c")))
    engine = reopen(engine)
    processor = WordCount()
    engine.add_processor(processor)
    engine.start()
    assert engine.settle()
    assert processor.counts == {"c": 1} and processor.errors == []

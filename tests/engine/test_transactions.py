"""Transactions: atomic, isolated, in order, and only where they may be used."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import pyarrow as pa
import pytest

from kalam_jupyter.engine import Engine
from kalam_jupyter.engine.errors import (
    AlreadyExistsError,
    DuplicateKeyError,
    EngineClosedError,
    EngineError,
    NotFoundError,
    RowError,
)
from kalam_jupyter.engine.types import BIGINT, Array, Column, Schema
from tests.engine.support import EVENTS, USERS, WordCount, open_engine, words


@pytest.fixture
def engine() -> Any:
    with open_engine() as engine:
        engine.transact(lambda tx: (tx.create_relation("users", USERS), tx.create_topic("t")))
        yield engine


def state(engine: Engine) -> Any:
    """Everything that a transaction could have changed."""
    users = engine.relation("users")
    return (
        engine.position,
        engine.relations(),
        engine.topics(),
        engine.catalogue.items("k"),
        users.snapshot().rows(),
        users.snapshot().row_ids().tolist(),
        users.schema,
        [users.get((i,)) for i in range(10)],
        [t.read_partition(0, t.partition_bounds(0)[0]) for t in map(engine.topic, engine.topics())],
        engine.topic("t").groups(),
        sorted(engine.scheduler.runners),
    )


def test_a_function_that_raises_leaves_no_trace(engine: Engine) -> None:
    def setup(tx: Any) -> None:
        tx.insert("users", [(i, "x", 0.0) for i in range(5)])
        tx.append("t", words("a"))
        tx.put("k", "old", 1)
        tx.create_relation("dropped", EVENTS)
        tx.create_topic("dropped")

    engine.transact(setup)
    before = state(engine)
    many = pa.table({"id": range(100, 600), "name": ["n"] * 500, "score": [1.0] * 500})

    def change(tx: Any) -> None:
        tx.upsert("users", [(1, "y", 1.0), (7, "new", 1.0), (7, "newer", 1.0)])
        tx.delete("users", [(2,), (7,), (99,)])
        tx.insert("users", [(2, "back", 0.0)])
        tx.insert("users", many)
        tx.upsert("users", [(100, "y", 1.0), (3, "z", None)])
        tx.delete("users", [(101,)])
        tx.alter_relation("users", Schema.of(USERS.columns[:2]), [0, 1])
        tx.append("t", words("b", "c"))
        tx.truncate_topic("t")
        tx.append("t", words("d"))
        tx.commit_offset("t", "g", 0, 1)
        tx.put("k", "old", 2)
        tx.put("k", "new", 2)
        tx.remove("k", "old")
        tx.create_relation("more", EVENTS)
        tx.create_topic("counts")
        tx.drop_relation("dropped")
        tx.drop_topic("dropped")
        engine.add_processor(WordCount(source="t"), "earliest")
        raise ZeroDivisionError("on purpose")

    with pytest.raises(ZeroDivisionError, match="on purpose"):
        engine.transact(change)
    assert state(engine) == before
    engine.transact(lambda tx: tx.insert("users", [(7, "free", 0.0)]))


def test_a_refused_operation_leaves_the_transaction_usable(engine: Engine) -> None:
    def change(tx: Any) -> None:
        tx.insert("users", [(1, "a", 0.0)])
        with pytest.raises(DuplicateKeyError, match=r"primary key \(1,\) already exists in 'users'"):
            tx.insert("users", [(2, "b", 0.0), (1, "c", 0.0)])
        with pytest.raises(DuplicateKeyError, match="more than once"):
            tx.insert("users", [(3, "b", 0.0), (3, "c", 0.0)])
        tx.insert("users", [(2, "d", 0.0)])

    engine.transact(change)
    assert engine.relation("users").snapshot().rows() == [(1, "a", 0.0), (2, "d", 0.0)]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("1", "a", 0.0)], "column 'id' is BIGINT: str '1' does not fit"),
        ([(1 << 63, "a", 0.0)], "does not fit"),
        ([(None, "a", 0.0)], "column 'id' may not be null"),
        ([(1, "\ud800", 0.0)], "column 'name' is STRING"),
        ([(1, "a")], "a row of 3 columns has 2 values"),
        ([[1, "a", 0.0]], "a row is a tuple, not list"),
    ],
)
def test_rows_that_do_not_fit_are_refused(engine: Engine, rows: Any, message: str) -> None:
    with pytest.raises(RowError, match=message):
        engine.transact(lambda tx: tx.insert("users", rows))
    assert engine.relation("users").count() == 0


def test_arrow_data_is_taken_by_name_and_cast(engine: Engine) -> None:
    table = pa.table({"score": pa.array([1.0], pa.float32()), "id": pa.array([1], pa.int8()), "name": ["a"]})
    assert engine.transact(lambda tx: tx.insert("users", table)) == 1
    assert engine.relation("users").get((1,)) == (1, "a", 1.0)
    with pytest.raises(EngineError, match=r"missing \['score'\], unknown \['scores'\]"):
        engine.transact(lambda tx: tx.insert("users", table.rename_columns(["scores", "id", "name"])))


def test_what_does_not_exist_is_not_found(engine: Engine) -> None:
    for use in (
        lambda tx: tx.insert("nope", []),
        lambda tx: tx.append("nope", words("a")),
        lambda tx: tx.drop_relation("nope"),
        lambda tx: tx.drop_topic("nope"),
        lambda _: engine.remove_processor("nope"),
        lambda _: engine.add_processor(WordCount()),
    ):
        with pytest.raises(NotFoundError, match="not found"):
            engine.transact(use)
    with pytest.raises(AlreadyExistsError):
        engine.transact(lambda tx: tx.create_topic("t"))
    with pytest.raises(EngineError, match="cannot be a primary key"):
        engine.transact(lambda tx: tx.create_relation("x", Schema.of([Column("k", Array(BIGINT), key=True)])))


def test_positions_count_the_transactions_that_changed_something(engine: Engine) -> None:
    first = engine.position
    assert engine.transact(lambda tx: tx.position) == first + 1
    assert engine.transact(lambda tx: (tx.put("k", "a", 1), tx.position)[1]) == first + 1
    assert engine.transact(lambda tx: (tx.put("k", "a", 1), tx.position)[1]) == first + 2


def test_a_transaction_reads_what_it_wrote(engine: Engine) -> None:
    def change(tx: Any) -> Any:
        tx.insert("users", [(1, "a", 0.0)])
        return tx.engine.relation("users").get((1,)), tx.engine.relation("users").snapshot().num_rows

    assert engine.transact(change) == ((1, "a", 0.0), 1)


def test_a_transaction_is_over_when_its_function_returns(engine: Engine) -> None:
    tx = engine.transact(lambda tx: tx)
    with pytest.raises(EngineError, match="the transaction is over"):
        tx.insert("users", [(1, "a", 0.0)])


def test_transact_inside_the_writer_raises_instead_of_waiting(engine: Engine) -> None:
    with pytest.raises(EngineError, match="would wait for itself"):
        engine.transact(lambda _: engine.transact(lambda tx: None))
    with pytest.raises(EngineError, match="would wait for itself"):
        engine.submit(lambda _: engine.transact(lambda tx: None)).result()
    caught: list[BaseException] = []

    def callback() -> None:
        try:
            engine.transact(lambda tx: None)
        except EngineError as error:
            caught.append(error)

    engine.transact(lambda tx: tx.on_commit(callback))
    assert "submit()" in str(caught[0])


def test_callbacks_run_after_the_commit_only(engine: Engine) -> None:
    seen: list[Any] = []

    def fail(tx: Any) -> None:
        tx.on_commit(lambda: seen.append("never"))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        engine.transact(fail)
    position = engine.transact(
        lambda tx: (tx.put("k", "a", 1), tx.on_commit(lambda: seen.append(engine.position)), tx.position)[2]
    )
    assert seen == [position]


def test_a_callback_that_raises_stops_nobody(engine: Engine) -> None:
    engine.transact(lambda tx: (tx.put("k", "a", 1), tx.on_commit(lambda: 1 / 0)))  # type: ignore[func-returns-value]
    assert engine.transact(lambda tx: tx.get("k", "a")) == 1


def test_threads_see_each_write_once(engine: Engine) -> None:
    def write(thread: int) -> None:
        for i in range(50):
            engine.transact(lambda tx, i=i: tx.insert("users", [(thread * 50 + i, str(thread), 0.0)]))

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(row[0] for row in engine.relation("users").snapshot().rows()) == list(range(200))


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_an_interrupt_cannot_tear_a_transaction(engine: Engine) -> None:
    def change(tx: Any) -> None:
        tx.insert("users", [(1, "a", 0.0)])
        signal.raise_signal(signal.SIGINT)
        tx.insert("users", [(2, "b", 0.0)])

    with pytest.raises(KeyboardInterrupt):
        engine.transact(change)
    assert engine.relation("users").count() == 2
    engine.transact(lambda tx: tx.insert("users", [(3, "c", 0.0)]))


def test_a_closed_engine_takes_no_more_work(engine: Engine) -> None:
    engine.transact(lambda tx: tx.insert("users", [(1, "a", 0.0)]))
    engine.close()
    engine.close()
    for use in (engine.transact, engine.submit):
        with pytest.raises(EngineClosedError, match="the engine is closed"):
            use(lambda tx: None)
    assert engine.relation("users").count() == 1


def test_closing_finishes_what_is_queued() -> None:
    engine = open_engine()
    release = threading.Event()
    first = engine.submit(lambda tx: release.wait(10))
    rest = [engine.submit(lambda tx, i=i: (tx.put("k", str(i), i), i)[1]) for i in range(50)]
    release.set()
    engine.close()
    assert first.result() and [f.result() for f in rest] == list(range(50))


def test_catalogue_values_are_json_and_copies(engine: Engine) -> None:
    value = {"a": [1]}
    engine.transact(lambda tx: tx.put("k", "a", value))
    value["a"].append(2)
    assert engine.catalogue.get("k", "a") == {"a": [1]}
    for bad in ({1, 2}, None):
        with pytest.raises((TypeError, EngineError)):
            engine.transact(lambda tx, bad=bad: tx.put("k", "b", bad))
    assert engine.catalogue.names("k") == ["a"]


def test_the_catalogue_shows_only_the_writer_what_is_not_committed(engine: Engine) -> None:
    engine.transact(lambda tx: tx.put("kind", "a", 1))
    seen: list[Any] = []

    def read() -> None:
        seen.append((engine.catalogue.get("kind", "a"), engine.catalogue.get("kind", "b")))

    def change(tx: Any) -> None:
        tx.put("kind", "a", 2)
        tx.put("kind", "b", 3)
        other = threading.Thread(target=read)  # while the writer holds the engine
        other.start()
        other.join()
        read()
        assert engine.catalogue.items("kind") == [("a", 2), ("b", 3)]

    engine.transact(change)
    read()
    assert seen == [(1, None), (2, 3), (2, 3)]


def test_a_quiet_subscription_is_not_told_but_reads_the_same(engine: Engine) -> None:
    told: list[str] = []
    loud = engine.relation("users").subscribe(wake=lambda: told.append("loud"))
    quiet = engine.relation("users").subscribe(wake=lambda: told.append("quiet"), quiet=True)
    engine.transact(lambda tx: tx.insert("users", [(1, "a", None)]))
    assert told == ["loud"]
    assert [c.changes() for c in quiet.poll()] == [c.changes() for c in loud.poll()]
    with pytest.raises(EngineError):
        quiet.wait(0)


def test_rows_deleted_before_a_batch_came_are_back_when_both_are_undone(engine: Engine) -> None:
    engine.transact(lambda tx: tx.insert("users", [(1, "x", 0.0)]))
    before = state(engine)

    def change(tx: Any) -> None:
        tx.delete("users", [(1,)])
        rows = [(i, "y", 0.0) for i in range(300)]
        tx.insert("users", pa.table([pa.array(c) for c in zip(*rows, strict=True)], schema=USERS.arrow))
        tx.upsert("users", [(1, "z", 0.0), (400, "z", 0.0)])
        raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        engine.transact(change)
    assert state(engine) == before

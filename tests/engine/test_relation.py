"""Relations against a model, their snapshots, owners and change subscriptions."""

from __future__ import annotations

import tempfile
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kalam_jupyter.engine import Change, Constant, Engine, Snapshot, rowset
from kalam_jupyter.engine import relation as relation_module
from kalam_jupyter.engine.errors import DuplicateKeyError, EngineError, NotFoundError, OverrunError
from kalam_jupyter.engine.types import INTEGER, STRING, TIMESTAMP, Column, Decimal, Schema
from tests.engine.support import EVENTS, USERS, open_engine

KEYS = st.integers(0, 30)
NAMES = st.one_of(st.none(), st.text(max_size=3).filter(lambda s: s.isprintable()))
PAIR = Schema.of(
    [
        Column("a", INTEGER, key=True),
        Column("b", STRING, key=True),
        Column("d", Decimal(5, 2)),
        Column("t", TIMESTAMP),
    ]
)


@pytest.fixture
def engine() -> Any:
    with open_engine() as engine:
        engine.transact(lambda tx: (tx.create_relation("users", USERS), tx.create_relation("events", EVENTS)))
        yield engine


class RelationMachine(RuleBasedStateMachine):
    """A relation does what a dict does, in memory, over restarts, and with tiny chunks."""

    snapshots: list[tuple[Snapshot, list[Any]]]

    @initialize(tail=st.sampled_from([2, 5]), chunk=st.sampled_from([4, 9]))
    def open(self, tail: int, chunk: int) -> None:
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(rowset, "TAIL_ROWS", tail)
        self.patch.setattr(rowset, "CHUNK_ROWS", chunk)
        self.directory = tempfile.TemporaryDirectory()
        self.engine = open_engine(self.directory.name)
        self.engine.transact(lambda tx: tx.create_relation("users", USERS))
        self.model: dict[int, Any] = {}
        self.changed: dict[int, Any] = {}
        self.snapshots = []
        self.subscribe()

    def subscribe(self) -> None:
        self.subscription = self.engine.relation("users").subscribe()
        self.followed = dict(self.model)

    @rule(keys=st.lists(KEYS, max_size=6), name=NAMES)
    def insert(self, keys: list[int], name: str | None) -> None:
        rows = [(k, name, k / 2) for k in keys]
        if len(set(keys)) < len(keys) or any(k in self.model for k in keys):
            with pytest.raises(DuplicateKeyError):
                self.engine.transact(lambda tx: tx.insert("users", rows))
        else:
            assert self.engine.transact(lambda tx: tx.insert("users", rows)) == len(rows)
            self.model.update(zip(keys, rows, strict=True))

    @rule(start=st.integers(100, 130), name=NAMES)
    def insert_arrow(self, start: int, name: str | None) -> None:
        ids = range(start * 300, start * 300 + 300)
        table = pa.table(
            {"id": pa.array(ids), "name": pa.array([name] * 300, pa.string()), "score": [0.5] * 300}
        )
        if any(i in self.model for i in ids):
            with pytest.raises(DuplicateKeyError):
                self.engine.transact(lambda tx: tx.insert("users", table))
        else:
            self.engine.transact(lambda tx: tx.insert("users", table))
            self.model.update({i: (i, name, 0.5) for i in ids})

    @rule(keys=st.lists(st.one_of(KEYS, st.integers(30_000, 30_020)), max_size=5), name=NAMES)
    def upsert(self, keys: list[int], name: str | None) -> None:
        expected = []
        rows = [(k, name, float(i)) for i, k in enumerate(keys)]
        for row in rows:
            expected.append(self.model.pop(row[0], None))
            self.model[row[0]] = row
        assert self.engine.transact(lambda tx: tx.upsert("users", rows)) == expected

    @rule(keys=st.lists(st.one_of(KEYS, st.integers(30_000, 30_299)), max_size=20))
    def delete(self, keys: list[int]) -> None:
        expected = [self.model.pop(k, None) for k in keys]
        assert self.engine.transact(lambda tx: tx.delete("users", [(k,) for k in keys])) == expected

    @rule(keys=st.lists(KEYS, min_size=1, max_size=5))
    def undo(self, keys: list[int]) -> None:
        def change(tx: Any) -> None:
            tx.upsert("users", [(k, "undone", 0.0) for k in keys])
            tx.delete("users", [(keys[0],), (30_001,)])
            tx.upsert("users", [(keys[0], "undone again", 0.0)])
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            self.engine.transact(change)

    @rule()
    def take_snapshot(self) -> None:
        self.snapshots.append((self.engine.relation("users").snapshot(), list(self.model.values())))

    @rule()
    def reopen(self) -> None:
        self.check_followed()
        self.engine.close()
        self.engine = open_engine(self.directory.name)
        self.subscribe()

    @rule()
    def check_followed(self) -> None:
        for changes in self.subscription.poll(1 << 30):
            for op, old, new in changes.changes():
                key = (new or old)[0]  # type: ignore[index]
                assert self.followed.pop(key, None) == old
                assert (op, old is None, new is None) in {
                    ("insert", True, False),
                    ("update", False, False),
                    ("delete", False, True),
                }
                if new is not None:
                    self.followed[key] = new
        assert self.followed == self.model

    @invariant()
    def same(self) -> None:
        if not hasattr(self, "engine"):
            return
        relation = self.engine.relation("users")
        snapshot = relation.snapshot()
        assert relation.count() == snapshot.num_rows == len(self.model)
        assert sorted(snapshot.rows()) == sorted(self.model.values())
        ids = snapshot.row_ids().tolist()
        assert ids == sorted(set(ids)) and len(ids) == len(self.model)
        for key in [*range(31), 30_000, 30_010]:
            assert relation.get((key,)) == self.model.get(key)

    def teardown(self) -> None:
        if hasattr(self, "engine"):
            for snapshot, rows in self.snapshots:
                assert sorted(snapshot.rows()) == sorted(rows)
                assert snapshot.table().num_rows == len(rows)
            self.engine.close()
            self.directory.cleanup()
            self.patch.undo()


RelationMachine.TestCase.settings = settings(max_examples=12, stateful_step_count=25, deadline=None)
TestRelationAgainstADict = RelationMachine.TestCase


def test_a_snapshot_does_not_change(engine: Engine) -> None:
    engine.transact(lambda tx: tx.insert("users", [(i, "a", 0.0) for i in range(3_000)]))
    snapshot = engine.relation("users").snapshot()
    engine.transact(lambda tx: tx.delete("users", [(i,) for i in range(3_000)]))
    engine.transact(lambda tx: tx.insert("users", [(1, "b", 0.0)]))
    assert snapshot.num_rows == snapshot.table().num_rows == 3_000
    assert snapshot.rows()[1] == (1, "a", 0.0)


def test_an_unchanged_relation_has_one_snapshot(engine: Engine) -> None:
    first = engine.relation("users").snapshot()
    assert engine.relation("users").snapshot() is first
    engine.transact(lambda tx: tx.insert("users", [(1, "a", 0.0)]))
    assert engine.relation("users").snapshot() is not first


def test_a_frame_has_arrow_types_and_no_index_column(engine: Engine) -> None:
    engine.transact(lambda tx: tx.insert("users", [(1, None, 0.5)]))
    frame = engine.relation("users").snapshot().frame()
    assert [str(t) for t in frame.dtypes] == ["int64[pyarrow]", "string[pyarrow]", "double[pyarrow]"]
    assert frame["name"].isna().all() and isinstance(frame, pd.DataFrame)


def test_an_empty_relation_has_its_schema(engine: Engine) -> None:
    snapshot = engine.relation("users").snapshot()
    assert snapshot.table().schema == USERS.arrow
    assert snapshot.row_ids().tolist() == snapshot.rows() == []
    assert list(snapshot.frame().columns) == ["id", "name", "score"]


def test_composite_keys_and_exact_types(engine: Engine) -> None:
    import decimal

    row = (1, "x", decimal.Decimal("1.50"), 1_700_000_000_000)
    engine.transact(lambda tx: (tx.create_relation("p", PAIR), tx.insert("p", [row, (1, "y", None, None)])))
    assert engine.relation("p").get((1, "x")) == row
    engine.transact(lambda tx: tx.insert("p", [(i, "z", None, i) for i in range(2_000)]))  # seals the tail
    assert engine.relation("p").get((1, "x")) == row
    assert engine.relation("p").get((9, "z")) == (9, "z", None, 9)
    assert engine.transact(lambda tx: tx.delete("p", [(1, "x")])) == [row]


def test_owners_have_rows_of_their_own(engine: Engine) -> None:
    engine.transact(lambda tx: tx.create_relation("mine", USERS, owned=True))
    mine = engine.relation("mine")
    subscription = mine.subscribe("ann")
    for owner in ("ann", "bob"):
        engine.transact(lambda tx, o=owner: tx.insert("mine", [(1, o, 0.0)], owner=o))
    assert mine.owners() == ["ann", "bob"]
    assert mine.snapshot("ann").rows() == [(1, "ann", 0.0)] and mine.snapshot("eve").num_rows == 0
    engine.transact(lambda tx: tx.delete("mine", [(1,)], owner="bob"))
    assert mine.owners() == ["ann"] and mine.count("ann") == 1
    assert [c.owner for c in subscription.poll()] == ["ann"]
    for use in (mine.snapshot, mine.count, mine.subscribe, lambda: mine.get((1,))):
        with pytest.raises(EngineError, match="keeps rows per owner"):
            use()
    with pytest.raises(EngineError, match="keeps rows per owner"):
        engine.transact(lambda tx: tx.insert("mine", [(1, "x", 0.0)]))
    with pytest.raises(EngineError, match="has no owners"):
        engine.relation("users").snapshot("ann")


def test_rows_without_key_are_deleted_by_id(engine: Engine) -> None:
    engine.transact(lambda tx: tx.insert("events", [("a", i) for i in range(2_000)]))
    snapshot = engine.relation("events").snapshot()
    even = snapshot.row_ids()[::2]
    assert engine.transact(lambda tx: tx.delete_rows("events", even)) == 1_000
    assert engine.transact(lambda tx: tx.delete_rows("events", even)) == 0
    assert [n for _, n in engine.relation("events").snapshot().rows()] == list(range(1, 2_000, 2))
    with pytest.raises(EngineError, match="has no primary key"):
        engine.transact(lambda tx: tx.upsert("events", [("a", 1)]))
    with pytest.raises(EngineError, match="delete by key"):
        engine.transact(lambda tx: tx.delete_rows("users", [1]))


def test_altering_moves_casts_and_fills_columns(engine: Engine) -> None:
    engine.transact(lambda tx: tx.insert("users", [(1, "7", 0.5), (2, None, None)]))
    schema = Schema.of([Column("number", INTEGER), Column("id", STRING, key=True), Column("new", STRING)])
    engine.transact(lambda tx: tx.alter_relation("users", schema, [1, 0, Constant("?")]))
    users = engine.relation("users")
    assert users.snapshot().rows() == [(7, "1", "?"), (None, "2", "?")]
    assert users.get(("2",)) == (None, "2", "?")


def test_one_change_set_a_transaction(engine: Engine) -> None:
    woken: list[int] = []
    subscription = engine.relation("users").subscribe(wake=lambda: woken.append(engine.position))

    def change(tx: Any) -> None:
        tx.insert("users", [(1, "a", 0.0)])
        tx.upsert("users", [(1, "b", 0.0), (2, "c", 0.0)])
        tx.delete("users", [(1,), (9,)])

    position = engine.transact(lambda tx: (change(tx), tx.position)[1])
    assert subscription.lag == 4 and subscription.wait(0)
    (changes,) = subscription.poll()
    assert (changes.position, changes.relation, changes.num_changes) == (position, "users", 4)
    assert changes.changes() == [
        Change("insert", None, (1, "a", 0.0)),
        Change("update", (1, "a", 0.0), (1, "b", 0.0)),
        Change("insert", None, (2, "c", 0.0)),
        Change("delete", (1, "b", 0.0), None),
    ]
    assert woken == [position] and subscription.poll() == [] and not subscription.wait(0)


def test_a_reader_too_far_behind_is_told_how_much_it_lost(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relation_module, "CHANGES_RETAINED", 10)
    subscription = engine.relation("users").subscribe()
    for i in range(15):
        engine.transact(lambda tx, i=i: tx.insert("users", [(i, "a", 0.0)]))
    with pytest.raises(OverrunError) as caught:
        subscription.poll()
    assert caught.value.lost == 5
    assert sum(c.num_changes for c in subscription.poll()) == 10


def test_followers_of_a_dropped_relation_are_told(engine: Engine) -> None:
    woken: list[bool] = []
    subscription = engine.relation("users").subscribe(wake=lambda: woken.append(True))
    relation = engine.relation("users")
    engine.transact(lambda tx: tx.drop_relation("users"))
    assert woken == [True] and subscription.wait(0)
    for use in (subscription.poll, relation.snapshot):
        with pytest.raises(NotFoundError, match="relation 'users' not found"):
            use()


def test_a_closed_subscription_says_nothing_more(engine: Engine) -> None:
    with engine.relation("users").subscribe() as subscription:
        pass
    engine.transact(lambda tx: tx.insert("users", [(1, "a", 0.0)]))
    assert subscription.poll() == [] and subscription.lag == 0 and subscription.wait(0)

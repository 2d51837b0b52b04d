"""Windows and joins alone: the worked examples of the language contract, section 17."""

from __future__ import annotations

from typing import Any

import pytest

from kalam_jupyter.engine.types import INTEGER, STRING, Column
from kalam_jupyter.ksql.functions.definitions import EvaluationContext
from kalam_jupyter.ksql.functions.registry import FunctionRegistry
from kalam_jupyter.ksql.operators.aggregate import AggregateCall, Aggregator, TableAggregate
from kalam_jupyter.ksql.operators.fk_join import ForeignKeyJoin
from kalam_jupyter.ksql.operators.group_states import GroupStates
from kalam_jupyter.ksql.operators.joins import (
    LEFT,
    RIGHT,
    JoinKind,
    JoinShape,
    StreamStreamJoin,
    TableTableJoin,
)
from kalam_jupyter.ksql.operators.record import Record, key_order
from kalam_jupyter.ksql.operators.sessions import SessionAggregate
from kalam_jupyter.ksql.operators.tables import TableFilter
from kalam_jupyter.ksql.operators.windows import FinalWindowAggregate, TimeWindowAggregate
from kalam_jupyter.ksql.values.coerce import Operand

SUM = AggregateCall(
    arguments=lambda row: (row[0],),
    initial=lambda: 0,
    add=lambda state, v: state + v,
    result=lambda state: state,
    undo=lambda state, v: state - v,
    merge=lambda a, b: a + b,
)


def counted(ts: int, key: Any = "k", value: int = 1) -> Record:
    return Record((key,), (value,), ts)


def shown(records: list[Record]) -> list[Any]:
    return [(r.row[0] if r.row is not None else None, r.ts, r.window) for r in records]


def summed(size: int, advance: int, grace: int) -> TimeWindowAggregate:
    function = FunctionRegistry.builtin().aggregate("SUM", [Operand(INTEGER, "v")], {}, EvaluationContext())
    states = GroupStates([function], [[0]])
    return TimeWindowAggregate(states, [Column("K", STRING, key=True)], size, advance, grace)


def test_tumbling_window_rows_carry_the_largest_timestamp_of_their_key_and_window() -> None:
    windows = summed(10, 10, 86_400_000)
    out = windows.process([counted(3), counted(12), counted(4)])
    assert shown(out) == [(1, 3, (0, 10)), (1, 12, (10, 20)), (2, 4, (0, 10))]


def test_a_record_later_than_grace_is_dropped() -> None:
    windows = summed(10, 10, 5)
    assert shown(windows.process([counted(3), counted(14), counted(4), counted(15), counted(5)])) == [
        (1, 3, (0, 10)),
        (1, 14, (10, 20)),
        (2, 4, (0, 10)),
        (2, 15, (10, 20)),
    ]


def test_hopping_windows_come_out_by_start() -> None:
    windows = summed(10, 5, 100)
    assert shown(windows.process([counted(12)])) == [(1, 12, (5, 15)), (1, 12, (10, 20))]


def test_emit_final_loses_what_the_store_purged_before_it_closed() -> None:
    windows = FinalWindowAggregate(Aggregator([SUM]), 2, 2, 1)
    assert shown(windows.process([counted(t) for t in (0, 1, 2, 5)])) == [(1, 2, (2, 4))]


def test_a_record_that_joins_two_sessions_deletes_both() -> None:
    sessions = SessionAggregate(Aggregator([SUM]), 5, 100)
    assert shown(sessions.process([counted(0), counted(8), counted(4)])) == [
        (1, 0, (0, 0)),
        (1, 8, (8, 8)),
        (None, 0, (0, 0)),
        (None, 8, (8, 8)),
        (3, 8, (0, 8)),
    ]


def test_an_expired_session_is_not_joined_again() -> None:
    sessions = SessionAggregate(Aggregator([SUM]), 30_000, 60_000)
    out = sessions.process([counted(0), counted(100_010), counted(10_009), counted(10_010)])
    assert shown(out)[2:] == [(1, 10_010, (10_010, 10_010))]


def test_sessions_that_no_record_can_join_are_forgotten() -> None:
    sessions = SessionAggregate(Aggregator([SUM]), 5, 10)
    for ts in range(0, 10_000, 10):
        sessions.process([counted(ts, key=ts)])
    *_, stored = sessions.checkpoint()
    assert len(stored) < 10


def test_final_sessions_close_by_start_and_once_also_after_a_restart() -> None:
    records = [
        counted(ts, key) for ts, key in ((0, "b"), (3, "a"), (4, None), (6, "b"), (30, "a"), (60, "b"))
    ]

    def closed(restart_at: int) -> list[Any]:
        before = SessionAggregate(Aggregator([SUM]), 5, 0, emit_final=True)
        after = SessionAggregate(Aggregator([SUM]), 5, 0, emit_final=True)
        out = before.process(records[:restart_at])
        after.restore(before.checkpoint())
        return [(r.key, r.window) for r in out + after.process(records[restart_at:])]

    expected = [(("b",), (0, 0)), (("a",), (3, 3)), ((None,), (4, 4)), (("b",), (6, 6)), (("a",), (30, 30))]
    assert all(closed(at) == expected for at in range(len(records)))


@pytest.mark.parametrize(
    "keys",
    [
        [(0,), (1,), (256,), (-2,), (-1,)],
        [(0.5,), (2.0,), (-1.0,), (-2.0,)],
        [("a",), ("ab",), ("\uffff",), ("\U00010000",)],
        [("a", 10), ("a", 1), ("a", 9), ("b", None), ("\ud800", 1)],
    ],
    ids=["two's complement", "IEEE bits", "UTF-8", "JSON"],
)
def test_state_stores_iterate_keys_by_their_bytes(keys: list[Any]) -> None:
    shuffled = [*keys[1::2], *keys[::2]]
    assert sorted(shuffled, key=key_order) == keys


def joined(records: list[Record]) -> list[Any]:
    return [(r.row[0], r.row[1], r.ts) for r in records if r.row is not None]


def test_a_left_join_without_grace_pads_at_once() -> None:
    join = StreamStreamJoin(JoinShape("LEFT", 1, 1), 10, 10, None)
    assert joined(join.process(LEFT, [Record(("k",), ("L",), 0)])) == [("L", None, 0)]
    assert joined(join.process(RIGHT, [Record(("k",), ("R",), 5)])) == [("L", "R", 5)]
    assert joined(join.process(LEFT, [Record(("k",), ("L2",), 6)])) == [("L2", "R", 6)]


def test_a_left_join_with_grace_pads_when_the_window_has_closed() -> None:
    join = StreamStreamJoin(JoinShape("LEFT", 1, 1), 10, 10, 0)
    assert joined(join.process(LEFT, [Record(("k",), ("L",), 0)])) == []
    assert joined(join.process(RIGHT, [Record(("k",), ("R",), 5)])) == [("L", "R", 5)]
    assert joined(join.process(LEFT, [Record(("x",), ("M",), 6)])) == []
    assert joined(join.process(RIGHT, [Record(("y",), ("Q",), 16)])) == []
    assert joined(join.process(RIGHT, [Record(("y",), ("Q",), 17)])) == [("M", None, 6)]


def test_rows_padded_together_come_right_before_left_and_by_key_with_the_closing_records_headers() -> None:
    join = StreamStreamJoin(JoinShape("FULL", 1, 1), 10, 10, 0)
    for side, key in ((LEFT, "b"), (LEFT, "a"), (RIGHT, "d"), (RIGHT, "c")):
        assert not join.process(side, [Record((key,), (key,), 6)])
    out = join.process(LEFT, [Record(("e",), ("e",), 17, headers=(("h", b"1"),))])
    assert [(r.key, r.ts, r.headers) for r in out] == [((k,), 6, (("h", b"1"),)) for k in "cdab"]


@pytest.mark.parametrize(
    ("kind", "left", "right"),
    [("INNER", True, True), ("LEFT", True, False), ("RIGHT", False, True), ("FULL", False, False)],
)
def test_a_deletion_of_an_unknown_row_passes_a_table_join_where_no_row_is_left(
    kind: JoinKind, left: bool, right: bool
) -> None:
    for side, passes in ((LEFT, left), (RIGHT, right)):
        join = TableTableJoin(JoinShape(kind, 1, 1))
        gone = Record(("k",), None, 3)
        assert not join.process(side, [gone])
        join.process(1 - side, [Record(("k",), ("v",), 4)])
        out = join.process(side, [gone])
        assert [(r.row is None, r.ts) for r in out] == [(passes, 4)]


def test_a_join_goes_on_from_its_checkpoint() -> None:
    shape = JoinShape("LEFT", 1, 1)
    join = StreamStreamJoin(shape, 10, 10, 0)
    join.process(LEFT, [Record(("k",), ("L",), 0), Record(("x",), ("M",), 1)])
    again = StreamStreamJoin(shape, 10, 10, 0)
    again.restore(join.checkpoint())
    assert joined(again.process(RIGHT, [Record(("k",), ("R",), 5)])) == [("L", "R", 5)]
    assert joined(again.process(RIGHT, [Record(("k",), ("R",), 50)])) == [("M", None, 1)]


def test_table_aggregation_moves_rows_between_groups() -> None:
    aggregate = TableAggregate(Aggregator([SUM]), lambda row: (row[1],))
    a5, a3, b5 = (5, "a"), (3, "a"), (5, "b")
    changes = [
        Record((1,), a5, 0),
        Record((2,), a3, 0),
        Record((1,), b5, 0, old=a5),
        Record((2,), None, 0, old=a3),
    ]
    out = [(r.key, r.row[0]) for r in aggregate.process(changes) if r.row is not None and r.key is not None]
    assert out == [(("a",), 5), (("a",), 8), (("a",), 3), (("b",), 5), (("a",), 0)]


def test_having_sends_one_tombstone_when_a_row_falls_out() -> None:
    having = TableFilter(lambda row: row[0] == 1)
    out = having.process([Record(("k",), (n,), n) for n in (1, 2, 3)])
    assert [(r.row, r.ts) for r in out] == [((1,), 1), (None, 2)]


def test_a_foreign_key_join_follows_both_sides() -> None:
    join = ForeignKeyJoin(JoinShape("INNER", 1, 1), lambda row: (row[0],))
    steps = [
        (RIGHT, Record(("r1",), ("A",), 0)),
        (LEFT, Record(("l1",), ("r1",), 1)),
        (LEFT, Record(("l1",), ("r2",), 2)),
        (RIGHT, Record(("r2",), ("B",), 3)),
        (RIGHT, Record(("r1",), None, 4)),
        (LEFT, Record(("l1",), ("r3",), 5)),
        (LEFT, Record(("l1",), ("r4",), 6)),
        (RIGHT, Record(("r4",), None, 7)),
    ]
    out = [[(r.key, None if r.row is None else r.row[:2]) for r in join.process(s, [x])] for s, x in steps]
    gone = [(("l1",), None)]
    assert out == [[], [(("l1",), ("r1", "A"))], gone, [(("l1",), ("r2", "B"))], [], gone, gone, gone]

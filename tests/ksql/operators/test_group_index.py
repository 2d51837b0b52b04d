"""The index of groups finds for a batch what it finds row by row, whatever came before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalam_jupyter.engine.types import BIGINT, STRING, Column
from kalam_jupyter.ksql.operators.column_batch import ColumnBatch
from kalam_jupyter.ksql.operators.group_index import GroupIndex
from kalam_jupyter.ksql.operators.group_states import GroupStates

GROUPS = st.tuples(
    st.integers(-4, 4) | st.integers(-(2**63), 2**63 - 1), st.integers(0, 9).map(lambda w: w * 10)
)
BY_ROW, BY_BATCH, FORGET, CHECKPOINT = "row", "batch", "forget", "checkpoint"
ACTIONS = st.lists(
    st.tuples(st.sampled_from([BY_ROW, BY_BATCH]), st.lists(GROUPS, min_size=1, max_size=40))
    | st.tuples(st.just(FORGET), st.integers(0, 9).map(lambda w: w * 10))
    | st.tuples(st.just(CHECKPOINT), st.none()),
    max_size=8,
)


def batch(keys: list[Any], column: Column) -> ColumnBatch:
    return ColumnBatch(
        (), (), (pa.array(keys, type=column.type.arrow),), (column,), np.zeros(len(keys), np.int64)
    )


@pytest.mark.parametrize("type_", [BIGINT, STRING])
@given(actions=ACTIONS)
def test_one_slot_for_each_group_that_is_not_forgotten(type_: Any, actions: list[Any]) -> None:
    column = Column("K", type_, key=True)
    make = (lambda n: n) if type_ == BIGINT else str
    index = GroupIndex(GroupStates([], [], []), [column])
    known: dict[tuple[Any, int], int] = {}
    for action, what in actions:
        if action == FORGET:
            index.forget(what)
            known = {group: slot for group, slot in known.items() if group[1] > what}
        elif action == CHECKPOINT:
            state, index = index.checkpoint(), GroupIndex(GroupStates([], [], []), [column])
            index.restore(state)
        else:
            if action == BY_ROW:
                slots = [index.slot((make(n),), start, 0) for n, start in what]
            else:
                starts = np.array([start for _, start in what], dtype=np.int64)
                slots = index.slots(batch([make(n) for n, _ in what], column), starts, 0).tolist()
            for group, slot in zip(what, slots, strict=True):
                assert known.setdefault(group, slot) == slot
        assert len(set(known.values())) == len(known)


def test_the_slots_of_forgotten_groups_are_used_again() -> None:
    column = Column("K", BIGINT, key=True)
    states = GroupStates([], [], [])
    index = GroupIndex(states, [column])
    for window in range(100):
        index.slots(batch(list(range(50)), column), np.full(50, window * 10, dtype=np.int64), 0)
        index.forget(window * 10)
    assert states.capacity == 64

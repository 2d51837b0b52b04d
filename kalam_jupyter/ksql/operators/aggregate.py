"""Aggregation without windows, over streams and over tables, and what all aggregations share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from kalam_jupyter.engine.types import Column
from kalam_jupyter.ksql.operators.column_batch import ColumnBatch
from kalam_jupyter.ksql.operators.group_index import GroupIndex
from kalam_jupyter.ksql.operators.group_states import GroupStates
from kalam_jupyter.ksql.operators.grouping import Grouping
from kalam_jupyter.ksql.operators.record import Key, Record, Row, store_key

#: Earlier than every timestamp.
NEVER = -(1 << 62)


@dataclass(frozen=True)
class AggregateCall:
    """One aggregate function with its arguments bound: three functions on its state, and undo and merge where
    it has them.
    """

    arguments: Callable[[Row], Row]
    initial: Callable[[], Any]
    add: Callable[..., Any]
    result: Callable[[Any], Any]
    undo: Callable[..., Any] | None = None
    merge: Callable[[Any, Any], Any] | None = None


class Aggregator:
    """All aggregate calls of one query. A state is a list: one item per call."""

    def __init__(self, calls: Sequence[AggregateCall]) -> None:
        self._initial = [c.initial for c in calls]
        self._steps = [(i, c.arguments, c.add) for i, c in enumerate(calls)]
        self._undo = [(i, c.arguments, c.undo) for i, c in enumerate(calls)]
        self._merge: list[tuple[Any, ...]] = [(c.initial, c.merge, c.arguments, c.add) for c in calls]
        self._results = [c.result for c in calls]

    def initial(self) -> list[Any]:
        """Return the state of an empty group."""
        return [f() for f in self._initial]

    def add(self, state: list[Any], row: Row) -> None:
        """Take a row into a state."""
        for i, arguments, add in self._steps:
            state[i] = add(state[i], *arguments(row))

    def undo(self, state: list[Any], row: Row) -> None:
        """Take a row out of a state."""
        for i, arguments, undo in self._undo:
            assert undo is not None
            state[i] = undo(state[i], *arguments(row))

    def merged(self, states: Sequence[Sequence[Any]], row: Row) -> tuple[Any, ...]:
        """Return the state of sessions, the earliest first, that a row made one, with the row."""
        out: list[Any] = []
        for initial, merge, arguments, add in self._merge:
            state = initial()
            for other in states:
                state = merge(state, other[len(out)])
            out.append(add(state, *arguments(row)))
        return tuple(out)

    def results(self, state: Sequence[Any]) -> Row:
        """Return the aggregates' values."""
        return tuple([f(s) for f, s in zip(self._results, state, strict=True)])


class StreamAggregate:
    """Unwindowed GROUP BY over a stream: one output per input, timestamp the largest of the group so far."""

    def __init__(self, states: GroupStates, key: Sequence[Column]) -> None:
        self._states = states
        self.columnar = states.columnar
        self._index = GroupIndex(states, key)

    def process_columns(self, batch: ColumnBatch) -> ColumnBatch:
        """As `process`."""
        states = self._states
        arguments = states.evaluate(batch)
        slots = self._index.slots(batch, None, NEVER)
        results, ts = states.run(*Grouping.of_slots(slots, states.capacity), batch.ts, arguments)
        types = (*states.types, *(c.type for c in batch.key_columns))
        return ColumnBatch((*results, *batch.key), types, batch.key, batch.key_columns, ts)

    def process(self, records: list[Record]) -> list[Record]:
        """Fold every record into its group and return the group's new row."""
        states, index = self._states, self._index
        for r in records:
            assert r.key is not None and r.row is not None
            slot = index.slot(r.key, 0, r.ts)
            r.row, r.ts = states.fold(slot, r.row, r.ts)
            r.row += r.key
        return records

    def checkpoint(self) -> Any:
        """The index with all states."""
        return self._index.checkpoint()

    def restore(self, state: Any) -> None:
        """Continue from `checkpoint`."""
        self._index.restore(state)


class TableAggregate:
    """GROUP BY over a table: a change is taken out of the old row's group and into the new row's.

    One output when both are the same group, else the old group's row first. A group that became empty still
    has a row.
    """

    def __init__(self, aggregator: Aggregator, make_key: Callable[[Row], Key | None]) -> None:
        self._aggregator = aggregator
        self._make_key = make_key
        self._groups: dict[Any, list[Any]] = {}

    def process(self, records: list[Record]) -> list[Record]:
        """Undo and apply every change."""
        out: list[Record] = []
        make_key = self._make_key
        for r in records:
            before = None if r.old is None else make_key(r.old)
            after = None if r.row is None else make_key(r.row)
            if before is not None and before == after:
                self._apply(r, before, r.old, r.row, out)
                continue
            if before is not None:
                self._apply(r, before, r.old, None, out)
            if after is not None:
                self._apply(r, after, None, r.row, out)
        return out

    def _apply(self, r: Record, key: Key, old: Row | None, new: Row | None, out: list[Record]) -> None:
        hashed = store_key(key)
        group = self._groups.get(hashed)
        if group is None:
            group = self._groups[hashed] = [self._aggregator.initial(), r.ts]
        group[1] = max(group[1], r.ts)
        if old is not None:
            self._aggregator.undo(group[0], old)
        if new is not None:
            self._aggregator.add(group[0], new)
        out.append(Record(key, self._aggregator.results(group[0]) + key, group[1], None, r.headers))

    def checkpoint(self) -> Any:
        """State and timestamp by group."""
        return self._groups

    def restore(self, state: Any) -> None:
        """Continue from `checkpoint`."""
        self._groups = state

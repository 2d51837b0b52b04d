"""Rows and states of operators with names: what people see of tuples and checkpoints."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kalam_jupyter.engine.types import DataType
from kalam_jupyter.ksql.operators.aggregate import NEVER, StreamAggregate, TableAggregate
from kalam_jupyter.ksql.operators.fk_join import ForeignKeyJoin
from kalam_jupyter.ksql.operators.joins import StreamStreamJoin, StreamTableJoin, TableTableJoin
from kalam_jupyter.ksql.operators.record import Record
from kalam_jupyter.ksql.operators.running import accumulator
from kalam_jupyter.ksql.operators.sessions import SessionAggregate
from kalam_jupyter.ksql.operators.tables import TableFilter, TableStore
from kalam_jupyter.ksql.operators.windows import FinalWindowAggregate, TimeWindowAggregate
from kalam_jupyter.ksql.plan import steps
from kalam_jupyter.ksql.stepping.records import RecordView, shown

_COUNTED = re.compile(r"\bCOUNT\((?:\w+_)?ROWTIME\)")
ROWTIME, START, END = "ROWTIME", "WINDOWSTART", "WINDOWEND"


@dataclass(frozen=True)
class StateTable:
    """One state store of an operator, as a table.

    Attributes
    ----------
    name : str
    columns : tuple of str
    rows : tuple of tuple
    num_keys : int
        So many of the first columns identify a row.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    num_keys: int

    def changes(self, before: StateTable) -> dict[tuple[Any, ...], str]:
        """Return what happened to rows since `before`: ``added``, ``changed`` or ``removed``, by key."""
        old = {_hashable(row[: self.num_keys]): row for row in before.rows}
        found: dict[tuple[Any, ...], str] = {}
        for row in self.rows:
            key = _hashable(row[: self.num_keys])
            known = old.pop(key, None)
            if known is None:
                found[key] = "added"
            elif repr(known) != repr(row):
                found[key] = "changed"
        return found | dict.fromkeys(old, "removed")


@dataclass(frozen=True)
class StateView:
    """The state of an operator.

    Attributes
    ----------
    tables : tuple of StateTable
    stream_time : int or None
        The largest event time that it has seen; None where it does not matter to it, or nothing came.
    """

    tables: tuple[StateTable, ...] = ()
    stream_time: int | None = None


class Names:
    """What the positions of a step's flat rows and keys are called.

    Parameters
    ----------
    step : Step
    hidden : collection of str
        See `Step.hidden_names`.
    """

    def __init__(self, step: steps.Step, hidden: frozenset[str]) -> None:
        # GROUP BY of a table hands records on under their own key: the aggregation computes both groups.
        keyed = step.input if isinstance(step, steps.GroupByStep) and step.table else step
        self.key = [(c.name, c.type) for c in keyed.key]
        selected = isinstance(step, steps.ProjectStep)
        # Nothing reads what a projected row replaces, so a projection leaves it as it was.
        self._has_old = not selected
        titles = aggregate_titles(step)
        taken = set() if selected else {*hidden, *(name for name, _ in self.key)}
        self.value: list[tuple[int, str, DataType]] = []
        for i, (name, type_) in enumerate(step.layout.columns):
            if name not in taken:
                self.value.append((i, titles.get(name, name), type_))
                taken.add(name)

    @property
    def key_names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.key)

    @property
    def value_names(self) -> tuple[str, ...]:
        return tuple(name for _, name, _ in self.value)

    def keys(self, key: Sequence[Any]) -> tuple[Any, ...]:
        """Return a key's values as people know them."""
        return tuple(shown(_plain(v), t) for v, (_, t) in zip(key, self.key, strict=False))

    def values(self, row: Sequence[Any]) -> tuple[Any, ...]:
        """Return a flat row's values as people know them."""
        return tuple(shown(row[i], t) for i, _, t in self.value)

    def named(self, row: Sequence[Any] | None) -> dict[str, Any] | None:
        """Return a flat row's values by their names."""
        return None if row is None else dict(zip(self.value_names, self.values(row), strict=True))

    def record(self, r: Record, via: str = "") -> RecordView:
        """Return a record with names."""
        key = None if r.key is None else dict(zip(self.key_names, self.keys(r.key), strict=False))
        old = self.named(r.old) if self._has_old else None
        return RecordView(key, self.named(r.row), r.ts, r.window, old, via)


def aggregate_titles(step: steps.Step) -> dict[str, str]:
    """Return what the positions of an aggregation's results are called in SQL."""
    below: steps.Step | None = step
    while isinstance(below, steps.FilterStep):
        below = below.input
    if not isinstance(below, steps.AggregateStep):
        return {}
    return {below.layout.columns[i][0]: title for i, title in enumerate(_titles(below))}


def state_view(operator: Any, step: steps.Step, names: Callable[[steps.Step], Names]) -> StateView:
    """Return an operator's state; an empty one for operators without."""
    make = _VIEWS.get(type(operator))
    return StateView() if make is None else make(operator.checkpoint(), step, names)


NamesOf = Callable[[steps.Step], Names]


def _table(name: str, keys: Sequence[str], others: Sequence[str], rows: Iterator[Any]) -> StateTable:
    ordered = sorted(rows, key=lambda row: tuple((v is None, str(type(v)), v) for v in _comparable(row)))
    return StateTable(name, (*keys, *others), tuple(map(tuple, ordered)), len(keys))


def _comparable(row: Sequence[Any]) -> list[Any]:
    return [v if isinstance(v, int | float | str) else repr(v) for v in row]


def _rows(state: Any, step: steps.Step, names: NamesOf) -> StateView:
    called = names(step)
    windowed = any(isinstance(k, tuple) and k and k[-1] is not None for k in state)
    rows = (
        (*called.keys(key[:-1]), *((key[-1] or (None, None)) if windowed else ()), *called.values(row))
        for key, row in state.items()
    )
    keys = (*called.key_names, *((START, END) if windowed else ()))
    return StateView((_table("rows", keys, called.value_names, rows),))


def _present(state: Any, step: steps.Step, names: NamesOf) -> StateView:
    called = names(step)
    keys = () if state == "any" else state
    rows = ((*called.keys(key[:-1]), *(key[-1] or ())) for key in keys)
    width = max((len(key[-1] or ()) for key in keys), default=0)
    bounds = (START, END) if width else ()
    return StateView((_table("keys present", (*called.key_names, *bounds), (), rows),))


def _grouped(index: Any, step: Any) -> Iterator[tuple[tuple[Any, ...], int, int, tuple[Any, ...]]]:
    """Yield key, window start, timestamp and results of every group of a `GroupIndex`."""
    numbers, starts, ids, _, (timestamps, free, parts) = index
    keys = {number: key for key, number in ids.items()}
    gone = set(free.tolist())
    accumulators = []
    for a, part in zip(step.aggregates, parts, strict=True):
        found = accumulator(a.function)
        found.restore(part)
        accumulators.append((found.load, a.function))
    for slot in range(len(timestamps)):
        if slot not in gone:
            number = numbers.item(slot)
            values = tuple(shown(f.result(load(slot)), f.type) for load, f in accumulators)
            yield keys.get(number, (number,)), starts.item(slot), timestamps.item(slot), values


def _titles(step: steps.AggregateStep) -> list[str]:
    """Return what aggregates are called; COUNT(*) is planned as a count of something that is never NULL."""
    return [_COUNTED.sub("COUNT(*)", a.text) for a in step.aggregates]


def _groups(state: Any, step: Any, names: NamesOf) -> StateView:
    called = names(step)
    rows = ((*called.keys(key), *values, ts) for key, _, ts, values in _grouped(state, step))
    return StateView((_table("groups", called.key_names, (*_titles(step), ROWTIME), rows),))


def _windows(state: Any, step: Any, names: NamesOf) -> StateView:
    stream_time, _, index = state
    called, size = names(step), step.window.size_ms
    limit = stream_time - step.window.grace_ms
    rows = (
        (*called.keys(key), start, start + size, *values, ts)
        for key, start, ts, values in _grouped(index, step)
        # Those that take no more records are swept away now and then: they are no state any more.
        if start + size > limit
    )
    keys = (*called.key_names, START, END)
    return StateView((_table("windows", keys, (*_titles(step), ROWTIME), rows),), _time(stream_time))


def _final_windows(state: Any, step: Any, names: NamesOf) -> StateView:
    stream_time, _, windows = state
    called, size = names(step), step.window.size_ms
    rows = (
        (*called.keys(key), start, start + size, *_results(step, aggregates), ts)
        for start, groups in windows.items()
        for aggregates, ts, key in groups.values()
    )
    keys = (*called.key_names, START, END)
    return StateView((_table("windows", keys, (*_titles(step), ROWTIME), rows),), _time(stream_time))


def _sessions(state: Any, step: Any, names: NamesOf) -> StateView:
    stream_time, _, newest, sessions = state
    called = names(step)
    expired = newest - step.window.size_ms - step.window.grace_ms
    rows = (
        (*called.keys(key), start, end, *_results(step, aggregates))
        for some in sessions.values()
        for start, end, aggregates, key in some
        if end >= expired
    )
    keys = (*called.key_names, START, END)
    return StateView((_table("sessions", keys, _titles(step), rows),), _time(stream_time))


def _results(step: Any, state: Sequence[Any]) -> tuple[Any, ...]:
    calls = [a.function for a in step.aggregates]
    return tuple(shown(f.result(s), f.type) for f, s in zip(calls, state, strict=True))


def _table_groups(state: Any, step: Any, names: NamesOf) -> StateView:
    called = names(step)
    rows = ((*called.keys(key), *_results(step, group), ts) for key, (group, ts) in state.items())
    return StateView((_table("groups", called.key_names, (*_titles(step), ROWTIME), rows),))


def _buffers(state: Any, step: Any, names: NamesOf) -> StateView:
    stream_time, _, _, _, plain, buffers, held = state
    tables = []
    sides = (
        ("left", step.left, step.before_ms, step.after_ms),
        ("right", step.right, step.after_ms, step.before_ms),
    )
    for (side, below, back, forth), buffer, waiting in zip(sides, buffers, held, strict=True):
        called = names(below)
        numbers = {n for some in buffer.values() for n in some} | set(waiting)
        rows = []
        for n in sorted(numbers):
            ts, matched, key, row, window, _ = plain[n]
            state_of = "matched" if matched else "waiting" if n in waiting else "unmatched"
            bounds = (window[0],) if window is not None else ()
            rows.append(
                (n, *called.keys(key), *bounds, ts, ts - back, ts + forth, *called.values(row), state_of)
            )
        windowed = (START,) if any(plain[n][4] is not None for n in numbers) else ()
        columns = (*called.key_names, *windowed, ROWTIME, "JOINS FROM", "JOINS TO", *called.value_names)
        tables.append(StateTable(f"{side} buffer", ("#", *columns, "STATE"), tuple(map(tuple, rows)), 1))
    return StateView(tuple(tables), _time(stream_time))


def _lookup(state: Any, step: Any, names: NamesOf) -> StateView:
    return StateView(
        (_side("right rows", {k: (v, None) for k, v in state.items()}, names(step.right), timed=False),)
    )


def _sides(state: Any, step: Any, names: NamesOf) -> StateView:
    left, right = state
    tables = (_side("left rows", left, names(step.left)), _side("right rows", right, names(step.right)))
    return StateView(tables)


def _side(
    name: str, rows: Mapping[Any, tuple[Any, int | None]], called: Names, *, timed: bool = True
) -> StateTable:
    width = len(called.key)
    windowed = any(isinstance(key, tuple) and len(key) > width for key in rows)
    found = (
        (
            *called.keys(key[:width]),
            *(key[width:] if windowed else ()),
            *called.values(row),
            *((ts,) if timed else ()),
        )
        for key, (row, ts) in rows.items()
    )
    keys = (*called.key_names, *(("WINDOW",) if windowed else ()))
    return _table(name, keys, (*called.value_names, *((ROWTIME,) if timed else ())), found)


def _foreign(state: Any, step: Any, names: NamesOf) -> StateView:
    left, right, subscribers = state
    mine, theirs = names(step.left), names(step.right)
    subscribed = (
        (*theirs.keys(foreign), *mine.keys(key)) for foreign, keys in subscribers.items() for key in keys
    )
    columns = (*(f"{n} (foreign)" for n in theirs.key_names), *mine.key_names)
    return StateView(
        (
            _side("left rows", {k: (row, ts) for k, (row, ts, _, _) in left.items()}, mine),
            _side("right rows", right, theirs),
            _table("subscriptions", columns, (), subscribed),
        )
    )


def _time(ts: int) -> int | None:
    return None if ts == NEVER else ts


def _hashable(values: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(v if isinstance(v, int | float | str | bytes | type(None)) else repr(v) for v in values)


def _plain(value: Any) -> Any:
    """Return a value of a key as it was before `store_key` made it hashable."""
    if isinstance(value, tuple) and value and value[0] == "[":
        return [_plain(v) for v in value[1:]]
    if isinstance(value, tuple) and value and value[0] == "{":
        return {_plain(k): _plain(v) for k, v in value[1:]}
    return value


_VIEWS: dict[type, Callable[[Any, Any, NamesOf], StateView]] = {
    TableStore: _rows,
    TableFilter: _present,
    StreamAggregate: _groups,
    TimeWindowAggregate: _windows,
    FinalWindowAggregate: _final_windows,
    SessionAggregate: _sessions,
    TableAggregate: _table_groups,
    StreamStreamJoin: _buffers,
    StreamTableJoin: _lookup,
    TableTableJoin: _sides,
    ForeignKeyJoin: _foreign,
}

__all__ = ["Names", "StateTable", "StateView", "state_view"]

"""EARLIEST_BY_OFFSET and LATEST_BY_OFFSET (function contract section 9).

Order is that of processing: each value is remembered with a number from `EvaluationContext.next_sequence`.
"""

from __future__ import annotations

from typing import Any

from kalam_jupyter.engine import types as t
from kalam_jupyter.ksql.errors import KsqlError
from kalam_jupyter.ksql.functions.definitions import AggregateCall, AggregateParts
from kalam_jupyter.ksql.functions.registry import Library

functions = Library("AGGREGATE")
Entry = tuple[int, Any]


def _entry_type(call: AggregateCall) -> t.Struct:
    return t.Struct((("SEQ", t.BIGINT), ("VAL", call.types[0] or t.STRING)))


def _value(state: Entry | None) -> Any:
    return None if state is None else state[1]


def _values(state: list[Entry]) -> list[Any]:
    return [value for _, value in state]


def _ignores_nulls(literals: tuple[Any, ...]) -> bool:
    return not literals or literals[-1] is not False


def _count(call: AggregateCall, name: str) -> int:
    n = call.literals[0]
    if n is None or n < 1:
        raise KsqlError(f"{name} must be 1 or greater")
    return int(n)


@functions.aggregate(
    "earliest_by_offset(value T) -> T", "earliest_by_offset(value T, literal ignoreNulls BOOLEAN) -> T"
)
def earliest(call: AggregateCall) -> AggregateParts:
    """The value processed first, or the first n as an array; NULLs are ignored unless the last argument
    is FALSE."""
    skip, sequence = _ignores_nulls(call.literals), call.context.next_sequence

    def add(state: Entry | None, value: Any) -> Entry | None:
        return state if state is not None or (value is None and skip) else (sequence(), value)

    def merge(a: Entry | None, b: Entry | None) -> Entry | None:
        if a is None or b is None:
            return b if a is None else a
        return a if a[0] < b[0] else b

    return AggregateParts(lambda: None, add, merge, None, _value, _entry_type(call))


@functions.aggregate(
    "latest_by_offset(value T) -> T", "latest_by_offset(value T, literal ignoreNulls BOOLEAN) -> T"
)
def latest(call: AggregateCall) -> AggregateParts:
    """The value processed last, or the last n as an array; NULLs are ignored unless the last argument is
    FALSE."""
    skip, sequence = _ignores_nulls(call.literals), call.context.next_sequence

    def add(state: Entry | None, value: Any) -> Entry | None:
        return state if value is None and skip else (sequence(), value)

    def merge(a: Entry | None, b: Entry | None) -> Entry | None:
        if a is None or b is None:
            return b if a is None else a
        return a if a[0] > b[0] else b

    return AggregateParts(lambda: None, add, merge, None, _value, _entry_type(call))


def _first_entries(n: int, a: list[Entry], b: list[Entry]) -> list[Entry]:
    return sorted(a + b, key=lambda entry: entry[0])[:n]


@functions.aggregate(
    "earliest_by_offset(value T, literal n INT) -> ARRAY<T>",
    "earliest_by_offset(value T, literal n INT, literal ignoreNulls BOOLEAN) -> ARRAY<T>",
)
def earliest_n(call: AggregateCall) -> AggregateParts:
    """The n values processed first, in that order."""
    n, skip = _count(call, "earliestN"), _ignores_nulls(call.literals[1:])
    sequence = call.context.next_sequence

    def add(state: list[Entry], value: Any) -> list[Entry]:
        if len(state) < n and not (value is None and skip):
            state.append((sequence(), value))
        return state

    return AggregateParts(
        list, add, lambda a, b: _first_entries(n, a, b), None, _values, t.Array(_entry_type(call))
    )


@functions.aggregate(
    "latest_by_offset(value T, literal n INT) -> ARRAY<T>",
    "latest_by_offset(value T, literal n INT, literal ignoreNulls BOOLEAN) -> ARRAY<T>",
)
def latest_n(call: AggregateCall) -> AggregateParts:
    """The n values processed last, oldest first. Merging sessions keeps the oldest n, as the reference
    does."""
    n, skip = _count(call, "latestN"), _ignores_nulls(call.literals[1:])
    sequence = call.context.next_sequence

    def add(state: list[Entry], value: Any) -> list[Entry]:
        if not (value is None and skip):
            state.append((sequence(), value))
            del state[:-n]
        return state

    return AggregateParts(
        list, add, lambda a, b: _first_entries(n, a, b), None, _values, t.Array(_entry_type(call))
    )

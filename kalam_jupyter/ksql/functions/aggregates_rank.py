"""TOPK and TOPKDISTINCT (function contract section 9). States are lists, largest value first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kalam_jupyter.engine import types as t
from kalam_jupyter.ksql.errors import KsqlError
from kalam_jupyter.ksql.functions.definitions import AggregateCall, AggregateParts
from kalam_jupyter.ksql.functions.registry import Library
from kalam_jupyter.ksql.values.compare import greater_function

functions = Library("AGGREGATE")
_TOPK = ("INT", "BIGINT", "DOUBLE", "STRING")
_DISTINCT = (*_TOPK, "BYTES", "DATE", "TIME", "TIMESTAMP")


def _k(call: AggregateCall) -> int:
    k = call.literals[-1]
    if k is None or k < 1:
        raise KsqlError(f"The number of values to keep must be 1 or greater, not {k}")
    return int(k)


def _insert(state: list[Any], item: Any, k: int, larger: Callable[[Any, Any], bool]) -> list[Any]:
    """Put an item behind all that are not smaller, and keep k."""
    at = len(state)
    while at and larger(item, state[at - 1]):
        at -= 1
    if at < k:
        state.insert(at, item)
        del state[k:]
    return state


@functions.aggregate(*(f"topk(value {x}, literal k INT) -> ARRAY<{x}>" for x in _TOPK))
def topk(call: AggregateCall) -> AggregateParts:
    """The k largest values, largest first; repeated ones are kept, NULLs ignored.

    With further columns between value and k, structs of the value (``sort_col``) and the columns
    (``col0``, ``col1``, ..).
    """
    k = _k(call)
    assert call.types[0] is not None
    larger = greater_function(call.types[0])

    def add(state: list[Any], value: Any) -> list[Any]:
        return state if value is None else _insert(state, value, k, larger)

    def merge(a: list[Any], b: list[Any]) -> list[Any]:
        for value in b:
            _insert(a, value, k, larger)
        return a

    return AggregateParts(list, add, merge, None, list)


def _rows(types: tuple[t.DataType | None, ...]) -> t.DataType:
    names = ("sort_col", *(f"col{i}" for i in range(len(types) - 2)))
    columns = zip(names, types[:-1], strict=True)
    return t.Array(t.Struct(tuple((name, type_ or t.STRING) for name, type_ in columns)))


@functions.aggregate(*(f"topk(value {x}, columns ANY..., literal k INT)" for x in _TOPK), returns=_rows)
def topk_rows(call: AggregateCall) -> AggregateParts:
    """The k rows with the largest values as structs ``sort_col``, ``col0``, ``col1``, ..; rows without a
    value are ignored."""
    k = _k(call)
    assert call.types[0] is not None
    greater = greater_function(call.types[0])

    def larger(a: tuple[Any, ...], b: tuple[Any, ...]) -> bool:
        return greater(a[0], b[0])

    def add(state: list[Any], *row: Any) -> list[Any]:
        return state if row[0] is None else _insert(state, row, k, larger)

    def merge(a: list[Any], b: list[Any]) -> list[Any]:
        for row in b:
            _insert(a, row, k, larger)
        return a

    return AggregateParts(list, add, merge, None, list)


def topkdistinct(call: AggregateCall) -> AggregateParts:
    """The k largest different values, largest first; NULLs are ignored."""
    k = _k(call)
    assert call.types[0] is not None
    larger = greater_function(call.types[0])

    def add(state: list[Any], value: Any) -> list[Any]:
        return state if value is None or value in state else _insert(state, value, k, larger)

    def merge(a: list[Any], b: list[Any]) -> list[Any]:
        for value in b:
            add(a, value)
        return a

    return AggregateParts(list, add, merge, None, list)


functions.aggregate(*(f"topkdistinct(value {x}, literal k INT) -> ARRAY<{x}>" for x in _DISTINCT))(
    topkdistinct
)
functions.aggregate(
    "topkdistinct(value DECIMAL, literal k INT)", returns=lambda types: t.Array(types[0] or t.STRING)
)(topkdistinct)

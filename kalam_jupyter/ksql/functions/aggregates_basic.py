"""COUNT, SUM, AVG, MIN, MAX, SUM_LIST, COUNT_DISTINCT (function contract section 9)."""

from __future__ import annotations

import operator
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from kalam_jupyter.engine import types as t
from kalam_jupyter.ksql.functions.definitions import AggregateCall, AggregateParts
from kalam_jupyter.ksql.functions.registry import Library
from kalam_jupyter.ksql.values import numbers as n
from kalam_jupyter.ksql.values.compare import greater_function
from kalam_jupyter.ksql.values.errors import AggregationError

functions = Library("AGGREGATE")
Types = tuple[t.DataType | None, ...]
State = dict[str, Any]


def zero() -> int:
    """The initial state of counts and of integer sums."""
    return 0


@functions.aggregate("count(value ANY) -> BIGINT")
def count(call: AggregateCall) -> AggregateParts:
    """Number of values that are not NULL; ``COUNT(*)`` counts records."""

    def add(state: int, value: Any) -> int:
        return state if value is None else state + 1

    def undo(state: int, value: Any) -> int:
        return state if value is None else state - 1

    return AggregateParts(zero, add, lambda a, b: a + b, undo)


@functions.aggregate("count() -> BIGINT")
def count_all(call: AggregateCall) -> AggregateParts:
    """Number of records."""
    return AggregateParts(zero, lambda state: state + 1, lambda a, b: a + b, lambda state: state - 1)


def _sum_parts(
    plus: Callable[[Any, Any], Any], minus: Callable[[Any, Any], Any], start: Any
) -> AggregateParts:
    return AggregateParts(
        lambda: start,
        lambda state, value: state if value is None else plus(state, value),
        plus,
        lambda state, value: state if value is None else minus(state, value),
    )


_WRAP: dict[t.DataType | None, Callable[[int], int]] = {t.INTEGER: n.wrap_int, t.BIGINT: n.wrap_long}


def sum_functions(
    type_: t.DataType | None,
) -> tuple[Callable[[Any, Any], Any], Callable[[Any, Any], Any], Any]:
    """Return plus, minus and zero of a numeric type, with its wrapping or its overflow error."""
    if wrap := _WRAP.get(type_):
        return lambda a, b: wrap(a + b), lambda a, b: wrap(a - b), 0
    if isinstance(type_, t.Decimal):
        bound, p, s = n.decimal_bound(type_.precision, type_.scale), type_.precision, type_.scale

        def checked(value: Decimal) -> Decimal:
            if not -bound < value < bound:
                raise AggregationError(n.overflow_message(value, p, s))
            return value

        add, subtract = n.EXACT.add, n.EXACT.subtract
        return lambda a, b: checked(add(a, b)), lambda a, b: checked(subtract(a, b)), Decimal(0)
    return operator.add, operator.sub, 0.0


@functions.aggregate("sum(value INT) -> INT", "sum(value BIGINT) -> BIGINT", "sum(value DOUBLE) -> DOUBLE")
def sum_(call: AggregateCall) -> AggregateParts:
    """Sum in the type of the values, NULLs ignored; 0 where there is none. Integers wrap, a DECIMAL that
    overflows fails.
    """
    return _sum_parts(*sum_functions(call.types[0]))


functions.aggregate("sum(value DECIMAL)", returns=lambda types: types[0])(sum_)


@functions.aggregate(
    "sum_list(values ARRAY<INT>) -> INT",
    "sum_list(values ARRAY<BIGINT>) -> BIGINT",
    "sum_list(values ARRAY<DOUBLE>) -> DOUBLE",
)
def sum_list(call: AggregateCall) -> AggregateParts:
    """Sum of all elements of all lists; NULL lists and elements are ignored."""
    plus, minus, start = sum_functions(call.result)

    def fold(operation: Callable[[Any, Any], Any]) -> Callable[[Any, list[Any] | None], Any]:
        def apply(state: Any, values: list[Any] | None) -> Any:
            for value in values or ():
                if value is not None:
                    state = operation(state, value)
            return state

        return apply

    return AggregateParts(lambda: start, fold(plus), plus, fold(minus))


@functions.aggregate("avg(value INT) -> DOUBLE", "avg(value BIGINT) -> DOUBLE", "avg(value DOUBLE) -> DOUBLE")
def avg(call: AggregateCall) -> AggregateParts:
    """Mean of the values that are not NULL; 0.0 where there is none. The sum of INT values wraps at 32
    bits.
    """
    type_ = call.types[0]
    assert type_ is not None
    plus, minus, start = sum_functions(type_)

    def add(state: list[Any], value: Any) -> list[Any]:
        return state if value is None else [plus(state[0], value), state[1] + 1]

    def undo(state: list[Any], value: Any) -> list[Any]:
        return state if value is None else [minus(state[0], value), state[1] - 1]

    return AggregateParts(
        lambda: [start, 0],
        add,
        lambda a, b: [plus(a[0], b[0]), a[1] + b[1]],
        undo,
        lambda state: state[0] / state[1] if state[1] else 0.0,
        t.Struct((("SUM", type_), ("COUNT", t.BIGINT))),
    )


_COMPARABLE = ("INT", "BIGINT", "DOUBLE", "STRING", "BYTES", "DATE", "TIME", "TIMESTAMP")


def _extreme(better: Callable[[Any, Any], bool]) -> AggregateParts:
    def add(state: Any, value: Any) -> Any:
        if value is None:
            return state
        return value if state is None or better(value, state) else state

    return AggregateParts(lambda: None, add, add)


def max_(call: AggregateCall) -> AggregateParts:
    """Largest value, NULLs ignored; NULL until there is one. Strings order by UTF-16 code unit, BYTES by
    signed byte.
    """
    assert call.types[0] is not None
    return _extreme(greater_function(call.types[0]))


def min_(call: AggregateCall) -> AggregateParts:
    """Smallest value, NULLs ignored; NULL until there is one. Strings order by UTF-16 code unit, BYTES by
    signed byte.
    """
    assert call.types[0] is not None
    greater = greater_function(call.types[0])
    return _extreme(lambda a, b: greater(b, a))


for _name, _factory in (("max", max_), ("min", min_)):
    functions.aggregate(*(f"{_name}(value {x}) -> {x}" for x in _COMPARABLE))(_factory)
    functions.aggregate(f"{_name}(value DECIMAL)", returns=lambda types: types[0])(_factory)

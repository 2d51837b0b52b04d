"""Comparisons by type pair (language contract section 6). NULL operands never get here."""

from __future__ import annotations

import operator as op
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from kalam_jupyter.engine import types as t
from kalam_jupyter.ksql.errors import KsqlError
from kalam_jupyter.ksql.values import text
from kalam_jupyter.ksql.values.calendar import DAY_MS
from kalam_jupyter.ksql.values.convert import cast_function, sql_type_name
from kalam_jupyter.ksql.values.numbers import numeric_rank, shortest_decimal

Compare = Callable[[Any, Any], bool]

#: The operators, with the names that messages give them.
OPERATOR_NAMES = {
    "=": "EQUAL",
    "<>": "NOT_EQUAL",
    "<": "LESS_THAN",
    "<=": "LESS_THAN_OR_EQUAL",
    ">": "GREATER_THAN",
    ">=": "GREATER_THAN_OR_EQUAL",
    "IS DISTINCT FROM": "IS_DISTINCT_FROM",
}
_PYTHON: dict[str, Compare] = {
    "=": op.eq,
    "<>": op.ne,
    "<": op.lt,
    "<=": op.le,
    ">": op.gt,
    ">=": op.ge,
    "IS DISTINCT FROM": op.ne,
}
_EQUALITY = frozenset(("=", "<>", "IS DISTINCT FROM"))
_TEMPORAL = frozenset((t.DATE, t.TIME, t.TIMESTAMP))
_STRING_ORDER: dict[str, Compare] = {
    "<": text.less,
    "<=": lambda a, b: not text.less(b, a),
    ">": lambda a, b: text.less(b, a),
    ">=": lambda a, b: not text.less(a, b),
}


def comparison_function(
    operator: str,
    left: t.DataType | None,
    right: t.DataType | None,
    left_text: str = "",
    right_text: str = "",
) -> Compare | None:
    """Return the function of ``left operator right``; None where Python's own operator does it.

    Parameters
    ----------
    operator : str
        ``= <> < <= > >=`` or ``IS DISTINCT FROM``.
    left, right : DataType or None
        None for an untyped NULL.
    left_text, right_text : str
        The expressions, for the message.

    Raises
    ------
    KsqlError
        ``Cannot compare ID (INTEGER) to 'x' (STRING) with EQUAL.``, or, for an untyped NULL,
        ``Comparison with NULL not supported: INTEGER = NULL``.
    """
    if left is None or right is None:
        names = [sql_type_name(x) if x is not None else "NULL" for x in (left, right)]
        raise KsqlError(
            f"Comparison with NULL not supported: {names[0]} {operator} {names[1]}\n"
            "Use 'IS NULL' or 'IS NOT NULL' instead."
        )
    if numeric_rank(left) is not None and numeric_rank(right) is not None:
        return _numeric(operator, left, right)
    if left == right == t.STRING:
        return _STRING_ORDER.get(operator)
    if left == right and (left in _TEMPORAL or left == t.BYTES):
        return None
    if operator in _EQUALITY and _same_shape(left, right):
        return None
    found = _temporal(operator, left, right)
    if found is None:
        raise KsqlError(
            f"Cannot compare {left_text} ({left}) to {right_text} ({right}) with {OPERATOR_NAMES[operator]}."
        )
    return found


def _same_shape(left: t.DataType, right: t.DataType) -> bool:
    return left == right and (left == t.BOOLEAN or isinstance(left, t.Array | t.Map | t.Struct))


def _numeric(operator: str, left: t.DataType, right: t.DataType) -> Compare | None:
    compare = _PYTHON[operator]
    if isinstance(left, t.Decimal) and right == t.DOUBLE:
        return lambda a, b: compare(a, _decimal_of(b))
    if left == t.DOUBLE and isinstance(right, t.Decimal):
        return lambda a, b: compare(_decimal_of(a), b)
    if t.DOUBLE in (left, right) and t.BIGINT in (left, right):
        return lambda a, b: compare(float(a), float(b))
    return None


def _decimal_of(value: float) -> Decimal:
    return shortest_decimal(value)


def _temporal(operator: str, left: t.DataType, right: t.DataType) -> Compare | None:
    compare = _PYTHON[operator]
    if left in _TEMPORAL and right == t.STRING:
        parse = cast_function(t.STRING, left)
        return lambda a, b: compare(a, parse(b))
    if left == t.STRING and right in _TEMPORAL:
        parse = cast_function(t.STRING, right)
        return lambda a, b: compare(parse(a), b)
    if (left, right) == (t.DATE, t.TIMESTAMP):
        return lambda a, b: compare(a * DAY_MS, b)
    if (left, right) == (t.TIMESTAMP, t.DATE):
        return lambda a, b: compare(a, b * DAY_MS)
    return None


def sort_key(type_: t.DataType) -> Callable[[Any], Any] | None:
    """Return the key by which values of a comparable type sort as Java sorts them; None when they do so by
    themselves.

    Strings sort by UTF-16 code unit, BYTES by signed byte, NaN above all numbers.
    """
    if type_ == t.DOUBLE:
        return lambda v: (v != v, v)
    if type_ == t.STRING:
        return text.sort_key
    return text.signed_bytes if type_ == t.BYTES else None


def greater_function(type_: t.DataType) -> Compare:
    """Return ``a > b`` for values of a comparable type, as MAX, GREATEST and sorting have it."""
    if type_ == t.STRING:
        return lambda a, b: text.less(b, a)
    if type_ == t.BYTES:
        return lambda a, b: text.signed_bytes(a) > text.signed_bytes(b)
    return _greater_double if type_ == t.DOUBLE else op.gt


def _greater_double(a: float, b: float) -> bool:
    return a > b or (a != a and b == b)

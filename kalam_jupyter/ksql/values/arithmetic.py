"""Result types and functions of ``+ - * / %`` and unary minus (language contract 4.4 and 6)."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Context, Decimal, DecimalException, DivisionByZero, Inexact, InvalidOperation
from typing import Any

from kalam_jupyter.engine import types as t
from kalam_jupyter.ksql.errors import KsqlError
from kalam_jupyter.ksql.values import numbers as n
from kalam_jupyter.ksql.values.convert import base_name
from kalam_jupyter.ksql.values.errors import EvaluationError

Binary = Callable[[Any, Any], Any]


def _decimal_result(operator: str, left: t.Decimal, right: t.Decimal) -> t.Decimal:
    p1, s1, p2, s2 = left.precision, left.scale, right.precision, right.scale
    match operator:
        case "+" | "-":
            scale = max(s1, s2)
            return t.Decimal(max(p1 - s1, p2 - s2) + scale + 1, scale)
        case "*":
            return t.Decimal(p1 + p2 + 1, s1 + s2)
        case "/":
            scale = max(6, s1 + p2 + 1)
            return t.Decimal(p1 - s1 + s2 + scale, scale)
        case _:
            scale = max(s1, s2)
            return t.Decimal(min(p1 - s1, p2 - s2) + scale, scale)


def arithmetic_type(operator: str, left: t.DataType | None, right: t.DataType | None) -> t.DataType:
    """Return the type of ``left operator right``.

    Parameters
    ----------
    operator : str
        One of ``+ - * / %``.
    left, right : DataType or None
        None for an untyped NULL.

    Raises
    ------
    KsqlError
        ``Unsupported arithmetic types. BOOLEAN DECIMAL``, or ``Arithmetic on types INTEGER and null are not
        supported.``
    """
    if left is None or right is None:
        raise KsqlError(f"Arithmetic on types {left or 'null'} and {right or 'null'} are not supported.")
    a, b = n.numeric_rank(left), n.numeric_rank(right)
    if a is not None and b is not None:
        if max(a, b) != 2:
            return left if a >= b else right
        return _decimal_result(operator, n.as_decimal_type(left), n.as_decimal_type(right))
    if operator == "+" and left == right == t.STRING:
        return t.STRING
    raise KsqlError(f"Unsupported arithmetic types. {base_name(left)} {base_name(right)}")


def arithmetic_function(operator: str, left: t.DataType, right: t.DataType) -> Binary | None:
    """Return the function of ``left operator right``; None where Python's own operator does it.

    With None the caller wraps INTEGER and BIGINT results to their width. Functions take values that are not
    NULL, wrap by themselves and raise `EvaluationError`.
    """
    result = arithmetic_type(operator, left, right)
    if isinstance(result, t.Decimal):
        return _decimal_function(operator, left, right, result)
    if operator in "+-*":
        return _MIXED[operator] if isinstance(left, t.Decimal) or isinstance(right, t.Decimal) else None
    if result == t.DOUBLE:
        return _divide_double if operator == "/" else _modulo_double
    if operator == "/":
        return _divide_int if result == t.INTEGER else _divide_long
    return _modulo_integer


def negation_function(type_: t.DataType) -> Callable[[Any], Any]:
    """Return unary minus for a numeric type; KsqlError for others."""
    if isinstance(type_, t.Decimal):
        return _negated
    try:
        return _NEGATE[type_]
    except KeyError:
        raise KsqlError(f"Negation on {base_name(type_)} is not supported.") from None


def _negated(value: Decimal) -> Decimal:
    """Return ``-value``, all its digits kept: Python's own operator rounds to 28."""
    return value.copy_negate() if value else value


_NEGATE: dict[t.DataType, Callable[[Any], Any]] = {
    t.INTEGER: lambda value: n.wrap_int(-value),
    t.BIGINT: lambda value: n.wrap_long(-value),
    t.DOUBLE: lambda value: -value,
}

_MIXED: dict[str, Binary] = {
    "+": lambda a, b: float(a) + float(b),
    "-": lambda a, b: float(a) - float(b),
    "*": lambda a, b: float(a) * float(b),
}


def _truncated(a: int, b: int) -> int:
    if b == 0:
        raise EvaluationError("/ by zero")
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


def _divide_int(a: int, b: int) -> int:
    return n.wrap_int(_truncated(a, b))


def _divide_long(a: int, b: int) -> int:
    return n.wrap_long(_truncated(a, b))


def _modulo_integer(a: int, b: int) -> int:
    if b == 0:
        raise EvaluationError("/ by zero")
    remainder = abs(a) % abs(b)
    return remainder if a >= 0 else -remainder


def _divide_double(a: Any, b: Any) -> float:
    x, y = float(a), float(b)
    if y:
        return x / y
    if x != x or x == 0 or y != y:
        return math.nan
    return math.copysign(math.inf, x) * math.copysign(1.0, y)


def _modulo_double(a: Any, b: Any) -> float:
    x, y = float(a), float(b)
    return math.nan if y == 0 or math.isinf(x) else math.fmod(x, y)


_OPERATION: dict[str, Callable[[Context, Decimal, Decimal], Decimal]] = {
    "+": Context.add,
    "-": Context.subtract,
    "*": Context.multiply,
    "/": Context.divide,
    "%": Context.remainder,
}


def _decimal_function(operator: str, left: t.DataType, right: t.DataType, result: t.Decimal) -> Binary:
    context = Context(prec=result.precision, traps=[InvalidOperation, DivisionByZero, Inexact])
    operation = _OPERATION[operator]
    scale, exact = result.scale, n.UNNECESSARY
    integers = not (isinstance(left, t.Decimal) and isinstance(right, t.Decimal))

    def evaluate(a: Any, b: Any) -> Decimal:
        if integers:
            a, b = Decimal(a), Decimal(b)
        try:
            return n.rescaled(operation(context, a, b), scale, exact)
        except DecimalException as error:
            what = "Division by zero" if not b and operator in "/%" else "Rounding necessary"
            raise EvaluationError(what) from error

    return evaluate

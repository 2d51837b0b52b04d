"""Implicit conversions of bound expressions: IN lists, constructors, literals that stand for moments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kalam_jupyter.engine.types import BIGINT, DataType
from kalam_jupyter.ksql.errors import KsqlError, StatementError
from kalam_jupyter.ksql.expressions import bound as b
from kalam_jupyter.ksql.lang import ast
from kalam_jupyter.ksql.values import calendar
from kalam_jupyter.ksql.values.coerce import NO_LITERAL, Operand, coercion, common_type
from kalam_jupyter.ksql.values.convert import identity
from kalam_jupyter.ksql.values.errors import EvaluationError


def typed(e: b.Bound) -> DataType:
    """Return the type of what a query selects; StatementError for an untyped NULL."""
    if e.type is None:
        raise StatementError(
            "Can't infer a type of null. Please explicitly cast it to a required type, e.g. CAST(null AS "
            "VARCHAR)."
        )
    return e.type


def operand_of(e: b.Bound, expression: ast.Expression) -> Operand:
    """Describe a bound expression to the coercion rules."""
    parts: tuple[Operand, ...] | None = None
    match e, expression:
        case b.ArrayOf(items=items), ast.ArrayConstructor(items=texts):
            parts = tuple(map(operand_of, items, texts))
        case b.MapOf(keys=keys, values=values), ast.MapConstructor(entries=entries):
            parts = (
                *map(operand_of, keys, [k for k, _ in entries]),
                *map(operand_of, values, [v for _, v in entries]),
            )
        case b.StructOf(items=items), ast.StructConstructor(fields=fields):
            parts = tuple(map(operand_of, items, [v for _, v in fields]))
    literal: Any = e.value if isinstance(e, b.Constant) and e.type is not None else NO_LITERAL
    return Operand(e.type, str(expression), literal, parts)


def _coerced(e: b.Bound, operand: Operand, target: DataType) -> b.Bound:
    function = coercion(operand, target)
    if function is identity or e.type == target:
        return e
    if isinstance(e, b.Constant):
        if e.value is None:
            return b.Constant(type=target, value=None)
        try:
            return b.Constant(type=target, value=function(e.value))
        except EvaluationError as error:
            raise StatementError(str(error)) from None
    return b.Conversion(type=target, operand=e, function=function, contains=False)


def common_items(
    items: Sequence[b.Bound], expressions: Sequence[ast.Expression]
) -> tuple[DataType, list[b.Bound]]:
    """Bring items to one type, the first typed one leading.

    Raises
    ------
    StatementError
        If there is none: ``operator does not exist ..``, ``invalid input syntax for type ..``.
    """
    operands = list(map(operand_of, items, expressions))
    try:
        target = common_type(operands)
    except KsqlError as error:
        raise StatementError(error.message) from None
    assert target is not None
    return target, [_coerced(e, o, target) for e, o in zip(items, operands, strict=True)]


def membership_items(
    operand: b.Bound, items: Sequence[b.Bound], value: ast.Expression, expressions: Sequence[ast.Expression]
) -> tuple[b.Bound, list[b.Bound]]:
    """Bring the operand of IN and its items to one type."""
    try:
        if operand.type is None and all(i.type is None for i in items):
            return operand, list(items)
        _, (operand, *rest) = common_items([operand, *items], [value, *expressions])
    except StatementError as error:
        raise StatementError(f"Invalid Predicate: {error.message}") from None
    return operand, rest


def magic_timestamp(e: b.Bound) -> b.Bound:
    """Return a string literal that is compared with ROWTIME or a window bound as the moment it names."""
    assert isinstance(e, b.Constant)
    try:
        return b.Constant(type=BIGINT, value=calendar.parse_timestamp(e.value))
    except EvaluationError as error:
        raise StatementError(str(error)) from None

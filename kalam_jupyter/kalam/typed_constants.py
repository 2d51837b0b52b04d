"""Constants in the types of the columns they are compared with.

``n > '10'``, ``flag = 1`` and ``at >= 1767225600000000`` mean the same however large a table is: here, where
conditions are Python functions (`predicate`), and in the query engine, which compares texts, or refuses. So
the engine gets such conditions with their constants converted.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as Number
from typing import Any

from kalam_jupyter.engine.types import (
    BOOLEAN,
    DATE,
    STRING,
    DataType,
    Decimal,
    Logical,
    Primitive,
    Schema,
    Time,
    Timestamp,
)
from kalam_jupyter.kalam import expressions as ex
from kalam_jupyter.kalam.coercion import coercer
from kalam_jupyter.kalam.errors import StatementError
from kalam_jupyter.kalam.predicate import Params, parameter

_WHOLE = frozenset({"SMALLINT", "INTEGER", "BIGINT"})
_FLOATING = frozenset({"FLOAT", "DOUBLE"})


def condition(node: ex.Expression, text: str, schema: Schema, params: Params = ()) -> str:
    """Return the text of a condition for the query engine; as it was if there is nothing to convert."""
    found = typed(node, schema, params)
    return text if found is node else ex.render(found)


def typed(node: ex.Expression, schema: Schema, params: Params) -> ex.Expression:
    """Return a condition with its constants converted; the same object if there is nothing to convert."""
    match node:
        case ex.Binary(op, left, right) if op in ex.COMPARISONS.values():
            found: ex.Expression = replace(
                node, left=_typed(left, right, schema, params), right=_typed(right, left, schema, params)
            )
        case ex.Binary(op, left, right) if op in ("AND", "OR"):
            found = replace(node, left=typed(left, schema, params), right=typed(right, schema, params))
        case ex.Unary("NOT", operand):
            found = replace(node, operand=typed(operand, schema, params))
        case ex.InList(operand, items):
            found = replace(node, items=tuple(_typed(i, operand, schema, params) for i in items))
        case ex.Between(operand, low, high):
            found = replace(
                node, low=_typed(low, operand, schema, params), high=_typed(high, operand, schema, params)
            )
        case _:
            return node
    return node if found == node else found


def _typed(node: ex.Expression, other: ex.Expression, schema: Schema, params: Params) -> ex.Expression:
    if not isinstance(node, (ex.Literal, ex.Parameter)) or not isinstance(other, ex.ColumnRef):
        return node
    index = schema.index.get(other.name)
    value = node.value if isinstance(node, ex.Literal) else parameter(params, node.index)
    if index is None or value is None:
        return node
    type_ = schema.columns[index].type
    number = isinstance(value, (int, float, Number)) and not isinstance(value, bool)
    if number and (isinstance(type_, Decimal) or _is_one_of(type_, _WHOLE | _FLOATING)):
        return node
    try:
        found = coercer(type_)(value)
    except StatementError:
        return node
    temporal = isinstance(type_, (Timestamp, Time)) or type_ == DATE
    as_it_was = type(found) is type(value) and found == value and not temporal
    text = None if as_it_was else _literal(found, type_)
    return node if text is None else ex.Opaque(text)


def _is_one_of(type_: DataType, names: frozenset[str]) -> bool:
    return isinstance(type_, Primitive) and type_.name in names


def _literal(value: Any, type_: DataType) -> str | None:
    """Return a physical value as SQL text of its type; None for types whose constants need no help."""
    match type_:
        case Timestamp(_, zone):
            shown = f'Some("{zone}")' if zone else "None"
            return f"arrow_cast({value}, 'Timestamp(Microsecond, {shown})')"
        case Time():
            return f"arrow_cast({value}, 'Time64(Microsecond)')"
        case Decimal(precision, scale):
            return f"CAST('{value}' AS DECIMAL({precision}, {scale}))"
    if type_ == DATE:
        return f"arrow_cast(arrow_cast({value}, 'Int32'), 'Date32')"
    if type_ in (BOOLEAN, STRING) or isinstance(type_, Logical) or _is_one_of(type_, _WHOLE):
        return ex.render_literal(value)
    if _is_one_of(type_, _FLOATING):
        return f"CAST({value!r} AS DOUBLE)" if abs(value) < float("inf") else None
    return None

"""Bringing several expressions to one type: IN lists, ARRAY and MAP constructors (language contract
section 6).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from kalam_jupyter.engine import types as t
from kalam_jupyter.ksql.errors import KsqlError
from kalam_jupyter.ksql.values import numbers as n
from kalam_jupyter.ksql.values.convert import Convert, cast_function, identity, parse_boolean
from kalam_jupyter.ksql.values.errors import EvaluationError

#: Marks an operand that is no literal.
NO_LITERAL: Any = object()


@dataclass(frozen=True)
class Operand:
    """One expression to be coerced.

    Attributes
    ----------
    type : DataType or None
        None for an untyped NULL.
    text : str
        The expression, for messages.
    literal : Any
        Its value if it is a literal.
    parts : tuple of Operand or None
        Elements of an ARRAY constructor; keys, then values of a MAP constructor; fields of a STRUCT
        constructor.
    """

    type: t.DataType | None
    text: str
    literal: Any = NO_LITERAL
    parts: tuple[Operand, ...] | None = None


def common_type(operands: Sequence[Operand]) -> t.DataType | None:
    """Return the type that all operands can be brought to, the first typed one leading; None if all are NULL.

    Numbers widen; string literals parse to a boolean or numeric leader; literals become text for a STRING
    leader; elements of arrays and maps widen; struct constructors merge to the union of their fields.

    Raises
    ------
    KsqlError
        ``operator does not exist: INTEGER = BOOLEAN (true)`` or
        ``invalid input syntax for type INTEGER: "x".``, each with a hint.
    """
    common: t.DataType | None = None
    for operand in operands:
        if operand.type is not None:
            common = operand.type if common is None else _join(common, operand)
    return common


def coercion(operand: Operand, target: t.DataType) -> Convert:
    """Return the conversion of an operand's value (not NULL) to what `common_type` found; `identity` when
    nothing changes.
    """
    if operand.type is None or operand.type == target:
        return identity
    return cast_function(operand.type, target)


def _join(common: t.DataType, operand: Operand) -> t.DataType:
    type_ = operand.type
    assert type_ is not None
    if n.numeric_rank(common) is not None:
        return _join_number(common, operand)
    match common, type_:
        case t.Primitive("BOOLEAN"), t.Primitive("STRING") if operand.literal is not NO_LITERAL:
            if parse_boolean(operand.literal) is None:
                raise _invalid_input(common, operand.literal)
            return common
        case t.Primitive("STRING"), _ if operand.literal is not NO_LITERAL:
            return common
        case t.Array(), t.Array():
            return t.Array(_join_part(common.element, type_.element, operand, operand.parts))
        case t.Map(), t.Map():
            half = len(operand.parts) // 2 if operand.parts else 0
            keys, values = (operand.parts[:half], operand.parts[half:]) if operand.parts else (None, None)
            key = _join_part(common.key, type_.key, operand, keys)
            return t.Map(key, _join_part(common.value, type_.value, operand, values))
        case t.Struct(), t.Struct():
            return _join_struct(common, type_, operand)
    if common == type_ or (operand.literal is not NO_LITERAL and _temporal_literal(common, operand)):
        return common
    raise _no_operator(common, operand)


def _join_part(
    common: t.DataType, type_: t.DataType, operand: Operand, parts: Sequence[Operand] | None
) -> t.DataType:
    """Join an element type; literals inside a constructor are judged one by one, and blamed as the whole
    constructor.
    """
    for part in parts or (Operand(type_, operand.text),):
        if part.type is not None:
            try:
                common = _join(common, part)
            except _NoOperatorError:
                raise _no_operator(_outer(common, operand), operand) from None
    return common


def _outer(common: t.DataType, operand: Operand) -> t.DataType:
    """The container type whose element type `common` is, for the message."""
    match operand.type:
        case t.Array():
            return t.Array(common)
        case t.Map(key, _):
            return t.Map(key, common)
    return common


def _join_struct(common: t.Struct, type_: t.Struct, operand: Operand) -> t.Struct:
    fields = dict(common.fields)
    for i, (name, field) in enumerate(type_.fields):
        part = operand.parts[i] if operand.parts else Operand(field, operand.text)
        if name in fields:
            fields[name] = _join(fields[name], part) if part.type is not None else fields[name]
        else:
            fields[name] = field
    return t.Struct(tuple(fields.items()))


def _join_number(common: t.DataType, operand: Operand) -> t.DataType:
    type_ = operand.type
    if type_ == t.STRING and operand.literal is not NO_LITERAL:
        type_ = _literal_number_type(common, operand.literal)
    if n.numeric_rank(type_) is None:
        raise _no_operator(common, operand)
    assert type_ is not None
    return n.wider(common, type_)


def _literal_number_type(common: t.DataType, literal: str) -> t.DataType:
    try:
        if common == t.DOUBLE:
            n.parse_double(literal)
            return common
        value: Decimal = n.parse_decimal(literal)
    except EvaluationError:
        raise _invalid_input(common, literal) from None
    precision, scale = n.decimal_digits(value)
    if scale == 0 and n.MIN_LONG <= value <= n.MAX_LONG:
        return t.INTEGER if n.MIN_INT <= value <= n.MAX_INT else t.BIGINT
    return t.Decimal(precision, scale)


def _temporal_literal(common: t.DataType, operand: Operand) -> bool:
    if operand.type != t.STRING or common not in (t.DATE, t.TIME, t.TIMESTAMP, t.BYTES):
        return False
    try:
        cast_function(t.STRING, common)(operand.literal)
    except EvaluationError:
        raise _invalid_input(common, operand.literal) from None
    return True


_HINT = "\nHint: You might need to add explicit type casts."


class _NoOperatorError(KsqlError):
    """Two types that have no common type."""


def _no_operator(common: t.DataType, operand: Operand) -> _NoOperatorError:
    return _NoOperatorError(f"operator does not exist: {common} = {operand.type} ({operand.text}){_HINT}")


def _invalid_input(common: t.DataType, literal: str) -> KsqlError:
    name = "DECIMAL" if isinstance(common, t.Decimal) else str(common)
    return KsqlError(f'invalid input syntax for type {name}: "{literal}".{_HINT}')

"""Conversions between types: implicit widening and the CAST matrix (language contract 4.2 and 4.3)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from typing import Any

from kalam_jupyter.engine import types as t
from kalam_jupyter.ksql.errors import KsqlError
from kalam_jupyter.ksql.values import calendar
from kalam_jupyter.ksql.values import numbers as n
from kalam_jupyter.ksql.values.errors import EvaluationError

Convert = Callable[[Any], Any]

#: Types by every name that SQL text may give them.
TYPE_NAMES: dict[str, t.DataType] = {
    "BOOLEAN": t.BOOLEAN,
    "INT": t.INTEGER,
    "INTEGER": t.INTEGER,
    "BIGINT": t.BIGINT,
    "DOUBLE": t.DOUBLE,
    "STRING": t.STRING,
    "VARCHAR": t.STRING,
    "BYTES": t.BYTES,
    "DATE": t.DATE,
    "TIME": t.TIME,
    "TIMESTAMP": t.TIMESTAMP,
}


def sql_type_name(type_: t.DataType | None) -> str:
    """Return a type as messages and schemas print it, ``null`` for that of an untyped NULL."""
    return "null" if type_ is None else str(type_)


def base_name(type_: t.DataType | None) -> str:
    """Return a type's name without parameters: DECIMAL, ARRAY, INTEGER, .."""
    return sql_type_name(type_).partition("(")[0].partition("<")[0]


def identity(value: Any) -> Any:
    """The conversion that changes nothing: callers may leave it out."""
    return value


def parse_boolean(text: str) -> bool | None:
    """Return what a non-empty prefix of true, yes, false or no says, in any case; None for other text."""
    word = text.strip().lower()
    if not word:
        return None
    if "true".startswith(word) or "yes".startswith(word):
        return True
    return False if "false".startswith(word) or "no".startswith(word) else None


def decode_base64(text: str) -> bytes:
    """Decode strict base64 (RFC 4648, padding optional); EvaluationError for anything else."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise EvaluationError(f"Not base64: '{text}'") from error


def encode_base64(data: bytes) -> str:
    """Encode as base64 with padding."""
    return base64.b64encode(data).decode("ascii")


_FROM_STRING: dict[t.DataType, Convert] = {
    t.BOOLEAN: lambda v: parse_boolean(v) is True,
    t.INTEGER: lambda v: n.parse_integer(v, t.INTEGER),
    t.BIGINT: lambda v: n.parse_integer(v, t.BIGINT),
    t.DOUBLE: n.parse_double,
    t.DATE: calendar.parse_date,
    t.TIME: calendar.parse_time,
    t.TIMESTAMP: calendar.parse_timestamp,
    t.BYTES: decode_base64,
}

_PRIMITIVE_CASTS: dict[tuple[t.DataType, t.DataType], Convert] = {
    **{(t.STRING, to): f for to, f in _FROM_STRING.items()},
    (t.INTEGER, t.BIGINT): identity,
    (t.INTEGER, t.DOUBLE): float,
    (t.BIGINT, t.INTEGER): n.wrap_int,
    (t.BIGINT, t.DOUBLE): float,
    (t.DOUBLE, t.INTEGER): n.saturate_int,
    (t.DOUBLE, t.BIGINT): n.saturate_long,
    (t.TIMESTAMP, t.DATE): lambda v: v // calendar.DAY_MS,
    (t.TIMESTAMP, t.TIME): lambda v: v % calendar.DAY_MS,
    (t.DATE, t.TIMESTAMP): lambda v: v * calendar.DAY_MS,
}


@lru_cache(4096)
def cast_function(source: t.DataType | None, target: t.DataType) -> Convert:
    """Return the function of ``CAST(source AS target)``.

    Parameters
    ----------
    source : DataType or None
        None for an untyped NULL.
    target : DataType

    Returns
    -------
    callable
        Takes a value that is not NULL; raises `EvaluationError` where the value does not fit. It is
        `identity` when nothing changes.

    Raises
    ------
    KsqlError
        ``Cast of STRING to ARRAY<INTEGER> is not supported``.
    """
    if source is None or source == target:
        return identity
    found = _PRIMITIVE_CASTS.get((source, target)) or _parametric_cast(source, target)
    if found is None:
        raise KsqlError(f"Cast of {source} to {target} is not supported")
    return found


def _parametric_cast(source: t.DataType, target: t.DataType) -> Convert | None:
    match source, target:
        case _, t.Primitive("STRING"):
            from kalam_jupyter.ksql.values.render import cast_text

            return cast_text(source)
        case _, t.Decimal():
            return _to_decimal(source, target)
        case t.Decimal(), t.Primitive():
            return _FROM_DECIMAL.get(target)
        case t.Array(), t.Array():
            item = _nullable(cast_function(source.element, target.element))
            return lambda v: [item(x) for x in v]
        case t.Map(), t.Map():
            key = _nullable(cast_function(source.key, target.key))
            value = _nullable(cast_function(source.value, target.value))
            return lambda v: {key(k): value(x) for k, x in v.items()}
        case t.Struct(), t.Struct():
            return _cast_struct(source, target)
    return None


_FROM_DECIMAL: dict[t.DataType, Convert] = {
    t.INTEGER: lambda v: n.wrap_int(int(v)),
    t.BIGINT: lambda v: n.wrap_long(int(v)),
    t.DOUBLE: float,
}


def _to_decimal(source: t.DataType, target: t.Decimal) -> Convert | None:
    p, s = target.precision, target.scale
    if source in (t.INTEGER, t.BIGINT):
        return lambda v: n.fit_decimal(Decimal(v), p, s)
    if source == t.DOUBLE:
        return lambda v: n.double_to_decimal(v, p, s)
    if source == t.STRING:
        return lambda v: n.fit_decimal(n.parse_decimal(v), p, s)
    if isinstance(source, t.Decimal):
        if source.scale == s and source.precision <= p:
            return identity
        return lambda v: n.fit_decimal(v, p, s)
    return None


def _cast_struct(source: t.Struct, target: t.Struct) -> Convert:
    fields: list[tuple[int | None, Convert]] = []
    for name, type_ in target.fields:
        at = source.index.get(name)
        cast = identity if at is None else _nullable(cast_function(source.fields[at][1], type_))
        fields.append((at, cast))
    return lambda v: tuple(None if at is None else cast(v[at]) for at, cast in fields)


def _nullable(convert: Convert) -> Convert:
    if convert is identity:
        return identity
    return lambda v: None if v is None else convert(v)


_FROM_LITERAL = frozenset((t.DATE, t.TIME, t.TIMESTAMP, t.BYTES))


def widens_to(source: t.DataType | None, target: t.DataType) -> bool:
    """Whether a value of `source` is accepted where `target` is wanted (INT -> BIGINT -> DECIMAL -> DOUBLE;
    text -> temporal, BYTES).

    An untyped NULL is accepted anywhere; elements of arrays and maps widen too, struct fields do not.
    """
    if source is None or source == target:
        return True
    a, b = n.numeric_rank(source), n.numeric_rank(target)
    if a is not None and b is not None:
        if isinstance(target, t.Decimal) and a <= 2:
            given = n.as_decimal_type(source)
            return (
                given.scale <= target.scale
                and given.precision - given.scale <= target.precision - target.scale
            )
        return a < b
    match source, target:
        case t.Primitive("STRING"), _:
            return target in _FROM_LITERAL
        case t.Array(), t.Array():
            return widens_to(source.element, target.element)
        case t.Map(), t.Map():
            return widens_to(source.key, target.key) and widens_to(source.value, target.value)
    return False


def widening_function(source: t.DataType | None, target: t.DataType) -> Convert:
    """Return the conversion of an implicit widening that `widens_to` allows; `identity` when nothing
    changes.
    """
    return cast_function(source, target)

"""Coercion of inserted values to the column's type: INT to BIGINT to DECIMAL to DOUBLE, text to temporal
types and BYTES.
"""

from __future__ import annotations

from typing import Any

from kalam_jupyter.engine.types import (
    Array,
    Column,
    DataType,
    Decimal,
    Map,
    Struct,
)
from kalam_jupyter.ksql.errors import StatementError
from kalam_jupyter.ksql.lang import ast
from kalam_jupyter.ksql.values.convert import cast_function, widens_to
from kalam_jupyter.ksql.values.numbers import numeric_rank


def coerce(value: Any, type_: DataType, target: DataType, column: Column, e: ast.Expression) -> Any:
    """Return `value` of `type_` as `target`; StatementError if that is no implicit conversion."""
    found = _coerce(value, type_, target)
    if found is _NO:
        raise StatementError(f"Expected type {column.type} for field `{column.name}` but got {type_}({e})")
    return found


_NO: Any = object()


def _coerce(value: Any, type_: DataType | None, target: DataType) -> Any:
    if value is None or type_ is None:
        return None
    if type_ == target:
        return value
    match type_, target:
        case Array(given), Array(wanted):
            items = [_coerce(v, given, wanted) for v in value]
            return _NO if _NO in items else items
        case Map(given_key, given), Map(wanted_key, wanted):
            entries = {_coerce(k, given_key, wanted_key): _coerce(v, given, wanted) for k, v in value.items()}
            return _NO if _NO in entries or _NO in entries.values() else entries
        case Struct(), Struct():
            return _struct(value, type_, target)
    ranks = numeric_rank(type_), numeric_rank(target)
    if None not in ranks:
        if ranks[0] < ranks[1] or (isinstance(target, Decimal) and isinstance(type_, Decimal)):  # type: ignore[operator]
            return cast_function(type_, target)(value)
        return _NO
    return cast_function(type_, target)(value) if widens_to(type_, target) else _NO


def _struct(value: tuple[Any, ...], type_: Struct, target: Struct) -> Any:
    if any(name not in target.index for name, _ in type_.fields):
        return _NO
    given = {name: (v, t) for (name, t), v in zip(type_.fields, value, strict=True)}
    fields = tuple(_coerce(*given[name], wanted) if name in given else None for name, wanted in target.fields)
    return _NO if any(f is _NO for f in fields) else fields

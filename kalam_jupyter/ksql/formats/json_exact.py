"""Reads parsed JSON by the rules of 15.3: names in any case, integers from floats, texts from anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any

import msgspec

from kalam_jupyter.engine import types as t
from kalam_jupyter.engine.batch import Row
from kalam_jupyter.engine.types import DataType
from kalam_jupyter.ksql.formats.base import SerdeError
from kalam_jupyter.ksql.formats.text import (
    INTEGER_BOUNDS,
    fit_decimal,
    read_base64,
    read_decimal,
    read_double,
    read_integer,
)

Converter = Callable[[Any], Any]
#: What a bad record can raise: msgspec's errors, ours; integers, decimals and nesting beyond all measure
REFUSALS = (msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError)

_parse = msgspec.json.Decoder(float_hook=Decimal).decode


def parse(data: bytes) -> Any:
    """Parse one JSON text, floats as exact decimals; SerdeError if it is not JSON."""
    try:
        return _parse(data)
    except REFUSALS as error:
        raise SerdeError(str(error)) from None


def compact_text(value: Any) -> str:
    """Return a parsed value as JSON without blanks, number text as it was."""
    if isinstance(value, str):
        return encode_basestring(value)
    if isinstance(value, dict):
        return f"{{{','.join(f'{encode_basestring(k)}:{compact_text(v)}' for k, v in value.items())}}}"
    if isinstance(value, list):
        return f"[{','.join(map(compact_text, value))}]"
    return plain_text(value)


def plain_text(value: Any) -> str:
    """Return a parsed value as a STRING column shows it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return compact_text(value)
    if isinstance(value, list):
        return f"[{', '.join(map(plain_text, value))}]"
    return "null" if value is None else str(value)


def _mismatch(value: Any, type_: DataType) -> SerdeError:
    kinds = {bool: "BOOLEAN", str: "STRING", list: "ARRAY", dict: "OBJECT"}
    return SerdeError(
        f"Can't convert type. sourceType: {kinds.get(type(value), 'NUMBER')}, requiredType: {type_}"
    )


def _wrap(value: int | Decimal, bits: int) -> int:
    """Return the integer part in `bits` bits, as Java's narrowing does."""
    if isinstance(value, Decimal) and value.adjusted() > 400:
        return 0  # so many factors of ten leave no low bits, and would fill the memory
    half = 1 << (bits - 1)
    return (int(value) + half) % (1 << bits) - half


def _integer_converter(type_: DataType) -> Converter:
    name = str(t.storage_type(type_))
    bounds = INTEGER_BOUNDS[name]
    bits = {"INTEGER": 32, "BIGINT": 64}.get(name)

    def convert(value: Any) -> int:
        if isinstance(value, str):
            return read_integer(value, bounds)
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            raise _mismatch(value, type_)
        if bits is not None:
            return _wrap(value, bits)
        if not isinstance(value, int) or not bounds[0] <= value <= bounds[1]:
            raise _mismatch(value, type_)
        return value

    return convert


def _double_converter(type_: DataType) -> Converter:
    def convert(value: Any) -> float:
        if isinstance(value, str):
            return read_double(value)
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            raise _mismatch(value, type_)
        return float(Decimal(value))

    return convert


def _decimal_converter(type_: t.Decimal) -> Converter:
    def convert(value: Any) -> Decimal:
        if isinstance(value, str):
            return read_decimal(value, type_)
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            raise _mismatch(value, type_)
        return fit_decimal(Decimal(value), type_)

    return convert


def _boolean_converter(type_: DataType) -> Converter:
    def convert(value: Any) -> bool:
        if not isinstance(value, bool):
            raise _mismatch(value, type_)
        return value

    return convert


def _bytes_converter(type_: DataType) -> Converter:
    def convert(value: Any) -> bytes:
        if not isinstance(value, str):
            raise _mismatch(value, type_)
        return read_base64(value)

    return convert


def _array_converter(type_: t.Array) -> Converter:
    element = value_converter(type_.element)

    def convert(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise _mismatch(value, type_)
        return [None if v is None else element(v) for v in value]

    return convert


def _map_converter(type_: t.Map) -> Converter:
    item = value_converter(type_.value)

    def convert(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _mismatch(value, type_)
        return {k: None if v is None else item(v) for k, v in value.items()}

    return convert


def value_converter(type_: DataType) -> Converter:
    """Return the converter of one type's parsed, non-null values; it raises `SerdeError`."""
    match t.storage_type(type_):
        case t.Array() as array:
            return _array_converter(array)
        case t.Map() as map_:
            return _map_converter(map_)
        case t.Struct(fields) as struct:
            return object_converter(fields, struct)
        case t.Decimal() as decimal:
            return _decimal_converter(decimal)
        case t.Primitive("STRING"):
            return plain_text
        case t.Primitive("BOOLEAN"):
            return _boolean_converter(type_)
        case t.Primitive("DOUBLE"):
            return _double_converter(type_)
        case t.Primitive("BYTES"):
            return _bytes_converter(type_)
        case _:
            return _integer_converter(type_)


_ABSENT = object()


def object_converter(fields: Sequence[tuple[str, DataType]], type_: DataType | None = None) -> Converter:
    """Return the converter of an object to a tuple: fields by exact name, else by upper-cased name."""
    readers = [(name, value_converter(field_type)) for name, field_type in fields]
    shown = type_ or t.Struct(tuple(fields))

    def convert(value: Any) -> Row:
        if not isinstance(value, dict):
            raise _mismatch(value, shown)
        folded: dict[str, Any] | None = None
        row = []
        for name, read in readers:
            item = value.get(name, _ABSENT)
            if item is _ABSENT:
                if folded is None:
                    folded = {key.upper(): v for key, v in value.items()}
                item = folded.get(name)
            if item is not None:
                try:
                    item = read(item)
                except SerdeError as error:
                    raise _at(name, error) from None
            row.append(item)
        return tuple(row)

    return convert


class _PathError(SerdeError):
    """A mismatch inside an object; collects the path to it on the way out."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{reason}, path: $.{path}")
        self.path, self.reason = path, reason


def _at(name: str, error: SerdeError) -> SerdeError:
    if isinstance(error, _PathError):
        return _PathError(f"{name}.{error.path}", error.reason)
    return _PathError(name, str(error))

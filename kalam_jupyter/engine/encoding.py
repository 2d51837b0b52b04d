"""Physical rows to JSON and back, exactly, by schema; schemas to JSON and back; rows checked.

JSON holds what JSON can hold exactly as it is. The rest: bytes are base64, decimals their text,
floats that are not finite ``"NaN"``, ``"Infinity"``, ``"-Infinity"``, arrays and structs lists,
maps lists of pairs.
"""

from __future__ import annotations

import math
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal as PyDecimal
from functools import lru_cache
from typing import Any, Final, Literal

from kalam_jupyter.engine.errors import LogCorruptError, RowError
from kalam_jupyter.engine.types import (
    Array,
    Column,
    DataType,
    Decimal,
    Logical,
    Map,
    Primitive,
    Schema,
    Struct,
    Time,
    Timestamp,
    storage_type,
)

Row = tuple[Any, ...]
Convert = Callable[[Any], Any]
Part = Literal["all", "key", "value"]
#: So many rows are quicker to check by column.
COLUMNAR_CHECK: Final = 8


# Values


def _float_json(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


_PRIMITIVE_JSON: dict[str, tuple[Convert, Convert]] = {
    "BYTES": (lambda v: b64encode(v).decode("ascii"), b64decode),
    "FLOAT": (_float_json, float),
    "DOUBLE": (_float_json, float),
}


@lru_cache(maxsize=4096)
def json_converters(type_: DataType) -> tuple[Convert | None, Convert | None]:
    """Return (to JSON, from JSON) for values of a type; None where the value is its own JSON."""
    match storage_type(type_):
        case Primitive(name):
            return _PRIMITIVE_JSON.get(name, (None, None))
        case Decimal():
            return str, PyDecimal
        case Array(element):
            to, back = (_optional(f) for f in json_converters(element))
            if to is None or back is None:
                return None, None
            return (lambda v: [to(x) for x in v]), (lambda v: [back(x) for x in v])
        case Map(key, value):
            (k, k_), (w, w_) = (
                tuple(_optional(f) or _same for f in json_converters(t)) for t in (key, value)
            )
            return (lambda v: [(k(x), w(y)) for x, y in v.items()]), (lambda v: {k_(x): w_(y) for x, y in v})
        case Struct(fields):
            inner = [tuple(_optional(f) or _same for f in json_converters(t)) for _, t in fields]
            return (
                lambda v: [f[0](x) for f, x in zip(inner, v, strict=True)],
                lambda v: tuple(f[1](x) for f, x in zip(inner, v, strict=True)),
            )
    return None, None


def _same(value: Any) -> Any:
    return value


def _optional(f: Convert | None) -> Convert | None:
    return None if f is None else lambda v: None if v is None else f(v)


# Rows


@lru_cache(maxsize=4096)
def _plan(schema: Schema, part: Part, back: bool) -> list[tuple[int, Convert]]:
    """Return (position, converter) of the columns whose values are not their own JSON."""
    columns = {"all": schema.columns, "key": schema.key, "value": schema.value}[part]
    converters = ((i, json_converters(c.type)[back]) for i, c in enumerate(columns))
    return [(i, f) for i, f in converters if f is not None]


def rows_to_json(schema: Schema, rows: Sequence[Row | None], part: Part = "all") -> Sequence[Any]:
    """Return rows as JSON values; a row of None stays None.

    Parameters
    ----------
    schema : Schema
    rows : sequence of tuple or None
    part : "all", "key" or "value"
        Which of the schema's columns the rows have.
    """
    plan = _plan(schema, part, False)
    return _convert(rows, plan, list) if plan else rows


def rows_from_json(schema: Schema, rows: Sequence[Any], part: Part = "all") -> list[Any]:
    """Return the rows that `rows_to_json` was given."""
    return _convert(rows, _plan(schema, part, True), tuple)


def _convert(rows: Iterable[Any], plan: list[tuple[int, Convert]], kind: type) -> list[Any]:
    done: list[Any] = []
    for row in rows:
        if row is not None and plan:
            row = list(row)
            for i, f in plan:
                if row[i] is not None:
                    row[i] = f(row[i])
        done.append(None if row is None else kind(row))
    return done


# Checks


def _ascii_or_utf8(value: str) -> bool:
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True)
class _Within:
    """Whether an integer lies between two others, which are allowed."""

    low: int
    high: int

    def __call__(self, value: int) -> bool:
        return self.low <= value <= self.high


def _within(bits: int) -> _Within:
    return _Within(-(1 << (bits - 1)), (1 << (bits - 1)) - 1)


_CHECKS: dict[str, tuple[type, Callable[[Any], bool] | None]] = {
    "BOOLEAN": (bool, None),
    "SMALLINT": (int, _within(16)),
    "INTEGER": (int, _within(32)),
    "BIGINT": (int, _within(64)),
    "FLOAT": (float, None),
    "DOUBLE": (float, None),
    "STRING": (str, _ascii_or_utf8),
    "BYTES": (bytes, None),
    "DATE": (int, _within(32)),
}


@lru_cache(maxsize=4096)
def value_check(type_: DataType) -> tuple[type, Callable[[Any], bool] | None]:
    """Return the Python class of a type's physical values, and a test that they pass besides."""
    match storage_type(type_):
        case Primitive(name):
            return _CHECKS[name]
        case Time(unit):
            day = 86_400_000 if unit == "ms" else 86_400_000_000
            return int, _Within(0, day - 1)
        case Timestamp():
            return int, _within(64)
        case Decimal(precision, scale):
            return PyDecimal, lambda v: _fits_decimal(v, precision, scale)
        case Array(element, size):
            ok = _checker(element)
            return list, lambda v: (size is None or len(v) == size) and all(map(ok, v))
        case Map(key, value):
            key_ok, value_ok = _checker(key), _checker(value)
            return dict, lambda v: None not in v and all(key_ok(x) and value_ok(y) for x, y in v.items())
        case Struct(fields):
            checks = [_checker(t) for _, t in fields]
            return (
                tuple,
                lambda v: len(v) == len(checks) and all(ok(x) for ok, x in zip(checks, v, strict=True)),
            )
    raise TypeError(f"no physical form of {type_}")


def _checker(type_: DataType) -> Callable[[Any], bool]:
    class_, test = value_check(type_)
    classes = (float, int) if class_ is float else (class_,)
    return lambda v: v is None or (type(v) in classes and (test is None or test(v)))


def _fits_decimal(value: PyDecimal, precision: int, scale: int) -> bool:
    if not value.is_finite():
        return False
    _, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    return -exponent <= scale and (not any(digits) or len(digits) + exponent <= precision - scale)


@lru_cache(maxsize=1024)
def row_checker(schema: Schema) -> Callable[[Sequence[Row]], None]:
    """Return a function that raises `RowError` for the first row that does not fit `schema`.

    The classes of a row's values are looked up as one tuple, so the usual row costs one lookup and
    the range tests of its integers and strings. Many rows are looked at by column first.
    """
    checks = [value_check(c.type) for c in schema.columns]
    ranges = [(i, t.low, t.high) for i, (_, t) in enumerate(checks) if isinstance(t, _Within)]
    tests = [(i, t) for i, (_, t) in enumerate(checks) if t is not None and not isinstance(t, _Within)]
    known: set[tuple[type, ...]] = set()
    none = type(None)

    def classes_fit(classes: tuple[type, ...]) -> bool:
        fits = len(classes) == len(checks) and all(
            found is class_ or (found is none and column.nullable) or (class_ is float and found is int)
            for found, (class_, _), column in zip(classes, checks, schema.columns, strict=True)
        )
        if fits and len(known) < 4096:
            known.add(classes)
        return fits

    def columns_fit(rows: Sequence[Row]) -> bool:
        if set(map(type, rows)) != {tuple} or set(map(len, rows)) != {len(checks)}:
            return False
        return all(
            _column_fits(values, class_, test, column.nullable)
            for values, (class_, test), column in zip(
                zip(*rows, strict=True), checks, schema.columns, strict=True
            )
        )

    def check(rows: Sequence[Row]) -> None:
        if len(rows) >= COLUMNAR_CHECK and columns_fit(rows):
            return
        for row in rows:
            if type(row) is not tuple:
                raise RowError(f"a row is a tuple, not {type(row).__name__}")
            classes = tuple(map(type, row))
            if classes not in known and not classes_fit(classes):
                raise RowError(_misfit(schema, row))
            for i, low, high in ranges:
                value = row[i]
                if value is not None and not low <= value <= high:
                    raise RowError(_misfit(schema, row))
            for i, test in tests:
                value = row[i]
                if value is not None and not test(value):
                    raise RowError(_misfit(schema, row))

    return check


def _column_fits(
    values: Sequence[Any], class_: type, test: Callable[[Any], bool] | None, nullable: bool
) -> bool:
    """Whether all values of a column fit; False, too, where an integer stands for a float."""
    classes = set(map(type, values))
    if nullable and type(None) in classes:
        values = [v for v in values if v is not None]
        classes = set(map(type, values))
    if not classes <= {class_}:
        return False
    if test is None or not values:
        return True
    if class_ is int:  # whose tests are ranges
        return test(min(values)) and test(max(values))
    return test("".join(values)) if class_ is str else all(map(test, values))


def _misfit(schema: Schema, row: Row) -> str:
    if len(row) != len(schema):
        return f"a row of {len(schema)} columns has {len(row)} values"
    for column, value in zip(schema.columns, row, strict=True):
        if value is None:
            if not column.nullable:
                return f"column '{column.name}' may not be null"
        elif not _checker(column.type)(value):
            return (
                f"column '{column.name}' is {column.type}: {type(value).__name__} {value!r:.80} does not fit"
            )
    raise AssertionError("the row fits")


# Schemas


def type_to_json(type_: DataType) -> Any:
    """Return a type as JSON."""
    match type_:
        case Primitive(name):
            return name
        case Time(unit):
            return ["TIME", unit]
        case Timestamp(unit, zone):
            return ["TIMESTAMP", unit, zone]
        case Decimal(precision, scale):
            return ["DECIMAL", precision, scale]
        case Array(element, size):
            return ["ARRAY", type_to_json(element), size]
        case Map(key, value):
            return ["MAP", type_to_json(key), type_to_json(value)]
        case Struct(fields):
            return ["STRUCT", [[name, type_to_json(t)] for name, t in fields]]
        case Logical(name, storage):
            return ["LOGICAL", name, type_to_json(storage)]
    raise TypeError(f"{type_!r} cannot be stored")


_BUILD: dict[str, Callable[..., DataType]] = {
    "TIME": Time,
    "TIMESTAMP": Timestamp,
    "DECIMAL": Decimal,
    "ARRAY": lambda element, size: Array(type_from_json(element), size),
    "MAP": lambda key, value: Map(type_from_json(key), type_from_json(value)),
    "STRUCT": lambda fields: Struct(tuple((name, type_from_json(t)) for name, t in fields)),
    "LOGICAL": lambda name, storage: Logical(name, type_from_json(storage)),
}


def type_from_json(value: Any) -> DataType:
    """Return the type that `type_to_json` was given."""
    if isinstance(value, str):
        return Primitive(value)
    build = _BUILD.get(value[0])
    if build is None:
        raise LogCorruptError(f"unknown type {value[0]!r}: written by a newer version?")
    return build(*value[1:])


def schema_to_json(schema: Schema) -> Any:
    """Return a schema as JSON."""
    return [[c.name, type_to_json(c.type), c.key, c.nullable] for c in schema.columns]


def schema_from_json(value: Any) -> Schema:
    """Return the schema that `schema_to_json` was given."""
    return Schema(
        tuple(Column(name, type_from_json(t), bool(key), bool(null)) for name, t, key, null in value)
    )

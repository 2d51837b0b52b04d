"""Values as JSON: one conversion for SQL rows, live rows and topic payloads (HTTP contract section 5.3).

Columns are converted as a whole. 64-bit integers and decimals become strings, temporals numbers, bytes
arrays of numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from kalam_jupyter.engine.types import (
    Array,
    DataType,
    Decimal,
    Map,
    Primitive,
    Schema,
    Struct,
    from_arrow,
    storage_type,
)
from kalam_jupyter.kalam.errors import StatementError
from kalam_jupyter.kalam.result import Result, ResultColumn

SECRET_COLUMNS = frozenset({"credentials", "password_hash"})
MASK = "***"
Converter = Callable[[Any], Any]


def _same(value: Any) -> Any:
    return value


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise StatementError("internal", f"Failed to serialize SQL result: {value} has no JSON form")
    return value


@lru_cache(maxsize=512)
def value_converter(type_: DataType) -> Converter | None:
    """Return the function from a physical value to its JSON value; None when they are the same."""
    match storage_type(type_):
        case Primitive("BIGINT") | Decimal():
            return str
        case Primitive("FLOAT" | "DOUBLE"):
            return _finite
        case Primitive("BYTES"):
            return list
        case Array(element):
            inner = value_converter(element)
            return None if inner is None else lambda v: [x if x is None else inner(x) for x in v]
        case Map(_, value):
            of_value = value_converter(value) or _same
            return lambda v: {str(k): None if x is None else of_value(x) for k, x in v.items()}
        case Struct(fields):
            parts = [(name, value_converter(t)) for name, t in fields]
            return lambda v: {
                name: x if x is None or f is None else f(x) for (name, f), x in zip(parts, v, strict=True)
            }
    return None


class RowEncoder:
    """Turns physical rows of a schema into JSON objects or arrays."""

    def __init__(self, names: Sequence[str], types: Sequence[DataType]) -> None:
        self.names = tuple(names)
        self._converters = [(i, f) for i, t in enumerate(types) if (f := value_converter(t)) is not None]

    @classmethod
    def of(cls, schema: Schema) -> RowEncoder:
        """Make the encoder of all columns of a schema."""
        return cls(schema.names, [c.type for c in schema])

    def array(self, row: Sequence[Any]) -> list[Any]:
        """Return the JSON values in column order."""
        values = list(row)
        for i, convert in self._converters:
            if values[i] is not None:
                values[i] = convert(values[i])
        return values

    def object(self, row: Sequence[Any]) -> dict[str, Any]:
        """Return the JSON object keyed by column name."""
        return dict(zip(self.names, self.array(row), strict=True))


def _column(array: pa.ChunkedArray, column: ResultColumn) -> list[Any]:
    """Return the JSON values of one Arrow column."""
    type_ = array.type
    if pa.types.is_timestamp(type_):
        if type_.unit == "s":
            raise StatementError(
                "internal", "Failed to serialize SQL result: second-precision timestamps have no JSON form"
            )
        return list(array.cast(pa.int64()).to_pylist())
    if pa.types.is_time64(type_):
        return list((array.cast(pa.time64("us"), safe=False)).cast(pa.int64()).to_pylist())
    if pa.types.is_time32(type_):
        return list(array.cast(pa.time64("us")).cast(pa.int64()).to_pylist())
    if pa.types.is_int64(type_) or pa.types.is_uint64(type_):
        return list(pc.cast(array, pa.string()).to_pylist())
    if pa.types.is_floating(type_):
        finite = pc.all(pc.is_finite(array)).as_py()
        if finite is False:
            raise StatementError(
                "internal", "Failed to serialize SQL result: NaN and infinity have no JSON form"
            )
        return list(array.cast(pa.float64()).to_pylist())
    if pa.types.is_decimal(type_):
        return [None if v is None else f"{v:f}" for v in array.to_pylist()]
    if pa.types.is_duration(type_) or pa.types.is_interval(type_) or pa.types.is_union(type_):
        raise StatementError("internal", f"Failed to serialize SQL result: {type_} values have no JSON form")
    if pa.types.is_binary(type_) or pa.types.is_large_binary(type_) or pa.types.is_fixed_size_binary(type_):
        return [None if v is None else list(v) for v in array.to_pylist()]
    if pa.types.is_nested(type_):
        return _nested(array)
    if pa.types.is_date32(type_):
        return from_arrow(array, column.type)
    return list(array.to_pylist())


def _nested(array: pa.ChunkedArray) -> list[Any]:
    """Lists and structs: elements by the same rules."""

    def convert(value: Any, type_: pa.DataType) -> Any:
        if value is None:
            return None
        if pa.types.is_list(type_) or pa.types.is_large_list(type_) or pa.types.is_fixed_size_list(type_):
            return [convert(v, type_.value_type) for v in value]
        if pa.types.is_struct(type_):
            return {f.name: convert(value[f.name], f.type) for f in type_}
        if pa.types.is_map(type_):
            return {str(k): convert(v, type_.item_type) for k, v in value}
        return _column(
            pa.chunked_array([pa.array([value], type=type_)]), ResultColumn("", Primitive("DATE"))
        )[0]

    element = getattr(array.type, "value_type", None)
    if element is not None and (pa.types.is_floating(element) or pa.types.is_string(element)):
        return list(array.to_pylist())
    return [convert(v, array.type) for v in array.to_pylist()]


def result_rows(result: Result, *, mask: bool = True) -> list[list[Any]]:
    """Return a result's rows as lists of JSON values.

    Parameters
    ----------
    mask : bool
        Replace non-null `credentials` and `password_hash` cells: for all roles below dba.

    Raises
    ------
    StatementError
        Of kind ``internal`` for a value that has no JSON form (NaN, infinity, intervals).
    """
    rows = result.physical_rows
    if rows is not None:
        encoder = RowEncoder([c.name for c in result.columns], [c.type for c in result.columns])
        found = [encoder.array(row) for row in rows]
    else:
        table = result.table
        assert table is not None
        columns = [_column(table.column(i), c) for i, c in enumerate(result.columns)]
        found = [list(values) for values in zip(*columns, strict=True)] if columns else []
    for i in [i for i, c in enumerate(result.columns) if c.nested]:
        for row in found:
            row[i] = orjson.loads(row[i])
    hidden = _hidden(result, mask)
    for row in found if hidden else ():
        for i in hidden:
            if row[i] is not None:
                row[i] = MASK
    return found


def _hidden(result: Result, mask: bool) -> list[int]:
    """Return which columns are hidden."""
    if not (mask or result.masked):
        return []
    return [i for i, c in enumerate(result.columns) if c.name.lower() in SECRET_COLUMNS]


def result_json(result: Result, *, mask: bool = True) -> dict[str, Any]:
    """Return one entry of ``results`` in the SQL envelope, as `orjson` encodes it."""
    if result.kind == "message":
        return {"row_count": result.row_count, "message": result.message, "as_user": result.as_user}
    found: dict[str, Any] = {}
    if result.columns:
        known = result.schema_json
        found["schema"] = result.schema if known is None else orjson.Fragment(known)
    if result.encode is None or _hidden(result, mask):
        found["rows"] = result_rows(result, mask=mask)
    else:
        found["rows"] = orjson.Fragment(result.encode())
    found["row_count"] = result.row_count
    found["as_user"] = result.as_user
    return found


def dumps(value: Any) -> bytes:
    """Encode JSON values as UTF-8."""
    return orjson.dumps(value)

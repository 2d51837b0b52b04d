"""Rows from outside SQL: JSON objects of ``/inserts-stream``, and whole Arrow tables."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal as Number
from decimal import InvalidOperation
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kalam_jupyter.engine.batch import Batch, Columns, Payload
from kalam_jupyter.engine.types import (
    BIGINT,
    BOOLEAN,
    BYTES,
    DATE,
    DOUBLE,
    INTEGER,
    STRING,
    TIME,
    TIMESTAMP,
    Array,
    DataType,
    Decimal,
    Map,
    Struct,
)
from kalam_jupyter.ksql.errors import KsqlError, StatementError
from kalam_jupyter.ksql.metastore import Source
from kalam_jupyter.ksql.runtime.partitioner import partitions_of
from kalam_jupyter.ksql.values import calendar
from kalam_jupyter.ksql.values.errors import EvaluationError
from kalam_jupyter.ksql.values.numbers import fit_decimal

if TYPE_CHECKING:
    from kalam_jupyter.ksql.dialect import Ksql

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_@]*")
#: Rows of an Arrow table that are appended as one batch.
BATCH_ROWS = 65_536


def folded(name: str) -> str:
    """Return an identifier as SQL folds it: upper case unless it is quoted.

    Raises
    ------
    ValueError
        If it is neither a plain nor a quoted identifier.
    """
    for quote in '`"':
        if len(name) > 1 and name[0] == name[-1] == quote:
            return name[1:-1].replace(quote * 2, quote)
    if not _NAME.fullmatch(name):
        raise ValueError(name)
    return name.upper()


class InsertTarget:
    """A stream or table that rows are inserted into.

    Attributes
    ----------
    source : Source
    """

    def __init__(self, ksql: Ksql, source: Source) -> None:
        self._ksql = ksql
        self.source = source
        stored = source.stored_schema
        self._keys = [(c.name, c.type) for c in stored.key]
        self._values = [(c.name, c.type) for c in stored.value]

    def insert(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append rows as one durable write.

        Parameters
        ----------
        rows : sequence of mapping
            JSON objects by column name; unquoted names fold to upper case. Missing value columns are NULL.

        Raises
        ------
        KsqlError
            If a row does not fit; nothing was inserted.
        """
        keys, values = [], []
        for row in rows:
            members = _members(row)
            keys.append(self._key(members))
            values.append(tuple([_from_json(members.get(name), type_) for name, type_ in self._values]))
        now = self._ksql.engine.clock.now_ms()
        codec = self._ksql.codec(self.source)
        payload = Payload.from_rows(codec.schema, keys, values)
        self._ksql.append(self.source, Batch([now] * len(values), payload=payload, codec=codec))

    def _key(self, members: Mapping[str, Any]) -> tuple[Any, ...] | None:
        key = []
        for name, type_ in self._keys:
            if members.get(name) is None:
                raise KsqlError(f"Key field must be specified: {name}")
            key.append(_from_json(members[name], type_))
        return tuple(key) if key else None


def _members(row: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in row.items():
        try:
            column = folded(name)
        except ValueError:
            raise KsqlError(f"Invalid column / struct field name. Name: {name}.") from None
        if column in found:
            raise KsqlError(f"Found duplicate column / struct field name: {column}")
        found[column] = value
    return found


_JAVA_CLASSES: dict[type, str] = {
    bool: "java.lang.Boolean",
    int: "java.lang.Integer",
    float: "java.lang.Double",
    Number: "java.lang.Double",
    str: "java.lang.String",
    list: "io.vertx.core.json.JsonArray",
    dict: "io.vertx.core.json.JsonObject",
}


def _no_coercion(value: Any, type_: DataType) -> KsqlError:
    name = _JAVA_CLASSES.get(type(value), type(value).__name__)
    return KsqlError(f"Can't coerce a field of type class {name} into type {type_}")


def _from_json(value: Any, type_: DataType) -> Any:
    """Return a JSON value as a physical value of `type_`; KsqlError if it has no such meaning."""
    if value is None:
        return None
    try:
        match type_:
            case Array(element):
                return [_from_json(v, element) for v in _expect(value, list)]
            case Map(key, inner):
                entries = _expect(value, dict).items()
                return {_from_json(k, key): _from_json(v, inner) for k, v in entries}
            case Struct(fields):
                members = _members(_expect(value, dict))
                return tuple(_from_json(members.get(name), t) for name, t in fields)
            case Decimal(precision, scale):
                return _decimal(value, precision, scale)
        return _SCALARS[type_](value)
    except (TypeError, ValueError, KeyError, EvaluationError, InvalidOperation, binascii.Error):
        raise _no_coercion(value, type_) from None


def _expect(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError
    return value


def _integer(bits: int) -> Callable[[Any], int]:
    low, high = -(1 << bits - 1), (1 << bits - 1) - 1

    def convert(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise TypeError
        return value

    return convert


def _double(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | Number):
        raise TypeError
    return float(value)


def _decimal(value: Any, precision: int, scale: int) -> Number:
    if isinstance(value, bool) or not isinstance(value, int | float | Number | str):
        raise TypeError
    return fit_decimal(Number(repr(value) if isinstance(value, float) else value), precision, scale)


_SCALARS: dict[DataType, Callable[[Any], Any]] = {
    BOOLEAN: lambda v: _expect(v, bool),
    INTEGER: _integer(32),
    BIGINT: _integer(64),
    DOUBLE: _double,
    STRING: lambda v: _expect(v, str),
    BYTES: lambda v: base64.b64decode(_expect(v, str), validate=True),
    DATE: lambda v: calendar.parse_date(_expect(v, str)),
    TIME: lambda v: calendar.parse_time(_expect(v, str)),
    TIMESTAMP: lambda v: calendar.parse_timestamp(_expect(v, str)),
}


# Arrow tables


def sql_type(type_: pa.DataType) -> DataType:
    """Return the SQL type for an Arrow column; TypeError if there is none."""
    t = pa.types
    if t.is_dictionary(type_):
        return sql_type(type_.value_type)
    for matches, found in _ARROW_TYPES:
        if matches(type_):
            return found
    if t.is_decimal(type_):
        return Decimal(type_.precision, type_.scale)
    if t.is_list(type_) or t.is_large_list(type_) or t.is_fixed_size_list(type_):
        return Array(sql_type(type_.value_type))
    if t.is_map(type_):
        return Map(sql_type(type_.key_type), sql_type(type_.item_type))
    if t.is_struct(type_):
        return Struct(tuple((column_name(f.name), sql_type(f.type)) for f in type_))
    raise TypeError(f"no SQL type for Arrow's {type_}")


_ARROW_TYPES: list[tuple[Callable[[pa.DataType], bool], DataType]] = [
    (pa.types.is_boolean, BOOLEAN),
    (lambda t: pa.types.is_int8(t) or pa.types.is_int16(t) or pa.types.is_int32(t), INTEGER),
    (lambda t: pa.types.is_uint8(t) or pa.types.is_uint16(t), INTEGER),
    (pa.types.is_integer, BIGINT),
    (pa.types.is_floating, DOUBLE),
    (lambda t: pa.types.is_string(t) or pa.types.is_large_string(t) or pa.types.is_string_view(t), STRING),
    (lambda t: pa.types.is_binary(t) or pa.types.is_large_binary(t), BYTES),
    (pa.types.is_date, DATE),
    (pa.types.is_time, TIME),
    (pa.types.is_timestamp, TIMESTAMP),
    (pa.types.is_null, STRING),
]


def create_stream_text(name: str, table: pa.Table, key: str | None) -> str:
    """Return the CREATE STREAM statement for a table's columns."""
    columns = []
    for field in table.schema:
        try:
            type_ = sql_type(field.type)
        except TypeError as error:
            raise StatementError(f"Column {field.name}: {error}") from None
        columns.append(f"{_quoted(field.name)} {type_}{' KEY' if field.name == key else ''}")
    key_format = "" if key is None else ", KEY_FORMAT='JSON'"
    return (
        f"CREATE STREAM {_quoted(name)} ({', '.join(columns)}) WITH (KAFKA_TOPIC='{column_name(name)}', "
        f"VALUE_FORMAT='JSON', PARTITIONS=1{key_format});"
    )


def column_name(name: str) -> str:
    """Return the name of a stream or column for a frame's name: folded, unless it needs quoting."""
    return name.upper() if _NAME.fullmatch(name) else name


def _quoted(name: str) -> str:
    return "`" + column_name(name).replace("`", "``") + "`"


def append_table(ksql: Ksql, source: Source, table: pa.Table, timestamp: str | None, *, now_ms: int) -> int:
    """Append the rows of an Arrow table to a source, without making Python rows.

    Parameters
    ----------
    timestamp : str or None
        Column that gives the records' event time; processing time without one.
    """
    stored = source.stored_schema
    by_name = {column_name(n): i for i, n in enumerate(table.column_names)}
    missing = [c.name for c in stored.key if c.name not in by_name]
    if missing:
        raise StatementError(f"The frame has no column for the key {', '.join(missing)} of {source.name}.")
    unknown = [n for n in by_name if n not in stored.index]
    if unknown:
        raise StatementError(f"{source.name} has no column {', '.join(unknown)}.")
    if timestamp is not None and timestamp not in table.column_names:
        raise StatementError(f"The frame has no column {timestamp}.")
    codec = ksql.codec(source)
    for start in range(0, table.num_rows, BATCH_ROWS):
        part = table.slice(start, BATCH_ROWS).combine_chunks()
        n = part.num_rows
        key, value = (
            tuple(_column(part, by_name.get(c.name), c.type, n) for c in columns)
            for columns in (stored.key, stored.value)
        )
        valid = _valid(key)
        payload = Payload.from_columns(codec.schema, Columns(key, value, valid), n)
        times = np.full(n, now_ms) if timestamp is None else _milliseconds(part.column(timestamp))
        ksql.append(source, Batch(times, payload=payload, codec=codec))
    return int(table.num_rows)


def _valid(key: tuple[pa.Array, ...]) -> Any:
    """A key of one NULL is a null key."""
    if len(key) == 1 and key[0].null_count:
        return np.asarray(key[0].is_valid())
    if not key:
        return None
    return None


def _column(table: pa.Table, position: int | None, type_: DataType, n: int) -> pa.Array:
    wanted = type_.arrow
    if position is None:
        return pa.nulls(n, wanted)
    found = table.column(position)
    array = found.chunk(0) if found.num_chunks == 1 else pa.concat_arrays(found.chunks)
    array = array.view(_folded(array.type))
    if array.type == wanted:
        return array
    try:
        if pa.types.is_timestamp(array.type):
            return pc.cast(pc.cast(array, pa.timestamp("ms", array.type.tz), safe=False), wanted, safe=False)
        return pc.cast(array, wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise StatementError(f"Column {table.column_names[position]} does not fit {type_}: {error}") from None


def _folded(type_: pa.DataType) -> pa.DataType:
    """Return a type with the fields of its structs named as columns are: a cast looks for them by name."""
    t = pa.types
    if t.is_struct(type_):
        return pa.struct([f.with_name(column_name(f.name)).with_type(_folded(f.type)) for f in type_])
    if t.is_map(type_):
        return pa.map_(type_.key_type, _folded(type_.item_type))
    if t.is_fixed_size_list(type_):
        return pa.list_(_folded(type_.value_type), type_.list_size)
    if t.is_large_list(type_):
        return pa.large_list(_folded(type_.value_type))
    return pa.list_(_folded(type_.value_type)) if t.is_list(type_) else type_


def _milliseconds(column: pa.ChunkedArray) -> Any:
    if pa.types.is_timestamp(column.type):
        column = pc.cast(column, pa.timestamp("ms", column.type.tz), safe=False)
    elif pa.types.is_date(column.type):
        column = pc.cast(column, pa.timestamp("ms"))
    try:
        numbers = pc.cast(column, pa.int64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise StatementError(f"The timestamp column is no moment: {error}") from None
    if numbers.null_count:
        raise StatementError("The timestamp column has NULLs; every record needs an event time.")
    return np.asarray(numbers)


def partitioned(batch: Batch, partitions: int) -> Batch:
    """Give each record of a batch its partition."""
    if partitions > 1:
        batch.partitions = partitions_of(batch, partitions)
    return batch

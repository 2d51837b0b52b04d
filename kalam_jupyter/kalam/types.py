"""KalamDB's column types: their SQL names and their JSON names.

Types are engine types. What KalamDB distinguishes and the engine does not is a `Logical` over text:
JSON, UUID and FILE. An EMBEDDING(n) is a fixed-size list of float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from kalam_jupyter.engine.types import (
    BIGINT,
    BOOLEAN,
    BYTES,
    DATE,
    DOUBLE,
    FLOAT,
    INTEGER,
    SMALLINT,
    STRING,
    Array,
    DataType,
    Decimal,
    Logical,
    Primitive,
    Time,
    Timestamp,
)

JSON = Logical("JSON", STRING)
UUID = Logical("UUID", STRING)
FILE = Logical("FILE", STRING)
TIMESTAMP = Timestamp("us")
#: of the stored system tables, whose numbers the contract has in ms
TIMESTAMP_MS = Timestamp("ms")
DATETIME = Timestamp("us", "UTC")
TIME = Time("us")
MAX_DIMENSION = 8192

#: SQL spelling -> type, for types without parameters.
NAMES: dict[str, DataType] = {
    **dict.fromkeys(("BOOLEAN", "BOOL"), BOOLEAN),
    **dict.fromkeys(("SMALLINT", "INT2", "SMALLSERIAL", "SERIAL2"), SMALLINT),
    **dict.fromkeys(("INT", "INTEGER", "INT4", "MEDIUMINT", "SIGNED", "SERIAL", "SERIAL4"), INTEGER),
    **dict.fromkeys(("BIGINT", "INT8", "INT64", "BIGSERIAL", "SERIAL8"), BIGINT),
    **dict.fromkeys(("FLOAT", "REAL", "FLOAT4"), FLOAT),
    **dict.fromkeys(("DOUBLE", "DOUBLE PRECISION", "FLOAT8", "FLOAT64"), DOUBLE),
    **dict.fromkeys(
        ("TEXT", "VARCHAR", "CHAR", "CHARACTER", "CHARACTER VARYING", "NVARCHAR", "STRING", "CLOB"), STRING
    ),
    **dict.fromkeys(("ARRAY", "ENUM", "STRUCT"), STRING),
    **dict.fromkeys(("JSON", "JSONB"), JSON),
    **dict.fromkeys(("BYTES", "BINARY", "VARBINARY", "BLOB", "BYTEA"), BYTES),
    "UUID": UUID,
    "FILE": FILE,
    "TIMESTAMP": TIMESTAMP,
    "DATETIME": DATETIME,
    "DATE": DATE,
    "TIME": TIME,
}
SERIAL_NAMES = frozenset({"SMALLSERIAL", "SERIAL2", "SERIAL", "SERIAL4", "BIGSERIAL", "SERIAL8"})

_JSON_NAMES: dict[DataType, str] = {
    BOOLEAN: "Boolean",
    SMALLINT: "SmallInt",
    INTEGER: "Int",
    BIGINT: "BigInt",
    FLOAT: "Float",
    DOUBLE: "Double",
    STRING: "Text",
    JSON: "Json",
    BYTES: "Bytes",
    UUID: "Uuid",
    FILE: "File",
    TIMESTAMP_MS: "Timestamp",
    TIMESTAMP: "Timestamp",  # the later one is what the name means
    DATETIME: "DateTime",
    DATE: "Date",
    TIME: "Time",
}
_BY_JSON_NAME = {name: type_ for type_, name in _JSON_NAMES.items()}


def make_type(name: str, arguments: tuple[int, ...] = ()) -> DataType:
    """Return the type that SQL spells `name` (upper case) with `arguments`.

    Raises
    ------
    ValueError
        If KalamDB has no such type; the message says why.
    """
    if name in ("DECIMAL", "NUMERIC", "DEC"):
        precision, scale = (38, 10) if not arguments else (arguments[0], *(arguments[1:] or (0,)))[:2]
        if not 1 <= precision <= 38 or not 0 <= scale <= precision:
            raise ValueError(
                f"Invalid DECIMAL({precision}, {scale}): precision must be 1..38 and scale 0..precision"
            )
        return Decimal(precision, scale)
    if name in ("EMBEDDING", "VECTOR"):
        if len(arguments) != 1:
            raise ValueError("EMBEDDING needs exactly one dimension, as in EMBEDDING(384)")
        if not 1 <= arguments[0] <= MAX_DIMENSION:
            raise ValueError(f"EMBEDDING dimension must be between 1 and {MAX_DIMENSION}, got {arguments[0]}")
        return Array(FLOAT, arguments[0])
    found = NAMES.get(name)
    if found is None and name.endswith(("TEXT", "STRING")):
        found = STRING
    if found is None:
        raise ValueError(f"Unsupported data type: {name}")
    return found


def json_type(type_: DataType) -> Any:
    """Return the `data_type` of a result schema: a name, or an object for parameterised types."""
    match type_:
        case Decimal(precision, scale):
            return {"Decimal": {"precision": precision, "scale": scale}}
        case Array(_, size) if size is not None:
            return {"Embedding": size}
    return _JSON_NAMES.get(type_, "Text")


def from_json_type(value: Any) -> DataType:
    """Inverse of `json_type` for column types; used by stored table definitions."""
    if isinstance(value, dict):
        if "Embedding" in value:
            return Array(FLOAT, int(value["Embedding"]))
        return Decimal(int(value["Decimal"]["precision"]), int(value["Decimal"]["scale"]))
    return _BY_JSON_NAME[value]


def sql_type(type_: DataType) -> str:
    """Return the SQL name of a column type, as DESCRIBE shows it."""
    match type_:
        case Decimal(precision, scale):
            return f"DECIMAL({precision}, {scale})"
        case Array(_, size) if size is not None:
            return f"EMBEDDING({size})"
        case Primitive("STRING"):
            return "TEXT"
        case Primitive("INTEGER"):
            return "INT"
        case Timestamp(_, "UTC"):
            return "DATETIME"
    return str(type_)


_ARROW_TYPES: tuple[tuple[Callable[[pa.DataType], bool], DataType], ...] = (
    (pa.types.is_boolean, BOOLEAN),
    (pa.types.is_int8, SMALLINT),
    (pa.types.is_uint8, SMALLINT),
    (pa.types.is_int16, SMALLINT),
    (pa.types.is_uint16, INTEGER),
    (pa.types.is_int32, INTEGER),
    (pa.types.is_uint32, BIGINT),
    (pa.types.is_int64, BIGINT),
    (pa.types.is_float32, FLOAT),
    (pa.types.is_float64, DOUBLE),
    (pa.types.is_date32, DATE),
    (pa.types.is_time, TIME),
    (pa.types.is_binary, BYTES),
    (pa.types.is_large_binary, BYTES),
)


def from_arrow_type(type_: pa.DataType) -> DataType:
    """Return the KalamDB type a computed Arrow column is reported as; TEXT for what has none."""
    if pa.types.is_timestamp(type_):
        return DATETIME if type_.tz else TIMESTAMP
    if pa.types.is_decimal(type_):
        return Decimal(type_.precision, type_.scale)
    if pa.types.is_fixed_size_list(type_) and pa.types.is_floating(type_.value_type):
        return Array(FLOAT, type_.list_size)
    for test, found in _ARROW_TYPES:
        if test(type_):
            return found
    return STRING

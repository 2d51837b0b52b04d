"""KalamDB's column types: their SQL names, their JSON names, and the coercion of values into columns.

Types are engine types. What KalamDB distinguishes and the engine does not is a `Logical` over text:
JSON, UUID and FILE. An EMBEDDING(n) is a fixed-size list of float32.
"""

from __future__ import annotations

import datetime as dt
import decimal
import math
import re
import uuid
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import orjson
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
from kalam_jupyter.kalam.errors import StatementError

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


# ---- coercion -------------------------------------------------------------------------------------------

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)
_NAIVE_EPOCH = dt.datetime(1970, 1, 1)
_DATE_EPOCH = dt.date(1970, 1, 1).toordinal()

Coercer = Callable[[Any], Any]


class CoercionError(ValueError):
    """A value cannot be stored in a column of some type."""


def _refuse(value: Any, type_: DataType) -> CoercionError:
    text = str(value)
    shown = text if len(text) <= 80 else f"{text[:77]}..."
    quoted = f"'{shown}'" if isinstance(value, (str, dt.date, dt.time)) else shown
    return CoercionError(f"Unable to cast value {quoted} to type {sql_type(type_)}")


def micros(value: dt.datetime) -> int:
    """Return microseconds since 1970 UTC; a moment without zone counts as UTC."""
    if value.tzinfo is None:
        return (value - _NAIVE_EPOCH) // _MICROSECOND
    return (value - EPOCH) // _MICROSECOND


_SPACES = re.compile(r"\s*(?:UTC|utc)\s*$")


def parse_timestamp(text: str) -> int:
    """Parse RFC 3339 or ``YYYY-MM-DD[ HH:MM[:SS[.f]]][zone]`` into microseconds since 1970 UTC;
    ValueError."""
    return micros(dt.datetime.fromisoformat(_SPACES.sub("+00:00", text.strip())))


def parse_time(text: str) -> int:
    """Parse ``HH:MM[:SS[.f]]`` into microseconds of the day; ValueError."""
    t = dt.time.fromisoformat(text.strip())
    return ((t.hour * 60 + t.minute) * 60 + t.second) * 1_000_000 + t.microsecond


def _boolean(v: Any) -> bool:
    if isinstance(v, str):
        word = v.strip().lower()
        if word in ("true", "t", "1", "yes", "y", "on"):
            return True
        if word in ("false", "f", "0", "no", "n", "off"):
            return False
        raise ValueError
    if isinstance(v, (int, float, decimal.Decimal)):
        return bool(v)
    raise ValueError


def _integer(bits: int) -> Coercer:
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1

    def coerce(v: Any) -> int:
        if isinstance(v, str):
            text = v.strip()
            v = int(text) if text.lstrip("+-").isdigit() else decimal.Decimal(text)
        elif isinstance(v, dt.datetime):
            v = micros(v)
        if not isinstance(v, int):
            whole = int(v)
            if whole != v:
                raise ValueError
            v = whole
        if not low <= v <= high:
            raise ValueError
        return int(v)

    return coerce


def _double(v: Any) -> float:
    if isinstance(v, (int, float, decimal.Decimal, str)):
        return float(v)
    raise ValueError


def _float(v: Any) -> float:
    import struct

    number = _double(v)
    return number if math.isinf(number) else float(struct.unpack("<f", struct.pack("<f", number))[0])


def _decimal(precision: int, scale: int) -> Coercer:
    quantum = decimal.Decimal(1).scaleb(-scale)
    context = decimal.Context(prec=76, rounding=decimal.ROUND_HALF_UP)

    def coerce(v: Any) -> decimal.Decimal:
        number = v if isinstance(v, decimal.Decimal) else decimal.Decimal(str(v).strip())
        result = number.quantize(quantum, context=context)
        if len(result.as_tuple().digits) > precision:
            raise ValueError
        return result

    return coerce


def _text(v: Any) -> str:
    if isinstance(v, str):
        return v
    if isinstance(v, bool):
        return "true" if v else "false"
    if isinstance(v, (dict, list)):
        return orjson.dumps(v).decode()
    if isinstance(v, dt.datetime):
        return v.isoformat()
    if isinstance(v, bytes):
        return v.decode()
    return str(v)


def _uuid(v: Any) -> str:
    if isinstance(v, bytes):
        return str(uuid.UUID(bytes=v))
    return str(uuid.UUID(str(v).strip()))


def _bytes(v: Any) -> bytes:
    if isinstance(v, (bytes, bytearray)):
        return bytes(v)
    if isinstance(v, str):
        return v.encode()
    raise ValueError


def _timestamp(v: Any) -> int:
    if isinstance(v, str):
        text = v.strip()
        return int(text) if text.lstrip("-").isdigit() and len(text) > 8 else parse_timestamp(text)
    if isinstance(v, dt.datetime):
        return micros(v)
    if isinstance(v, bool):
        raise ValueError
    return int(_integer(64)(v))


def _date(v: Any) -> int:
    if isinstance(v, str):
        text = v.strip()
        day = dt.date.fromisoformat(text) if len(text) <= 10 else dt.datetime.fromisoformat(text).date()
        return day.toordinal() - _DATE_EPOCH
    if isinstance(v, dt.datetime):
        return micros(v) // 86_400_000_000
    if isinstance(v, dt.date):
        return v.toordinal() - _DATE_EPOCH
    if isinstance(v, bool):
        raise ValueError
    return int(_integer(32)(v))


def _time(v: Any) -> int:
    if isinstance(v, str):
        return parse_time(v)
    if isinstance(v, dt.datetime):
        return micros(v) % 86_400_000_000
    if isinstance(v, bool):
        raise ValueError
    number = int(_integer(64)(v))
    if not 0 <= number < 86_400_000_000:
        raise ValueError
    return number


def embedding_values(v: Any) -> list[float]:
    """Return the numbers of a vector given as a list or as the text of a JSON array; ValueError."""
    values = orjson.loads(v) if isinstance(v, (str, bytes)) else v
    if not isinstance(values, (list, tuple)):
        raise ValueError("an embedding is a JSON array of numbers")
    if any(isinstance(x, bool) or not isinstance(x, (int, float)) for x in values):
        raise ValueError("an embedding is a JSON array of numbers")
    return [_float(x) for x in values]


_PRIMITIVE_COERCERS: dict[str, Coercer] = {
    "BOOLEAN": _boolean,
    "SMALLINT": _integer(16),
    "INTEGER": _integer(32),
    "BIGINT": _integer(64),
    "FLOAT": _float,
    "DOUBLE": _double,
    "STRING": _text,
    "BYTES": _bytes,
    "DATE": _date,
}


def _converter(type_: DataType) -> Coercer:
    match type_:
        case Logical("UUID"):
            return _uuid
        case Logical():
            return _text
        case Decimal(precision, scale):
            return _decimal(precision, scale)
        case Timestamp():
            return _timestamp
        case Time():
            return _time
        case Array():
            return embedding_values
        case Primitive(name):
            return _PRIMITIVE_COERCERS[name]
    raise TypeError(f"no coercion into {type_}")


#: Types whose physical Python form needs no work when the value already has this exact class.
_SAME = {BOOLEAN: bool, STRING: str, JSON: str, FILE: str, DOUBLE: float}
#: And the integers that need none.
_WHOLE: dict[DataType, range] = {
    SMALLINT: range(-(1 << 15), 1 << 15),
    INTEGER: range(-(1 << 31), 1 << 31),
    BIGINT: range(-(1 << 63), 1 << 63),
}
_NONE = range(0)


@lru_cache(maxsize=512)
def coercer(type_: DataType, column: str = "") -> Coercer:
    """Return the function that turns a value into the physical form of `type_`; NULL stays NULL.

    It takes what literals, parameters and the query engine give: None, bool, int, float, Decimal, str, bytes,
    date and datetime; and raises `StatementError` (invalid_operation) for what the column cannot hold.
    """
    convert = _converter(type_)
    same, whole = _SAME.get(type_), _WHOLE.get(type_, _NONE)
    size = type_.size if isinstance(type_, Array) else None

    def coerce(v: Any) -> Any:
        if v is None or type(v) is same or (type(v) is int and v in whole):
            return v
        try:
            result = convert(v)
        except (ValueError, TypeError, ArithmeticError):
            raise StatementError(
                "invalid_operation", f"Schema coercion failed: {_refuse(v, type_)}"
            ) from None
        if size is not None and len(result) != size:
            raise StatementError(
                "invalid_operation",
                f"Embedding dimension mismatch for column '{column}': expected {size}, got {len(result)}",
            )
        return result

    return coerce


def column_coercer(type_: DataType, column: str = "") -> Callable[[Sequence[Any]], Sequence[Any]]:
    """Return what `coercer` does to each of a column's values; those that need no work are known together."""
    coerce, whole = coercer(type_, column), _WHOLE.get(type_, _NONE)
    same = {_SAME.get(type_), type(None)}

    def coerce_all(values: Sequence[Any]) -> Sequence[Any]:
        classes = set(map(type, values))
        if classes <= same or (classes == {int} and min(values) in whole and max(values) in whole):
            return values
        return [coerce(v) for v in values]

    return coerce_all

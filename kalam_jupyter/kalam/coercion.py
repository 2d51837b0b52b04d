"""Values of literals, parameters and the query engine in the physical form of columns."""

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

from kalam_jupyter.engine.types import (
    BIGINT,
    BOOLEAN,
    DOUBLE,
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
from kalam_jupyter.kalam.types import FILE, JSON, sql_type

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
            if not low <= v <= high:  # first: 1E999999999 as an int would fill the memory
                raise ValueError
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

"""JSON values of the two APIs as physical values (see `kalam_jupyter.engine.types`), by type."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal as Number
from typing import Any

from kalam_jupyter.engine import types as t

Convert = Callable[[Any], Any]
_EPOCH = datetime(1970, 1, 1)
_EPOCH_DAY = date(1970, 1, 1).toordinal()


def kalam_value(type_: t.DataType) -> Convert | None:
    """Return what makes a physical value of KalamDB's JSON; None where they are the same."""
    match t.storage_type(type_):
        case t.Primitive("BIGINT"):
            return int
        case t.Primitive("FLOAT" | "DOUBLE"):
            return float
        case t.Primitive("BYTES"):
            return bytes
        case t.Decimal():
            return lambda v: Number(str(v))
        case t.Array(element):
            inner = kalam_value(element)
            return None if inner is None else lambda v: [x if x is None else inner(x) for x in v]
    return None


def microseconds(moment: int) -> int:
    """Return a KalamDB timestamp of any unit in microseconds.

    Nothing in an answer says whether it is of a table (microseconds), a stored system table (milliseconds) or
    NOW() (nanoseconds), so KalamDB's clients go by its size (HTTP contract section 5.3). Moments of tables up
    to March 1973 look like milliseconds, and only those after the first 28 hours of 1970 do.
    """
    if 10**11 <= moment < 10**14:
        return moment * 1000
    return moment // 1000 if moment >= 10**17 else moment


def ksql_value(type_: t.DataType, *, in_struct: bool = False) -> Convert | None:
    """Return what makes a physical value of ksqlDB's JSON; temporal values in a STRUCT are numbers there."""
    match t.storage_type(type_):
        case t.Primitive("DOUBLE"):
            return lambda v: math.nan if v == "NaN" else float(v)
        case t.Primitive("BYTES"):
            return base64.b64decode
        case t.Primitive("DATE") if not in_struct:
            return lambda v: date.fromisoformat(v).toordinal() - _EPOCH_DAY
        case t.Time() if not in_struct:
            return _milliseconds_of_day
        case t.Timestamp() if not in_struct:
            return lambda v: round((datetime.fromisoformat(v) - _EPOCH).total_seconds() * 1000)
        case t.Decimal():
            return lambda v: Number(str(v))
        case t.Array(element):
            item = ksql_value(element, in_struct=in_struct)
            return None if item is None else lambda v: [x if x is None else item(x) for x in v]
        case t.Map(key, value):
            return _map(
                ksql_value(key, in_struct=in_struct) or _key(key), ksql_value(value, in_struct=in_struct)
            )
        case t.Struct(fields):
            parts = [(name, ksql_value(f, in_struct=True)) for name, f in fields]
            return lambda v: tuple(
                x if x is None or f is None else f(x) for name, f in parts for x in (v.get(name),)
            )
    return None


def _milliseconds_of_day(text: str) -> int:
    moment = time.fromisoformat(text)
    return ((moment.hour * 60 + moment.minute) * 60 + moment.second) * 1000 + moment.microsecond // 1000


def _key(type_: t.DataType) -> Convert:
    """Keys of a JSON object are strings, whatever the MAP's key type."""
    match t.storage_type(type_):
        case t.Primitive("INTEGER" | "BIGINT" | "SMALLINT"):
            return int
        case t.Primitive("BOOLEAN"):
            return lambda v: v == "true"
    return str


def _map(key: Convert, value: Convert | None) -> Convert:
    return lambda v: {key(k): (x if x is None or value is None else value(x)) for k, x in v.items()}


def converted(values: list[Any], convert: Convert | None) -> list[Any]:
    """Apply a converter to the values that are not null."""
    return values if convert is None else [None if v is None else convert(v) for v in values]

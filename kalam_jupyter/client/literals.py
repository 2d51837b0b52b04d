"""Python values as SQL literals of either dialect."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import math
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from kalam_jupyter.client.result import Dialect


def literal(value: Any, dialect: Dialect) -> str:
    """Return a Python value as a SQL literal.

    Times with a zone become UTC. Lists, arrays and dicts become ``ARRAY[..]`` and ``STRUCT(..)`` in ksqlDB,
    JSON text in KalamDB.

    Raises
    ------
    TypeError
        For a value that has no literal.
    """
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        value = value.item()  # a NumPy scalar
    elif hasattr(value, "tolist"):
        value = value.tolist()  # an array, a pandas Series
    if value is None or value is _pandas_missing(value):
        return "NULL"
    for types, write in _WRITERS:
        if isinstance(value, types):
            return write(value, dialect)
    if hasattr(value, "columns") and hasattr(value, "dtypes"):
        raise TypeError("a DataFrame is no single value; df.kalam.to_stream(..) sends its rows")
    raise TypeError(f"a value of type {type(value).__name__} has no SQL literal")


def _pandas_missing(value: Any) -> Any:
    """The value itself if it is pandas' NA or NaT, otherwise a fresh object."""
    return value if type(value).__name__ in ("NAType", "NaTType") else object()


def _text(value: str, _: Dialect) -> str:
    return "'" + value.replace("'", "''") + "'"


def _float(value: float, _: Dialect) -> str:
    if math.isnan(value):
        return "NULL"
    if math.isinf(value):
        raise TypeError("infinity has no SQL literal")
    text = repr(value)
    return text if "e" in text or "." in text else f"{text}.0"


def _moment(value: dt.datetime, _: Dialect) -> str:
    if value.tzinfo is not None:
        value = value.astimezone(dt.UTC).replace(tzinfo=None)
    return f"'{value.isoformat(timespec='milliseconds')}'"


def _bytes(value: bytes, dialect: Dialect) -> str:
    if dialect == "ksql":
        raise TypeError("ksqlDB has no BYTES literal; pass text and use TO_BYTES(:name, 'hex')")
    return f"X'{value.hex()}'"


def _sequence(value: Any, dialect: Dialect) -> str:
    if dialect == "ksql":
        return f"ARRAY[{', '.join(literal(v, dialect) for v in value)}]"
    return _text(json.dumps(list(value)), dialect)


def _mapping(value: Mapping[str, Any], dialect: Dialect) -> str:
    if dialect == "ksql":
        from kalam_jupyter.ksql.lang.format import quote

        fields = ", ".join(f"{quote(str(k))} := {literal(v, dialect)}" for k, v in value.items())
        return f"STRUCT({fields})"
    return _text(json.dumps(value), dialect)


_WRITERS: tuple[tuple[type | tuple[type, ...], Callable[[Any, Dialect], str]], ...] = (
    (bool, lambda v, _: "TRUE" if v else "FALSE"),
    (int, lambda v, _: str(v)),
    (float, _float),
    (decimal.Decimal, lambda v, _: f"{v:f}"),
    (str, _text),
    (dt.datetime, _moment),
    ((dt.date, dt.time, uuid.UUID), lambda v, _: f"'{v}'"),
    (bytes, _bytes),
    ((list, tuple), _sequence),
    (dict, _mapping),
)

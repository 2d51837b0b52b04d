"""Text of values: what CAST to STRING gives (Java's toString)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kalam_jupyter.engine import types as t
from kalam_jupyter.ksql.values import calendar
from kalam_jupyter.ksql.values import numbers as n
from kalam_jupyter.ksql.values.convert import encode_base64
from kalam_jupyter.ksql.values.text import map_order

Render = Callable[[Any], str]

_TEXT: dict[t.DataType, Render] = {
    t.BOOLEAN: lambda v: "true" if v else "false",
    t.INTEGER: str,
    t.BIGINT: str,
    t.DOUBLE: n.double_text,
    t.STRING: lambda v: v,
    t.BYTES: encode_base64,
    t.DATE: calendar.date_text,
    t.TIME: calendar.time_text,
    t.TIMESTAMP: calendar.timestamp_text,
}


def cast_text(type_: t.DataType) -> Render | None:
    """Return what CAST to STRING does with values of `type_` that are not NULL.

    Collections print as Java prints them: ``[1, 3]``, ``{this=1}``, ``Struct{F0=1,F1=3}`` without NULL
    fields.
    """
    match t.storage_type(type_):
        case t.Decimal():
            return n.decimal_plain
        case t.Array(element):
            item = _or_null(cast_text(element))
            return lambda v: "[" + ", ".join(map(item, v)) + "]"
        case t.Map(key, value):
            return _map_text(_or_null(cast_text(key)), _or_null(cast_text(value)))
        case t.Struct(fields):
            parts = [(name, _or_null(cast_text(f))) for name, f in fields]
            return lambda v: (
                "Struct{"
                + ",".join(f"{name}={f(x)}" for (name, f), x in zip(parts, v, strict=True) if x is not None)
                + "}"
            )
        case plain:
            return _TEXT.get(plain)


def _or_null(render: Render | None) -> Render:
    if render is None:
        return str
    return lambda v: "null" if v is None else render(v)


def _map_text(key: Render, value: Render) -> Render:
    def text(mapping: dict[Any, Any]) -> str:
        return "{" + ", ".join(f"{key(k)}={value(mapping[k])}" for k in map_order(mapping)) + "}"

    return text

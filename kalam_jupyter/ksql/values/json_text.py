"""JSON text with exact numbers: integers of any size, other numbers as Decimal with the digits of the
text.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any

from kalam_jupyter.engine import types as t
from kalam_jupyter.ksql.values import calendar
from kalam_jupyter.ksql.values.convert import encode_base64
from kalam_jupyter.ksql.values.errors import EvaluationError
from kalam_jupyter.ksql.values.numbers import decimal_plain, double_text

#: What `parse_json` returns for text that holds no value at all.
MISSING: Any = object()


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_float=Decimal, parse_constant=_no_constant)
_BLANK = " \t\r\n"


def parse_json(text: str) -> Any:
    """Parse the first JSON value of `text`; what follows it is not looked at, as the reference does.

    Returns
    -------
    dict, list, str, int, Decimal, bool, None, or MISSING for empty text

    Raises
    ------
    EvaluationError
        If it is not JSON.
    """
    stripped = text.lstrip(_BLANK)
    if not stripped:
        return MISSING
    try:
        value, end = _DECODER.raw_decode(stripped)
    except (ValueError, RecursionError) as error:
        raise EvaluationError(f"Invalid JSON text: {error}") from error
    if isinstance(value, int | Decimal) and stripped[end : end + 1] not in (
        "",
        " ",
        "\t",
        "\r",
        "\n",
        ",",
        "]",
        "}",
    ):
        raise EvaluationError(f"Invalid JSON text: unexpected character '{stripped[end]}'")
    return value


def quote(text: str) -> str:
    """Return a JSON string literal; characters beyond ASCII stay as they are."""
    return encode_basestring(text)


def write_json(value: Any) -> str:
    """Return compact JSON text of what `parse_json` returned."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return quote(value)
        case dict():
            return "{" + ",".join(f"{quote(k)}:{write_json(v)}" for k, v in value.items()) + "}"
        case list():
            return "[" + ",".join(map(write_json, value)) + "]"
    return str(value)


def node_text(value: Any) -> str:
    """Return a JSON value as the text a STRING column gets: texts raw, anything else as JSON."""
    return value if isinstance(value, str) else write_json(value)


_SCALARS: dict[t.DataType, Callable[[Any], str]] = {
    t.BOOLEAN: lambda v: "true" if v else "false",
    t.INTEGER: str,
    t.BIGINT: str,
    t.DOUBLE: lambda v: double_text(v) if v - v == 0 else f'"{double_text(v)}"',
    t.STRING: quote,
    t.BYTES: lambda v: f'"{encode_base64(v)}"',
    t.DATE: lambda v: f'"{calendar.date_text(v)}"',
    t.TIME: lambda v: f'"{calendar.time_text(v)}"',
    t.TIMESTAMP: lambda v: f'"{calendar.timestamp_text(v)}"',
}


def json_writer(type_: t.DataType | None) -> Callable[[Any], str]:
    """Return the function of TO_JSON_STRING for values of `type_`, NULL included.

    Struct fields and map keys are sorted; temporal values and BYTES are texts.
    """
    write = _json_writer(type_)
    return lambda v: "null" if v is None else write(v)


def _json_writer(type_: t.DataType | None) -> Callable[[Any], str]:
    match type_:
        case t.Decimal():
            return decimal_plain
        case t.Array(element):
            item = json_writer(element)
            return lambda v: "[" + ",".join(map(item, v)) + "]"
        case t.Map(_, value):
            entry = json_writer(value)
            return lambda v: "{" + ",".join(f"{quote(str(k))}:{entry(v[k])}" for k in sorted(v)) + "}"
        case t.Struct(fields):
            parts = sorted((name, i, json_writer(f)) for i, (name, f) in enumerate(fields))
            return lambda v: "{" + ",".join(f"{quote(name)}:{f(v[i])}" for name, i, f in parts) + "}"
        case None:
            return lambda v: "null"
    return _SCALARS[type_]

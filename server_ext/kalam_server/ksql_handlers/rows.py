"""Rows of a query as JSON text (HTTP contract section 7.8), by functions made once per query.

At the top level and inside ARRAY and MAP, temporal values are strings; inside a STRUCT they are numbers
(milliseconds, days), as the reference has it. DOUBLE always shows a fraction or an exponent, DECIMAL
keeps its scale, 64-bit integers are never quoted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any

from kalam_jupyter.engine import types as t
from kalam_jupyter.ksql.formats.json_writer import value_writer
from kalam_jupyter.ksql.values.calendar import date_text, timestamp_text

Writer = Callable[[Any], str]
RowWriter = Callable[[Sequence[Any]], str]


def row_writer(types: Sequence[t.DataType], begin: str = "", end: str = "") -> RowWriter:
    """Return the writer of a row as a JSON array, without spaces, between `begin` and `end`."""
    return _row_writer(tuple(types), begin, end)


@lru_cache(1024)
def _row_writer(types: tuple[t.DataType, ...], begin: str, end: str) -> RowWriter:
    if not types:
        return lambda _: f"{begin}[]{end}"
    names: dict[str, Any] = {}
    texts = []
    for i, type_ in enumerate(types):
        writer = _writer(type_)
        names[f"w{i}"] = writer
        text = f"v{i}" if writer is str else f"w{i}(v{i})"
        texts.append(f"'null' if v{i} is None else {text}")
    template = f"{begin}[{','.join(['%s'] * len(types))}]{end}"
    unpack = ", ".join(f"v{i}" for i in range(len(types)))
    source = f"def write(row):\n    {unpack}, = row\n    return {template!r} % ({', '.join(texts)},)\n"
    exec(source, names)
    write: RowWriter = names["write"]
    return write


def _writer(type_: t.DataType) -> Writer:
    match t.storage_type(type_):
        case t.Timestamp():
            return lambda v: f'"{timestamp_text(v)}"'
        case t.Time():
            return lambda v: f'"{time_text(v)}"'
        case t.Primitive("DATE"):
            return lambda v: f'"{date_text(v)}"'
        case t.Array(element):
            item = _writer(element)
            return lambda v: f"[{','.join(['null' if x is None else item(x) for x in v])}]"
        case t.Map(_, value):
            inner = _writer(value)
            return lambda v: (
                "{"
                + ",".join(
                    f"{encode_basestring(str(k))}:{'null' if x is None else inner(x)}" for k, x in v.items()
                )
                + "}"
            )
    return value_writer(type_)


def time_text(milliseconds: int) -> str:
    """Return a time of day as the API shows it: no milliseconds, and no seconds when they are 0."""
    seconds = milliseconds // 1000
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}"
    return f"{text}:{seconds % 60:02}" if seconds % 60 else text

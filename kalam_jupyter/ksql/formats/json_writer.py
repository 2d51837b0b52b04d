"""Writes rows as JSON text, exactly as the reference prints numbers: one generated function per schema."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from json.encoder import encode_basestring
from typing import Any

from kalam_jupyter.engine import types as t
from kalam_jupyter.engine.batch import Row
from kalam_jupyter.engine.types import Column, DataType
from kalam_jupyter.ksql.formats.text import base64_text, decimal_text
from kalam_jupyter.ksql.values.numbers import double_text

Writer = Callable[[Any], str]


def _double(value: float) -> str:
    if 1e-3 <= value < 1e7 or value == 0.0 or -1e7 < value <= -1e-3:
        return repr(value)
    text = double_text(value)
    return text if text[-1].isdigit() else f'"{text}"'


def _boolean(value: bool) -> str:
    return "true" if value else "false"


def _bytes(value: bytes) -> str:
    return f'"{base64_text(value)}"'


def _array(element: Writer) -> Writer:
    return lambda v: f"[{','.join(['null' if x is None else element(x) for x in v])}]"


def _map(value: Writer) -> Writer:
    def write(v: dict[str, Any]) -> str:
        items = [
            f"{encode_basestring('null' if k is None else k)}:{'null' if x is None else value(x)}"
            for k, x in v.items()
        ]
        return f"{{{','.join(items)}}}"

    return write


#: Scalars by type name; integers of all kinds are written by `str`
_SCALARS: dict[str, Writer] = {
    "BOOLEAN": _boolean,
    "STRING": encode_basestring,
    "DOUBLE": _double,
    "FLOAT": _double,
    "BYTES": _bytes,
}


def value_writer(type_: DataType) -> Writer:
    """Return the writer of non-null values of one type."""
    match t.storage_type(type_):
        case t.Array(element):
            return _array(value_writer(element))
        case t.Map(_, value):
            return _map(value_writer(value))
        case t.Struct(fields):
            return object_writer(fields)
        case t.Decimal() as decimal:
            return decimal_text(decimal)
        case scalar:
            return _SCALARS.get(str(scalar), str)


def object_writer(fields: Sequence[tuple[str, DataType]]) -> Writer:
    """Return the writer of a tuple as an object of named fields, nulls included."""
    if not fields:
        return lambda _: "{}"
    labels = [f"{',' if i else '{'}{encode_basestring(name)}:" for i, (name, _) in enumerate(fields)]
    names: dict[str, Any] = {f"p{i}": label for i, label in enumerate(labels)}
    lines = []
    for i, (_, type_) in enumerate(fields):
        names[f"w{i}"] = writer = value_writer(type_)
        text = f"v{i}" if writer is str else f"w{i}(v{i})"
        if writer is _double:
            text = f"repr(v{i}) if 1e-3 <= v{i} < 1e7 else {text}"
        lines.append(f"    t{i} = 'null' if v{i} is None else {text}")
    every = range(len(fields))
    body = "".join(f"{{p{i}}}{{t{i}}}" for i in every)
    code = [
        f"def write(row, {', '.join(f'p{i}=p{i}, w{i}=w{i}' for i in every)}):",
        f"    {', '.join(f'v{i}' for i in every)}, = row",
        *lines,
        f"    return f'{body}}}}}'",
    ]
    exec("\n".join(code), names)
    write: Writer = names["write"]
    return write


def row_writer(columns: Sequence[Column], *, unwrapped: bool) -> Callable[[Row], bytes | None]:
    """Return the writer of one row as UTF-8 JSON.

    Parameters
    ----------
    columns : sequence of Column
    unwrapped : bool
        Whether the one column is written bare; null is then no bytes at all.
    """
    if unwrapped:
        bare = value_writer(columns[0].type)
        return lambda row: None if row[0] is None else bare(row[0]).encode("utf-8", "replace")
    write = object_writer([(c.name, c.type) for c in columns])

    def write_row(row: Row) -> bytes:
        text = write(row)
        try:
            return text.encode()
        except UnicodeEncodeError:  # a lone surrogate, which Java also writes as a question mark
            return text.encode("utf-8", "replace")

    return write_row

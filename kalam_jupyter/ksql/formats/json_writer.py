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
    labels = [encode_basestring(name).replace("%", "%%") for name, _ in fields]
    writers = {f"w{i}": value_writer(type_) for i, (_, type_) in enumerate(fields)}
    texts = [
        f"'null' if v{i} is None else " + (f"v{i}" if writers[f"w{i}"] is str else f"w{i}(v{i})")
        for i in range(len(fields))
    ]
    names: dict[str, Any] = {"template": f"{{{','.join(f'{label}:%s' for label in labels)}}}", **writers}
    unpack = ", ".join(f"v{i}" for i in range(len(fields)))
    exec(f"def write(row):\n    {unpack}, = row\n    return template % ({', '.join(texts)},)\n", names)
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
    return lambda row: write(row).encode("utf-8", "replace")

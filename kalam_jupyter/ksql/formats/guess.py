"""What the bytes of a topic nobody declared may be: PRINT tells, and shows them so.

A guess starts with every format and drops those that a record's bytes do not fit. What is left is shown
as ``JSON or KAFKA_STRING``; the first of them shows the bytes. Windowed keys are recognised when the bytes
end in the bounds of a window, and what stands before them fits a format.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from functools import cache, partial
from typing import cast

import orjson

from kalam_jupyter.engine import types as t
from kalam_jupyter.ksql.errors import KsqlError
from kalam_jupyter.ksql.formats.base import NO_FEATURES, UNWRAP_SINGLES, SerdeError, SerdeFormat, Side
from kalam_jupyter.ksql.formats.json_writer import value_writer
from kalam_jupyter.ksql.formats.registered import RegisteredFormat
from kalam_jupyter.ksql.formats.schema_registry import SchemaRegistry, referenced
from kalam_jupyter.ksql.formats.wire import schema_id_of
from kalam_jupyter.ksql.values.numbers import double_text

NO_DATA = "¯\\_(ツ)_/¯ - no data processed"
UNRECOGNIZED = "UNRECOGNIZED_BYTES"
#: Windows begin before the year 2286: as a number, text is far beyond that.
_LATEST_MS = 10**13
_NUMBERS = {"KAFKA_INT": ">i", "KAFKA_BIGINT": ">q", "KAFKA_DOUBLE": ">d"}

#: Returns the text of some bytes; raises one of `_UNFIT` if they are nothing of the kind.
Show = Callable[[bytes], str]
_UNFIT = (ValueError, SerdeError, KsqlError, struct.error, RecursionError)


class FormatGuess:
    """The formats that all keys, or all values, of a topic seen so far may have.

    Parameters
    ----------
    registry : SchemaRegistry
        Where schemas of registered formats are looked up.
    is_key : bool
        Whether windowed forms come into question.
    """

    def __init__(self, registry: SchemaRegistry, *, is_key: bool) -> None:
        plain: dict[str, Show] = {
            name: _registered(registry, name) for name in ("AVRO", "PROTOBUF", "JSON_SR")
        }
        plain |= {
            "JSON": _json,
            **{name: partial(_number, layout) for name, layout in _NUMBERS.items()},
            "KAFKA_STRING": _string,
        }
        windowed: dict[str, Show] = {}
        if is_key:
            for name, show in plain.items():
                windowed[f"SESSION({name})"] = partial(_session, show)
                windowed[f"HOPPING({name})"] = windowed[f"TUMBLING({name})"] = partial(_time_window, show)
        self._left = {**windowed, **plain}
        self._seen = False

    def __str__(self) -> str:
        if not self._seen:
            return NO_DATA
        return " or ".join(self._left) or UNRECOGNIZED

    def show(self, data: bytes | None) -> str:
        """Return the text of one record's bytes; what they cannot be is out from now on."""
        if data is None:
            return "<null>"
        self._seen = True
        texts = {}
        for name, show in list(self._left.items()):
            try:
                texts[name] = show(data)
            except _UNFIT:
                del self._left[name]
        if not texts:
            return "0x" + data.hex()
        first, text = next(iter(texts.items()))
        as_string = texts.get("KAFKA_STRING", "")
        # Eight letters are a number as well, but nobody means that.
        return as_string if first in _NUMBERS and as_string.isprintable() else text


def _json(data: bytes) -> str:
    orjson.loads(data)
    return data.decode()


def _string(data: bytes) -> str:
    return data.decode()


def _number(layout: str, data: bytes) -> str:
    (value,) = struct.unpack(layout, data)
    return double_text(value) if isinstance(value, float) else str(value)


def _registered(registry: SchemaRegistry, name: str) -> Show:
    """Show data of registered schemas as JSON, each read with the schema that it names."""
    reader = cache(partial(_schema_reader, registry, name))
    return lambda data: reader(schema_id_of(data))(data)


def _schema_reader(registry: SchemaRegistry, name: str, schema_id: int) -> Show:
    schema = registry.schema(schema_id)
    serde = SerdeFormat.of(name)
    format_ = cast(RegisteredFormat, serde.info.format)
    if schema.type != format_.schema_type:
        raise SerdeError(f"schema {schema_id} is {schema.type}")
    type_ = format_.schema_type_of(schema.text, referenced(registry, schema), serde.info)
    if type_ is None:
        raise SerdeError(f"schema {schema_id} has no SQL type")
    is_record = isinstance(type_, t.Struct)
    fields = type_.fields if isinstance(type_, t.Struct) else (("", type_),)
    columns = tuple(t.Column(field, inner) for field, inner in fields)
    features = NO_FEATURES if is_record else frozenset({UNWRAP_SINGLES})
    read = format_.deserializer(
        Side(columns, SerdeFormat(serde.info, features, schema_id), registry=registry)
    )
    writers = [(json.dumps(c.name, ensure_ascii=False), value_writer(c.type)) for c in columns]

    def show(data: bytes) -> str:
        (row,), failures = read([data])
        if failures:
            raise SerdeError(failures[0][1])
        if row is None:
            return "null"
        texts = ["null" if v is None else write(v) for (_, write), v in zip(writers, row, strict=True)]
        if not is_record:
            return texts[0]
        return "{" + ", ".join(f"{n}: {text}" for (n, _), text in zip(writers, texts, strict=True)) + "}"

    return show


def _moment(ms: int) -> int:
    if not 0 <= ms < _LATEST_MS:
        raise ValueError("no moment")
    return ms


def _session(show: Show, data: bytes) -> str:
    """A session window's key: the bytes, the end, the start."""
    if len(data) <= 16:
        raise ValueError("no key before the window")
    end, start = struct.unpack(">qq", data[-16:])
    if _moment(start) > _moment(end):
        raise ValueError("ends before it starts")
    return f"[{show(data[:-16])}@{start}/{end}]"


def _time_window(show: Show, data: bytes) -> str:
    """A tumbling or hopping window's key: the bytes, the start; its end is not in the record."""
    if len(data) <= 8:
        raise ValueError("no key before the window")
    start = _moment(struct.unpack(">q", data[-8:])[0])
    return f"[{show(data[:-8])}@{start}/-]"

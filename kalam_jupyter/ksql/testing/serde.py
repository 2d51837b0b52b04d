"""Records of cases to bytes and back (section 3 of the conformance contract).

Written apart from the product's own formats on purpose: bytes that both get wrong in the same way would
otherwise pass. Inputs are turned into bytes, so the product decodes; outputs are read from bytes, so the
product encodes.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from kalam_jupyter.engine.types import Column
from kalam_jupyter.ksql import Ksql
from kalam_jupyter.ksql.formats import SerdeFormat
from kalam_jupyter.ksql.metastore import Source
from kalam_jupyter.ksql.testing import registered
from kalam_jupyter.ksql.testing.records import WindowKind, exact_json
from kalam_jupyter.ksql.values.numbers import double_text

Write = Callable[[Any], bytes | None]
Read = Callable[[bytes | None], Any]


class InvalidCaseError(Exception):
    """A case whose records cannot be what the case says they are."""


@dataclass(frozen=True)
class Codec:
    """How one side of a topic's records becomes bytes and back."""

    write: Write
    read: Read


def _json(exact: bool) -> Codec:
    parse_float: Callable[[str], Any] = Decimal if exact else float

    def write(value: Any) -> bytes | None:
        return None if value is None else exact_json(value).encode()

    def read(data: bytes | None) -> Any:
        return None if data is None else json.loads(data, parse_float=parse_float)

    return Codec(write, read)


def _delimited() -> Codec:
    def write(value: Any) -> bytes | None:
        if value is not None and not isinstance(value, str):
            raise InvalidCaseError(f"a DELIMITED record must be text: {value!r}")
        return None if value is None else value.encode()

    return Codec(write, _text)


def _text(data: bytes | None) -> Any:
    return None if data is None else data.decode("utf-8", "replace")


_LAYOUTS = {"INTEGER": ">i", "BIGINT": ">q", "DOUBLE": ">d"}


def _kafka(columns: tuple[Column, ...]) -> Codec:
    name = str(columns[0].type) if columns else "STRING"
    layout = _LAYOUTS.get(name)

    def write(value: Any) -> bytes | None:
        if value is None:
            return None
        if layout is None:
            return (value if isinstance(value, str) else exact_json(value)).encode()
        return struct.pack(layout, float(value) if name == "DOUBLE" else int(value))

    def read(data: bytes | None) -> Any:
        if data is None or layout is None:
            return _text(data)
        (number,) = struct.unpack(layout, data)
        return Decimal(double_text(number)) if name == "DOUBLE" else number

    return Codec(write, read)


def _none() -> Codec:
    return Codec(lambda value: None, lambda data: data)


def codec_of(
    ksql: Ksql,
    source: Source,
    serde: SerdeFormat,
    columns: tuple[Column, ...],
    *,
    is_key: bool,
    exact_numbers: bool,
) -> Codec:
    """Return the codec of one side of a topic."""
    match serde.info.name:
        case "JSON":
            return _json(exact_numbers)
        case "DELIMITED":
            return _delimited()
        case "KAFKA":
            return _kafka(columns)
        case "NONE":
            return _none()
        case "PROTOBUF_NOSR":
            bare = registered.BareMessages(serde, columns)
            return Codec(bare.write, bare.read)
        case "AVRO" | "JSON_SR" | "PROTOBUF":
            side = registered.RegisteredSide(ksql, source.topic, serde, is_key=is_key)
            return Codec(side.write, side.read)
    raise InvalidCaseError(f"no serialization of {serde.info.name}")


def headers(specs: Sequence[tuple[str, str | None]]) -> tuple[tuple[str, bytes | None], ...]:
    """Return headers as topics hold them."""
    return tuple((name, None if value is None else base64.b64decode(value)) for name, value in specs)


def write_window(key: bytes | None, window: tuple[int, int, WindowKind] | None) -> bytes | None:
    """Append a window to key bytes as Kafka Streams does."""
    if key is None or window is None:
        return key
    start, end, kind = window
    return key + (struct.pack(">q", start) if kind == "time" else struct.pack(">qq", end, start))


def read_window(
    data: bytes | None, kind: WindowKind | None, size_ms: int | None
) -> tuple[bytes | None, tuple[int, int, WindowKind] | None]:
    """Split windowed key bytes."""
    if data is None or kind is None:
        return data, None
    if kind == "time":
        (start,) = struct.unpack(">q", data[-8:])
        return data[:-8], (start, start + (size_ms or 0), kind)
    end, start = struct.unpack(">qq", data[-16:])
    return data[:-16], (start, end, kind)

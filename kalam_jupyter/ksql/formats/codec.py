"""The codec of ksqlDB topics: a key and a value, each in its format, and the window of a windowed key."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from kalam_jupyter.engine.batch import Columns, Decoded, DecodeError, Payload, Window
from kalam_jupyter.engine.types import Schema
from kalam_jupyter.ksql.formats.base import Deserializer, FormatInfo, SerdeFormat, Serializer, Side
from kalam_jupyter.ksql.formats.columns import COLUMN_ROWS, ColumnReader
from kalam_jupyter.ksql.formats.registered import narrowed
from kalam_jupyter.ksql.formats.schema_data import schema_from_data, schema_to_data
from kalam_jupyter.ksql.formats.schema_registry import SchemaRegistry

#: Name of the factory in `Engine.codecs`
CODEC_NAME = "ksql"

_START = struct.Struct(">q")
_END_START = struct.Struct(">qq")


@dataclass(frozen=True)
class KeyWindow:
    """The window that keys carry after their own bytes, laid out as Kafka Streams does.

    Attributes
    ----------
    kind : ``time`` or ``session``
        Time windows write their start (8 bytes, big-endian), sessions their end and their start.
    size_ms : int or None
        Length of a time window; its end is not written.
    """

    kind: Literal["time", "session"]
    size_ms: int | None = None

    @property
    def width(self) -> int:
        """How many bytes a window takes."""
        return _START.size if self.kind == "time" else _END_START.size

    def write(self, key: bytes, window: Window) -> bytes:
        """Return `key` with its window."""
        if self.kind == "time":
            return key + _START.pack(window[0])
        return key + _END_START.pack(window[1], window[0])

    def read(self, data: bytes) -> tuple[bytes, Window]:
        """Split a windowed key; ValueError if it is too short."""
        if self.kind == "time":
            if len(data) < _START.size:
                raise ValueError(f"Windowed key of {len(data)} bytes has no window")
            (start,) = _START.unpack_from(data, len(data) - _START.size)
            return data[: -_START.size], (start, min(start + (self.size_ms or 0), 2**63 - 1))
        if len(data) < _END_START.size:
            raise ValueError(f"Windowed key of {len(data)} bytes has no session window")
        end, start = _END_START.unpack_from(data, len(data) - _END_START.size)
        return data[: -_END_START.size], (start, end)


@dataclass(frozen=True)
class KsqlCodec:
    """Reads and writes the records of one source.

    Keys of one column whose value is null are null keys: `encode` writes both `None` and `(None,)` as no
    bytes, `decode` gives `None`.

    Attributes
    ----------
    schema : Schema
        Key columns and value columns; no header columns.
    key, value : SerdeFormat
    window : KeyWindow or None
    registry : SchemaRegistry or None
        Where formats with registered schemas find them; no part of the codec's value.
    """

    schema: Schema
    key: SerdeFormat
    value: SerdeFormat
    window: KeyWindow | None = None
    registry: SchemaRegistry | None = field(default=None, compare=False, repr=False)

    @cached_property
    def lossless(self) -> bool:
        """Whether decoding what was encoded gives every payload back."""
        key, value = self._key_side, self._value_side
        return self.total and key.info.format.lossless(key) and value.info.format.lossless(value)

    @cached_property
    def total(self) -> bool:
        """Whether every payload can be written: not so where the user named a schema that admits less."""
        return not any(narrowed(side) for side in (self._key_side, self._value_side))

    def encode(self, payload: Payload) -> tuple[list[bytes | None], list[bytes | None]]:
        """Return key bytes and value bytes."""
        keys = self._write_key(payload.keys)
        if self.window is not None:
            windows = payload.windows
            assert windows is not None, "a windowed codec needs the windows of its keys"
            write = self.window.write
            keys = [None if k is None else write(k, w) for k, w in zip(keys, windows, strict=True)]
        return keys, self._write_value(payload.values)

    def decode(self, keys: Sequence[bytes | None], values: Sequence[bytes | None]) -> Decoded:
        """Read records; a bad one becomes a `DecodeError` and is left out."""
        if len(values) >= COLUMN_ROWS and self.window is None:
            columns = self._columns(keys, values)
            if columns is not None:
                return Decoded(Payload.from_columns(self.schema, columns, len(values)))
        errors: dict[int, DecodeError] = {}
        bare, windows = self._split_windows(keys, errors)
        key_rows, key_errors = self._read_key(bare)
        value_rows, value_errors = self._read_value(values)
        for i, message in key_errors:
            errors.setdefault(i, DecodeError(i, "key", message, keys[i]))
        for i, message in value_errors:
            errors.setdefault(i, DecodeError(i, "value", message, values[i]))
        if not errors:
            return Decoded(Payload.from_rows(self.schema, key_rows, value_rows, windows))
        kept = [i for i in range(len(values)) if i not in errors]
        payload = Payload.from_rows(
            self.schema,
            [key_rows[i] for i in kept],
            [value_rows[i] for i in kept],
            None if windows is None else [windows[i] for i in kept],
        )
        return Decoded(payload, np.array(kept, dtype=np.int64), tuple(errors[i] for i in sorted(errors)))

    def _columns(self, keys: Sequence[bytes | None], values: Sequence[bytes | None]) -> Columns | None:
        """Read records into columns; None where rows have to be read."""
        key, value = self._read_key, self._read_value
        if not isinstance(key, ColumnReader) or not isinstance(value, ColumnReader):
            return None
        read_value = value.columns(values)
        read_key = None if read_value is None else key.columns(keys)
        if read_key is None or read_value is None:
            return None
        return Columns(read_key[0], read_value[0], read_key[1], read_value[1])

    def descriptor(self) -> Mapping[str, Any]:
        """Return JSON from which `codec_from_descriptor` rebuilds this codec."""
        return {
            "codec": CODEC_NAME,
            "schema": schema_to_data(self.schema),
            "key": _serde_to_data(self.key),
            "value": _serde_to_data(self.value),
            "window": None if self.window is None else [self.window.kind, self.window.size_ms],
        }

    def _split_windows(
        self, keys: Sequence[bytes | None], errors: dict[int, DecodeError]
    ) -> tuple[Sequence[bytes | None], list[Window] | None]:
        if self.window is None:
            return keys, None
        bare: list[bytes | None] = []
        windows: list[Window] = []
        for i, data in enumerate(keys):
            key, window = None, (0, 0)
            if data is not None:
                try:
                    key, window = self.window.read(data)
                except ValueError as error:
                    errors[i] = DecodeError(i, "key", str(error), data)
            bare.append(key)
            windows.append(window)
        return bare, windows

    @cached_property
    def _key_side(self) -> Side:
        return Side(self.schema.key, self.key, is_key=True, registry=self.registry)

    @cached_property
    def _value_side(self) -> Side:
        return Side(self.schema.value, self.value, registry=self.registry)

    @cached_property
    def _write_key(self) -> Serializer:
        return self.key.info.format.serializer(self._key_side)

    @cached_property
    def _write_value(self) -> Serializer:
        return self.value.info.format.serializer(self._value_side)

    @cached_property
    def _read_key(self) -> Deserializer:
        return self.key.info.format.deserializer(self._key_side)

    @cached_property
    def _read_value(self) -> Deserializer:
        return self.value.info.format.deserializer(self._value_side)

    @cached_property
    def _hash(self) -> int:
        return hash((self.schema, self.key, self.value, self.window))

    def __hash__(self) -> int:
        return self._hash


def _serde_to_data(serde: SerdeFormat) -> dict[str, Any]:
    return {
        "format": serde.info.name,
        "properties": dict(serde.info.properties),
        "features": sorted(serde.features),
        "schemaId": serde.schema_id,
    }


def _serde_from_data(data: Mapping[str, Any]) -> SerdeFormat:
    info = FormatInfo.of(data["format"], data["properties"])
    return SerdeFormat(info, frozenset(data["features"]), data["schemaId"])


def codec_from_descriptor(data: Mapping[str, Any], registry: SchemaRegistry | None = None) -> KsqlCodec:
    """Rebuild a codec from its `KsqlCodec.descriptor`; the factory for ``engine.codecs["ksql"]``.

    Parameters
    ----------
    data : mapping
    registry : SchemaRegistry or None
        Bind it with `functools.partial` when registering the factory.
    """
    window = data["window"]
    return KsqlCodec(
        schema_from_data(data["schema"]),
        _serde_from_data(data["key"]),
        _serde_from_data(data["value"]),
        None if window is None else KeyWindow(window[0], window[1]),
        registry,
    )

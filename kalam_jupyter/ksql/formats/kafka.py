"""KAFKA: one column, written as Kafka's own serializers write it (15.4)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from kalam_jupyter.engine.batch import Row
from kalam_jupyter.engine.types import Column
from kalam_jupyter.ksql.errors import KsqlError
from kalam_jupyter.ksql.formats.base import (
    UNWRAP_SINGLES,
    Deserializer,
    FormatInfo,
    SerdeError,
    Serializer,
    Side,
    base_name,
    columns_text,
    each,
    register,
)
from kalam_jupyter.ksql.formats.columns import NoColumns, SideColumns


def _fixed(name: str, layout: str) -> tuple[Callable[[Any], bytes], Callable[[bytes], Any]]:
    packed = struct.Struct(layout)

    def read(data: bytes) -> Any:
        if len(data) != packed.size:
            raise SerdeError(f"Size of data received by {name}Deserializer is not {packed.size}")
        return packed.unpack(data)[0]

    return packed.pack, read


def _read_text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace")


#: Types whose values all have one size
_LAYOUTS = {"INTEGER": ">i", "BIGINT": ">q", "DOUBLE": ">d"}
#: type name -> (write, read)
_TYPES: dict[str, tuple[Callable[[Any], bytes], Callable[[bytes], Any]]] = {
    "INTEGER": _fixed("Integer", _LAYOUTS["INTEGER"]),
    "BIGINT": _fixed("Long", _LAYOUTS["BIGINT"]),
    "DOUBLE": _fixed("Double", _LAYOUTS["DOUBLE"]),
    "STRING": (lambda v: v.encode("utf-8", "replace"), _read_text),
    "BYTES": (bytes, bytes),
}


class _NumberReader:
    """Reads numbers of one size."""

    def __init__(self, one_by_one: Deserializer, layout: str) -> None:
        self._one_by_one = one_by_one
        self._layout = layout
        self._dtype = np.dtype(layout)

    def __call__(self, data: Sequence[bytes | None]) -> tuple[list[Row | None], list[tuple[int, str]]]:
        if None not in data and set(map(len, data)) == {self._dtype.itemsize}:  # type: ignore[arg-type]
            joined = b"".join(data)  # type: ignore[arg-type]
            return list(struct.iter_unpack(self._layout, joined)), []
        return self._one_by_one(data)

    def columns(self, data: Sequence[bytes | None]) -> SideColumns | None:
        n, size = len(data), self._dtype.itemsize
        packed = pa.array(data, pa.binary())
        _, offsets, content = packed.buffers()
        if not n or packed.null_count:
            return None
        if not np.array_equal(np.frombuffer(offsets, np.int32, n + 1), np.arange(0, size * n + 1, size)):
            return None
        numbers = np.frombuffer(content, self._dtype, n).astype(self._dtype.newbyteorder("="))
        return (pa.array(numbers),), None


class _TextReader:
    """Reads texts and bytes."""

    def __init__(self, one_by_one: Deserializer, type_: pa.DataType) -> None:
        self._one_by_one = one_by_one
        self._type = type_

    def __call__(self, data: Sequence[bytes | None]) -> tuple[list[Row | None], list[tuple[int, str]]]:
        return self._one_by_one(data)

    def columns(self, data: Sequence[bytes | None]) -> SideColumns | None:
        try:
            array = pa.array(data, pa.binary()).cast(self._type)
        except pa.ArrowInvalid:  # no UTF-8
            return None
        return (array,), np.asarray(array.is_valid()) if array.null_count else None


class KafkaFormat:
    """The formats of Kafka's primitive serializers."""

    name = "KAFKA"
    features = frozenset({UNWRAP_SINGLES})
    properties: frozenset[str] = frozenset()
    uses_registry = False
    schema_type: str | None = None

    def check(self, columns: Sequence[Column], info: FormatInfo) -> None:
        if len(columns) > 1:
            raise KsqlError(f"The 'KAFKA' format only supports a single field. Got: {columns_text(columns)}")
        for column in columns:
            if base_name(column.type) not in _TYPES:
                raise KsqlError(f"The 'KAFKA' format does not support type '{base_name(column.type)}'")

    def serializer(self, side: Side) -> Serializer:
        if not side.columns:
            return lambda rows: [None] * len(rows)
        write, _ = _TYPES[base_name(side.columns[0].type)]
        return lambda rows: [None if r is None or r[0] is None else write(r[0]) for r in rows]

    def deserializer(self, side: Side) -> Deserializer:
        if not side.columns:
            return NoColumns()
        name = base_name(side.columns[0].type)
        _, read = _TYPES[name]

        def read_row(data: bytes) -> Row:
            return (read(data),)

        layout = _LAYOUTS.get(name)
        if layout is None:
            return _TextReader(each(read_row), side.columns[0].type.arrow)
        return _NumberReader(each(read_row), layout)

    def lossless(self, side: Side) -> bool:
        """A value whose one column is null is written as a null value."""
        return side.is_key or not side.columns


KAFKA = register(KafkaFormat())

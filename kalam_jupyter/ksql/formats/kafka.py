"""KAFKA: one column, written as Kafka's own serializers write it (15.4)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

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
            return lambda data: ([None] * len(data), [])
        name = base_name(side.columns[0].type)
        _, read = _TYPES[name]

        def read_row(data: bytes) -> Row:
            return (read(data),)

        one_by_one = each(read_row)
        layout = _LAYOUTS.get(name)
        if layout is None:
            return one_by_one
        size = struct.calcsize(layout)

        def deserialize(data: Sequence[bytes | None]) -> tuple[list[Row | None], list[tuple[int, str]]]:
            if None not in data and set(map(len, data)) == {size}:  # type: ignore[arg-type]
                joined = b"".join(data)  # type: ignore[arg-type]
                return list(struct.iter_unpack(layout, joined)), []
            return one_by_one(data)

        return deserialize

    def lossless(self, side: Side) -> bool:
        """A value whose one column is null is written as a null value."""
        return side.is_key or not side.columns


KAFKA = register(KafkaFormat())

"""JSON: objects, or a bare value; every column written, names read in any case (15.3)."""

from __future__ import annotations

from collections.abc import Sequence

from kalam_jupyter.engine.types import STRING, Column, DataType, Map
from kalam_jupyter.ksql.errors import KsqlError
from kalam_jupyter.ksql.formats import json_reader
from kalam_jupyter.ksql.formats.base import (
    UNWRAP_SINGLES,
    WRAP_SINGLES,
    Deserializer,
    FormatInfo,
    Serializer,
    Side,
    find_type,
    register,
)
from kalam_jupyter.ksql.formats.columns import NoColumns
from kalam_jupyter.ksql.formats.json_writer import row_writer


def is_unwritable_map(type_: DataType) -> bool:
    """Whether a type is a map whose keys cannot be names."""
    return isinstance(type_, Map) and type_.key != STRING


class JsonFormat:
    """JSON text without a schema."""

    name = "JSON"
    features = frozenset({WRAP_SINGLES, UNWRAP_SINGLES})
    properties: frozenset[str] = frozenset()
    uses_registry = False
    schema_type: str | None = None

    def check(self, columns: Sequence[Column], info: FormatInfo) -> None:
        if any(find_type(c.type, is_unwritable_map) for c in columns):
            raise KsqlError("JSON only supports MAP types with STRING keys")

    def serializer(self, side: Side) -> Serializer:
        if side.is_key and not side.columns:
            return lambda rows: [None] * len(rows)
        write = row_writer(side.columns, unwrapped=side.unwrapped)
        return lambda rows: [None if r is None else write(r) for r in rows]

    def deserializer(self, side: Side) -> Deserializer:
        if side.is_key and not side.columns:
            return NoColumns()
        return json_reader.RowReader(side.columns, unwrapped=side.unwrapped)

    def lossless(self, side: Side) -> bool:
        """Only a bare null is lost: it is a null value. A null key is one key, written either way."""
        return side.is_key or not side.unwrapped


JSON = register(JsonFormat())

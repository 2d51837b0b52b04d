"""NONE: a side without columns; always null."""

from __future__ import annotations

from collections.abc import Sequence

from kalam_jupyter.engine.types import Column
from kalam_jupyter.ksql.errors import KsqlError
from kalam_jupyter.ksql.formats.base import (
    NO_FEATURES,
    Deserializer,
    FormatInfo,
    Serializer,
    Side,
    columns_text,
    register,
)
from kalam_jupyter.ksql.formats.columns import NoColumns


class NoneFormat:
    """No data at all."""

    name = "NONE"
    features = NO_FEATURES
    properties: frozenset[str] = frozenset()
    uses_registry = False
    schema_type: str | None = None

    def check(self, columns: Sequence[Column], info: FormatInfo) -> None:
        if columns:
            raise KsqlError(
                "The 'NONE' format can only be used when no columns are defined. "
                f"Got: {columns_text(columns)}"
            )

    def serializer(self, side: Side) -> Serializer:
        return lambda rows: [None] * len(rows)

    def deserializer(self, side: Side) -> Deserializer:
        return NoColumns()

    def lossless(self, side: Side) -> bool:
        """Every key without columns is null; a value without columns may be there or not."""
        return side.is_key


NONE = register(NoneFormat())

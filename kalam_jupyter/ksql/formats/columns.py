"""Bytes to columns, a whole batch at a time and without a Python row between.

A deserializer that can do it has a `columns` method beside its call. It may say no to any batch: the rows
are read then, so there is one place for every rule about bad and unusual records.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import pyarrow as pa

from kalam_jupyter.engine.batch import Bools, Row
from kalam_jupyter.engine.types import DataType, Decimal, Primitive, Time, Timestamp, storage_type

#: One array per column, and False where the whole key or value is null (None: nowhere).
SideColumns = tuple[tuple[pa.Array, ...], Bools | None]

#: Records from which on columns are read.
COLUMN_ROWS = 512
#: Most digits of Arrow's decimals of 128 bits.
_MAX_DIGITS = 38


@runtime_checkable
class ColumnReader(Protocol):
    """A deserializer that reads columns, too."""

    def columns(self, data: Sequence[bytes | None]) -> SideColumns | None:
        """Return what the rows that calling it gives would hold; None if somebody has to look at each."""


class NoColumns:
    """Reads a side without columns: always null."""

    def __call__(self, data: Sequence[bytes | None]) -> tuple[list[Row | None], list[tuple[int, str]]]:
        """See `base.Deserializer`."""
        return [None] * len(data), []

    def columns(self, data: Sequence[bytes | None]) -> SideColumns:
        """See `ColumnReader`."""
        return (), np.zeros(len(data), dtype=np.bool_)


def is_plain(type_: DataType) -> bool:
    """Whether values of a type go to Arrow and back unchanged, and quickly: nested ones do not."""
    match storage_type(type_):
        case Decimal(precision=precision):
            return precision <= _MAX_DIGITS
        case Primitive() | Time() | Timestamp():
            return True
    return False

"""Payloads: the typed keys and values of a batch's records, as rows or as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kalam_jupyter.engine.types import Schema, from_arrow, to_arrow

Row = tuple[Any, ...]
Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Window = tuple[int, int]


@dataclass(frozen=True)
class Columns:
    """Column form of a payload.

    Attributes
    ----------
    key, value : tuple of pyarrow.Array
        One array of n values per key column and per value column.
    key_valid, value_valid : numpy bool array of n, or None
        False where the whole key or value is null (a null value is a table's tombstone, which is
        not the same as a value whose columns are all null). None means all valid.
    windows : pair of numpy int64 arrays of n, or None
        Start and end (ms) of each record's key window.
    """

    key: tuple[pa.Array, ...]
    value: tuple[pa.Array, ...]
    key_valid: Bools | None = None
    value_valid: Bools | None = None
    windows: tuple[Int64s, Int64s] | None = None


class Payload(msgspec.Struct, eq=False, gc=False):
    """Typed keys and values of n records: rows or columns, each made from the other at most once.

    Build one with `from_rows` or `from_columns`.
    """

    # Payloads and batches are msgspec's structs, out of sight of the garbage collector (they refer to
    # nothing that refers to them): a topic of small appends makes and keeps very many.
    schema: Schema
    num_rows: int
    _keys: Sequence[Row | None] | None = None
    _values: Sequence[Row | None] | None = None
    _windows: Sequence[Window] | None = None
    _columns: Columns | None = None

    @classmethod
    def from_rows(
        cls,
        schema: Schema,
        keys: Sequence[Row | None],
        values: Sequence[Row | None],
        windows: Sequence[Window] | None = None,
    ) -> Payload:
        """Wrap rows. A key or value of None is a null key or a null value; nothing is copied."""
        return cls(schema, len(values), keys, values, windows)

    @classmethod
    def from_columns(cls, schema: Schema, columns: Columns, num_rows: int) -> Payload:
        """Wrap columns; nothing is copied."""
        return cls(schema, num_rows, None, None, None, columns)

    @property
    def has_columns(self) -> bool:
        """Whether the column form exists already."""
        return self._columns is not None

    @property
    def has_rows(self) -> bool:
        """Whether the row form exists already."""
        return self._values is not None

    @property
    def keys(self) -> Sequence[Row | None]:
        """Key tuples, None for a null key."""
        if self._keys is None:
            self._make_rows()
        assert self._keys is not None
        return self._keys

    @property
    def values(self) -> Sequence[Row | None]:
        """Value tuples, None for a null value."""
        if self._values is None:
            self._make_rows()
        assert self._values is not None
        return self._values

    def rows(self) -> tuple[Sequence[Row | None], Sequence[Row | None]]:
        """Return `keys` and `values`."""
        keys, values = self._keys, self._values
        return (self.keys, self.values) if keys is None or values is None else (keys, values)

    @property
    def windows(self) -> Sequence[Window] | None:
        """Key window (start, end) of each record, or None if the key is not windowed."""
        if self._windows is None and self._columns is not None and self._columns.windows is not None:
            start, end = self._columns.windows
            self._windows = list(zip(start.tolist(), end.tolist(), strict=True))
        return self._windows

    @property
    def columns(self) -> Columns:
        """The column form."""
        if self._columns is None:
            self._make_columns()
        assert self._columns is not None
        return self._columns

    def slice(self, start: int, stop: int) -> Payload:
        """Return records `start` to `stop` (exclusive), in the forms that exist."""
        part = Payload(self.schema, max(0, min(stop, self.num_rows) - start))
        if self._values is not None and self._keys is not None:
            part._keys, part._values = self._keys[start:stop], self._values[start:stop]
        if self._windows is not None:
            part._windows = self._windows[start:stop]
        if self._columns is not None:
            c = self._columns
            part._columns = Columns(
                tuple(a[start:stop] for a in c.key),
                tuple(a[start:stop] for a in c.value),
                None if c.key_valid is None else c.key_valid[start:stop],
                None if c.value_valid is None else c.value_valid[start:stop],
                None if c.windows is None else (c.windows[0][start:stop], c.windows[1][start:stop]),
            )
        return part

    def _make_rows(self) -> None:
        columns = self.columns
        self._keys = _rows(columns.key, self.schema.key, columns.key_valid, self.num_rows)
        self._values = _rows(columns.value, self.schema.value, columns.value_valid, self.num_rows)

    def _make_columns(self) -> None:
        assert self._keys is not None and self._values is not None
        windows = None
        if self._windows is not None:
            bounds = np.array(self._windows, dtype=np.int64).reshape(-1, 2)
            windows = (np.ascontiguousarray(bounds[:, 0]), np.ascontiguousarray(bounds[:, 1]))
        key, key_valid = _arrays(self._keys, self.schema.key)
        value, value_valid = _arrays(self._values, self.schema.value)
        self._columns = Columns(key, value, key_valid, value_valid, windows)


def _rows(
    arrays: Sequence[pa.Array], columns: Sequence[Any], valid: Bools | None, n: int
) -> list[Row | None]:
    lists = [from_arrow(a, c.type) for a, c in zip(arrays, columns, strict=True)]
    rows: list[Row | None] = list(zip(*lists, strict=True)) if lists else [()] * n
    if valid is not None:
        for i in np.flatnonzero(~valid).tolist():
            rows[i] = None
    return rows


def _arrays(rows: Sequence[Row | None], columns: Sequence[Any]) -> tuple[tuple[pa.Array, ...], Bools | None]:
    valid = None
    if None in rows:
        valid = np.array([r is not None for r in rows], dtype=np.bool_)
        nulls: Row = (None,) * len(columns)
        rows = [nulls if r is None else r for r in rows]
    arrays = tuple(
        to_arrow([r[i] for r in rows], c.type)  # type: ignore[index]
        for i, c in enumerate(columns)
    )
    return arrays, valid

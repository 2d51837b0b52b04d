"""The column form of records between operators: large batches of stream records, without Python rows.

It means exactly what the row form means; an operator that has both gives the same output, whichever it is
asked for. Records of a
column batch have values (no null values, no tombstones) and no headers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa

from kalam_jupyter.engine.batch import Bools, Columns, Int64s
from kalam_jupyter.engine.types import Column, DataType, from_arrow
from kalam_jupyter.ksql.operators.record import Key, Record, Row


class NotColumnarError(Exception):
    """This batch needs the row form: something in it that only the row form does."""


class ColumnBatch:
    """n records as columns.

    Attributes
    ----------
    columns : sequence of pyarrow.Array or function
        The flat row, by position; a function makes its column when it is first asked for.
    types : sequence of DataType
        Types of the flat row.
    key : tuple of pyarrow.Array
    key_columns : tuple of Column
    key_valid : numpy bool array or None
        False where the whole key is null.
    ts : numpy int64 array
    windows : pair of numpy int64 arrays or None
    """

    __slots__ = ("_made", "_sources", "key", "key_columns", "key_valid", "num_rows", "ts", "types", "windows")

    def __init__(
        self,
        columns: Sequence[pa.Array | Callable[[], pa.Array]],
        types: Sequence[DataType],
        key: tuple[pa.Array, ...],
        key_columns: tuple[Column, ...],
        ts: Int64s,
        key_valid: Bools | None = None,
        windows: tuple[Int64s, Int64s] | None = None,
    ) -> None:
        self._sources = columns
        self._made: dict[int, pa.Array] = {}
        self.types = types
        self.key = key
        self.key_columns = key_columns
        self.ts = ts
        self.key_valid = key_valid
        self.windows = windows
        self.num_rows = len(ts)

    @property
    def width(self) -> int:
        """Number of columns of the flat row."""
        return len(self._sources)

    def column(self, position: int) -> pa.Array:
        """Return one column of the flat row."""
        found = self._made.get(position)
        if found is None:
            source = self._sources[position]
            found = self._made[position] = source if isinstance(source, pa.Array) else source()
        return found

    def take(self, positions: Int64s) -> ColumnBatch:
        """Return the records at `positions`; columns are taken when they are asked for."""
        indices = pa.array(positions)

        def taken(position: int) -> Callable[[], pa.Array]:
            return lambda: self.column(position).take(indices)

        return ColumnBatch(
            [taken(i) for i in range(self.width)],
            self.types,
            tuple(a.take(indices) for a in self.key),
            self.key_columns,
            self.ts[positions],
            None if self.key_valid is None else self.key_valid[positions],
            None if self.windows is None else (self.windows[0][positions], self.windows[1][positions]),
        )

    def replace(
        self, columns: Sequence[pa.Array | Callable[[], pa.Array]], types: Sequence[DataType]
    ) -> ColumnBatch:
        """Return the same records with another flat row."""
        return ColumnBatch(columns, types, self.key, self.key_columns, self.ts, self.key_valid, self.windows)

    def payload_columns(self) -> Columns:
        """Return the flat row as a payload's values."""
        values = tuple(self.column(i) for i in range(self.width))
        return Columns(self.key, values, self.key_valid, None, self.windows)

    def key_rows(self) -> list[Key]:
        """Return the keys as tuples, where all are valid."""
        lists = [from_arrow(a, c.type) for a, c in zip(self.key, self.key_columns, strict=True)]
        return list(zip(*lists, strict=True)) if lists else [()] * self.num_rows

    def keys(self) -> list[Key | None]:
        """Return the keys as tuples, None for a null key."""
        keys: list[Key | None] = list(self.key_rows()) if self.key else [None] * self.num_rows
        if self.key_valid is not None:
            for i in np.flatnonzero(~self.key_valid).tolist():
                keys[i] = None
        return keys

    def rows(self) -> list[Row]:
        """Return the flat rows."""
        lists = [from_arrow(self.column(i), self.types[i]) for i in range(self.width)]
        return list(zip(*lists, strict=True)) if lists else [()] * self.num_rows

    def keyed(self) -> ColumnBatch:
        """Return the records with a key."""
        if not self.key:
            return self.take(np.zeros(0, dtype=np.int64))
        return self if self.key_valid is None else self.take(np.flatnonzero(self.key_valid))

    def records(self) -> list[Record]:
        """Return the row form."""
        rows = self.rows()
        ts = self.ts.tolist()
        if self.windows is None:
            return [Record(k, row, t) for k, row, t in zip(self.keys(), rows, ts, strict=True)]
        windows = zip(self.windows[0].tolist(), self.windows[1].tolist(), strict=True)
        return [Record(k, row, t, w) for k, row, t, w in zip(self.keys(), rows, ts, windows, strict=True)]

"""The column form of records between operators: large batches of stream records, without Python rows.

It means exactly what the row form means; an operator that has both gives the same output, whichever it is
asked for. Records of a
column batch have values (no null values, no tombstones) and no headers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from kalam_jupyter.engine.batch import Bools, Columns, Int64s
from kalam_jupyter.engine.types import Column, DataType, from_arrow
from kalam_jupyter.ksql.operators.record import Key, Record


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

    def replace(self, columns: Sequence[pa.Array], types: Sequence[DataType]) -> ColumnBatch:
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

    def records(self) -> list[Record]:
        """Return the row form."""
        lists = [from_arrow(self.column(i), self.types[i]) for i in range(self.width)]
        rows = zip(*lists, strict=True) if lists else iter([()] * self.num_rows)
        ts = self.ts.tolist()
        if self.windows is None:
            return [Record(k, row, t) for k, row, t in zip(self.keys(), rows, ts, strict=True)]
        windows = zip(self.windows[0].tolist(), self.windows[1].tolist(), strict=True)
        return [Record(k, row, t, w) for k, row, t, w in zip(self.keys(), rows, ts, windows, strict=True)]


Codes = npt.NDArray[np.int64]


def group_codes(arrays: Sequence[pa.Array], numbers: Sequence[Int64s] = ()) -> tuple[Codes, Codes]:
    """Number the distinct combinations of columns without NULLs, in order of appearance.

    Returns
    -------
    codes : numpy int64 array
        The number of each row's combination.
    first : numpy int64 array
        The first row of each combination.
    """
    combined: Any = None
    size = 1
    for part, count in map(_codes, (*arrays, *map(pa.array, numbers))):
        if combined is None:
            combined, size = part, count
            continue
        if size * count > 1 << 62:
            combined, uniques = pd.factorize(combined)
            size = len(uniques)
        combined = combined * count + part
        size *= count
    codes, uniques = pd.factorize(combined)
    n = len(codes)
    first = np.empty(len(uniques), dtype=np.int64)
    first[codes[::-1]] = np.arange(n - 1, -1, -1)
    return codes.astype(np.int64, copy=False), first


def _codes(array: pa.Array) -> tuple[Codes, int]:
    encoded = array.dictionary_encode()
    return encoded.indices.to_numpy().astype(np.int64), max(len(encoded.dictionary), 1)


def running_max(values: Int64s, codes: Codes, start: Int64s) -> Int64s:
    """Return the largest value of each row's group so far; `start` is what each group had before."""
    values = np.maximum(values, start[codes])
    if len(start) == 1:
        return np.maximum.accumulate(values)
    order = np.argsort(codes, kind="stable")
    low = int(values.min())
    span = int(values.max()) - low + 1
    if span * len(start) >= 1 << 62:
        return _running_max_slow(values, codes, len(start))
    lifted = values[order] - low + codes[order] * span
    out = np.empty_like(values)
    out[order] = np.maximum.accumulate(lifted) - codes[order] * span + low
    return out


def _running_max_slow(values: Int64s, codes: Codes, groups: int) -> Int64s:
    best = [-(1 << 63)] * groups
    out = []
    for c, v in zip(codes.tolist(), values.tolist(), strict=True):
        if v > best[c]:
            best[c] = v
        out.append(best[c])
    return np.array(out, dtype=np.int64)


def ranks(codes: Codes, groups: int) -> Int64s:
    """Return the number of each row within its group, from 1."""
    order = np.argsort(codes, kind="stable")
    counts = np.bincount(codes, minlength=groups)
    starts = np.concatenate(([0], np.cumsum(counts)[:-1]))
    out = np.empty(len(codes), dtype=np.int64)
    out[order] = np.arange(len(codes)) - starts[codes[order]] + 1
    return out


def last_of_each(values: Int64s, codes: Codes, groups: int) -> list[int]:
    """Return the value in each group's last row."""
    out = np.empty(groups, dtype=np.int64)
    out[codes] = values
    return out.tolist()  # type: ignore[no-any-return]

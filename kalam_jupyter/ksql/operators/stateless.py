"""Operators without memory: filter, projection, re-keying, table functions, grouping of streams."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from kalam_jupyter.engine.types import Column, DataType
from kalam_jupyter.ksql.operators.column_batch import ColumnBatch
from kalam_jupyter.ksql.operators.record import Record, Row, Stateless


class StreamFilter(Stateless):
    """WHERE over a stream: keeps records whose predicate is true; a null value never passes."""

    def __init__(
        self,
        predicate: Callable[[Row], bool],
        mask: Callable[[ColumnBatch], Any] | None = None,
    ) -> None:
        self._predicate = predicate
        self._mask = mask
        self.columnar = mask is not None

    def process(self, records: list[Record]) -> list[Record]:
        """Return the records that pass."""
        predicate = self._predicate
        passed = []
        for r in records:  # for few records a comprehension's frame costs more than appending
            if r.row is not None and predicate(r.row):
                passed.append(r)  # noqa: PERF401
        return passed

    def process_columns(self, batch: ColumnBatch) -> ColumnBatch:
        """As `process`."""
        assert self._mask is not None
        mask = self._mask(batch)
        if isinstance(mask, pa.Scalar):
            return batch if mask.as_py() else batch.take(np.empty(0, dtype=np.int64))
        return batch.take(np.flatnonzero(mask.to_numpy(zero_copy_only=False)))


class Projection(Stateless):
    """SELECT: replaces the flat row by the selected values; null values and tombstones stay what they are.

    Parameters
    ----------
    project : callable
        From flat row to tuple.
    key : sequence of int, or None
        Positions in the key of the output key columns; None keeps the key as it is.
    project_old : bool
        Whether anything downstream reads `Record.old`.
    """

    def __init__(
        self,
        project: Callable[[Row], Row],
        key: Sequence[int] | None = None,
        *,
        project_old: bool = False,
        columns: Sequence[Callable[[ColumnBatch], pa.Array]] | None = None,
        types: Sequence[DataType] = (),
    ) -> None:
        self._columns = columns
        self._types = types
        self.columnar = columns is not None
        self._project = project
        self._key = key
        self._project_old = project_old

    def process(self, records: list[Record]) -> list[Record]:
        """Project every record."""
        project = self._project
        for r in records:
            if r.row is not None:
                r.row = project(r.row)
        if self._project_old:
            for r in records:
                if r.old is not None:
                    r.old = project(r.old)
        if self._key is not None:
            positions = self._key
            for r in records:
                if r.key is not None:
                    r.key = tuple(r.key[i] for i in positions)
        return records

    def process_columns(self, batch: ColumnBatch) -> ColumnBatch:
        """As `process`."""
        assert self._columns is not None
        projected = batch.replace([column(batch) for column in self._columns], self._types)
        if self._key is not None:
            projected.key = tuple(batch.key[i] for i in self._key)
            projected.key_columns = tuple(batch.key_columns[i] for i in self._key)
        return projected


class SelectKey(Stateless):
    """PARTITION BY: computes a new key.

    A null value still has key columns and pseudo columns, so a key made of those is computed. A key of one
    NULL is a null key.

    Parameters
    ----------
    make_key : callable or None
        From flat row to the new key; None removes the key (PARTITION BY NULL).
    num_values, num_keys : int
        Width of the value part and of the key part of the flat row.
    columns : sequence of callable or None
        From a column batch to the columns of the new key; None where the row form must do it.
    key_columns : tuple of Column
    """

    def __init__(
        self,
        make_key: Callable[[Row], Row] | None,
        num_values: int,
        num_keys: int,
        columns: Sequence[Callable[[ColumnBatch], pa.Array]] | None = None,
        key_columns: tuple[Column, ...] = (),
    ) -> None:
        self._make_key = make_key
        self._no_values = (None,) * num_values
        self._no_key = (None,) * num_keys
        self._columns = columns
        self._key_columns = key_columns
        self.columnar = columns is not None

    def process_columns(self, batch: ColumnBatch) -> ColumnBatch:
        """As `process`."""
        assert self._columns is not None
        return _rekeyed(batch, tuple(column(batch) for column in self._columns), self._key_columns)

    def process(self, records: list[Record]) -> list[Record]:
        """Re-key every record."""
        make_key = self._make_key
        if make_key is None:
            for r in records:
                r.key = None
            return records
        for r in records:
            row = r.row
            if row is None:
                row = (*self._no_values, *(r.key or self._no_key), r.ts, None, None)
            key = make_key(row)
            r.key = None if key == (None,) else key
        return records


class JoinKey(Stateless):
    """Re-keys a stream for a join: null values and null keys stay, to be judged by the join."""

    def __init__(
        self,
        make_key: Callable[[Row], Row],
        column: Callable[[ColumnBatch], pa.Array] | None = None,
        key_columns: tuple[Column, ...] = (),
    ) -> None:
        self._make_key = make_key
        self._column = column
        self._key_columns = key_columns
        self.columnar = column is not None

    def process_columns(self, batch: ColumnBatch) -> ColumnBatch:
        """As `process`."""
        assert self._column is not None
        return _rekeyed(batch, (self._column(batch),), self._key_columns)

    def process(self, records: list[Record]) -> list[Record]:
        """Re-key every record that has a value."""
        make_key = self._make_key
        for r in records:
            if r.row is not None:
                key = make_key(r.row)
                r.key = None if key == (None,) else key
        return records


class FlatMap(Stateless):
    """Table functions: one output per row they give, zipped, the short ones padded with NULL.

    Parameters
    ----------
    functions : sequence of callable
        Each from flat row to a list (or None). Their values follow the flat row.
    """

    def __init__(self, functions: Sequence[Callable[[Row], Sequence[Any] | None]]) -> None:
        self._functions = functions

    def process(self, records: list[Record]) -> list[Record]:
        """Expand every record; a null value gives nothing."""
        out = []
        for r in records:
            row = r.row
            if row is None:
                continue
            lists = [f(row) or () for f in self._functions]
            for i in range(max(map(len, lists))):
                extra = tuple(items[i] if i < len(items) else None for items in lists)
                out.append(Record(r.key, row + extra, r.ts, r.window, r.headers))
        return out


class GroupStream(Stateless):
    """GROUP BY over a stream: the group's values become the key; null values and incomplete groups are
    dropped.
    """

    def __init__(
        self,
        make_key: Callable[[Row], Row | None],
        columns: Sequence[Callable[[ColumnBatch], pa.Array]] | None = None,
        key_columns: tuple[Column, ...] = (),
    ) -> None:
        self._make_key = make_key
        self._columns = columns
        self._key_columns = key_columns
        self.columnar = columns is not None

    def process_columns(self, batch: ColumnBatch) -> ColumnBatch:
        """As `process`."""
        assert self._columns is not None
        key = tuple(column(batch) for column in self._columns)
        valid = [np.asarray(a.is_valid()) for a in key if a.null_count]
        grouped = ColumnBatch(
            [_at(batch, i) for i in range(batch.width)],
            batch.types,
            key,
            self._key_columns,
            batch.ts,
            None,
            batch.windows,
        )
        return grouped.take(np.flatnonzero(np.logical_and.reduce(valid))) if valid else grouped

    def process(self, records: list[Record]) -> list[Record]:
        """Re-key the records that have a complete group."""
        make_key = self._make_key
        out = []
        for r in records:
            if r.row is not None:
                key = make_key(r.row)
                if key is not None:
                    r.key = key
                    out.append(r)
        return out


def _rekeyed(batch: ColumnBatch, key: tuple[pa.Array, ...], key_columns: tuple[Column, ...]) -> ColumnBatch:
    """Return the records with another key; a key of one NULL is a null key, and so is one of no column."""
    valid = None
    if not key:
        valid = np.zeros(batch.num_rows, dtype=np.bool_)
    elif len(key) == 1 and key[0].null_count:
        valid = np.asarray(key[0].is_valid())
    columns = [_at(batch, i) for i in range(batch.width)]
    return ColumnBatch(columns, batch.types, key, key_columns, batch.ts, valid, batch.windows)


def _at(batch: ColumnBatch, position: int) -> Callable[[], pa.Array]:
    return lambda: batch.column(position)

"""The table side of a stream-table join: its rows by key, and the same rows as columns once that pays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from kalam_jupyter.engine.batch import Int64s
from kalam_jupyter.engine.types import BIGINT, INTEGER, DataType, to_arrow
from kalam_jupyter.ksql.operators.column_batch import ColumnBatch
from kalam_jupyter.ksql.operators.grouping import Grouping
from kalam_jupyter.ksql.operators.record import Key, Row, store_key


class Matches:
    """Rows of the table that some records look up; each column is made when it is first asked for."""

    def __init__(self, rows: Sequence[Row | None], types: Sequence[DataType]) -> None:
        self._rows = rows
        self._types = types
        self._columns: dict[int, pa.Array] = {}

    def column(self, position: int, at: pa.Array) -> pa.Array:
        """Return one column's values in the rows `at` these positions, NULL where those are."""
        found = self._columns.get(position)
        if found is None:
            cells = [None if row is None else row[position] for row in self._rows]
            found = self._columns[position] = to_arrow(cells, self._types[position])
        return found.take(at)


class _Snapshot(Matches):
    """All rows of the table at one moment, to be looked up by many batches."""

    def __init__(self, rows: dict[Any, Row], types: Sequence[DataType]) -> None:
        super().__init__(list(rows.values()), types)
        self._at: dict[Any, int] = {key: i for i, key in enumerate(rows)}
        self._numbers: pd.Index[Any] | None = None
        if all(len(key) == 1 and isinstance(key[0], int) for key in rows):
            self._numbers = pd.Index(np.fromiter((key[0] for key in rows), np.int64, len(rows)))

    def look_up(self, batch: ColumnBatch) -> Int64s:
        """Return the position of each record's row, -1 where there is none."""
        if self._numbers is not None and batch.key_columns[0].type in (INTEGER, BIGINT):
            wanted = np.asarray(batch.key[0]).astype(np.int64, copy=False)
            return self._numbers.get_indexer(pd.Index(wanted))
        codes, keys = _distinct(batch)
        at = self._at
        return np.array([at.get(k, -1) for k in keys], dtype=np.int64).take(codes)


class LookupTable:
    """The current rows of a joined table.

    Parameters
    ----------
    types : sequence of DataType
        Of the rows' columns.
    """

    def __init__(self, types: Sequence[DataType]) -> None:
        self.rows: dict[Any, Row] = {}
        self._types = types
        self._snapshot: _Snapshot | None = None
        self._asked = 0

    def put(self, key: Key, row: Row | None) -> None:
        """Set the row of a key; None removes it."""
        if row is None:
            self.rows.pop(key, None)
        else:
            self.rows[key] = row
        self._changed()

    def restore(self, rows: dict[Any, Row]) -> None:
        """Take other rows."""
        self.rows = rows
        self._changed()

    def _changed(self) -> None:
        self._snapshot, self._asked = None, 0

    def match(self, batch: ColumnBatch) -> tuple[Matches, Int64s]:
        """Return rows and where each record's is among them, -1 where there is none."""
        if batch.key_valid is not None or any(a.null_count for a in batch.key):
            keys = batch.keys()
            rows = [None if k is None else self.rows.get(store_key(k)) for k in keys]
            return self._some(rows, np.arange(len(rows)))
        if self._snapshot is None:
            # A snapshot costs as much as looking up all rows of the table once.
            self._asked += batch.num_rows
            if self._asked < len(self.rows):
                codes, distinct = _distinct(batch)
                return self._some([self.rows.get(k) for k in distinct], codes)
            self._snapshot = _Snapshot(self.rows, self._types)
        return self._snapshot, self._snapshot.look_up(batch)

    def _some(self, rows: Sequence[Row | None], codes: Int64s) -> tuple[Matches, Int64s]:
        found = np.array([row is not None for row in rows], dtype=np.bool_)
        return Matches(rows, self._types), np.where(found.take(codes), codes, -1)


def _distinct(batch: ColumnBatch) -> tuple[Int64s, list[Any]]:
    """Return the distinct keys of a batch without NULLs, and which of them each record has."""
    grouping = Grouping.of(batch.key)
    return grouping.codes, [store_key(k) for k in batch.take(grouping.first).key_rows()]

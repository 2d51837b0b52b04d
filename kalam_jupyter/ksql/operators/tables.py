"""Operators on tables, which are changelogs of keyed rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from kalam_jupyter.engine.batch import Int64s
from kalam_jupyter.ksql.operators.column_batch import ColumnBatch, NotColumnarError
from kalam_jupyter.ksql.operators.grouping import Grouping
from kalam_jupyter.ksql.operators.record import Record, Row, store_key


class TableStore:
    """Keeps a table's current rows, so that each change knows the row it replaces. Null keys are dropped."""

    def __init__(self) -> None:
        self.rows: dict[Any, Row] = {}

    def process(self, records: list[Record]) -> list[Record]:
        """Fill in `Record.old`."""
        rows = self.rows
        out = []
        for r in records:
            if r.key is None:
                continue
            key = store_key((*r.key, r.window))
            if r.row is None:
                r.old = rows.pop(key, None)
            else:
                r.old = rows.get(key)
                rows[key] = r.row
            out.append(r)
        return out

    def checkpoint(self) -> Any:
        """All rows by key and window."""
        return self.rows

    def restore(self, state: Any) -> None:
        """Continue from `checkpoint`."""
        self.rows = state


class TableFilter:
    """WHERE over a table, and HAVING: a row that stops matching becomes a tombstone, once; unseen keys emit
    nothing.
    """

    def __init__(
        self, predicate: Callable[[Row], bool], mask: Callable[[ColumnBatch], Any] | None = None
    ) -> None:
        self._predicate = predicate
        self._mask = mask
        self.columnar = mask is not None
        #: The keys present; None: any key may be, because the filter came to a query that had none.
        self._present: set[Any] | None = set()

    def process(self, records: list[Record]) -> list[Record]:
        """Return the changes of the filtered table."""
        predicate, present = self._predicate, self._present
        out = []
        for r in records:
            if r.key is None:
                continue
            if present is None:
                if r.row is None or not predicate(r.row):
                    r.row = None
                out.append(r)
                continue
            key = store_key((*r.key, r.window))
            was = key in present
            if r.row is not None and predicate(r.row):
                if not was:
                    present.add(key)
                    r.old = None
                out.append(r)
            elif was:
                present.discard(key)
                r.row = None
                out.append(r)
        return out

    def process_columns(self, batch: ColumnBatch) -> ColumnBatch:
        """As `process`, where no row becomes a tombstone."""
        assert self._mask is not None
        present = self._present
        if present is None or batch.key_valid is not None:
            raise NotColumnarError
        found = self._mask(batch)
        if isinstance(found, pa.Scalar):
            matches = np.full(batch.num_rows, found.as_py())
        else:
            matches = found.to_numpy(zero_copy_only=False)
        grouping = Grouping.of(batch.key, batch.windows or ())
        passing, failing = np.flatnonzero(matches), np.flatnonzero(~matches)
        # where both happen to a row in one batch: the first time that it matches, the last that it does not
        first = np.full(grouping.groups, batch.num_rows)
        first[grouping.codes[passing][::-1]] = passing[::-1]
        last = np.full(grouping.groups, -1)
        last[grouping.codes[failing]] = failing
        if (first < last).any() or not present.isdisjoint(self._keys(batch, grouping.first[last >= 0])):
            raise NotColumnarError
        present.update(self._keys(batch, grouping.first[first < batch.num_rows]))
        return batch.take(passing) if len(failing) else batch

    def _keys(self, batch: ColumnBatch, positions: Int64s) -> list[Any]:
        part = batch.take(positions)
        windows: Any = [None] * part.num_rows
        if part.windows is not None:
            windows = zip(*(bound.tolist() for bound in part.windows), strict=True)
        return [store_key((*key, window)) for key, window in zip(part.key_rows(), windows, strict=True)]

    def assume_all_present(self) -> None:
        """Take every key for present: its row may have gone out before there was this filter."""
        self._present = None

    def checkpoint(self) -> Any:
        """The keys present, or that any key may be."""
        return "any" if self._present is None else self._present

    def restore(self, state: Any) -> None:
        """Continue from `checkpoint`."""
        self._present = None if state == "any" else state


class DropNullKeys:
    """A table read from a topic: records with a null key are no changes of it."""

    def __init__(self, report: Callable[[str, Record], None]) -> None:
        self._report = report

    def process(self, records: list[Record]) -> list[Record]:
        """Return the records with a key."""
        if all(r.key is not None for r in records):
            return records
        for r in records:
            if r.key is None:
                self._report("null key", r)
        return [r for r in records if r.key is not None]

    def checkpoint(self) -> Any:
        """No state."""
        return None

    def restore(self, state: Any) -> None:
        """No state."""

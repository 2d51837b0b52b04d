"""The rows of a result as a stream, for what shows streams."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa

from kalam_jupyter.changes import INSERT, Changes
from kalam_jupyter.client.result import Dialect
from kalam_jupyter.client.stream import Stream


class TableStream(Stream):
    """A stream that gives the rows of a table and ends.

    Parameters
    ----------
    table : pyarrow.Table
    key : sequence of str
        Columns that identify a row. They are the stream's key if they do; else, and without them, the first
        column is if it holds text and no text twice.
    sql : str
        What gave the rows.
    """

    def __init__(
        self, table: pa.Table, key: Sequence[str] = (), *, sql: str = "", dialect: Dialect = "ksql"
    ) -> None:
        self.id, self.dialect, self.sql = "result", dialect, sql
        self.schema, self.key = table.schema, _key(table, key)
        self._rest = table.combine_chunks().to_batches()
        self._closed = False

    @property
    def finished(self) -> bool:
        """See `Stream`."""
        return self._closed or not self._rest

    def poll(self, max_rows: int = 1000) -> Changes | None:
        """See `Stream`."""
        if self.finished:
            return None
        batch = self._rest.pop(0)
        if batch.num_rows > max_rows:
            self._rest.insert(0, batch.slice(max_rows))
            batch = batch.slice(0, max_rows)
        return Changes(batch, np.full(batch.num_rows, INSERT, np.int8), initial=True)

    def wait(self, timeout: float | None = None) -> bool:
        """See `Stream`."""
        return True

    def close(self) -> None:
        """See `Stream`."""
        self._closed = True

    def on_wake(self, callback: Callable[[], None] | None) -> None:
        """See `Stream`: everything is there at once."""


def _key(table: pa.Table, key: Sequence[str]) -> tuple[str, ...]:
    if key and _identifies(table, key):
        return tuple(key)
    first = table.schema[0] if table.num_columns else None
    if first is not None and pa.types.is_string(first.type) and _identifies(table, [first.name]):
        return (first.name,)
    return ()


def _identifies(table: pa.Table, names: Sequence[str]) -> bool:
    """Whether no two rows have the same values there; no, where that is costly to know."""
    if any(name not in table.column_names or pa.types.is_nested(table[name].type) for name in names):
        return False
    groups = table.group_by(list(names)).aggregate([])
    return int(groups.num_rows) == int(table.num_rows)

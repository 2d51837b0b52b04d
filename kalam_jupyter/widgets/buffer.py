"""What a live table shows, and what the browser has not seen of it yet.

A buffer stands between a stream and a browser that draws ten times a second. It retains a bounded
number of rows and *conflates*: when more rows came than fit into one frame, the browser gets the
newest ones (append), or the latest version of each key (upsert). Nothing is dropped unsaid: `conflated`
counts the changes that were never sent.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kalam_jupyter.client.stream import DELETE

if TYPE_CHECKING:
    from kalam_jupyter.client.stream import Changes

#: Rows that may wait before they are folded into one version per key.
_FOLD_ROWS = 50_000
#: Batches that may wait before they are joined into one.
_FOLD_BATCHES = 256
_AT, _DELETED = "\0at", "\0deleted"


@dataclass(frozen=True)
class Frame:
    """Rows for the browser.

    Attributes
    ----------
    table : pyarrow.Table
        With one more boolean column, whether the row was deleted, when `deletes` is set.
    reset : bool
        The browser must forget what it has.
    deletes : bool
    """

    table: pa.Table
    reset: bool
    deletes: bool


class Buffer(Protocol):
    """What `AppendBuffer` and `UpsertBuffer` have in common. Every method may be called from any thread.

    Attributes
    ----------
    rows_in : int
        Changes that were added.
    conflated : int
        Changes that were left out of all frames because newer ones came in the same interval.
    """

    rows_in: int
    conflated: int

    @property
    def pending(self) -> bool:
        """Whether `take` would return a frame."""

    def add(self, changes: Changes) -> None:
        """Take in some changes."""

    def take(self, limit: int) -> Frame | None:
        """Return up to `limit` rows that were not taken yet; None when there are none."""

    def rewind(self) -> None:
        """Make the next `take` start afresh, with what is retained."""

    def table(self) -> pa.Table:
        """Return what is retained, oldest first."""


def make_buffer(schema: pa.Schema, key: tuple[str, ...], capacity: int) -> Buffer:
    """Return the buffer for a stream: by key if its rows have one."""
    return UpsertBuffer(schema, key, capacity) if key else AppendBuffer(schema, capacity)


class AppendBuffer:
    """The last `capacity` rows of a stream whose rows only get appended."""

    def __init__(self, schema: pa.Schema, capacity: int) -> None:
        self.rows_in = self.conflated = 0
        self._schema, self._capacity = schema, capacity
        self._lock = threading.Lock()
        self._batches: deque[pa.RecordBatch] = deque()
        self._retained = self._unsent = 0
        self._reset = True

    @property
    def pending(self) -> bool:
        return self._unsent > 0 or (self._reset and self._retained > 0)

    def add(self, changes: Changes) -> None:
        batch = changes.batch
        deleted = changes.kinds == DELETE
        with self._lock:
            self.rows_in += batch.num_rows
            if deleted.any():
                batch = batch.filter(pa.array(~deleted))
            self._batches.append(batch)
            self._retained += batch.num_rows
            self._unsent += batch.num_rows
            while self._retained - self._batches[0].num_rows >= self._capacity:
                self._retained -= self._batches.popleft().num_rows
            if len(self._batches) > _FOLD_BATCHES:
                joined = pa.Table.from_batches(self._batches).combine_chunks()
                self._batches = deque(joined.to_batches())

    def take(self, limit: int) -> Frame | None:
        with self._lock:
            if not self.pending:
                return None
            table = self._newest(min(limit, self._capacity))
            reset, self._reset = self._reset, False
            if not reset:
                table = table.slice(max(0, table.num_rows - self._unsent))
            self.conflated += max(0, self._unsent - table.num_rows)
            self._unsent = 0
            return Frame(table, reset, deletes=False)

    def rewind(self) -> None:
        with self._lock:
            self._reset = True

    def table(self) -> pa.Table:
        with self._lock:
            return self._newest(self._capacity)

    def _newest(self, limit: int) -> pa.Table:
        some: list[pa.RecordBatch] = []
        rows = 0
        for batch in reversed(self._batches):
            if rows >= limit:
                break
            some.append(batch)
            rows += batch.num_rows
        return pa.Table.from_batches(some[::-1], self._schema).slice(max(0, rows - limit))


class UpsertBuffer:
    """The latest version of each key, for up to `capacity` keys; the least recently changed leave first."""

    def __init__(self, schema: pa.Schema, key: tuple[str, ...], capacity: int) -> None:
        self.rows_in = self.conflated = 0
        self._key, self._capacity = key, capacity
        self._lock = threading.Lock()
        self._schema = schema.append(pa.field(_DELETED, pa.bool_())).append(pa.field(_AT, pa.int64()))
        self._state = self._schema.empty_table()
        self._unsent: list[pa.Table] = []
        self._unsent_rows = 0
        self._reset = True

    @property
    def pending(self) -> bool:
        return self._unsent_rows > 0 or (self._reset and self._state.num_rows > 0)

    def add(self, changes: Changes) -> None:
        batch = changes.batch
        with self._lock:
            at = np.arange(self.rows_in, self.rows_in + batch.num_rows)
            self.rows_in += batch.num_rows
            columns = [*batch.columns, pa.array(changes.kinds == DELETE), pa.array(at)]
            self._unsent.append(pa.Table.from_arrays(columns, schema=self._schema))
            self._unsent_rows += batch.num_rows
            if self._unsent_rows > _FOLD_ROWS or len(self._unsent) > _FOLD_BATCHES:
                self._keep_unsent(self._fold())

    def take(self, limit: int) -> Frame | None:
        with self._lock:
            if not self.pending:
                return None
            delta = self._fold()
            reset, self._reset = self._reset, False
            if reset:
                self._apply(delta)
                shown = _newest_of(self._state, limit)
                self._keep_unsent(self._schema.empty_table())
                return Frame(shown.drop_columns([_AT, _DELETED]), reset=True, deletes=False)
            now = _newest_of(delta, limit)
            later = delta.filter(pc.invert(pc.is_in(delta[_AT], now[_AT])))
            self._apply(now)
            self._keep_unsent(later)
            deletes = bool(pc.any(now[_DELETED]).as_py())
            return Frame(
                now.drop_columns([_AT] if deletes else [_AT, _DELETED]), reset=False, deletes=deletes
            )

    def rewind(self) -> None:
        with self._lock:
            self._reset = True

    def table(self) -> pa.Table:
        with self._lock:
            return self._merge(self._fold()).drop_columns([_AT, _DELETED])

    def _fold(self) -> pa.Table:
        """The latest version of each key among the changes not sent; the others count as conflated."""
        delta = _latest(pa.concat_tables([self._schema.empty_table(), *self._unsent]), self._key)
        self.conflated += self._unsent_rows - delta.num_rows
        self._keep_unsent(delta)
        return delta

    def _keep_unsent(self, delta: pa.Table) -> None:
        self._unsent, self._unsent_rows = [delta], delta.num_rows

    def _apply(self, delta: pa.Table) -> None:
        self._state = self._merge(delta)

    def _merge(self, delta: pa.Table) -> pa.Table:
        merged = _latest(pa.concat_tables([self._state, delta]), self._key)
        return _newest_of(merged.filter(pc.invert(merged[_DELETED])), self._capacity)


def _latest(table: pa.Table, key: tuple[str, ...]) -> pa.Table:
    """Keep the last row of each key, in the order in which the keys came first."""
    if table.num_rows < 2:
        return table
    keys = pa.table([_groupable(table[name]) for name in key], names=[str(i) for i in range(len(key))])
    groups = keys.append_column("row", pa.array(np.arange(table.num_rows))).group_by(
        keys.column_names, use_threads=False
    )
    return table.take(groups.aggregate([("row", "max")])["row_max"])


def _groupable(column: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
    """Arrow cannot group by nested values; their text can stand for them."""
    return pa.array([repr(v) for v in column.to_pylist()]) if pa.types.is_nested(column.type) else column


def _newest_of(table: pa.Table, limit: int) -> pa.Table:
    """Keep the `limit` rows that changed last, in their order."""
    if table.num_rows <= limit:
        return table
    at = table[_AT].to_numpy()
    oldest = np.partition(at, len(at) - limit)[len(at) - limit]
    return table.filter(pa.array(at >= oldest))

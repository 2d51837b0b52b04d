"""The rows of one relation (of one owner): immutable Arrow chunks, a tail of recent tuples, an index.

Vocabulary (`chunk` has row ids and chunks)
----------
tail
    Recent rows as tuples, None where dead. `maintain` seals it into a chunk and merges small chunks.
index
    Primary key to row id: a plain dict, which costs about 100 bytes a row and nothing to maintain
    when rows move from the tail to a chunk and from chunk to chunk.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, Final

import numpy as np
import pyarrow as pa

from kalam_jupyter.engine.batch import Int64s, Row
from kalam_jupyter.engine.chunk import CHUNK_ROWS, Chunk, Live, compact_ids, physical
from kalam_jupyter.engine.encoding import row_checker
from kalam_jupyter.engine.errors import DuplicateKeyError
from kalam_jupyter.engine.types import Schema

TAIL_ROWS: Final = 1_024
Undo = Callable[[], None]


class RowSet:
    """Rows with or without a primary key. Methods that change it run in the writer, under the lock.

    Each returns, or hands to `undo`, what takes the change back; changes are undone in reverse order.
    """

    def __init__(self, name: str, schema: Schema) -> None:
        self.name = name
        self.schema = schema
        self._check = row_checker(schema)
        self.chunks: list[Chunk] = []
        self._starts: list[int] = []
        self.tail: list[Row | None] = []
        self.tail_start = 0
        self.live_rows = 0
        self.version = 0
        self._untidy = False
        self._live: list[Live] | None = None
        positions = [i for i, c in enumerate(schema.columns) if c.key]
        self._key_positions = positions
        self.key_of: Callable[[Row], Any] | None = itemgetter(*positions) if positions else None
        self._index: dict[Any, int] | None = {}

    @property
    def index(self) -> dict[Any, int]:
        """Row id by key; made from the chunks when first needed after `load`."""
        if self._index is None:
            index: dict[Any, int] = {}
            for chunk in self.chunks:
                keys = self._keys([chunk.batch])
                index.update(
                    zip(keys, Live(self.schema, chunk.batch, chunk.ids, None).ids().tolist(), strict=True)
                )
            self._index = index
        return self._index

    def load(self, batches: Sequence[pa.RecordBatch], ids: Sequence[Int64s], next_id: int) -> None:
        """Fill an empty row set with batches, the row ids of each, and the id of the next row."""
        for batch, batch_ids in zip(batches, ids, strict=True):
            self._add_chunk(Chunk(batch, compact_ids(batch_ids)))
            self.live_rows += batch.num_rows
        self.tail_start = next_id
        self.version += 1
        self._index = None if self.key_of is not None else {}

    @property
    def next_id(self) -> int:
        """Id that the next row gets."""
        return self.tail_start + len(self.tail)

    # Reading

    def get(self, key: Row) -> Row | None:
        """Return the row of a primary key."""
        row_id = self.index.get(key[0] if len(key) == 1 else key)
        return None if row_id is None else self.row(row_id)

    def row(self, row_id: int) -> Row | None:
        """Return the row of an id; None if it is dead or gone."""
        if row_id >= self.tail_start:
            position = row_id - self.tail_start
            return self.tail[position] if position < len(self.tail) else None
        chunk, position = self._locate(row_id)
        if chunk is None or (chunk.dead is not None and chunk.dead[position]):
            return None
        return chunk.row(self.schema, position)

    def live(self) -> list[Live]:
        """Return the live rows now, as parts in order; the list is shared until the next change."""
        if self._live is None:
            parts = [c.live(self.schema) for c in self.chunks if c.dead_count < c.batch.num_rows]
            if self.tail:
                tail = Live(self.schema, self.tail.copy(), self.tail_start, None)
                if tail.num_rows:
                    parts.append(tail)
            self._live = parts
        return self._live

    def _locate(self, row_id: int) -> tuple[Chunk | None, int]:
        i = bisect_right(self._starts, row_id) - 1
        if i < 0:
            return None, -1
        chunk = self.chunks[i]
        position = chunk.find(row_id)
        return (chunk, position) if position >= 0 else (None, -1)

    # Writing

    def insert(self, rows: Sequence[Row]) -> Undo:
        """Append rows.

        Raises
        ------
        RowError
            If a row does not fit the schema; nothing is changed then, nor in the next case.
        DuplicateKeyError
            If a key is there already, or twice in `rows`.
        """
        self._check(rows)
        keys = [] if self.key_of is None else list(map(self.key_of, rows))
        if not _are_new(keys, self.index):
            raise self._duplicate(keys)
        return self._append(keys, rows)

    def _duplicate(self, keys: Iterable[Any]) -> DuplicateKeyError:
        """Return the error of the first key that a row has already, or that is among `keys` before."""
        seen: set[Any] = set()
        for key in keys:
            if key in self.index or key in seen:
                break
            seen.add(key)
        return DuplicateKeyError(self.name, self._key_tuple(key), within_batch=key not in self.index)

    def _append(self, keys: Sequence[Any], rows: Sequence[Row]) -> Undo:
        """Append rows whose keys are new."""
        index, tail = self.index, self.tail
        first = self.tail_start + len(tail)
        index.update(zip(keys, range(first, first + len(keys)), strict=True))
        tail.extend(rows)
        self._changed(len(rows))

        def undo() -> None:
            for key in keys:
                del index[key]
            del tail[len(tail) - len(rows) :]
            self._changed(-len(rows))

        return undo

    def insert_batches(self, batches: Sequence[pa.RecordBatch]) -> Undo:
        """Append record batches of at most 32k rows without making Python rows.

        Raises
        ------
        DuplicateKeyError
            As `insert`.
        """
        n = sum(b.num_rows for b in batches)
        first = self.next_id
        new = self._index_batches(batches, n, first)
        chunks, starts, tail, tail_start = len(self.chunks), len(self._starts), self.tail, self.tail_start
        self._seal()
        row_id = first
        for batch in batches:
            self._add_chunk(Chunk(batch, row_id))
            row_id += batch.num_rows
        self.tail_start = row_id
        undo_index = self._add_to_index(new)
        self._changed(n)

        def undo() -> None:
            undo_index()
            del self.chunks[chunks:], self._starts[starts:]
            self.tail, self.tail_start = tail, tail_start
            self._changed(-n)

        return undo

    def _add_to_index(self, new: dict[Any, int]) -> Undo:
        before = self.index
        if not before:
            self._index = new
        else:
            before.update(new)

        def undo() -> None:
            if self._index is new:
                self._index = before  # what is undone after this goes on with the same one
                return
            for key in new:
                del before[key]

        return undo

    def _index_batches(self, batches: Sequence[pa.RecordBatch], n: int, first: int) -> dict[Any, int]:
        if self.key_of is None:
            return {}
        keys = self._keys(batches)
        new = dict(zip(keys, range(first, first + n), strict=True))
        if len(new) != n or (self.index and not new.keys().isdisjoint(self.index.keys())):
            raise self._duplicate(keys)
        return new

    def _keys(self, batches: Sequence[pa.RecordBatch]) -> list[Any]:
        columns = [
            list(chain.from_iterable(physical(b.column(i), self.schema.columns[i].type) for b in batches))
            for i in self._key_positions
        ]
        return columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))

    def _key_tuple(self, key: Any) -> Row:
        return (key,) if len(self._key_positions) == 1 else key

    def upsert(self, rows: Sequence[Row]) -> tuple[list[Row | None], Undo]:
        """Insert rows, or replace those with the same key; return what they replaced.

        Raises
        ------
        RowError
            If a row does not fit the schema; nothing is changed then.
        """
        assert self.key_of is not None
        self._check(rows)
        index, tail, keys = self.index, self.tail, list(map(self.key_of, rows))
        if _are_new(keys, index):
            return [None] * len(rows), self._append(keys, rows)
        replaced: list[Row | None] = []
        before: list[tuple[Any, int | None, Row | None]] = []
        for key, row in zip(keys, rows, strict=True):
            old_id = index.get(key)
            old = None if old_id is None else self._kill(old_id)
            index[key] = self.tail_start + len(tail)
            tail.append(row)
            replaced.append(old)
            before.append((key, old_id, old))
        grown = sum(old is None for old in replaced)
        self._changed(grown)

        def undo() -> None:
            for key, old_id, old in reversed(before):
                tail.pop()
                if old_id is None:
                    del index[key]
                else:
                    index[key] = old_id
                    self._revive(old_id, old)
            self._changed(-grown)

        return replaced, undo

    def delete(self, keys: Sequence[Row]) -> tuple[list[Row | None], Undo]:
        """Delete by primary key; return the deleted rows, None where there was none."""
        index = self.index
        removed: list[Row | None] = []
        before: list[tuple[Any, int, Row | None]] = []
        for key in keys:
            plain = key[0] if len(key) == 1 else key
            old_id = index.pop(plain, None)
            old = None if old_id is None else self._kill(old_id)
            removed.append(old)
            if old_id is not None:
                before.append((plain, old_id, old))
        self._changed(-len(before))

        def undo() -> None:
            for plain, old_id, old in reversed(before):
                index[plain] = old_id
                self._revive(old_id, old)
            self._changed(len(before))

        return removed, undo

    def delete_ids(self, row_ids: Sequence[int]) -> tuple[list[Row], Undo]:
        """Delete by row id, for rows without a key; return the deleted rows."""
        before: list[tuple[int, Row]] = []
        for row_id in row_ids:
            old = self.row(int(row_id))
            if old is not None:
                self._kill(int(row_id))
                before.append((int(row_id), old))
        self._changed(-len(before))

        def undo() -> None:
            for row_id, old in reversed(before):
                self._revive(row_id, old)
            self._changed(len(before))

        return [old for _, old in before], undo

    def _changed(self, rows: int) -> None:
        self.live_rows += rows
        self.version += 1
        self._live = None

    def _kill(self, row_id: int) -> Row | None:
        if row_id >= self.tail_start:
            position = row_id - self.tail_start
            row = self.tail[position]
            self.tail[position] = None
            return row
        chunk, position = self._locate(row_id)
        assert chunk is not None
        chunk.set_dead(position, True)
        self._untidy = self._untidy or chunk.mostly_dead
        return chunk.row(self.schema, position)

    def _revive(self, row_id: int, row: Row | None) -> None:
        if row_id >= self.tail_start:
            self.tail[row_id - self.tail_start] = row
            return
        chunk, position = self._locate(row_id)
        assert chunk is not None
        chunk.set_dead(position, False)

    # Keeping house: between transactions only, since undo relies on where rows are

    def maintain(self) -> None:
        """Seal a long tail, merge small neighbours, drop dead rows where they are the most."""
        if len(self.tail) >= TAIL_ROWS:
            self._seal()
            self._live = None
        if not self._untidy:
            return
        self._untidy = False
        i = len(self.chunks) - 1
        while i >= 0:
            if i > 0 and _mergeable(self.chunks[i - 1], self.chunks[i]):
                self._replace(i - 1, i + 1)
            elif self.chunks[i].mostly_dead:
                self._replace(i, i + 1)
            i -= 1

    def _replace(self, start: int, stop: int) -> None:
        parts = [c.live(self.schema) for c in self.chunks[start:stop]]
        rows = sum(p.num_rows for p in parts)
        del self.chunks[start:stop], self._starts[start:stop]
        if rows:
            ids = np.concatenate([p.ids() for p in parts])
            batch = pa.concat_batches([p.batch() for p in parts])
            self.chunks.insert(start, Chunk(batch, compact_ids(ids)))
            self._starts.insert(start, int(ids[0]))
        self._live = None

    def _seal(self) -> None:
        if not self.tail:
            return
        live = Live(self.schema, self.tail, self.tail_start, None)
        if live.num_rows:
            self._add_chunk(Chunk(live.batch(), compact_ids(live.ids())))
        self.tail_start += len(self.tail)
        self.tail = []

    def _add_chunk(self, chunk: Chunk) -> None:
        self._untidy = True
        self.chunks.append(chunk)
        self._starts.append(chunk.first_id)


def _are_new(keys: Sequence[Any], index: dict[Any, int]) -> bool:
    """Whether no row has one of these keys, nor two of them are the same."""
    return index.keys().isdisjoint(keys) and (len(keys) < 2 or len(set(keys)) == len(keys))


def _mergeable(left: Chunk, right: Chunk) -> bool:
    """Whether neighbours are alike in size, so that a row is copied at most six times on its way up."""
    a, b = left.batch.num_rows - left.dead_count, right.batch.num_rows - right.dead_count
    return bool(a + b <= CHUNK_ROWS and 2 * a <= 3 * b)

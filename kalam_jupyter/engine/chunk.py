"""Chunks of a row set: immutable record batches, which of their rows are dead, and rows as tuples.

Vocabulary
----------
row id
    Arrival number of a row version in its row set. Ids only grow; an update gives the row a new one.
chunk
    An immutable record batch of at most 32k rows, and which of them are dead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kalam_jupyter.engine.batch import Bools, Int64s, Row
from kalam_jupyter.engine.errors import EngineError, RowError
from kalam_jupyter.engine.types import DataType, Schema, from_arrow, physical_type, to_arrow

CHUNK_ROWS: Final = 32_768
#: Up to so many dead rows, live rows are copied as the runs between them, which is twice as fast.
FEW_DEAD: Final = 32


class Live:
    """The live rows of a chunk or tail at one moment; filtered when first asked for."""

    __slots__ = ("_batch", "_dead", "_ids", "_schema", "_source", "num_rows")

    def __init__(
        self, schema: Schema, source: pa.RecordBatch | list[Row | None], ids: int | Int64s, dead: Bools | None
    ) -> None:
        self._schema, self._source, self._ids, self._dead = schema, source, ids, dead
        self._batch: pa.RecordBatch | None = None
        total = len(source) if isinstance(source, list) else source.num_rows
        if isinstance(source, list):
            self.num_rows = total - source.count(None)
        else:
            self.num_rows = total if dead is None else total - int(np.count_nonzero(dead))

    def batch(self) -> pa.RecordBatch:
        """Return the live rows as a record batch."""
        batch = self._batch
        if batch is None:
            if isinstance(self._source, list):
                rows = self._source
                batch = rows_to_batch(self._schema, [r for r in rows if r is not None])
            elif self._dead is None:
                batch = self._source
            else:
                batch = _without(self._source, self._dead)
            self._batch = batch
        return batch

    def rows(self) -> list[Row]:
        """Return the live rows as tuples."""
        if isinstance(self._source, list):
            return [r for r in self._source if r is not None]
        return batch_to_rows(self._schema, self.batch())

    def ids(self) -> Int64s:
        """Return the row id of each live row."""
        total = len(self._source) if isinstance(self._source, list) else self._source.num_rows
        ids = self._ids
        if isinstance(ids, int):
            ids = np.arange(ids, ids + total, dtype=np.int64)
        if isinstance(self._source, list):
            return ids[np.array([r is not None for r in self._source], dtype=np.bool_)]
        return ids if self._dead is None else ids[~self._dead]


class Chunk:
    """An immutable record batch and its dead rows."""

    __slots__ = ("_live", "_readers", "batch", "dead", "dead_count", "ids")

    def __init__(self, batch: pa.RecordBatch, ids: int | Int64s) -> None:
        self.batch = batch
        self.ids = ids
        self.dead: Bools | None = None
        self.dead_count = 0
        self._live: Live | None = None
        self._readers: list[Callable[[int], Any]] | None = None

    @property
    def first_id(self) -> int:
        """Row id of the first row."""
        return self.ids if isinstance(self.ids, int) else int(self.ids[0])

    @property
    def mostly_dead(self) -> bool:
        """Whether more than half of the rows are dead."""
        return bool(self.dead_count * 2 > self.batch.num_rows)

    def find(self, row_id: int) -> int:
        """Return the position of a row id, or -1."""
        if isinstance(self.ids, int):
            position = row_id - self.ids
            return position if position < self.batch.num_rows else -1
        position = int(np.searchsorted(self.ids, row_id))
        return position if position < len(self.ids) and self.ids[position] == row_id else -1

    def set_dead(self, position: int, dead: bool) -> bool:
        """Mark a row dead or live; False if it already was."""
        if self.dead is None:
            self.dead = np.zeros(self.batch.num_rows, dtype=np.bool_)
        elif bool(self.dead[position]) == dead:
            return False
        elif self._live is not None:
            self.dead = self.dead.copy()  # the view has the old one
        self._live = None
        self.dead[position] = dead
        self.dead_count += 1 if dead else -1
        return True

    def live(self, schema: Schema) -> Live:
        """Return the live rows now."""
        if self._live is None:
            self._live = Live(schema, self.batch, self.ids, self.dead if self.dead_count else None)
        return self._live

    def row(self, schema: Schema, position: int) -> Row:
        """Return one row as a tuple."""
        if self._readers is None:
            self._readers = [
                _reader(a, c.type) for a, c in zip(self.batch.columns, schema.columns, strict=True)
            ]
        return tuple([read(position) for read in self._readers])


def _without(batch: pa.RecordBatch, dead: Bools) -> pa.RecordBatch:
    """Return a batch without its dead rows."""
    gaps = np.flatnonzero(dead).tolist()
    if len(gaps) > FEW_DEAD:
        live = pa.array(~dead)
        # column by column: RecordBatch.filter takes three times as long
        return pa.RecordBatch.from_arrays([c.filter(live) for c in batch.columns], schema=batch.schema)
    starts, stops = [0, *(gap + 1 for gap in gaps)], [*gaps, batch.num_rows]
    runs = [batch.slice(a, b - a) for a, b in zip(starts, stops, strict=True) if b > a]
    return pa.concat_batches(runs) if runs else batch.slice(0, 0)


def _reader(array: pa.Array, type_: DataType) -> Callable[[int], Any]:
    """Return what reads one physical value of a column by position, fast for plain columns."""
    plain = array.view(physical_type(type_)) if physical_type(type_) is not None else array
    if pa.types.is_string(plain.type) or pa.types.is_binary(plain.type):
        return lambda position: plain[position].as_py()
    number = pa.types.is_integer(plain.type) or pa.types.is_floating(plain.type)
    if plain.null_count == 0 and (number or pa.types.is_boolean(plain.type)):
        item: Callable[[int], Any] = plain.to_numpy(zero_copy_only=False).item
        return item
    return lambda position: from_arrow(array.slice(position, 1), type_)[0]


def compact_ids(ids: Int64s) -> int | Int64s:
    """Return the first id alone when the ids have no gaps."""
    first = int(ids[0])
    return first if int(ids[-1]) - first == len(ids) - 1 else ids


def physical(array: pa.Array, type_: Any) -> list[Any]:
    """Return the physical values of a column; numbers without nulls go through numpy."""
    if array.null_count == 0 and (pa.types.is_integer(array.type) or pa.types.is_floating(array.type)):
        values: npt.NDArray[Any] = array.to_numpy(zero_copy_only=False)
        plain: list[Any] = values.tolist()
        return plain
    return from_arrow(array, type_)


def rows_to_batch(schema: Schema, rows: Sequence[Row]) -> pa.RecordBatch:
    """Build a record batch of `schema` from tuples of physical values."""
    arrays = [to_arrow([r[i] for r in rows], c.type) for i, c in enumerate(schema.columns)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema.arrow)


def batch_to_rows(schema: Schema, batch: pa.RecordBatch) -> list[Row]:
    """Return the rows of a record batch as tuples of physical values."""
    if not schema.columns:
        return [()] * batch.num_rows
    lists = [physical(batch.column(i), c.type) for i, c in enumerate(schema.columns)]
    return list(zip(*lists, strict=True))


def conform(rows: pa.RecordBatch | pa.Table, schema: Schema) -> pa.Table:
    """Return Arrow data with the columns, order and types of `schema`.

    Raises
    ------
    EngineError
        If columns are missing or unknown.
    RowError
        If a column that may not be null is.
    pyarrow.ArrowInvalid
        If a value does not fit its column's type.
    """
    table = pa.Table.from_batches([rows]) if isinstance(rows, pa.RecordBatch) else rows
    missing = [name for name in schema.names if name not in table.column_names]
    unknown = [name for name in table.column_names if name not in schema.index]
    if missing or unknown:
        raise EngineError(f"the data's columns do not match: missing {missing}, unknown {unknown}")
    for column in schema.columns:
        if not column.nullable and table.column(column.name).null_count:
            raise RowError(f"column '{column.name}' may not be null")
    arrays = [
        column if column.type == c.type.arrow else column.cast(c.type.arrow)
        for c in schema.columns
        for column in (table.column(c.name),)
    ]
    return pa.Table.from_arrays(arrays, schema=schema.arrow)

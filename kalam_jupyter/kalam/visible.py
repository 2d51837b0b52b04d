"""What readers see of tables, kept while nothing changes: batches without tombstones; of small tables, rows
in key order, and their JSON.

A snapshot stays the same object until somebody writes, so what was made of it once serves every query that
comes before that.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from kalam_jupyter.engine.types import DOUBLE, FLOAT, Array, Schema
from kalam_jupyter.kalam.catalog import TableDef
from kalam_jupyter.kalam.result import annotated_schema
from kalam_jupyter.kalam.serialize import RowEncoder

if TYPE_CHECKING:
    from kalam_jupyter.engine.relation import Relation, Snapshot

Row = tuple[Any, ...]
#: So many row sets are kept, those that were asked for last.
KEPT = 64
#: The JSON of longer rows is made anew each time.
KEPT_JSON = 512


class VisibleRows:
    """The rows of a snapshot, in the order of the key.

    Attributes
    ----------
    rows : list of tuple
        Physical values.
    ordered : bool
        False when the key is of a type that Python and Arrow sort differently: rows are as they come then.
    """

    def __init__(self, snapshot: Snapshot, key: int, *, deleted: bool) -> None:
        rows = snapshot.rows()
        if not deleted:
            rows = [row for row in rows if not row[-1]]  # `_deleted` is a table's last column
        self.ordered = sortable(snapshot.schema, key) or len(rows) < 2
        if self.ordered:
            rows.sort(key=lambda row: row[key])
        self.rows = rows
        self._encoder = RowEncoder.of(snapshot.schema)
        self._json: list[bytes | None] = [None] * len(rows)

    def json(self, positions: Iterable[int]) -> bytes:
        """Return rows as a JSON array of arrays."""
        rows, kept, encode = self.rows, self._json, self._encoder.array
        found = []
        for i in positions:
            text = kept[i]
            if text is None:
                text = orjson.dumps(encode(rows[i]))
                if len(text) <= KEPT_JSON:
                    kept[i] = text
            found.append(text)
        return b"[%b]" % b",".join(found)


def sortable(schema: Schema, column: int) -> bool:
    """Whether Python sorts a column's values as Arrow does: not where there may be NaN."""
    type_ = schema.columns[column].type
    return type_ not in (FLOAT, DOUBLE) and not isinstance(type_, Array)


class SmallTables:
    """The row sets that were asked for last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str, bool], tuple[Snapshot, VisibleRows]] = OrderedDict()

    def rows(self, relation: Relation, owner: str, key: int, *, deleted: bool) -> VisibleRows:
        """Return what an owner's rows are now, with tombstones if `deleted`."""
        name = (relation.uid, owner, deleted)
        snapshot = relation.snapshot(owner)
        with self._lock:
            found = self._kept.get(name)
            if found is not None and found[0] is snapshot:
                self._kept.move_to_end(name)
                return found[1]
        made = VisibleRows(snapshot, key, deleted=deleted)
        with self._lock:
            self._kept[name] = snapshot, made
            self._kept.move_to_end(name)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return made


def sort_positions(
    visible: VisibleRows, positions: Sequence[int], order: Sequence[tuple[int, bool, bool]]
) -> Sequence[int]:
    """Sort positions of rows by columns: (column, descending, nulls first) of each."""
    rows = visible.rows
    for column, descending, nulls_first in reversed(order):
        nulls = [i for i in positions if rows[i][column] is None]
        others = positions if not nulls else [i for i in positions if rows[i][column] is not None]
        ordered = sorted(others, key=lambda i: rows[i][column], reverse=descending)
        positions = nulls + ordered if nulls_first else ordered + nulls
    return positions


class LiveBatches:
    """Snapshots as readers see them: without tombstones, and with fields that say their KalamDB types.

    Chunks of a snapshot stay the same objects while they do not change, so what was made of one is kept
    with it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: dict[tuple[int, bool], tuple[weakref.ref[pa.RecordBatch], pa.RecordBatch]] = {}

    def of(self, table: TableDef, chunks: Sequence[pa.RecordBatch], *, deleted: bool) -> list[pa.RecordBatch]:
        """Return the chunks, without tombstones unless `deleted`."""
        schema = annotated_schema(table)
        return [b for c in chunks if (b := self._one(c, schema, deleted)).num_rows]

    def _one(self, chunk: pa.RecordBatch, schema: pa.Schema, deleted: bool) -> pa.RecordBatch:
        key = (id(chunk), deleted)
        found = self._made.get(key)
        if found is not None and found[0]() is chunk and found[1].schema.equals(schema, check_metadata=True):
            return found[1]
        batch = pa.RecordBatch.from_arrays(chunk.columns, schema=schema)
        flags = chunk.column(chunk.num_columns - 1)
        if not deleted and flags.true_count:
            batch = batch.filter(pc.invert(flags))
        with self._lock:
            self._made[key] = (weakref.ref(chunk, lambda _: self._made.pop(key, None)), batch)
        return batch

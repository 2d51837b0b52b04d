"""Log entries: the operations of one transaction, as JSON with Arrow data beside it, and back.

An entry is ``[now_ms, [operation, ...]]``, an operation ``[name, argument, ...]``. The names are those
of `Transaction`'s methods where there is one; `REPLAY` says how each is applied again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec
import numpy as np
import orjson
import pyarrow as pa

from kalam_jupyter.engine.batch import SMALL_BATCH, Batch
from kalam_jupyter.engine.chunk import CHUNK_ROWS
from kalam_jupyter.engine.compaction import MAX_BATCH, Compaction, rebuilt
from kalam_jupyter.engine.encoding import rows_from_json, rows_to_json, schema_from_json, schema_to_json
from kalam_jupyter.engine.errors import EngineError, LogCorruptError
from kalam_jupyter.engine.relation import Constant
from kalam_jupyter.engine.stored import (
    Descriptors,
    batch_from_arrow,
    batch_from_json,
    batch_to_arrow,
    batch_to_json,
    from_ipc,
    to_ipc,
)
from kalam_jupyter.engine.types import Schema

if TYPE_CHECKING:
    from kalam_jupyter.engine.transaction import Transaction

Blob: TypeAlias = bytes  # or pyarrow.Buffer

#: Bytes that SQLite takes in one piece.
MAX_PIECE: Final = 1_000_000_000


class EntryWriter(msgspec.Struct, eq=False):
    """Collects the operations of one transaction in the form in which the log keeps them."""

    descriptors: Descriptors
    operations: list[Any] = []
    blobs: list[Blob] = []

    def add(self, operation: tuple[Any, ...]) -> None:
        """Add an operation: its name and arguments."""
        encode = _ENCODE.get(operation[0])
        self.operations.append(operation if encode is None else (operation[0], *encode(self, *operation[1:])))

    def data(self, now_ms: int) -> bytes:
        """Return the entry's JSON."""
        return orjson.dumps((now_ms, self.operations))

    def _blob(self, data: Blob) -> int:
        if len(data) > MAX_PIECE:
            raise EngineError(f"a batch of {len(data):,} bytes is too large to be written at once")
        self.blobs.append(data)
        return len(self.blobs) - 1

    def _create_relation(self, name: str, schema: Schema, owned: bool) -> Sequence[Any]:
        return name, schema_to_json(schema), owned

    def _alter_relation(
        self, name: str, schema: Schema, plan: Sequence[int | None], constants: Sequence[Any]
    ) -> Sequence[Any]:
        return name, schema_to_json(schema), plan, rows_to_json(schema, [tuple(constants)])[0]

    def _rows(self, name: str, owner: str, schema: Schema, rows: Sequence[Any]) -> Sequence[Any]:
        return name, owner, rows_to_json(schema, rows)

    def _keys(self, name: str, owner: str, schema: Schema, keys: Sequence[Any]) -> Sequence[Any]:
        return name, owner, rows_to_json(schema, keys, "key")

    def _insert_batches(self, name: str, owner: str, table: pa.Table) -> Sequence[Any]:
        fit = table.num_rows * MAX_PIECE // (2 * table.nbytes + 1)  # rows in half a piece, on average
        batches = table.to_batches(max_chunksize=max(1, min(CHUNK_ROWS, fit)))
        return name, owner, [self._blob(to_ipc(batch)) for batch in batches]

    def _append(self, topic: str, batch: Batch) -> Sequence[Any]:
        if batch.num_rows < SMALL_BATCH:
            return topic, batch_to_json(batch, self.descriptors)
        parts = [batch.slice(i, i + MAX_BATCH) for i in range(0, batch.num_rows, MAX_BATCH)]
        return topic, [self._blob(to_ipc(batch_to_arrow(part, self.descriptors))) for part in parts]

    def _compact_topic(self, topic: str, compaction: Compaction) -> Sequence[Any]:
        kept = self._blob(compaction.kept.tobytes())
        return topic, compaction.upto, compaction.purged, compaction.starts.tolist(), kept


_ENCODE: dict[str, Callable[..., Sequence[Any]]] = {
    "create_relation": EntryWriter._create_relation,
    "alter_relation": EntryWriter._alter_relation,
    "insert": EntryWriter._rows,
    "upsert": EntryWriter._rows,
    "delete": EntryWriter._keys,
    "insert_batches": EntryWriter._insert_batches,
    "append": EntryWriter._append,
    "compact_topic": EntryWriter._compact_topic,
}


class EntryReader:
    """Applies the operations of one entry to a transaction."""

    def __init__(self, tx: Transaction, blobs: Sequence[bytes], descriptors: Descriptors) -> None:
        self._tx = tx
        self._blobs = blobs
        self._descriptors = descriptors

    def apply(self, operations: Sequence[Sequence[Any]]) -> None:
        """Apply all operations.

        Raises
        ------
        LogCorruptError
            If one is unknown.
        """
        for name, *arguments in operations:
            if name in REPLAY:
                REPLAY[name](self, *arguments)
            elif name in _SAME:
                getattr(self._tx, _SAME[name])(*arguments)
            else:
                raise LogCorruptError(f"unknown operation '{name}': written by a newer version?")

    def _put(self, kind: str, name: str, value: Any) -> None:
        if value is None:
            self._tx.remove(kind, name)
        else:
            self._tx.put(kind, name, value)

    def _create_relation(self, name: str, schema: Any, owned: bool) -> None:
        self._tx.create_relation(name, schema_from_json(schema), owned=owned)

    def _alter_relation(self, name: str, schema: Any, plan: Sequence[int | None], constants: Any) -> None:
        new = schema_from_json(schema)
        values = rows_from_json(new, [constants])[0]
        sources = [Constant(v) if i is None else i for i, v in zip(plan, values, strict=True)]
        self._tx.alter_relation(name, new, sources)

    def _schema(self, name: str) -> Schema:
        return self._tx.engine.relation(name).schema

    def _insert(self, name: str, owner: str, rows: Any) -> None:
        self._tx.insert(name, rows_from_json(self._schema(name), rows), owner=owner)

    def _insert_batches(self, name: str, owner: str, blobs: Sequence[int]) -> None:
        table = pa.Table.from_batches([from_ipc(self._blobs[i]) for i in blobs])
        self._tx.insert(name, table, owner=owner)

    def _upsert(self, name: str, owner: str, rows: Any) -> None:
        self._tx.upsert(name, rows_from_json(self._schema(name), rows), owner=owner)

    def _delete(self, name: str, owner: str, keys: Any) -> None:
        self._tx.delete(name, rows_from_json(self._schema(name), keys, "key"), owner=owner)

    def _delete_rows(self, name: str, owner: str, row_ids: Sequence[int]) -> None:
        self._tx.delete_rows(name, row_ids, owner=owner)

    def _append(self, topic: str, batch: Any) -> None:
        if isinstance(batch, dict):
            self._tx.append(topic, batch_from_json(batch, self._descriptors))
            return
        for blob in batch:
            self._tx.append(topic, batch_from_arrow(from_ipc(self._blobs[blob]), self._descriptors))

    def _compact_topic(self, topic: str, upto: int, purged: int, starts: Sequence[int], kept: int) -> None:
        numbers = np.frombuffer(self._blobs[kept], dtype=np.int64)
        compaction = Compaction(upto, numbers, np.array(starts, dtype=np.int64), purged)
        found = self._tx.engine.topic(topic)
        found.split(upto)
        self._tx.compact_topic(topic, compaction, rebuilt(found.between(0, upto), compaction))


REPLAY: dict[str, Callable[..., None]] = {
    "put": EntryReader._put,
    "create_relation": EntryReader._create_relation,
    "alter_relation": EntryReader._alter_relation,
    "insert": EntryReader._insert,
    "insert_batches": EntryReader._insert_batches,
    "upsert": EntryReader._upsert,
    "delete": EntryReader._delete,
    "delete_rows": EntryReader._delete_rows,
    "append": EntryReader._append,
    "compact_topic": EntryReader._compact_topic,
}

#: Operations whose arguments are those of a method of `Transaction`.
_SAME = {
    "drop_relation": "drop_relation",
    "create_topic": "create_topic",
    "drop_topic": "drop_topic",
    "truncate_topic": "truncate_topic",
    "commit_offset": "commit_offset",
    "add_processor": "restore_processor",
    "remove_processor": "remove_processor",
    "pause_processor": "pause_processor",
    "step": "restore_step",
}

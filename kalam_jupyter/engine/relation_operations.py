"""Operations on relations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pyarrow as pa

from kalam_jupyter.engine.batch import Row
from kalam_jupyter.engine.chunk import CHUNK_ROWS, batch_to_rows, conform
from kalam_jupyter.engine.errors import AlreadyExistsError, EngineError
from kalam_jupyter.engine.operations import Operations
from kalam_jupyter.engine.relation import Change, ChangeSet, Constant, Relation
from kalam_jupyter.engine.rowset import RowSet
from kalam_jupyter.engine.types import Array, Map, Schema, Struct, storage_type, to_arrow

#: Arrow inserts below this many rows go through the tail, which is cheaper than a chunk each.
SMALL_INSERT: Final = 256
_ARROW: Final = (pa.RecordBatch, pa.Table)


class RelationOperations(Operations, eq=False):
    """What a transaction can do with relations."""

    def create_relation(self, name: str, schema: Schema, *, owned: bool = False) -> Relation:
        """Create a relation; the key columns of `schema` are its primary key.

        Raises
        ------
        AlreadyExistsError, EngineError
            The latter if a key column's type cannot be a key.
        """
        self._check_open()
        engine = self.engine
        if name in engine.relation_map:
            raise AlreadyExistsError("relation", name)
        for column in schema.key:
            if isinstance(storage_type(column.type), Array | Map | Struct):
                raise EngineError(f"column '{column.name}' of type {column.type} cannot be a primary key")
        relation = engine.new_relation(name, schema, owned)
        self._did(lambda: (engine.relation_map.pop(name), None)[1], "create_relation", name, schema, owned)
        return relation

    def drop_relation(self, name: str) -> None:
        """Drop a relation and its rows."""
        relation = self._relation(name)
        del self.engine.relation_map[name]
        relation.drop()
        self.dropped.append(relation)

        def undo() -> None:
            self.engine.relation_map[name] = relation
            relation.undrop()

        self._did(undo, "drop_relation", name)

    def alter_relation(self, name: str, schema: Schema, sources: Sequence[int | Constant]) -> None:
        """Give a relation other columns: new column i is old column ``sources[i]``, or a constant.

        Values of columns whose type changed are cast by Arrow's rules.

        Raises
        ------
        pyarrow.ArrowInvalid
            If a value does not fit the new type.
        DuplicateKeyError
            If the new key is not unique.
        """
        relation = self._relation(name)
        if len(sources) != len(schema):
            raise EngineError(f"{len(schema)} columns need as many sources, not {len(sources)}")
        altered: dict[str, RowSet] = {}
        for owner, rows in relation.row_sets().items():
            altered[owner] = RowSet(name, schema)
            batches = [_project(live.batch(), schema, sources) for live in rows.live()]
            altered[owner].insert_batches(batches)
        before = relation.replace_rows(schema, altered)
        plan = [None if isinstance(s, Constant) else s for s in sources]
        constants = [s.value if isinstance(s, Constant) else None for s in sources]

        def undo() -> None:
            relation.replace_rows(*before)

        self._did(undo, "alter_relation", name, schema, plan, constants)

    def insert(self, name: str, rows: Sequence[Row] | pa.RecordBatch | pa.Table, *, owner: str = "") -> int:
        """Append rows and return how many. Arrow data is taken over by column name, without copying.

        Raises
        ------
        DuplicateKeyError
            If a primary key is there already, or twice in `rows`.
        RowError
            If a row does not fit the schema.
        """
        relation = self._relation(name)
        if isinstance(rows, _ARROW):
            table = conform(rows, relation.schema)
            if table.num_rows >= SMALL_INSERT:
                return self._insert_batches(relation, table, owner)
            rows = [r for b in table.to_batches() for r in batch_to_rows(relation.schema, b)]
        if rows:
            row_set = self._row_set(relation, owner)
            undo = row_set.insert(rows)
            self._did(undo, "insert", name, owner, relation.schema, rows)
            changes = self._changes(relation, owner)
            if changes is not None:
                changes.add(Change("insert", None, row) for row in rows)
        return len(rows)

    def _insert_batches(self, relation: Relation, table: pa.Table, owner: str) -> int:
        batches = table.to_batches(max_chunksize=CHUNK_ROWS)
        undo = self._row_set(relation, owner).insert_batches(batches)
        self._did(undo, "insert_batches", relation.name, owner, table)
        changes = self._changes(relation, owner)
        if changes is not None:
            changes.add_batches(batches)
        return int(table.num_rows)

    def upsert(self, name: str, rows: Sequence[Row], *, owner: str = "") -> list[Row | None]:
        """Insert rows or replace those of the same primary key; return the rows they replaced.

        Raises
        ------
        RowError
            If a row does not fit the schema.
        """
        relation = self._keyed(name)
        replaced, undo = self._row_set(relation, owner).upsert(rows)
        self._did(undo, "upsert", name, owner, relation.schema, rows)
        changes = self._changes(relation, owner)
        if changes is not None:
            changes.add(
                Change("insert" if old is None else "update", old, new)
                for old, new in zip(replaced, rows, strict=True)
            )
        return replaced

    def delete(self, name: str, keys: Sequence[Row], *, owner: str = "") -> list[Row | None]:
        """Delete rows by primary key; return them, None where there was none."""
        relation = self._keyed(name)
        removed, undo = self._row_set(relation, owner).delete(keys)
        if any(row is not None for row in removed):
            self._did(undo, "delete", name, owner, relation.schema, keys)
            self._deleted(relation, owner, removed)
        return removed

    def delete_rows(self, name: str, row_ids: Sequence[int], *, owner: str = "") -> int:
        """Delete rows of a relation without key by `Snapshot.row_ids`; return how many were there."""
        relation = self._relation(name)
        if relation.schema.key:
            raise EngineError(f"relation '{name}' has a primary key: delete by key")
        removed, undo = self._row_set(relation, owner).delete_ids(row_ids)
        if removed:
            self._did(undo, "delete_rows", name, owner, [int(i) for i in row_ids])
            self._deleted(relation, owner, removed)
        return len(removed)

    def _deleted(self, relation: Relation, owner: str, removed: Sequence[Row | None]) -> None:
        changes = self._changes(relation, owner)
        if changes is not None:
            changes.add(Change("delete", old, None) for old in removed if old is not None)

    def _keyed(self, name: str) -> Relation:
        relation = self._relation(name)
        if not relation.schema.key:
            raise EngineError(f"relation '{name}' has no primary key")
        return relation

    def _row_set(self, relation: Relation, owner: str) -> RowSet:
        row_set = relation.row_set(owner)
        self.touched[id(row_set)] = row_set
        return row_set

    def _changes(self, relation: Relation, owner: str) -> ChangeSet | None:
        """Return the change set to add to; what is added is taken back with the last operation."""
        found = self.changes.get((id(relation), owner))
        if found is None:
            changes = relation.change_set(owner, self.position)
            if changes is None:
                return None
            found = self.changes[id(relation), owner] = (relation, changes)
        return found[1]


def _project(batch: pa.RecordBatch, schema: Schema, sources: Sequence[int | Constant]) -> pa.RecordBatch:
    arrays = []
    for column, source in zip(schema.columns, sources, strict=True):
        if isinstance(source, Constant):
            one = to_arrow([source.value], column.type)[0]
            arrays.append(pa.repeat(one, batch.num_rows))
        else:
            array = batch.column(source)
            arrays.append(array if array.type == column.type.arrow else array.cast(column.type.arrow))
    return pa.RecordBatch.from_arrays(arrays, schema=schema.arrow)

"""Transactions: the only way to change an engine.

Each operation is applied at once, together with how to take it back, and (in an engine that has a
log) with what the log needs to apply it again. Recovery runs the same operations: see `REPLAY`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from kalam_jupyter.engine.batch import Batch, Row, StoredBatch
from kalam_jupyter.engine.catalogue import json_copy
from kalam_jupyter.engine.chunk import CHUNK_ROWS, batch_to_rows, conform
from kalam_jupyter.engine.compaction import Compaction
from kalam_jupyter.engine.encoding import row_checker
from kalam_jupyter.engine.entry import EntryWriter
from kalam_jupyter.engine.errors import AlreadyExistsError, EngineError, NotFoundError
from kalam_jupyter.engine.processor import JOURNAL_IN_MEMORY, Processor, ProcessorStart, Runner, Step
from kalam_jupyter.engine.relation import Change, ChangeSet, Constant, Relation
from kalam_jupyter.engine.rowset import RowSet
from kalam_jupyter.engine.stored import check_payload
from kalam_jupyter.engine.topic import Topic
from kalam_jupyter.engine.types import Array, Map, Schema, Struct, storage_type, to_arrow

if TYPE_CHECKING:
    from kalam_jupyter.engine.engine import Engine

#: Arrow inserts below this many rows go through the tail, which is cheaper than a chunk each.
SMALL_INSERT: Final = 256


class Transaction:
    """One atomic change. Handed to the function given to `Engine.transact`; of no use afterwards.

    Attributes
    ----------
    position : int
        Log position that the change gets.
    now_ms : int
        Processing time of the whole transaction.
    engine : Engine
        For reads; they see what the transaction has done so far.
    """

    __slots__ = (
        "_open",
        "_undo",
        "callbacks",
        "changes",
        "dropped",
        "engine",
        "entry",
        "now_ms",
        "position",
        "topics",
        "touched",
    )

    def __init__(self, engine: Engine, position: int, now_ms: int, entry: EntryWriter | None) -> None:
        self.engine = engine
        self.position = position
        self.now_ms = now_ms
        self.entry = entry
        self.touched: dict[int, RowSet] = {}
        self.topics: dict[str, Topic] = {}
        self.callbacks: list[Callable[[], None]] = []
        self.changes: dict[tuple[int, str], tuple[Relation, ChangeSet]] = {}
        self.dropped: list[Relation | Topic] = []
        self._undo: list[Callable[[], None]] = []
        self._open = True

    # Life

    @property
    def changed(self) -> bool:
        """Whether there is something to commit."""
        return bool(self._undo)

    def close(self) -> None:
        """Take no more operations."""
        self._open = False

    def rollback(self) -> None:
        """Take everything back, last first."""
        self._open = False
        for undo in reversed(self._undo):
            undo()
        self._undo.clear()

    def on_commit(self, callback: Callable[[], None]) -> None:
        """Call `callback` in the writer once the change is durable. It must not block."""
        self._check_open()
        self.callbacks.append(callback)

    def _check_open(self) -> None:
        if not self._open:
            raise EngineError("the transaction is over: use it inside the function it was handed to")

    def _did(self, undo: Callable[[], None], *operation: Any) -> None:
        self._undo.append(undo)
        if self.entry is not None:
            self.entry.add(operation)

    # Catalogue

    def get(self, kind: str, name: str) -> Any | None:
        """Return a catalogue value, or None."""
        return self.engine.catalogue.get(kind, name)

    def put(self, kind: str, name: str, value: Any) -> None:
        """Set a catalogue value, which must be JSON and not None.

        Raises
        ------
        TypeError
            If it is not JSON.
        """
        self._check_open()
        if value is None:
            raise EngineError("a catalogue value cannot be None: remove it instead")
        self._swap(kind, name, json_copy(value))

    def remove(self, kind: str, name: str) -> None:
        """Remove a catalogue value, if it is there."""
        self._check_open()
        if self.engine.catalogue.get(kind, name) is not None:
            self._swap(kind, name, None)

    def _swap(self, kind: str, name: str, value: Any | None) -> None:
        catalogue = self.engine.catalogue
        before = catalogue.swap(kind, name, value)
        self._did(lambda: (catalogue.swap(kind, name, before), None)[1], "put", kind, name, value)

    # Relations

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
        self._check_open()
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
        self._check_open()
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
        self._check_open()
        relation = self._relation(name)
        if isinstance(rows, pa.RecordBatch | pa.Table):
            table = conform(rows, relation.schema)
            if table.num_rows >= SMALL_INSERT:
                return self._insert_batches(relation, table, owner)
            rows = [r for b in table.to_batches() for r in batch_to_rows(relation.schema, b)]
        else:
            row_checker(relation.schema)(rows)
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
        self._check_open()
        relation = self._keyed(name)
        row_checker(relation.schema)(rows)
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
        self._check_open()
        relation = self._keyed(name)
        removed, undo = self._row_set(relation, owner).delete(keys)
        if any(row is not None for row in removed):
            self._did(undo, "delete", name, owner, relation.schema, keys)
            self._deleted(relation, owner, removed)
        return removed

    def delete_rows(self, name: str, row_ids: Sequence[int], *, owner: str = "") -> int:
        """Delete rows of a relation without key by `Snapshot.row_ids`; return how many were there."""
        self._check_open()
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

    def _relation(self, name: str) -> Relation:
        relation = self.engine.relation_map.get(name)
        if relation is None:
            raise NotFoundError("relation", name)
        return relation

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

    # Topics

    def create_topic(self, name: str, partitions: int = 1, config: Mapping[str, Any] = {}) -> Topic:
        """Create a topic.

        Raises
        ------
        AlreadyExistsError, EngineError
        """
        self._check_open()
        topics = self.engine.topic_map
        if name in topics:
            raise AlreadyExistsError("topic", name)
        if partitions < 1:
            raise EngineError(f"a topic needs at least one partition, not {partitions}")
        config = json_copy(dict(config))
        topic = topics[name] = Topic(name, partitions, config, self.engine.lock)
        self._did(lambda: (topics.pop(name), None)[1], "create_topic", name, partitions, config)
        return topic

    def drop_topic(self, name: str) -> None:
        """Drop a topic and its records."""
        self._check_open()
        topic = self._topic(name)
        del self.engine.topic_map[name]
        forgotten = self.engine.scheduler.topic_dropped(name)
        topic.close(NotFoundError("topic", name))
        self.dropped.append(topic)

        def undo() -> None:
            self.engine.topic_map[name] = topic
            topic.reopen()
            self.engine.scheduler.topic_undropped(name, forgotten)

        self._did(undo, "drop_topic", name)

    def truncate_topic(self, name: str) -> None:
        """Drop a topic's records; sequences and offsets go on."""
        self._check_open()
        topic = self._topic(name)
        before = topic.truncate()
        self._did(lambda: topic.undo_truncate(before), "truncate_topic", name)

    def append(self, topic: str, batch: Batch) -> StoredBatch:
        """Append records and return where they are.

        Raises
        ------
        EngineError
            If a record names a partition that the topic does not have.
        RowError
            If a record does not fit the payload's schema.
        """
        self._check_open()
        found = self._topic(topic)
        check_payload(batch)
        stored = found.append_at(batch, self.position, self.now_ms)
        if stored.num_rows:
            self.topics[topic] = found
            self._did(lambda: found.undo_append(stored), "append", topic, batch)
            self.engine.scheduler.arrived(topic)
        return stored

    def compact_topic(self, topic: str, compaction: Compaction, items: Sequence[StoredBatch]) -> None:
        """Put what stays of a topic's first records in their place; see `Cleaner`."""
        self._check_open()
        found = self._topic(topic)
        before = found.compact(compaction, items, self.position)
        self._did(lambda: found.undo_compact(before), "compact_topic", topic, compaction)

    def commit_offset(self, topic: str, group: str, partition: int, offset: int) -> None:
        """Set the next offset that a consumer group reads; it never goes back."""
        self._check_open()
        found = self._topic(topic)
        before = found.commit_offset(group, partition, offset, self.now_ms)
        if before is None or offset > before.offset:
            self._did(
                lambda: found.undo_commit(group, partition, before),
                "commit_offset",
                topic,
                group,
                partition,
                offset,
            )

    def _topic(self, name: str) -> Topic:
        topic = self.engine.topic_map.get(name)
        if topic is None:
            raise NotFoundError("topic", name)
        return topic

    # Processors: the engine's methods of the same names end here

    def add_processor(self, processor: Processor, start: ProcessorStart) -> None:
        """Register a processor, or give a recovered id its processor back."""
        self._check_open()
        scheduler = self.engine.scheduler
        known = scheduler.runners.get(processor.id)
        if known is not None and known.processor is None:
            scheduler.attach(known, processor)
            if scheduler.started:
                scheduler.rebuild_or_fail(known)
            return
        positions = {}
        for name in processor.inputs:
            topic = self._topic(name)
            if isinstance(start, str):
                positions[name] = topic.start if start == "earliest" else topic.end
            else:
                positions[name] = start.get(name, topic.start)
        self.restore_processor(processor.id, positions)
        scheduler.attach(scheduler.runners[processor.id], processor)

    def restore_processor(self, processor_id: str, positions: dict[str, int]) -> None:
        """Register an id at positions, its processor to come."""
        scheduler = self.engine.scheduler
        scheduler.add(processor_id, positions)
        self._did(
            lambda: (scheduler.remove(processor_id), None)[1], "add_processor", processor_id, dict(positions)
        )

    def remove_processor(self, processor_id: str) -> None:
        """Forget a processor and where it was."""
        self._check_open()
        scheduler = self.engine.scheduler
        runner = scheduler.remove(processor_id)
        self._did(lambda: scheduler.put_back(runner), "remove_processor", processor_id)

    def pause_processor(self, processor_id: str, paused: bool) -> None:
        """Stop feeding a processor, or go on."""
        self._check_open()
        runner = self.engine.scheduler.runner(processor_id)
        before = runner.paused
        runner.paused = paused
        self.engine.scheduler.wake(runner)
        self._did(lambda: setattr(runner, "paused", before), "pause_processor", processor_id, paused)

    def resume_processor(self, processor_id: str) -> None:
        """Feed a paused or failed processor again; see `Engine.resume_processor`."""
        self._check_open()
        scheduler = self.engine.scheduler
        runner = scheduler.runner(processor_id)
        if runner.error is not None:
            scheduler.rebuild(runner)
        self.pause_processor(processor_id, False)

    def start_processors(self) -> None:
        """Start feeding processors; see `Engine.start`."""
        self._check_open()
        self.engine.scheduler.start()

    def take_step(self, step: Step) -> None:
        """Commit what a processor made of a batch."""
        for topic, batch in step.output:
            self.append(topic, batch)
        taken, context = step.batch, step.context
        self.advance(
            step.runner,
            step.topic,
            taken.sequence,
            taken.num_rows,
            taken.end,
            context.position,
            context.now_ms,
        )

    def restore_step(
        self, processor_id: str, topic: str, sequence: int, count: int, position: int, now_ms: int
    ) -> None:
        """Apply a committed step again, as far as the processor's position goes."""
        runner = self.engine.scheduler.runner(processor_id)
        found = self.engine.find_topic(topic)
        end = sequence + count if found is None else found.step_end(sequence, count)
        self.advance(runner, topic, sequence, count, end, position, now_ms)

    def advance(
        self, runner: Runner, topic: str, sequence: int, count: int, end: int, position: int, now_ms: int
    ) -> None:
        """Move a processor past a batch."""
        before = runner.positions.get(topic)
        runner.positions[topic] = end
        if len(runner.journal) > 5 * JOURNAL_IN_MEMORY and not self.engine.durable:
            runner.give_up_journal()
        runner.note(topic, sequence, count, position, now_ms)

        def undo() -> None:
            runner.unnote()
            if before is not None:
                runner.positions[topic] = before

        self._did(undo, "step", runner.id, topic, sequence, count, position, now_ms)


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

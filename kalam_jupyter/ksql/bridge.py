"""What this dialect shows to the other: its streams and tables as relations of the namespace ``ksql``."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from kalam_jupyter.changes import result_array
from kalam_jupyter.engine.batch import StoredBatch
from kalam_jupyter.engine.history import Start, Subscription
from kalam_jupyter.engine.relation import Change, ChangeSet
from kalam_jupyter.engine.types import Column, Schema
from kalam_jupyter.ksql.metastore import WINDOW_BOUNDS, Source
from kalam_jupyter.ksql.operators.record import Row

if TYPE_CHECKING:
    from kalam_jupyter.ksql.dialect import Ksql


class KsqlSources:
    """The `SourceProvider` of the ksqlDB dialect. Names of sources and columns are lower case here."""

    def __init__(self, ksql: Ksql) -> None:
        self._ksql = ksql

    def names(self) -> list[str]:
        """Return the names of all streams and tables, sorted."""
        return sorted(name.lower() for name in self._ksql.metastore.sources)

    def _find(self, name: str) -> Source | None:
        wanted = name.lower()
        sources = self._ksql.metastore.sources
        return next((s for n, s in sorted(sources.items()) if n.lower() == wanted), None)

    def _source(self, name: str) -> Source:
        found = self._find(name)
        if found is None:
            raise KeyError(name)
        return found

    def schema(self, name: str) -> Schema | None:
        """Return the columns of a source: the key, window bounds, values; None if there is none."""
        source = self._find(name)
        return None if source is None else _schema(source)

    def kind(self, name: str) -> Literal["stream", "table"]:
        """Return what the source is."""
        return "stream" if self._source(name).is_stream else "table"

    def table(self, name: str) -> pa.Table:
        """Return a table's current rows, or all records of a stream."""
        source = self._source(name)
        self._ksql.materializations.settle(source)
        return _table(source, self._rows_until(source)[0])

    def follow(self, name: str) -> tuple[pa.Table, Any]:
        """Return what `table` does, and the changes from exactly there on."""
        source = self._source(name)
        self._ksql.materializations.settle(source)
        rows, until = self._rows_until(source)
        return _table(source, rows), _ChangeSubscription(self._ksql, source, rows, until)

    def subscribe(self, name: str, wake: Callable[[], None] | None = None) -> Any:
        """Follow the changes of a source from now on."""
        source = self._source(name)
        if source.is_stream:
            return _ChangeSubscription(self._ksql, source, [], "latest", wake)
        return _ChangeSubscription(self._ksql, source, *self._rows_until(source), wake)

    def _rows_until(self, source: Source) -> tuple[list[Row], int]:
        """Return all rows of a source, and the sequence of the first record that is not among them."""
        if source.is_stream:
            return self._records(source)
        entries, until = self._ksql.materializations.of(source).rows_until()
        stored = len(source.stored_schema.value)
        return [(*key, *(window or ()), *value[:stored]) for key, value, _, window in entries], until

    def _records(self, source: Source) -> tuple[list[Row], int]:
        topic = self._ksql.engine.topic(source.topic)
        rows: list[Row] = []
        start = topic.start_sequence
        while start < topic.end_sequence:
            for stored in topic.read(start):
                rows.extend(new for _, new in _rows(self._ksql, source, stored) if new is not None)
                start = stored.end
        return rows, start


def _schema(source: Source) -> Schema:
    bounds = () if source.window is None else WINDOW_BOUNDS
    is_table = not source.is_stream
    keys = [Column(c.name.lower(), c.type, key=is_table) for c in (*source.schema.key, *bounds)]
    values = [Column(c.name.lower(), c.type) for c in source.stored_schema.value]
    return Schema((*keys, *values))


def _table(source: Source, rows: list[Row]) -> pa.Table:
    schema = _schema(source)
    arrays = [result_array([r[i] for r in rows], c.type) for i, c in enumerate(schema)]
    return pa.Table.from_arrays(arrays, schema=pa.schema([(c.name, c.type.arrow) for c in schema]))


def _rows(ksql: Ksql, source: Source, stored: StoredBatch) -> list[tuple[Row, Row | None]]:
    """Return (key with window bounds, whole row or None for a tombstone) of each record."""
    payload = stored.batch.typed(ksql.codec(source)).payload
    windows = payload.windows if source.window is not None else None
    no_key = (None,) * len(source.schema.key)
    found: list[tuple[Row, Row | None]] = []
    for i, (key, value) in enumerate(zip(payload.keys, payload.values, strict=True)):
        head = (*(no_key if key is None else key), *(() if windows is None else windows[i]))
        found.append((head, None if value is None else (*head, *value)))
    return found


class _ChangeSubscription:
    """A topic's records as changes of a relation, computed when polled.

    Parameters
    ----------
    rows : list of tuple
        A table's rows where the subscription begins.
    start : int or "latest"
        Sequence of the first record that is a change.
    """

    def __init__(
        self,
        ksql: Ksql,
        source: Source,
        rows: list[Row],
        start: Start,
        wake: Callable[[], None] | None = None,
    ) -> None:
        self._ksql, self._source = ksql, source
        self._schema = _schema(source)
        self._lock = threading.Lock()
        self._topic: Subscription[StoredBatch] = ksql.engine.topic(source.topic).subscribe(start, wake)
        width = len(self._schema.key)
        self._known: dict[Any, Row] = {} if source.is_stream else {repr(row[:width]): row for row in rows}

    @property
    def lag(self) -> int:
        """Records that were not polled."""
        return self._topic.lag

    @property
    def ready(self) -> bool:
        """Whether `poll` has something to say."""
        return self._topic.ready

    @property
    def wake(self) -> Callable[[], None] | None:
        """Called when something arrived."""
        return self._topic.wake

    @wake.setter
    def wake(self, wake: Callable[[], None] | None) -> None:
        self._topic.wake = wake

    def poll(self, max_records: int = 65_536) -> list[ChangeSet]:
        """Return the changes since the last call."""
        with self._lock:
            return [self._changes(stored) for stored in self._topic.poll(max_records)]

    def _changes(self, stored: StoredBatch) -> ChangeSet:
        changes: list[Change] = []
        for head, new in _rows(self._ksql, self._source, stored):
            if self._source.is_stream:
                if new is not None:
                    changes.append(Change("insert", None, new))
                continue
            at = repr(head)
            old = self._known.pop(at, None)
            if new is not None:
                self._known[at] = new
                changes.append(Change("insert" if old is None else "update", old, new))
            elif old is not None:
                changes.append(Change("delete", old, None))
        found = ChangeSet(stored.position, self._source.name.lower(), "", self._schema)
        found.add(changes)
        return found

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until there is something to poll."""
        return self._topic.wait(timeout)

    def close(self) -> None:
        """Stop following."""
        self._topic.close()

"""Materializations: the current rows of tables, for pull queries and for the other dialect.

A materialization is a fold over the table's topic that catches up when somebody looks, so a table that nobody
looks at costs nothing. What comes in columns is reduced to the last record of each key before any Python row
is made.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from kalam_jupyter.engine.batch import Batch, Payload, StoredBatch, Window
from kalam_jupyter.engine.topic import Topic
from kalam_jupyter.engine.types import Array, DataType, Decimal, Map, Schema, Struct
from kalam_jupyter.ksql.formats.codec import KsqlCodec
from kalam_jupyter.ksql.metastore import Source
from kalam_jupyter.ksql.operators.grouping import Grouping
from kalam_jupyter.ksql.operators.record import Key, Row, store_key
from kalam_jupyter.ksql.runtime.partitioner import partitions_of
from kalam_jupyter.ksql.runtime.reader import SourceReader
from kalam_jupyter.ksql.runtime.reports import Reporter
from kalam_jupyter.ksql.runtime.timestamps import timestamp_parser

#: A current row: key, value with the header columns behind it, timestamp, window.
Entry = tuple[Key, Row, int, Window | None]


class Materialization:
    """The current rows of one table.

    Parameters
    ----------
    source : Source
    codec : KsqlCodec
    topic : Topic
    retention_ms : int or None
        How long after stream time a window stays visible.

    Attributes
    ----------
    until : int or None
        Sequence at which it stands still; None: it follows its topic.
    """

    def __init__(
        self, source: Source, codec: KsqlCodec, topic: Topic, retention_ms: int | None = None
    ) -> None:
        self.source = source
        self._codec = codec
        self.topic = topic
        self._windowed = source.window is not None
        self._retention = retention_ms if self._windowed else None
        self._reader: SourceReader | None = None
        if source.headers or source.timestamp is not None:
            reporter = Reporter(f"materialization.{source.name}")
            self._reader = SourceReader(source, codec, reporter, timestamp_parser(source))
        self._width = len(source.schema.value)
        self.until: int | None = None
        self._next = 0
        self._stream_time = -1
        self._swept = -1
        #: Rows by key; by key and window where the key is windowed.
        self._rows: dict[Any, Any] = {}
        self._lock = threading.Lock()

    @property
    def lag(self) -> int:
        """How many records there are that it has not taken in."""
        return self.topic.end_sequence - self._next

    def rows(self) -> list[Entry]:
        """Return all current rows, in no particular order."""
        return self.rows_until()[0]

    def rows_until(self) -> tuple[list[Entry], int]:
        """Return `rows`, and the sequence of the first record that they do not know of yet."""
        with self._lock:
            self._catch_up()
            if not self._windowed:
                return list(self._rows.values()), self._next
            return [e for windows in self._rows.values() for e in self._visible(windows)], self._next

    def sorted_rows(self) -> list[Entry]:
        """Return all current rows as state stores give them: by partition, key bytes, then window."""
        entries = self.rows()
        bounds = [e[3] or (0, 0) for e in entries] if self._windowed else None
        payload = Payload.from_rows(
            self._codec.schema, [e[0] for e in entries], [None] * len(entries), bounds
        )
        batch = Batch([0] * len(entries), payload=payload, codec=self._codec)
        keys, _ = batch.encoded()
        partitions = partitions_of(batch, self.topic.partitions).tolist()
        order = sorted(range(len(entries)), key=lambda i: (partitions[i], keys[i] or b""))
        return [entries[i] for i in order]

    def get(self, key: Key) -> list[Entry]:
        """Return the current rows of one key: at most one, or one for each window."""
        with self._lock:
            self._catch_up()
            found = self._rows.get(store_key(key))
            if found is None:
                return []
            return list(self._visible(found)) if self._windowed else [found]

    def _visible(self, windows: dict[Window, Entry]) -> Iterator[Entry]:
        if self._retention is None:
            return iter(windows.values())
        oldest = self._stream_time - self._retention
        return (e for e in windows.values() if e[3] is None or e[3][1] > oldest)

    def _catch_up(self) -> None:
        if self._next < self.topic.cleaned.purged:  # compaction took tombstones that it has not seen
            self._rows.clear()
            self._next = 0
        start = max(self._next, self.topic.start_sequence)
        end = self.topic.end_sequence if self.until is None else self.until
        while start < end:
            for stored in self.topic.read(start, end - start):
                self._fold(stored.before(end))
                start = stored.end
        self._next = min(start, end)
        if self._retention is not None and self._stream_time - self._swept > self._retention:
            self._sweep()

    def _sweep(self) -> None:
        """Forget windows that are not visible any more."""
        self._swept = self._stream_time
        for key, windows in list(self._rows.items()):
            kept = {e[3]: e for e in self._visible(windows)}
            if kept:
                self._rows[key] = kept
            else:
                del self._rows[key]

    def _fold(self, stored: StoredBatch) -> None:
        if self._reader is not None:
            for r in self._reader.read(stored):
                self._stream_time = max(self._stream_time, r.ts)
                self._put(r.key, None if r.row is None else r.row[: self._width], r.ts, r.window)
            return
        decoded = stored.batch.typed(self._codec)
        if decoded.errors and self.source.query_id is not None:
            decoded = stored.batch.typed(self._lenient_codec)
        payload = decoded.payload
        if not payload.num_rows:
            return
        timestamps = stored.batch.timestamp_array()
        if decoded.kept is not None:
            timestamps = timestamps[decoded.kept]
        self._stream_time = max(self._stream_time, int(timestamps.max()))
        if payload.has_columns and not payload.has_rows and payload.num_rows > 64:
            last = _last_of_each_key(payload)
            payload, timestamps = _take(payload, last), timestamps[last]
        windows = payload.windows if self._windowed else None
        for i, (key, value, ts) in enumerate(
            zip(payload.keys, payload.values, timestamps.tolist(), strict=True)
        ):
            self._put(key, value, ts, None if windows is None else windows[i])

    @cached_property
    def _lenient_codec(self) -> KsqlCodec:
        """Reads what rounding made one digit longer than its DECIMAL: a state store has it as it is."""
        columns = (replace(c, type=_one_digit_more(c.type)) for c in self._codec.schema)
        return replace(self._codec, schema=Schema(tuple(columns)))

    def _put(self, key: Key | None, value: Row | None, ts: int, window: Window | None) -> None:
        if key is None:
            return
        at = store_key(key)
        if self._windowed:
            windows = self._rows.setdefault(at, {})
            if value is not None:
                windows[window] = (key, value, ts, window)
            else:
                windows.pop(window, None)
                if not windows:
                    del self._rows[at]
        elif value is None:
            self._rows.pop(at, None)
        else:
            self._rows[at] = (key, value, ts, window)


def _one_digit_more(type_: DataType) -> DataType:
    match type_:
        case Decimal(precision, scale):
            return Decimal(precision + 1, scale)
        case Array(element):
            return Array(_one_digit_more(element))
        case Map(key, value):
            return Map(_one_digit_more(key), _one_digit_more(value))
        case Struct(fields):
            return Struct(tuple((name, _one_digit_more(field)) for name, field in fields))
    return type_


def _last_of_each_key(payload: Payload) -> Any:
    """Return the positions of the last record of each key and window, in order."""
    columns = payload.columns
    n = payload.num_rows
    nulls = any(a.null_count for a in columns.key) or columns.key_valid is not None
    if not columns.key or nulls or any(pa.types.is_nested(a.type) for a in columns.key):
        return np.arange(n)
    grouping = Grouping.of(columns.key, columns.windows or ())
    return np.sort(grouping.last(np.arange(n)))


def _take(payload: Payload, positions: Any) -> Payload:
    from kalam_jupyter.engine.batch import Columns

    columns = payload.columns
    indices = pa.array(positions)
    taken = Columns(
        tuple(a.take(indices) for a in columns.key),
        tuple(a.take(indices) for a in columns.value),
        None if columns.key_valid is None else columns.key_valid[positions],
        None if columns.value_valid is None else columns.value_valid[positions],
        None if columns.windows is None else (columns.windows[0][positions], columns.windows[1][positions]),
    )
    return Payload.from_columns(payload.schema, taken, len(positions))

"""Materializations: the current rows of tables, for pull queries and for the other dialect.

A materialization is a fold over the table's topic that catches up when somebody looks, so a table that nobody
looks at costs
nothing. What comes in columns is reduced to the last record of each key before any Python row is made.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pyarrow as pa

from kalam_jupyter.engine.batch import Codec, Payload, StoredBatch, Window
from kalam_jupyter.engine.topic import Topic
from kalam_jupyter.ksql.metastore import Source
from kalam_jupyter.ksql.operators.grouping import Grouping
from kalam_jupyter.ksql.operators.record import Key, Row, store_key

#: A current row: key, value, timestamp, window.
Entry = tuple[Key, Row, int, Window | None]


class Materialization:
    """The current rows of one table.

    Parameters
    ----------
    source : Source
    codec : Codec
    topic : Topic
    retention_ms : int or None
        How long after stream time a window stays visible.
    """

    def __init__(self, source: Source, codec: Codec, topic: Topic, retention_ms: int | None = None) -> None:
        self.source = source
        self._codec = codec
        self.topic = topic
        self._retention = retention_ms
        self._windowed = source.window is not None
        self._next = 0
        self._stream_time = -1
        self._rows: dict[Any, Entry] = {}
        self._lock = threading.Lock()

    def rows(self) -> list[Entry]:
        """Return all current rows, by key and window."""
        with self._lock:
            self._catch_up()
            if self._retention is None or not self._windowed:
                return list(self._rows.values())
            oldest = self._stream_time - self._retention
            return [e for e in self._rows.values() if e[3] is None or e[3][1] > oldest]

    def sorted_rows(self) -> list[Entry]:
        """Return all current rows in the order of a state store: by the key's bytes, then by window."""
        entries = self.rows()
        payload = Payload.from_rows(
            self._codec.schema,
            [e[0] for e in entries],
            [None] * len(entries),
            [e[3] or (0, 0) for e in entries] if self._windowed else None,
        )
        keys, _ = self._codec.encode(payload)
        order = sorted(range(len(entries)), key=lambda i: keys[i] or b"")
        return [entries[i] for i in order]

    def get(self, key: Key) -> list[Entry]:
        """Return the current rows of one key: at most one, or one for each window."""
        with self._lock:
            self._catch_up()
            if not self._windowed:
                found = self._rows.get(store_key((*key, None)))
                return [] if found is None else [found]
        return [e for e in self.rows() if e[0] == key]

    def _catch_up(self) -> None:
        start = max(self._next, self.topic.start_sequence)
        while start < self.topic.end_sequence:
            for stored in self.topic.read(start):
                self._fold(stored)
                start = stored.sequence + stored.num_rows
        self._next = start

    def _fold(self, stored: StoredBatch) -> None:
        decoded = stored.batch.typed(self._codec)
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
        rows = self._rows
        for i, (key, value, ts) in enumerate(
            zip(payload.keys, payload.values, timestamps.tolist(), strict=True)
        ):
            if key is None:
                continue
            window = None if windows is None else windows[i]
            at = store_key((*key, window))
            if value is None:
                rows.pop(at, None)
            else:
                rows[at] = (key, value, ts, window)


def _last_of_each_key(payload: Payload) -> Any:
    """Return the positions of the last record of each key and window, in order."""
    columns = payload.columns
    n = payload.num_rows
    nulls = any(a.null_count for a in columns.key) or columns.key_valid is not None
    if not columns.key or nulls or any(pa.types.is_nested(a.type) for a in columns.key):
        return np.arange(n)
    grouping = Grouping.of(columns.key, columns.windows or ())
    return np.sort(np.array(grouping.last(np.arange(n)), dtype=np.int64))


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

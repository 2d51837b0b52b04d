"""Aggregation in time windows: tumbling and hopping.

A record is accepted into a window while ``window end > stream time - grace``, stream time being the largest
timestamp that this aggregation has seen over all keys, the record's included. Windows are [start, end).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from kalam_jupyter.engine.batch import Int64s
from kalam_jupyter.engine.types import BIGINT, Column
from kalam_jupyter.ksql.operators.aggregate import NEVER, Aggregator
from kalam_jupyter.ksql.operators.column_batch import ColumnBatch
from kalam_jupyter.ksql.operators.group_index import GroupIndex
from kalam_jupyter.ksql.operators.group_states import GroupStates
from kalam_jupyter.ksql.operators.grouping import Grouping
from kalam_jupyter.ksql.operators.record import Record, key_order, store_key


class TimeWindowAggregate:
    """GROUP BY in tumbling or hopping windows: one output per record and window, windows ascending.

    Parameters
    ----------
    states : GroupStates
    key : sequence of Column
        The columns of the groups' keys.
    size, advance, grace : int
        Milliseconds; `advance` equals `size` for tumbling windows.
    """

    def __init__(
        self, states: GroupStates, key: Sequence[Column], size: int, advance: int, grace: int
    ) -> None:
        self._states = states
        self._index = GroupIndex(states, key)
        self.columnar = states.columnar
        self._size, self._advance, self._grace = size, advance, grace
        self._stream_time = NEVER
        self._expired = NEVER

    def process(self, records: list[Record]) -> list[Record]:
        """Fold every record into its windows."""
        out: list[Record] = []
        size, advance = self._size, self._advance
        states, index = self._states, self._index
        for r in records:
            key, row, ts = r.key, r.row, r.ts
            assert key is not None and row is not None
            if ts > self._stream_time:
                self._stream_time = ts
            limit = self._stream_time - self._grace
            for start in window_starts(ts, size, advance):
                end = start + size
                if end > limit:
                    slot = index.slot(key, start, ts)
                    values, largest = states.fold(slot, row, ts)
                    bounds = (start, end)
                    out.append(Record(key, values + key + bounds, largest, bounds, r.headers))
        self._expire()
        return out

    def process_columns(self, batch: ColumnBatch) -> ColumnBatch:
        """As `process`."""
        arguments = self._states.evaluate(batch)
        stream_time = np.maximum(np.maximum.accumulate(batch.ts), self._stream_time)
        rows, starts = self._assign(batch.ts)
        accepted = starts + self._size > stream_time[rows] - self._grace
        if not accepted.all():
            rows, starts = rows[accepted], starts[accepted]
        self._stream_time = int(stream_time[-1])
        taken = batch
        if len(rows) != batch.num_rows or self._advance != self._size:
            taken = batch.take(rows)
            indices = pa.array(rows)
            arguments = [None if a is None else a.take(indices) for a in arguments]
        found = self._fold_columns(taken, starts, arguments)
        self._expire()
        return found

    def _assign(self, ts: Int64s) -> tuple[Int64s, Int64s]:
        """Return (row, window start) pairs, by row, starts ascending."""
        size, advance = self._size, self._advance
        newest = ts - ts % advance
        if advance == size:
            return np.arange(len(ts)), newest
        counts = -(-size // advance)
        starts = newest[:, None] - np.arange(counts - 1, -1, -1) * advance
        valid = (starts >= 0) & (starts + size > ts[:, None])
        rows = np.broadcast_to(np.arange(len(ts))[:, None], starts.shape)
        return rows[valid], starts[valid]

    def _fold_columns(
        self, batch: ColumnBatch, starts: Int64s, arguments: Sequence[pa.Array | None]
    ) -> ColumnBatch:
        states = self._states
        bounds = (starts, starts + self._size)
        types = (*states.types, *(c.type for c in batch.key_columns), BIGINT, BIGINT)
        if not len(starts):
            empty = [pa.nulls(0, t.arrow) for t in types]
            return ColumnBatch(empty, types, batch.key, batch.key_columns, batch.ts, None, bounds)
        slots = self._index.slots(batch, starts, NEVER)
        results, ts = states.run(*Grouping.of_slots(slots, states.capacity), batch.ts, arguments)
        row = (*results, *batch.key, pa.array(bounds[0]), pa.array(bounds[1]))
        return ColumnBatch(row, types, batch.key, batch.key_columns, ts, None, bounds)

    def _expire(self) -> None:
        """Forget windows that take no more records, now and then: it costs a look at all there are."""
        limit = self._stream_time - self._grace - self._size
        if limit >= self._expired + self._size + self._grace // 8:
            self._index.forget(limit)
            self._expired = limit

    def checkpoint(self) -> Any:
        """Stream time and all open windows."""
        return (self._stream_time, self._expired, self._index.checkpoint())

    def restore(self, state: Any) -> None:
        """Continue from `checkpoint`."""
        self._stream_time, self._expired, index = state
        self._index.restore(index)


def window_starts(ts: int, size: int, advance: int) -> Sequence[int]:
    """Return the starts of the windows that hold a timestamp, ascending."""
    newest = ts - ts % advance
    if advance == size:
        return (newest,) if newest >= 0 else ()
    first = newest - ((size - 1 - (ts - newest)) // advance) * advance
    return range(max(first, 0), newest + 1, advance)


class FinalWindowAggregate:
    """GROUP BY in tumbling or hopping windows that emits a window once, when it closes.

    Parameters
    ----------
    aggregator : Aggregator
    size, advance, grace : int
        Milliseconds; `advance` equals `size` for tumbling windows.
    """

    def __init__(self, aggregator: Aggregator, size: int, advance: int, grace: int) -> None:
        self._aggregator = aggregator
        self._size, self._advance, self._grace = size, advance, grace
        self._stream_time = NEVER
        self._closed = NEVER
        # start -> key -> [state, timestamp, key]; by start, so that closed windows go at once
        self._windows: dict[int, dict[Any, list[Any]]] = {}

    def process(self, records: list[Record]) -> list[Record]:
        """Fold every record into its windows, and emit those that close."""
        out: list[Record] = []
        for r in records:
            self._stream_time = max(self._stream_time, r.ts)
            limit = self._stream_time - self._grace
            for start in window_starts(r.ts, self._size, self._advance):
                if start + self._size > limit:
                    self._fold(r, start)
            self._close(r, out)
        return out

    def _fold(self, r: Record, start: int) -> None:
        assert r.key is not None and r.row is not None
        key = store_key(r.key)
        windows = self._windows.get(start)
        if windows is None:
            windows = self._windows[start] = {}
            self._lose()
        group = windows.get(key)
        if group is None:
            group = windows[key] = [self._aggregator.initial(), r.ts, r.key]
        elif r.ts > group[1]:
            group[1] = r.ts
        self._aggregator.add(group[0], r.row)

    def _lose(self) -> None:
        """Purge by the newest window stored, as the reference does: what goes unemitted is lost."""
        limit = max(self._windows) - (self._size + self._grace)
        for start in [s for s in self._windows if s < limit]:
            del self._windows[start]

    def _close(self, by: Record, out: list[Record]) -> None:
        close = self._stream_time - self._grace
        if close <= self._closed:
            return
        self._closed = close
        for start in sorted(s for s in self._windows if s + self._size <= close):
            groups = self._windows.pop(start)
            bounds = (start, start + self._size)
            for hashed in sorted(groups, key=key_order):
                state, ts, key = groups[hashed]
                row = self._aggregator.results(state) + key + bounds
                out.append(Record(key, row, ts, bounds, by.headers))

    def checkpoint(self) -> Any:
        """Stream time and all open windows."""
        return (self._stream_time, self._closed, self._windows)

    def restore(self, state: Any) -> None:
        """Continue from `checkpoint`."""
        self._stream_time, self._closed, self._windows = state

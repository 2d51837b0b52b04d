"""Aggregation in time windows (tumbling, hopping) and in sessions.

A record is accepted into a window while ``window end > stream time - grace``, stream time being the largest
timestamp that this
aggregation has seen over all keys, the record's included. Windows are [start, end); sessions are [first,
last], both inclusive.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from kalam_jupyter.engine.batch import Int64s
from kalam_jupyter.engine.types import BIGINT
from kalam_jupyter.ksql.operators.aggregate import NEVER, Aggregator, find_slots
from kalam_jupyter.ksql.operators.column_batch import ColumnBatch
from kalam_jupyter.ksql.operators.grouping import Grouping
from kalam_jupyter.ksql.operators.record import Key, Record, store_key
from kalam_jupyter.ksql.operators.running import GroupStates


class TimeWindowAggregate:
    """GROUP BY in tumbling or hopping windows: one output per record and window, windows ascending.

    Parameters
    ----------
    size, advance, grace : int
        Milliseconds; `advance` equals `size` for tumbling windows.
    emit_final : bool
        Emit a window once, when it closes, instead of at every change.
    """

    def __init__(
        self,
        states: GroupStates,
        size: int,
        advance: int,
        grace: int,
        *,
        emit_final: bool = False,
    ) -> None:
        self._states = states
        self.columnar = states.columnar and not emit_final
        self._size, self._advance, self._grace = size, advance, grace
        self._emit_final = emit_final
        self._stream_time = NEVER
        self._closed = NEVER
        self._oldest = NEVER
        # start -> key -> slot; by start, so that closed windows go at once
        self._windows: dict[int, dict[Any, int]] = {}

    def process(self, records: list[Record]) -> list[Record]:
        """Fold every record into its windows."""
        out: list[Record] = []
        size, advance = self._size, self._advance
        for r in records:
            ts = r.ts
            if ts > self._stream_time:
                self._stream_time = ts
                self._expire()
            limit = self._stream_time - self._grace
            start = ts - ts % advance
            if advance == size:
                if start + size > limit:
                    self._fold(r, start, out)
            else:
                first = max(start - ((size - 1 - (ts - start)) // advance) * advance, 0)
                for begin in range(first, start + 1, advance):
                    if begin + size > limit:
                        self._fold(r, begin, out)
            if self._emit_final:
                self._close(out)
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
        grouping = Grouping.of(batch.key, [starts])
        slots = self._slots_of(batch.take(grouping.first).key_rows(), starts[grouping.first])
        results, ts = states.run(slots, grouping, batch.ts, arguments)
        row = (*results, *batch.key, pa.array(bounds[0]), pa.array(bounds[1]))
        return ColumnBatch(row, types, batch.key, batch.key_columns, ts, None, bounds)

    def _slots_of(self, keys: list[Key], starts: Int64s) -> Int64s:
        order = np.argsort(starts, kind="stable")
        bounds = np.flatnonzero(np.diff(starts[order])) + 1
        slots = np.empty(len(keys), dtype=np.int64)
        for positions in np.split(order, bounds):
            windows = self._windows.setdefault(int(starts[positions[0]]), {})
            slots[positions] = find_slots(self._states, windows, [keys[i] for i in positions.tolist()])
        return slots

    def _fold(self, r: Record, start: int, out: list[Record]) -> None:
        assert r.key is not None and r.row is not None
        key, states = store_key(r.key), self._states
        windows = self._windows.get(start)
        if windows is None:
            windows = self._windows[start] = {}
            self._lose(start)
        slot = windows.get(key)
        if slot is None:
            (slot,) = states.new([r.key], r.ts)
            windows[key] = slot
        elif r.ts > states.timestamps[slot]:
            states.timestamps[slot] = r.ts
        states.fold(slot, r.row)
        if not self._emit_final:
            out.append(self._output(slot, start, r.headers))

    def _output(self, slot: int, start: int, headers: Any = ()) -> Record:
        states, bounds = self._states, (start, start + self._size)
        key = states.keys[slot]
        return Record(key, states.results(slot) + key + bounds, states.timestamps.item(slot), bounds, headers)

    def _forget(self, start: int) -> None:
        self._states.release(list(self._windows.pop(start).values()))

    def _expire(self) -> None:
        """Forget windows that take no more records (emit changes only: a final window is forgotten when
        emitted).
        """
        if self._emit_final:
            return
        limit = self._stream_time - self._grace - self._size
        if limit >= self._oldest + self._size or self._oldest == NEVER:
            for start in [s for s in self._windows if s <= limit]:
                self._forget(start)
            self._oldest = limit

    def _lose(self, newest: int) -> None:
        """Purge by the newest window stored, as the reference does: what goes unemitted is lost."""
        if self._emit_final:
            limit = max(self._windows) - (self._size + self._grace)
            for start in [s for s in self._windows if s < limit]:
                self._forget(start)

    def _close(self, out: list[Record]) -> None:
        close = self._stream_time - self._grace
        if close <= self._closed:
            return
        self._closed = close
        for start in sorted(s for s in self._windows if s + self._size <= close):
            slots = self._windows[start]
            out.extend(self._output(slots[key], start) for key in sorted(slots, key=key_order))
            self._forget(start)

    def checkpoint(self) -> Any:
        """Stream time and all open windows."""
        return (self._stream_time, self._closed, self._windows, self._states.checkpoint())

    def restore(self, state: Any) -> None:
        """Continue from `checkpoint`."""
        self._stream_time, self._closed, windows, states = state
        self._windows = {start: dict(slots) for start, slots in windows.items()}
        self._states.restore(states)


def key_order(key: Any) -> Any:
    return [(v is not None, v if isinstance(v, int | float | str | bytes) else repr(v)) for v in key]


class SessionAggregate:
    """GROUP BY in sessions: bursts of records at most `gap` apart.

    A record that joins stored sessions deletes them (a tombstone each, timestamp their old end) and emits the
    merged one, timestamp its end.
    """

    def __init__(self, aggregator: Aggregator, gap: int, grace: int, *, emit_final: bool = False) -> None:
        self._aggregator = aggregator
        self._gap, self._grace = gap, grace
        self._emit_final = emit_final
        self._stream_time = NEVER
        self._closed = NEVER
        self._newest_end = NEVER
        # key -> sessions [start, end, state, key], by start
        self._sessions: dict[Any, list[list[Any]]] = {}

    def process(self, records: list[Record]) -> list[Record]:
        """Fold every record into its key's sessions."""
        out: list[Record] = []
        for r in records:
            if r.ts > self._stream_time:
                self._stream_time = r.ts
            self._fold(r, out)
            if self._emit_final:
                self._close(out)
        return out

    def _fold(self, r: Record, out: list[Record]) -> None:
        assert r.key is not None and r.row is not None
        ts, gap = r.ts, self._gap
        key = store_key(r.key)
        expired = self._newest_end - (gap + self._grace)
        stored = [s for s in self._sessions.get(key, ()) if s[1] >= expired]
        merged = [s for s in stored if s[0] - gap <= ts <= s[1] + gap]
        start = min([ts, *(s[0] for s in merged)])
        end = max([ts, *(s[1] for s in merged)])
        if end < self._stream_time - self._grace - gap:
            return
        state = self._aggregator.initial()
        for s in merged:
            state = self._aggregator.merge(state, s[2])
        self._aggregator.add(state, r.row)
        if not self._emit_final and (start, end) != (ts, ts):
            out.extend(Record(r.key, None, s[1], (s[0], s[1]), r.headers) for s in merged)
        session = [start, end, state, r.key]
        kept = [s for s in stored if s not in merged]
        kept.append(session)
        kept.sort(key=lambda s: s[0])
        self._sessions[key] = kept
        self._newest_end = max(self._newest_end, end)
        if not self._emit_final:
            out.append(self._output(session, r.headers))

    def _output(self, session: list[Any], headers: Any = ()) -> Record:
        start, end, state, key = session
        row = self._aggregator.results(state) + key + (start, end)
        return Record(key, row, end, (start, end), headers)

    def _close(self, out: list[Record]) -> None:
        close = self._stream_time - self._grace - self._gap
        if close <= self._closed:
            return
        self._closed = close
        done = []
        for key, sessions in list(self._sessions.items()):
            done += [s for s in sessions if s[1] < close]
            rest = [s for s in sessions if s[1] >= close]
            if rest:
                self._sessions[key] = rest
            else:
                del self._sessions[key]
        done.sort(key=lambda s: (s[0], key_order(s[3])))
        out.extend(self._output(s) for s in done)

    def checkpoint(self) -> Any:
        """Times and all sessions."""
        return (self._stream_time, self._closed, self._newest_end, self._sessions)

    def restore(self, state: Any) -> None:
        """Continue from `checkpoint`."""
        self._stream_time, self._closed, self._newest_end, self._sessions = state

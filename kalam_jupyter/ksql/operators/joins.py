"""Joins on equal keys: stream-stream, stream-table and table-table.

The joined flat row is the left flat row, the right flat row, the key and the result's timestamp; a missing
side is all NULL.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kalam_jupyter.engine.types import DataType
from kalam_jupyter.ksql.operators.column_batch import ColumnBatch, NotColumnarError
from kalam_jupyter.ksql.operators.lookup import LookupTable
from kalam_jupyter.ksql.operators.record import Key, Record, Row, key_order, store_key

JoinKind = Literal["INNER", "LEFT", "RIGHT", "FULL"]
LEFT, RIGHT = 0, 1
NEVER = -(1 << 62)


@dataclass(frozen=True)
class JoinShape:
    """Widths of the two flat rows, and which sides are preserved (padded when the other is missing)."""

    kind: JoinKind
    left_width: int
    right_width: int
    num_keys: int = 1
    sessions: bool = False

    def at(self, r: Record) -> Key:
        """Return where a record is stored: its key, with the session or the window's start.

        The bytes of a time window's key hold no end, so windows of different sizes match by their start.
        """
        assert r.key is not None
        if r.window is None:
            return store_key(r.key)
        return store_key((*r.key, r.window if self.sessions else r.window[0]))

    def preserves(self, side: int) -> bool:
        """Whether rows of this side appear without a match."""
        return self.kind == "FULL" or self.kind == ("LEFT", "RIGHT")[side]

    def row(self, left: Row | None, right: Row | None, key: Key | None, ts: int) -> Row:
        """Return the joined flat row."""
        return (
            *(left if left is not None else (None,) * self.left_width),
            *(right if right is not None else (None,) * self.right_width),
            *(key if key is not None else (None,) * self.num_keys),
            ts,
        )


@dataclass(slots=True)
class _Entry:
    """A buffered record of one side of a stream-stream join."""

    ts: int
    number: int
    record: Record
    matched: bool = False

    def __lt__(self, other: Any) -> bool:
        if isinstance(other, int):
            return self.ts < other
        return (self.ts, self.number) < (other.ts, other.number)


class StreamStreamJoin:
    """WITHIN join: a right record matches a left one when its timestamp is in [left - before, left + after].

    Unmatched records of a preserved side are emitted padded: at once when there is no GRACE PERIOD, and when
    their window has closed
    when there is one.

    Parameters
    ----------
    before, after : int
        Milliseconds.
    grace : int or None
        Milliseconds; None where the statement gives none (24 hours for the buffers, eager padding).
    """

    def __init__(self, shape: JoinShape, before: int, after: int, grace: int | None) -> None:
        self._shape = shape
        self._reach = ((before, after), (after, before))
        self._grace = grace
        self._retention = before + after + (24 * 3600 * 1000 if grace is None else grace)
        self._stream_time = NEVER
        self._newest = [NEVER, NEVER]
        self._purged = [NEVER, NEVER]
        self._number = 0
        self._buffers: tuple[dict[Any, list[_Entry]], dict[Any, list[_Entry]]] = ({}, {})
        self._held: tuple[list[_Entry], list[_Entry]] = ([], [])

    def process(self, side: int, records: list[Record]) -> list[Record]:
        """Join records of one side with what the other side has buffered, and buffer them."""
        out: list[Record] = []
        for r in records:
            if r.row is None:
                continue
            if r.key is None:
                if self._shape.preserves(side):
                    out.append(self._padded(side, r))
                continue
            self._one(side, r, out)
        return out

    def _one(self, side: int, r: Record, out: list[Record]) -> None:
        ts = r.ts
        if ts > self._stream_time:
            self._stream_time = ts
        if self._grace is not None:
            self._flush(r, out)
        key = self._shape.at(r)
        other = 1 - side
        self._number += 1
        entry = _Entry(ts, self._number, r)
        matches = self._buffers[other].get(key)
        if matches:
            back, forth = self._reach[side]
            visible = max(ts - back, self._newest[other] - self._retention)
            for i in range(bisect_left(matches, visible), len(matches)):
                match = matches[i]
                if match.ts > ts + forth:
                    break
                match.matched = entry.matched = True
                out.append(self._joined(side, r, match.record))
        if not entry.matched and self._shape.preserves(side):
            self._unmatched(side, entry, out)
        self._store(side, key, entry)

    def _unmatched(self, side: int, entry: _Entry, out: list[Record]) -> None:
        closes = entry.ts + self._reach[side][1]
        if self._grace is None or closes < self._stream_time:
            out.append(self._padded(side, entry.record))
        else:
            heapq.heappush(self._held[side], entry)

    def _store(self, side: int, key: Any, entry: _Entry) -> None:
        if entry.ts < self._newest[side] - self._retention:
            return
        insort(self._buffers[side].setdefault(key, []), entry)
        if entry.ts > self._newest[side]:
            self._newest[side] = entry.ts
            if entry.ts - self._purged[side] > self._retention:
                self._purge(side)

    def _purge(self, side: int) -> None:
        oldest = self._newest[side] - self._retention
        self._purged[side] = self._newest[side]
        buffer = self._buffers[side]
        for key in list(buffer):
            entries = buffer[key]
            keep = bisect_left(entries, oldest)
            if keep == len(entries):
                del buffer[key]
            elif keep:
                del entries[:keep]

    def _flush(self, by: Record, out: list[Record]) -> None:
        """Emit held records whose window and grace have passed, with the headers of the record that says so.

        In the order of the reference's store of them: by timestamp, right before left, then by key.
        """
        assert self._grace is not None
        due: list[tuple[_Entry, int]] = []
        for side in (LEFT, RIGHT):
            held = self._held[side]
            limit = self._stream_time - self._reach[side][1] - self._grace
            while held and held[0].ts < limit:
                entry = heapq.heappop(held)
                if not entry.matched:
                    due.append((entry, side))
        due.sort(key=lambda e: (e[0].ts, -e[1], key_order(e[0].record.key), e[0].number))
        for entry, side in due:
            padded = self._padded(side, entry.record)
            padded.headers = by.headers
            out.append(padded)

    def _joined(self, side: int, r: Record, match: Record) -> Record:
        left, right = (r, match) if side == LEFT else (match, r)
        ts = max(r.ts, match.ts)
        return Record(r.key, self._shape.row(left.row, right.row, r.key, ts), ts, r.window, r.headers)

    def _padded(self, side: int, r: Record) -> Record:
        left, right = (r.row, None) if side == LEFT else (None, r.row)
        return Record(r.key, self._shape.row(left, right, r.key, r.ts), r.ts, r.window, r.headers)

    def checkpoint(self) -> Any:
        """Buffers, held records and times."""
        entries: dict[int, _Entry] = {}
        for buffer in self._buffers:
            entries.update((e.number, e) for items in buffer.values() for e in items)
        for held in self._held:
            entries.update((e.number, e) for e in held)
        plain = {
            n: (e.ts, e.matched, e.record.key, e.record.row, e.record.window, e.record.headers)
            for n, e in entries.items()
        }
        buffers = [{k: [e.number for e in items] for k, items in b.items()} for b in self._buffers]
        held_numbers = [[e.number for e in h] for h in self._held]
        return (self._stream_time, self._newest, self._purged, self._number, plain, buffers, held_numbers)

    def restore(self, state: Any) -> None:
        """Continue from `checkpoint`."""
        self._stream_time, self._newest, self._purged, self._number, plain, buffers, held = state
        entries = {
            n: _Entry(ts, n, Record(key, row, ts, window, headers), matched)
            for n, (ts, matched, key, row, window, headers) in plain.items()
        }
        left, right = ({k: [entries[n] for n in numbers] for k, numbers in b.items()} for b in buffers)
        self._buffers = (left, right)
        self._held = ([entries[n] for n in held[0]], [entries[n] for n in held[1]])


class StreamTableJoin:
    """Each stream record looks up the table's row of that moment; the table's changes emit nothing.

    Parameters
    ----------
    shape : JoinShape
    types : sequence of DataType
        Of the joined flat row.
    """

    def __init__(self, shape: JoinShape, types: Sequence[DataType]) -> None:
        self._shape = shape
        self._types = types
        self._table = LookupTable(types[shape.left_width : shape.left_width + shape.right_width])

    def process_columns(self, batch: ColumnBatch) -> ColumnBatch:
        """As `process`, for stream records."""
        if batch.windows is not None:
            raise NotColumnarError
        matches, at = self._table.match(batch)
        missing = at < 0
        if self._shape.kind == "INNER" and missing.any():
            kept = np.flatnonzero(~missing)
            batch, at, missing = batch.take(kept), at.take(kept), missing.take(kept)
        indices = pa.array(at, mask=missing)

        def of_table(position: int) -> Callable[[], pa.Array]:
            return lambda: matches.column(position, indices)

        columns = [
            *(_of(batch, i) for i in range(self._shape.left_width)),
            *(of_table(i) for i in range(self._shape.right_width)),
            *(_key_of(batch, i) for i in range(len(batch.key))),
            lambda: pa.array(batch.ts),
        ]
        return batch.replace(columns, self._types)

    def process(self, side: int, records: list[Record]) -> list[Record]:
        """Join stream records (left), or take in changes of the table (right)."""
        if side == RIGHT:
            for r in records:
                if r.key is not None:
                    self._table.put(self._shape.at(r), r.row)
            return []
        out = []
        rows, inner, shape = self._table.rows, self._shape.kind == "INNER", self._shape
        for r in records:
            if r.row is None:
                continue
            match = None if r.key is None else rows.get(shape.at(r))
            if match is None and inner:
                continue
            r.row = shape.row(r.row, match, r.key, r.ts)
            out.append(r)
        return out

    def checkpoint(self) -> Any:
        """The table's rows."""
        return self._table.rows

    def restore(self, state: Any) -> None:
        """Continue from `checkpoint`."""
        self._table.restore(state)


def _of(batch: ColumnBatch, position: int) -> Callable[[], pa.Array]:
    return lambda: batch.column(position)


def _key_of(batch: ColumnBatch, position: int) -> Callable[[], pa.Array]:
    if batch.key_valid is None:
        return lambda: batch.key[position]
    valid = pa.array(batch.key_valid)
    return lambda: pc.if_else(valid, batch.key[position], None)


class TableTableJoin:
    """Primary-key join: every change of either side gives the new joined row of its key, or a tombstone when
    there is none any more.

    As in Kafka Streams, a deletion of a row that was never there passes on as a tombstone where the other
    side's row alone makes no result.
    """

    def __init__(self, shape: JoinShape) -> None:
        self._shape = shape
        self._sides: tuple[dict[Any, tuple[Row, int]], dict[Any, tuple[Row, int]]] = ({}, {})

    def process(self, side: int, records: list[Record]) -> list[Record]:
        """Apply changes of one side."""
        out = []
        mine, theirs = self._sides[side], self._sides[1 - side]
        for r in records:
            if r.key is None:
                continue
            key = self._shape.at(r)
            other = theirs.get(key)
            before = mine.pop(key, None)
            if r.row is not None:
                mine[key] = (r.row, r.ts)
            ts = r.ts if other is None else max(r.ts, other[1])
            new = self._result(side, r.row, other, r.key, ts)
            old = self._result(side, None if before is None else before[0], other, r.key, ts)
            if new is not None or old is not None or (other is not None and self._decides(side)):
                out.append(Record(r.key, new, ts, r.window, r.headers, old))
        return out

    def _decides(self, side: int) -> bool:
        """Whether there is no result without a row of this side."""
        return self._shape.kind == "INNER" or self._shape.preserves(side)

    def _result(
        self, side: int, row: Row | None, other: tuple[Row, int] | None, key: Key, ts: int
    ) -> Row | None:
        theirs = None if other is None else other[0]
        left, right = (row, theirs) if side == LEFT else (theirs, row)
        kind = self._shape.kind
        present = {
            "INNER": left is not None and right is not None,
            "LEFT": left is not None,
            "RIGHT": right is not None,
            "FULL": left is not None or right is not None,
        }[kind]
        return self._shape.row(left, right, key, ts) if present else None

    def checkpoint(self) -> Any:
        """Both sides' rows and timestamps."""
        return self._sides

    def restore(self, state: Any) -> None:
        """Continue from `checkpoint`."""
        self._sides = state

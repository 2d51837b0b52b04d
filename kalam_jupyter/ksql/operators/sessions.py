"""Aggregation in sessions: bursts of a key's records at most a gap apart, [first, last], both inclusive.

All that is stored is tuples of plain values, which the garbage collector soon stops to look at: lists of
lists made it take half of the time.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from operator import itemgetter
from typing import Any

from kalam_jupyter.engine.batch import Headers
from kalam_jupyter.ksql.operators.aggregate import NEVER, Aggregator
from kalam_jupyter.ksql.operators.record import Key, Record, key_order, store_key

#: Start, end, state, key.
Session = tuple[int, int, tuple[Any, ...], Key]
_START = itemgetter(0)


class SessionAggregate:
    """GROUP BY in sessions.

    A record that joins stored sessions deletes them (a tombstone each, timestamp their old end) and emits the
    merged one, timestamp its end.

    Parameters
    ----------
    aggregator : Aggregator
    gap, grace : int
        Milliseconds.
    emit_final : bool
        Whether a session is emitted once, when it closes, and nothing else is.
    """

    def __init__(self, aggregator: Aggregator, gap: int, grace: int, *, emit_final: bool = False) -> None:
        self._aggregator = aggregator
        self._gap, self._grace = gap, grace
        self._emit_final = emit_final
        self._stream_time = NEVER
        self._closed = NEVER
        self._newest_end = NEVER
        self._expired = NEVER
        # by start, and therefore by end, too: those of a key are more than the gap apart
        self._sessions: dict[Any, tuple[Session, ...]] = {}
        # (end, number, store key) of every session that there is or was: which close next
        self._ends: list[tuple[int, int, Any]] = []
        self._pushed = 0

    def process(self, records: list[Record]) -> list[Record]:
        """Fold every record into its key's sessions."""
        out: list[Record] = []
        for r in records:
            if r.ts > self._stream_time:
                self._stream_time = r.ts
            self._fold(r, out)
            if self._emit_final:
                self._close(r, out)
        self._expire()
        return out

    def _fold(self, r: Record, out: list[Record]) -> None:
        key, row, ts = r.key, r.row, r.ts
        assert key is not None and row is not None
        gap, grace = self._gap, self._grace
        oldest = self._newest_end - (gap + grace)
        hashed = store_key(key)
        kept: list[Session] = []
        joined: list[Session] = []
        for session in self._sessions.get(hashed, ()):
            start, end, _, _ = session
            if end >= oldest:
                (joined if start - gap <= ts <= end + gap else kept).append(session)
        start, end = (min(ts, joined[0][0]), max(ts, joined[-1][1])) if joined else (ts, ts)
        if end < self._stream_time - grace - gap:
            return
        state = self._aggregator.merged([s[2] for s in joined], row)
        session = (start, end, state, key)
        if kept:
            kept.append(session)
            kept.sort(key=_START)
            self._sessions[hashed] = tuple(kept)
        else:
            self._sessions[hashed] = (session,)
        if end > self._newest_end:
            self._newest_end = end
        if self._emit_final:
            self._pushed += 1
            heappush(self._ends, (end, self._pushed, hashed))
            return
        if start != end or start != ts:
            for first, last, _, _ in joined:
                out.append(Record(key, None, last, (first, last), r.headers))
        out.append(self._output(session, r.headers))

    def _output(self, session: Session, headers: Headers) -> Record:
        start, end, state, key = session
        window = (start, end)
        return Record(key, self._aggregator.results(state) + key + window, end, window, headers)

    def _expire(self) -> None:
        """Forget sessions that no record can join, now and then: it costs a look at all there are."""
        oldest = self._newest_end - (self._gap + self._grace)
        if oldest >= self._expired + self._gap + self._grace // 8:
            self._expired = oldest
            for key in [k for k, sessions in self._sessions.items() if sessions[0][1] < oldest]:
                self._keep(key, oldest)

    def _keep(self, key: Any, oldest: int) -> list[Session]:
        """Forget the sessions of a key that ended before a time; return them."""
        sessions = self._sessions.pop(key, ())
        left = tuple(s for s in sessions if s[1] >= oldest)
        if left:
            self._sessions[key] = left
        return [s for s in sessions if s[1] < oldest]

    def _close(self, by: Record, out: list[Record]) -> None:
        close = self._stream_time - self._grace - self._gap
        if close <= self._closed:
            return
        self._closed = close
        done: list[Session] = []
        while self._ends and self._ends[0][0] < close:
            done += self._keep(heappop(self._ends)[2], close)
        done.sort(key=lambda s: (s[0], key_order(s[3])))
        out.extend(self._output(s, by.headers) for s in done)

    def checkpoint(self) -> Any:
        """Times and all sessions."""
        return (self._stream_time, self._closed, self._newest_end, self._sessions)

    def restore(self, state: Any) -> None:
        """Continue from `checkpoint`."""
        self._stream_time, self._closed, self._newest_end, self._sessions = state
        if self._emit_final:
            ends = ((s[1], key) for key, sessions in self._sessions.items() for s in sessions)
            self._ends = [(end, i, key) for i, (end, key) in enumerate(ends)]
            self._pushed = len(self._ends)
            heapify(self._ends)

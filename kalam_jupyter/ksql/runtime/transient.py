"""Transient queries: SELECT and PRINT. They run in the thread that polls them, and cost nothing while nobody
does.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pyarrow as pa

from kalam_jupyter.changes import result_array
from kalam_jupyter.engine.batch import Batch, StoredBatch
from kalam_jupyter.engine.errors import EngineError, NotFoundError
from kalam_jupyter.engine.history import Subscription
from kalam_jupyter.engine.topic import Topic
from kalam_jupyter.engine.types import DataType, Schema
from kalam_jupyter.ksql.errors import KsqlError
from kalam_jupyter.ksql.operators.column_batch import ColumnBatch
from kalam_jupyter.ksql.operators.record import Record
from kalam_jupyter.ksql.runtime.topology import Topology

if TYPE_CHECKING:
    from kalam_jupyter.ksql.statements.pull import PullPlan

Kind = Literal["push", "pull", "stream_pull", "print"]
LIMIT_REACHED = "Limit Reached"
COMPLETED = "Query Completed"


@dataclass(frozen=True)
class ResultColumn:
    """One column of a result; pull queries of tables mark what the reference marks.

    Attributes
    ----------
    key : bool
        Whether it is the key, or a window bound.
    header : str
        ``HEADERS`` or ``HEADER('name')`` for a header column of a source table.
    """

    name: str
    type: DataType
    key: bool = False
    header: str = ""


class ResultRow(NamedTuple):
    """One row. A tombstone says that the row with these key columns is gone; its other values are None."""

    values: tuple[Any, ...]
    tombstone: bool = False


class TransientQuery:
    """A query that lives as long as somebody reads it.

    Attributes
    ----------
    id : str
    kind : ``push``, ``pull``, ``stream_pull`` or ``print``
    columns : tuple of ResultColumn
    text : str
        Its statement.
    key_names : tuple of str
        Columns by which rows replace each other; empty where rows only get added.
    finished : bool
        Whether no more rows will come; rows that were computed already are still polled.
    final_message : str or None
        ``Limit Reached`` or ``Query Completed``.
    error : KsqlError or None
        Why it ended, if it failed.
    on_wake : callable or None
        Called, from another thread, when there may be something to poll. It must not block.
    """

    def __init__(
        self, query_id: str, kind: Kind, columns: Sequence[ResultColumn], text: str, limit: int | None
    ) -> None:
        self.id = query_id
        self.kind = kind
        self.columns = tuple(columns)
        self.text = text
        self.key_names: tuple[str, ...] = ()
        self.final_message: str | None = None
        self.error: KsqlError | None = None
        self.on_wake: Callable[[], None] | None = None
        self.on_close: Callable[[TransientQuery], None] | None = None
        self._measure: Callable[[Sequence[ResultRow]], None] | None = None
        self._limit = limit
        self._rows: deque[ResultRow] = deque()
        self._done = False
        self._lock = threading.Lock()
        self._woken = threading.Event()

    @property
    def finished(self) -> bool:
        """Whether no more rows will come after those polled so far."""
        return self._done and not self._rows

    @property
    def ready_rows(self) -> int | None:
        """How many rows there still are, once they all have been computed."""
        return len(self._rows) if self._done else None

    def poll(self, max_rows: int = 1000) -> list[ResultRow]:
        """Return the next rows, at most `max_rows`; an empty list if there are none now."""
        with self._lock:
            self._woken.clear()
            if not self._done and len(self._rows) < max_rows:
                self._advance(max_rows)
            return [self._rows.popleft() for _ in range(min(max_rows, len(self._rows)))]

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until there may be something to poll, or the query ends; False after `timeout` seconds."""
        if self._rows or self._done or self._behind():
            return True
        return self._woken.wait(timeout)

    def lag(self) -> dict[str, int]:
        """Return how many records of each topic were not looked at yet."""
        return {}

    def table(self) -> pa.Table:
        """Return all rows of a query that ends; polls it to its end."""
        rows: list[ResultRow] = []
        while not self.finished:
            found = self.poll(65_536)
            rows.extend(found)
            if not found and not self.finished and not self.wait(1.0) and self.kind == "push":
                break
        if self.error is not None:
            raise self.error
        arrays = [result_array([r.values[i] for r in rows], c.type) for i, c in enumerate(self.columns)]
        schema = pa.schema([pa.field(c.name, c.type.arrow) for c in self.columns])
        return pa.Table.from_arrays(arrays, schema=schema)

    def close(self) -> None:
        """End the query."""
        with self._lock:
            self._rows.clear()
            self._finish(None)
        self._wake()

    def measure(self, note: Callable[[Sequence[ResultRow]], None]) -> None:
        """Call `note` with all rows: those that are there, and others as they come."""
        self._measure = note
        note(tuple(self._rows))

    # For subclasses

    def _advance(self, max_rows: int) -> None:
        """Compute more rows, if there are any now."""

    def _behind(self) -> bool:
        """Whether there is input that was not looked at."""
        return False

    def _release(self) -> None:
        """Let go of what the query reads."""

    def _wake(self) -> None:
        self._woken.set()
        if self.on_wake is not None:
            self.on_wake()

    def _add(self, rows: Sequence[ResultRow]) -> None:
        """Take rows in, up to the limit."""
        if self._limit is not None:
            rows = rows[: self._limit]
            self._limit -= len(rows)
        self._rows.extend(rows)
        if self._measure is not None:
            self._measure(rows)
        if self._limit == 0:
            self._finish(LIMIT_REACHED)

    def _finish(self, message: str | None) -> None:
        if self._done:
            return
        self._done = True
        self.final_message = message
        self._release()
        if self.on_close is not None:
            self.on_close(self)


class PullQuery(TransientQuery):
    """A finished result: a pull query of a table.

    Attributes
    ----------
    plan : PullPlan
        How it was answered.
    """

    def __init__(
        self,
        query_id: str,
        columns: Sequence[ResultColumn],
        text: str,
        rows: Sequence[tuple[Any, ...]],
        limit: int | None,
        *,
        plan: PullPlan,
    ) -> None:
        super().__init__(query_id, "pull", columns, text, None)
        self.plan = plan
        chosen = rows if limit is None else rows[:limit]
        self._rows.extend(map(ResultRow, chosen))
        self._done = True


class StreamingQuery(TransientQuery):
    """A topology over subscriptions: push queries, and pull queries of streams (which stop at the end of
    their input).

    Parameters
    ----------
    starts : mapping of topic name to start
        Where each topic is read from.
    until_end : bool
        Stop at what the topics hold now.
    is_table : bool
        Whether the result is a changelog.
    keyed_only : bool
        Leave out records without a key.
    key_items, bound_items : mapping of int to int
        Result columns that tombstones keep: positions in the key, and in the window.
    report : callable
        Takes what went wrong with single records, for the processing log.
    """

    def __init__(
        self,
        query_id: str,
        kind: Kind,
        columns: Sequence[ResultColumn],
        text: str,
        limit: int | None,
        topology: Topology,
        topics: Mapping[str, Topic],
        starts: Mapping[str, Any],
        now_ms: Callable[[], int],
        *,
        until_end: bool = False,
        is_table: bool = False,
        keyed_only: bool = False,
        key_items: Mapping[int, int] = {},
        bound_items: Mapping[int, int] = {},
        report: Callable[[Batch], None],
    ) -> None:
        super().__init__(query_id, kind, columns, text, limit)
        self.topology = topology
        self._report = report
        self._now_ms = now_ms
        self._key_items, self._bound_items = key_items, bound_items
        self._is_table, self._keyed_only = is_table, keyed_only
        self._ends = {n: t.end_sequence for n, t in topics.items()} if until_end else None
        self._pending: dict[str, deque[StoredBatch]] = {name: deque() for name in topics}
        self._subscriptions: dict[str, Subscription[StoredBatch]] = {
            name: topic.subscribe(starts[name], self._wake) for name, topic in topics.items()
        }
        self._steps = 0
        if limit == 0:
            self._finish(LIMIT_REACHED)
        elif self._ends is not None and not any(self._ends.values()):
            self._finish(COMPLETED)

    def lag(self) -> dict[str, int]:
        """Return how many records of each topic were not looked at yet."""
        return {
            name: s.lag + sum(b.num_rows for b in list(self._pending[name]))
            for name, s in self._subscriptions.items()
        }

    def _behind(self) -> bool:
        return any(self._pending.values()) or any(s.lag for s in self._subscriptions.values())

    def _release(self) -> None:
        for subscription in self._subscriptions.values():
            subscription.close()

    def _advance(self, max_rows: int) -> None:
        try:
            while not self._done and len(self._rows) < max_rows:
                found = self._next()
                if found is None:
                    break
                self._step(*found)
        except NotFoundError as error:
            self.error = KsqlError(f"A topic that this query reads was dropped: {error}", error_code=50000)
            self._finish(None)
        except EngineError as error:
            self.error = KsqlError(str(error), error_code=50000)
            self._finish(None)
        except KsqlError as error:
            self.error = error
            self._finish(None)
        except Exception as error:  # boundary: what a function of the query raises ends this query only
            self.error = KsqlError(f"Exception caught in process: {error}", error_code=50000)
            self.error.__cause__ = error
            self._finish(None)

    def _next(self) -> tuple[str, StoredBatch] | None:
        """Return the batch that is earliest in the log."""
        best: str | None = None
        for name, pending in self._pending.items():
            if not pending:
                pending.extend(self._subscriptions[name].poll())
            if pending and (best is None or pending[0].position < self._pending[best][0].position):
                best = name
        return None if best is None else (best, self._pending[best].popleft())

    def _step(self, name: str, batch: StoredBatch) -> None:
        end = batch.end
        if self._ends is not None:
            batch = batch.before(self._ends[name])
        if batch.num_rows:
            self._steps += 1
            now_ms = self._now_ms()
            records = self.topology.process(name, batch, now_ms, hash((self.id, self._steps)))
            if (reports := self.topology.reporter.drain(now_ms)) is not None:
                self._report(reports)
            if isinstance(records, ColumnBatch):
                found = records.keyed() if self._keyed_only else records
                self._add(list(map(ResultRow, found.rows())))
            else:
                if self._keyed_only:
                    records = [r for r in records if r.key is not None]
                # A stream's record without a value is no row; a table's is a tombstone.
                self._add([self._row(r) for r in records if r.row is not None or self._is_table])
        if self._ends is not None:
            self._ends_reached(name, end)

    def _ends_reached(self, name: str, end: int) -> None:
        assert self._ends is not None
        if end >= self._ends[name]:
            self._ends[name] = -1
        if all(end <= 0 for end in self._ends.values()):
            self._finish(COMPLETED)

    def _row(self, r: Record) -> ResultRow:
        if r.row is not None:
            return ResultRow(r.row)
        values: list[Any] = [None] * len(self.columns)
        if r.key is not None:
            for i, position in self._key_items.items():
                values[i] = r.key[position]
        if r.window is not None:
            for i, position in self._bound_items.items():
                values[i] = r.window[position]
        return ResultRow(tuple(values), tombstone=True)


def result_columns(schema: Schema, keys: Mapping[int, int] = {}) -> tuple[ResultColumn, ...]:
    """Return a schema as result columns; those in `keys` are marked."""
    return tuple(ResultColumn(c.name, c.type, i in keys) for i, c in enumerate(schema))

"""A plan at work: readers, operators, and what comes out at the root."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kalam_jupyter.engine.batch import StoredBatch
from kalam_jupyter.ksql.functions.definitions import EvaluationContext
from kalam_jupyter.ksql.operators.column_batch import ColumnBatch, NotColumnarError
from kalam_jupyter.ksql.operators.record import Record
from kalam_jupyter.ksql.operators.tables import TableFilter
from kalam_jupyter.ksql.plan import steps
from kalam_jupyter.ksql.runtime import state
from kalam_jupyter.ksql.runtime.build import Operators, Path, build
from kalam_jupyter.ksql.runtime.reader import SourceReader
from kalam_jupyter.ksql.runtime.reports import Reporter

ReaderFactory = Callable[[steps.SourceStep, Reporter], SourceReader]


#: Records from which on the column form is faster than the row form.
COLUMN_ROWS = 64


class _Route:
    """One source's way to the root, with all that looked up which a batch of one should not pay for."""

    __slots__ = ("bare", "node", "path", "read", "reader", "rows")

    def __init__(self, reader: SourceReader, path: Path) -> None:
        self.reader, self.path = reader, path
        self.node, self.bare = path.node, path.bare
        self.read = reader.read
        self.rows = [(stage.rows, stage.node) for stage in path.stages]

    def through(self, records: list[Record], emitted: list[int], first: int = 0) -> list[Record]:
        """Take records through the stages, from the `first` on, and count what they emit."""
        for rows, node in self.rows[first:] if first else self.rows:
            if not records:
                break
            records = rows(records)
            if node is not None:
                emitted[node] += len(records)
        return records


class Topology:
    """The operators of one query, fed with stored batches.

    Parameters
    ----------
    root : Step
    context : EvaluationContext
        The one that the plan's expressions were bound with.
    reporter : Reporter
    reader : callable
        Makes the reader of a source step.

    Attributes
    ----------
    taken, emitted : list of int
        Records that each source took from its topic, and that each step emitted, since the query began;
        by the number of the step, inputs first.
    """

    def __init__(
        self, root: steps.Step, context: EvaluationContext, reporter: Reporter, reader: ReaderFactory
    ) -> None:
        self.root = root
        self.context = context
        self.reporter = reporter
        self._reader = reader
        self.stream_time = -1
        self._build()
        self.topics = tuple(dict.fromkeys(p.step.source.topic for p in self._operators.paths))

    def _build(self) -> None:
        self._operators: Operators = build(self.root, self.reporter)
        self.taken = [0] * self._operators.steps
        self.emitted = [0] * self._operators.steps
        self._by_topic: dict[str, list[_Route]] = {}
        for path in self._operators.paths:
            route = _Route(self._reader(path.step, self.reporter), path)
            self._by_topic.setdefault(path.step.source.topic, []).append(route)

    def process(self, topic: str, batch: StoredBatch, now_ms: int, seed: int) -> list[Record] | ColumnBatch:
        """Feed one batch and return the records that reach the root, in order."""
        self.context.begin(now_ms, seed)
        routes = self._by_topic.get(topic, ())
        count = len(batch.batch.timestamps)
        if count >= COLUMN_ROWS and len(routes) == 1:
            columns = self._columns(routes[0], batch)
            if columns is not None:
                return columns
        out: list[Record] = []
        emitted = self.emitted
        for route in routes:
            records = route.read(batch)
            self.taken[route.node] += count
            if route.bare:
                emitted[route.node] += len(records)
            for r in records:
                if r.ts > self.stream_time:
                    self.stream_time = r.ts
            found = route.through(records, emitted)
            out = out + found if out else found
        return out

    def _columns(self, route: _Route, stored: StoredBatch) -> list[Record] | ColumnBatch | None:
        """Take a batch through as columns, as far as the operators can; None: nothing was done."""
        stages = route.path.stages
        if not stages or stages[0].columns is None:
            return None
        batch = route.reader.read_columns(stored)
        if batch is None:
            return None
        self.stream_time = max(self.stream_time, int(batch.ts.max()))
        emitted = self.emitted
        self.taken[route.node] += stored.num_rows
        if route.bare:
            emitted[route.node] += batch.num_rows
        for i, stage in enumerate(stages):
            if not batch.num_rows:
                return []
            if stage.columns is None:
                return route.through(batch.records(), emitted, i)
            try:
                batch = stage.columns(batch)
            except NotColumnarError:
                return route.through(batch.records(), emitted, i)
            if stage.node is not None:
                emitted[stage.node] += batch.num_rows
        return batch if batch.num_rows else []

    def checkpoint(self) -> bytes:
        """Return all operators' state."""
        parts = [operator.checkpoint() for operator in self._operators.stateful]
        counts = (self.taken, self.emitted)
        return state.dumps((self.stream_time, self.context.sequence, parts, counts))

    def restore(self, data: bytes) -> None:
        """Continue from `checkpoint`."""
        self.stream_time, self.context.sequence, parts, (self.taken, self.emitted) = state.loads(data)
        for operator, part in zip(self._operators.stateful, parts, strict=True):
            if part is not None:
                operator.restore(part)

    def reset(self) -> None:
        """Go back to the beginning."""
        self.stream_time = -1
        self.context.sequence = 0
        self._build()

    def take_state(self, other: Topology) -> None:
        """Continue from another topology's state, operator by operator of the same kind: a replaced query."""
        mine: Sequence[Any] = self._operators.stateful
        theirs = [o for o in other._operators.stateful if o.checkpoint() is not None]
        for operator in mine:
            match = next((o for o in theirs if type(o) is type(operator)), None)
            if match is None:
                if isinstance(operator, TableFilter):
                    operator.assume_all_present()
                continue
            theirs.remove(match)
            operator.restore(match.checkpoint())
        self.stream_time = other.stream_time
        self.context.sequence = other.context.sequence

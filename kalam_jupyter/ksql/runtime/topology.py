"""A plan at work: readers, operators, and what comes out at the root."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kalam_jupyter.engine.batch import StoredBatch
from kalam_jupyter.ksql.functions.registry import EvaluationContext
from kalam_jupyter.ksql.operators.column_batch import ColumnBatch, NotColumnarError
from kalam_jupyter.ksql.operators.record import Record
from kalam_jupyter.ksql.operators.tables import TableFilter
from kalam_jupyter.ksql.plan import steps
from kalam_jupyter.ksql.runtime import state
from kalam_jupyter.ksql.runtime.build import Operators, Path, Stage, build
from kalam_jupyter.ksql.runtime.reader import SourceReader
from kalam_jupyter.ksql.runtime.reports import Reporter

ReaderFactory = Callable[[steps.SourceStep, Reporter], SourceReader]


#: Records from which on the column form is faster than the row form.
COLUMN_ROWS = 64


def _through(records: list[Record], stages: Sequence[Stage], emitted: list[int]) -> list[Record]:
    for stage in stages:
        if not records:
            break
        records = stage.rows(records)
        if stage.node is not None:
            emitted[stage.node] += len(records)
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
        self._by_topic: dict[str, list[tuple[SourceReader, Path]]] = {}
        for path in self._operators.paths:
            reader = self._reader(path.step, self.reporter)
            self._by_topic.setdefault(path.step.source.topic, []).append((reader, path))

    def process(self, topic: str, batch: StoredBatch, now_ms: int, seed: int) -> list[Record] | ColumnBatch:
        """Feed one batch and return the records that reach the root, in order."""
        self.context.begin(now_ms, seed)
        paths = self._by_topic.get(topic, ())
        if len(paths) != 1:
            return [r for reader, path in paths for r in self._rows(reader, path, batch)]
        if batch.num_rows >= COLUMN_ROWS:
            columns = self._columns(*paths[0], batch)
            if columns is not None:
                return columns
        return self._rows(*paths[0], batch)

    def _rows(self, reader: SourceReader, path: Path, stored: StoredBatch) -> list[Record]:
        """Take a batch through as records."""
        records = reader.read(stored)
        self.taken[path.node] += stored.num_rows
        if path.bare:
            self.emitted[path.node] += len(records)
        for r in records:
            if r.ts > self.stream_time:
                self.stream_time = r.ts
        return _through(records, path.stages, self.emitted)

    def _columns(
        self, reader: SourceReader, path: Path, stored: StoredBatch
    ) -> list[Record] | ColumnBatch | None:
        """Take a batch through as columns, as far as the operators can; None: nothing was done."""
        if not path.stages or path.stages[0].columns is None:
            return None
        batch = reader.read_columns(stored)
        if batch is None:
            return None
        self.stream_time = max(self.stream_time, int(batch.ts.max()))
        emitted = self.emitted
        self.taken[path.node] += stored.num_rows
        if path.bare:
            emitted[path.node] += batch.num_rows
        for i, stage in enumerate(path.stages):
            if not batch.num_rows:
                return []
            if stage.columns is None:
                return _through(batch.records(), path.stages[i:], emitted)
            try:
                batch = stage.columns(batch)
            except NotColumnarError:
                return _through(batch.records(), path.stages[i:], emitted)
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

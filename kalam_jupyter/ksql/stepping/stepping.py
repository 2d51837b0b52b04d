"""A query, fed one record at a time by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import orjson

from kalam_jupyter.engine.batch import Batch, Payload, StoredBatch
from kalam_jupyter.engine.types import Column
from kalam_jupyter.ksql.dialect import Ksql
from kalam_jupyter.ksql.errors import KsqlError, StatementError
from kalam_jupyter.ksql.functions.definitions import EvaluationContext
from kalam_jupyter.ksql.lang import ast
from kalam_jupyter.ksql.lang.parser import parse_script
from kalam_jupyter.ksql.lang.properties import typed_properties
from kalam_jupyter.ksql.metastore import Source
from kalam_jupyter.ksql.operators.record import Record
from kalam_jupyter.ksql.plan import steps
from kalam_jupyter.ksql.plan.fit import fitted
from kalam_jupyter.ksql.plan.graph import TopologyNode, plan_graph
from kalam_jupyter.ksql.plan.query_plan import QueryPlan
from kalam_jupyter.ksql.runtime.build import Operators, Path, build
from kalam_jupyter.ksql.runtime.reader import SourceReader
from kalam_jupyter.ksql.runtime.reports import Reporter
from kalam_jupyter.ksql.runtime.timestamps import timestamp_parser
from kalam_jupyter.ksql.statements.definitions import timestamp_name
from kalam_jupyter.ksql.statements.run import Run, Session
from kalam_jupyter.ksql.stepping.notes import note
from kalam_jupyter.ksql.stepping.records import RecordView, SourceRecord, listed, shown, source_record
from kalam_jupyter.ksql.stepping.views import Names, StateView, state_view

#: Event time between two records that say nothing of it.
STEP_MS = 1_000


@dataclass(frozen=True)
class OperatorStep:
    """What one operator did with one record.

    Attributes
    ----------
    node : str
        Id of the operator's node.
    inputs, outputs : tuple of RecordView
    before, after : StateView
        Its state.
    note : str
        What happened, in a few words; "" where the records say it.
    """

    node: str
    inputs: tuple[RecordView, ...]
    outputs: tuple[RecordView, ...]
    before: StateView
    after: StateView
    note: str


@dataclass(frozen=True)
class Step:
    """What one record did to a query.

    Attributes
    ----------
    number : int
        From 1.
    record : SourceRecord
    given : RecordView
        The record with names.
    operators : tuple of OperatorStep
        Those that the record reached, in the order of the nodes.
    outputs : tuple of RecordView
        What the query emitted.
    reports : tuple of str
        What the processing log would say: values that could not be computed.
    """

    number: int
    record: SourceRecord
    given: RecordView
    operators: tuple[OperatorStep, ...]
    outputs: tuple[RecordView, ...]
    reports: tuple[str, ...]


class Stepping:
    """A query on its own: its operators with empty state, and what each record does to them.

    Nothing of the engine changes: the operators are the query's own, in the form that takes rows, and their
    records come from `step` alone.

    Parameters
    ----------
    ksql : Ksql
        Whose streams, tables and functions the statement names.
    statement : str
        A SELECT, CREATE .. AS SELECT or INSERT INTO .. SELECT; or the id of a persistent query.
    properties : mapping
        As in `Ksql.execute`.

    Attributes
    ----------
    statement : str
    nodes : list of TopologyNode
        The operators, inputs first; see `kalam_jupyter.ksql.plan.graph`.
    edges : list of [str, str]
        From node id, to node id.
    sources : mapping of str to Source
        What it reads, by name.
    steps : list of Step
        What happened so far.

    Raises
    ------
    KsqlError
        If the statement is none of these, or cannot be planned.
    """

    def __init__(self, ksql: Ksql, statement: str, *, properties: Mapping[str, Any] = {}) -> None:
        self._ksql = ksql
        run = Run(ksql, ksql.state.copy(), Session(dict(properties)), dry=True)
        text = statement.rstrip().removesuffix(";").rstrip()
        info = run.state.find_query(text.strip())
        text = f"{text};" if info is None else info.text
        self.statement = text.strip()
        self._context = EvaluationContext()
        self._plan = _plan(run, text, self._context)
        self._fatal = run.config.flag("ksql.timestamp.throw.on.invalid")
        self.nodes: list[TopologyNode]
        self.nodes, self.edges = plan_graph(self._plan.root)
        self.sources: dict[str, Source] = {s.name: s for s in self._plan.sources}
        hidden = self._plan.root.hidden_names()
        self._names = cache(lambda step: Names(step, hidden))
        self._numbered = list(_numbered(self._plan.root))
        self.steps: list[Step] = []
        self._build()

    def _build(self) -> None:
        self._reporter = Reporter("stepping")
        self._operators: Operators = build(self._plan.root, self._reporter)
        self._readers = [(self._reader(path.step), path) for path in self._operators.paths]
        self._stateful = dict(_owners(self._numbered, self._operators.stateful))
        self._states: dict[int, StateView] = {
            node: state_view(operator, self._numbered[node], self._names)
            for node, operator in self._stateful.items()
        }
        self._offsets = dict.fromkeys((s.topic for s in self.sources.values()), 0)
        self._context.sequence = 0

    def _reader(self, step: steps.SourceStep) -> SourceReader:
        source = step.source
        codec = self._ksql.codec(source)
        parse = timestamp_parser(source)
        return SourceReader(source, codec, self._reporter, parse, fatal_timestamps=self._fatal)

    @property
    def is_table(self) -> bool:
        """Whether what it emits is a changelog."""
        return self._plan.is_table

    def record(self, source: str | None, values: Mapping[str, Any]) -> SourceRecord:
        """Return a record for a source; one that says no event time is a second later than the one before.

        Parameters
        ----------
        source : str or None
            Name of a stream or table that the query reads; it may be left out where there is only one.
        values : mapping
            See `source_record`.

        Raises
        ------
        KsqlError
        """
        after = self.steps[-1].record.rowtime + STEP_MS if self.steps else 0
        return source_record(self._source(source), values, after)

    def _source(self, name: str | None) -> Source:
        if name is None:
            if len(self.sources) > 1:
                listed = ", ".join(self.sources)
                raise KsqlError(f"The query reads {listed}: say for which of them a record is")
            return next(iter(self.sources.values()))
        for known, source in self.sources.items():
            if known == name or known.upper() == name.upper():
                return source
        raise KsqlError(f"The query does not read {name}; it reads {', '.join(self.sources)}")

    def step(self, record: SourceRecord) -> Step:
        """Feed one record.

        Raises
        ------
        KsqlError
            If it ended the query; the record counts as not fed.
        """
        try:
            made = self._step(record)
        except Exception as error:  # boundary: whatever a function of the query raises ends a real query, too
            done, self.steps = self.steps, []
            self._build()
            for earlier in done:
                self.steps.append(self._step(earlier.record))
            raise KsqlError(f"Exception caught in process: {error}", error_code=50000) from error
        self.steps.append(made)
        return made

    def feed(self, records: Any, *, timestamp: str | None = None, limit: int | None = None) -> list[Step]:
        """Feed many records.

        Parameters
        ----------
        records
            A sequence of mappings of columns to values, or of (source, mapping); a DataFrame or Arrow table;
            or a mapping of source to any of these, which are then merged by event time.
        timestamp : str, optional
            Column that gives the event time; frames are sorted by it.
        limit : int, optional
            Most steps in all.

        Raises
        ------
        KsqlError
            If a record does not fit; those before it were fed. If there are too many; none was fed.
        """
        given = listed(records, timestamp)
        if limit is not None and len(self.steps) + len(given) > limit:
            many = len(self.steps) + len(given)
            raise KsqlError(f"{many:,} records are too many to step through: at most {limit:,}")
        if isinstance(records, Mapping):
            given.sort(key=lambda pair: source_record(self._source(pair[0]), pair[1], None).rowtime)
        return [self.step(self.record(source, values)) for source, values in given]

    def reset(self) -> None:
        """Go back to the beginning."""
        self.steps = []
        self._build()

    def _step(self, record: SourceRecord) -> Step:
        number = len(self.steps) + 1
        self._context.begin(record.rowtime, number)
        source = self.sources[record.source]
        stored = self._stored(source, record)
        self._offsets[source.topic] += 1
        trace = _Trace()
        out: list[Record] = []
        for reader, path in self._readers:
            if path.step.source.topic == source.topic:
                out += self._through(reader.read(stored), path, trace)
        reports = self._reporter.drain(record.rowtime)
        return Step(
            number,
            record,
            _named(source, record),
            tuple(self._operator_step(node, trace) for node in sorted(trace.inputs)),
            tuple(self._names(self._plan.root).record(r) for r in out),
            () if reports is None else tuple(map(_report_text, reports.encoded()[1])),
        )

    def _stored(self, source: Source, record: SourceRecord) -> StoredBatch:
        codec = self._ksql.codec(source)
        windows = [(record.rowtime, record.rowtime)] if source.window is not None else None
        if windows is not None and source.window is not None and source.window.size_ms is not None:
            start = record.rowtime - record.rowtime % source.window.size_ms
            windows = [(start, start + source.window.size_ms)]
        payload = Payload.from_rows(codec.schema, [record.key], [record.value], windows)
        batch = Batch([record.rowtime], payload=payload, codec=codec)
        offset = self._offsets[source.topic]
        return StoredBatch(batch, len(self.steps), offset, offset)

    def _through(self, records: list[Record], path: Path, trace: _Trace) -> list[Record]:
        """Take records along a path, and note what each operator got and gave."""
        before, names = "", self._names(path.step)
        node = path.node
        if path.bare:
            views = [names.record(r) for r in records]
            trace.add(node, views, views)
            before = self.nodes[node]["id"]
        got: list[RecordView] | None = None
        for i, stage in enumerate(path.stages):
            if not records:
                break
            node = next(s.node for s in path.stages[i:] if s.node is not None)
            if got is None:
                got = [names.record(r, before) for r in records]
            records = stage.rows(records)
            if stage.node is None:
                if not records:
                    trace.add(node, got, [])
                continue
            names = self._names(self._numbered[stage.node])
            trace.add(stage.node, got, [names.record(r) for r in records])
            before, got = self.nodes[stage.node]["id"], None
        return records

    def _operator_step(self, node: int, trace: _Trace) -> OperatorStep:
        before = after = self._states.get(node, StateView())
        step = self._numbered[node]
        if node in self._stateful:
            after = self._states[node] = state_view(self._stateful[node], step, self._names)
        inputs, outputs = tuple(trace.inputs[node]), tuple(trace.outputs[node])
        said = note(step, inputs, outputs, before, after)
        return OperatorStep(self.nodes[node]["id"], inputs, outputs, before, after, said)


class _Trace:
    """Inputs and outputs of the operators that a record reached, by number of the node."""

    def __init__(self) -> None:
        self.inputs: dict[int, list[RecordView]] = {}
        self.outputs: dict[int, list[RecordView]] = {}

    def add(self, node: int, inputs: list[RecordView], outputs: list[RecordView]) -> None:
        self.inputs.setdefault(node, []).extend(inputs)
        self.outputs.setdefault(node, []).extend(outputs)


def _plan(run: Run, text: str, context: EvaluationContext) -> QueryPlan:
    statements = parse_script(text)
    if len(statements) != 1:
        raise StatementError(f"Expected exactly one KSQL statement; found {len(statements)} instead")
    planner = run.planner(context)
    match run.prepared(statements[0]).ast:
        case ast.Query() as query:
            return planner.plan(query, None)
        case ast.CreateSourceAs(name=name, query=query, properties=properties):
            return planner.plan(query, name, timestamp_name(typed_properties(properties)))
        case ast.InsertInto(target=target, query=query):
            sink = run.source(target)
            if sink is None:
                raise StatementError(f"Source `{target}` does not exist.{run.metastore.hint(target)}")
            return fitted(planner.plan(query, target), sink)
    raise StatementError(
        "Only a query can be stepped through: SELECT, CREATE .. AS SELECT, INSERT INTO .. SELECT"
    )


def _numbered(step: steps.Step) -> list[steps.Step]:
    """Return a plan's steps as its operators are numbered: inputs first."""
    return [*(found for below in step.inputs for found in _numbered(below)), step]


def _owners(numbered: list[steps.Step], operators: list[Any]) -> list[tuple[int, Any]]:
    """Return each operator that matters with the number of its step; a table's source has two or one."""
    remaining = iter(operators)
    found = []
    for node, step in enumerate(numbered):
        if not isinstance(step, steps.SourceStep):
            found.append((node, next(remaining)))
        elif step.table:
            found.append((node, next(remaining)))
            if step.materialize:
                found[-1] = (node, next(remaining))
    return found


def _named(source: Source, record: SourceRecord) -> RecordView:
    def named(columns: Sequence[Column], values: tuple[Any, ...] | None) -> dict[str, Any] | None:
        if values is None:
            return None
        return {c.name: shown(v, c.type) for c, v in zip(columns, values, strict=True)}

    stored = source.stored_schema
    return RecordView(named(stored.key, record.key), named(stored.value, record.value), record.rowtime)


def _report_text(value: bytes | None) -> str:
    assert value is not None
    message = orjson.loads(value)["message"]
    detail = next(v for v in message.values() if isinstance(v, dict))
    return str(detail["errorMessage"])

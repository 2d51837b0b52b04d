"""Execution steps to operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from kalam_jupyter.ksql.expressions import bound as b
from kalam_jupyter.ksql.expressions.codegen import (
    Report,
    compile_predicate,
    compile_projection,
    compile_raising,
    compile_value,
)
from kalam_jupyter.ksql.expressions.columnar import compile_column, compile_mask
from kalam_jupyter.ksql.operators.aggregate import (
    AggregateCall,
    Aggregator,
    StreamAggregate,
    TableAggregate,
)
from kalam_jupyter.ksql.operators.column_batch import ColumnBatch
from kalam_jupyter.ksql.operators.fk_join import ForeignKeyJoin
from kalam_jupyter.ksql.operators.group_states import Argument, GroupStates
from kalam_jupyter.ksql.operators.joins import (
    LEFT,
    RIGHT,
    JoinShape,
    StreamStreamJoin,
    StreamTableJoin,
    TableTableJoin,
)
from kalam_jupyter.ksql.operators.record import Key, Record, Row
from kalam_jupyter.ksql.operators.sessions import SessionAggregate
from kalam_jupyter.ksql.operators.stateless import (
    FlatMap,
    GroupStream,
    JoinKey,
    Projection,
    SelectKey,
    StreamFilter,
)
from kalam_jupyter.ksql.operators.tables import DropNullKeys, TableFilter, TableStore
from kalam_jupyter.ksql.operators.windows import FinalWindowAggregate, TimeWindowAggregate
from kalam_jupyter.ksql.plan import steps
from kalam_jupyter.ksql.runtime.reports import Reporter


@dataclass(frozen=True)
class Stage:
    """One operator on a path: its row form, and its column form where it has one.

    Attributes
    ----------
    node : int or None
        The step whose result it returns; None if another stage of the same step follows.
    """

    rows: Callable[[list[Record]], list[Record]]
    columns: Callable[[ColumnBatch], ColumnBatch] | None = None
    node: int | None = None


@dataclass
class Path:
    """The way of one source's records to the root: one stage after the other.

    Attributes
    ----------
    step : SourceStep
    node : int
        Number of the source; steps are numbered inputs first.
    bare : bool
        Whether what is read is the source's result, without a stage of its own.
    """

    step: steps.SourceStep
    node: int
    stages: list[Stage] = field(default_factory=list)
    bare: bool = True


@dataclass
class Operators:
    """The operators of one query.

    Attributes
    ----------
    paths : list of Path
        One for each source step.
    stateful : list
        All operators in a fixed order, for checkpoints.
    steps : int
        How many steps there are.
    """

    paths: list[Path]
    stateful: list[Any]
    steps: int


def build(root: steps.Step, reporter: Reporter) -> Operators:
    """Build the operators of a plan."""
    builder = _Builder(reporter)
    paths = builder.build(root)
    return Operators(paths, builder.operators, builder.nodes)


class _Builder:
    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._report: Report = reporter.expression
        self.operators: list[Any] = []
        self.nodes = 0

    def _number(self) -> int:
        """Number a step; its inputs have theirs."""
        self.nodes += 1
        return self.nodes - 1

    def build(self, step: steps.Step) -> list[Path]:
        if isinstance(step, steps.SourceStep):
            return [self._source(step)]
        if isinstance(step, steps.JoinStep):
            return self._join(step)
        assert isinstance(step, steps.Unary)
        paths = self.build(step.input)
        operator = _OPERATORS[type(step)](self, step)
        self._append(paths, operator, self._number())
        return paths

    def _append(self, paths: Sequence[Path], operator: Any, node: int | None) -> None:
        self.operators.append(operator)
        for path in paths:
            columns = operator.process_columns if getattr(operator, "columnar", False) else None
            path.stages.append(Stage(operator.process, columns, node))

    def _source(self, step: steps.SourceStep) -> Path:
        path = Path(step, self._number(), bare=not step.table)
        if step.table:
            topic = step.source.topic
            drop = DropNullKeys(lambda why, r: self._reporter.record_error(topic, why))
            self._append([path], drop, None if step.materialize else path.node)
            if step.materialize:
                self._append([path], TableStore(), path.node)
        return path

    def _join(self, step: steps.JoinStep) -> list[Path]:
        left, right = self.build(step.left), self.build(step.right)
        shape = JoinShape(
            step.kind, len(step.left.layout), len(step.right.layout), len(step.key), step.sessions
        )
        operator: Any
        if step.join_type == "STREAM_STREAM":
            operator = StreamStreamJoin(shape, step.before_ms, step.after_ms, step.grace_ms)
        elif step.join_type == "STREAM_TABLE":
            operator = StreamTableJoin(shape, [type_ for _, type_ in step.layout.columns])
        elif step.join_type == "TABLE_TABLE":
            operator = TableTableJoin(shape)
        else:
            assert step.foreign_key is not None
            operator = ForeignKeyJoin(shape, _key_or_none([step.foreign_key], self._report))
        self.operators.append(operator)
        node = self._number()
        for side, paths in ((LEFT, left), (RIGHT, right)):
            for path in paths:
                path.stages.append(_side(operator, side, node))
        return left + right

    def _filter(self, step: steps.FilterStep) -> Any:
        predicate, mask = compile_predicate(step.predicate, self._report), compile_mask(step.predicate)
        return TableFilter(predicate, mask) if step.table else StreamFilter(predicate, mask)

    def _select_key(self, step: steps.SelectKeyStep) -> Any:
        source = next(s for s in step.walk() if isinstance(s, steps.SourceStep))
        make_key = compile_projection(step.expressions, self._report) if step.expressions else None
        num_keys = len(source.source.schema.key)
        num_values = len(step.layout) - num_keys - 3
        return SelectKey(make_key, num_values, num_keys, _columns(step.expressions), step.key)

    def _join_key(self, step: steps.JoinKeyStep) -> Any:
        make_key = compile_projection([step.expression], self._report)
        return JoinKey(make_key, compile_column(step.expression), step.key)

    def _flat_map(self, step: steps.FlatMapStep) -> Any:
        return FlatMap([compile_value(f, self._report) for f in step.functions])

    def _group_by(self, step: steps.GroupByStep) -> Any:
        if step.table:
            return _Nothing()
        return GroupStream(
            _key_or_none(step.expressions, self._report),
            _columns(step.expressions) if step.expressions else None,
            step.key,
        )

    def _aggregate(self, step: steps.AggregateStep) -> Any:
        aggregator = Aggregator([_aggregate_call(a) for a in step.aggregates])
        grouped = step.input
        assert isinstance(grouped, steps.GroupByStep)
        if grouped.table:
            return TableAggregate(aggregator, _key_or_none(grouped.expressions, self._report))
        window = step.window
        if window is None:
            return StreamAggregate(_group_states(step.aggregates), grouped.key)
        if window.info.type == "SESSION":
            return SessionAggregate(aggregator, window.size_ms, window.grace_ms, emit_final=step.emit_final)
        times = (window.size_ms, window.advance_ms, window.grace_ms)
        if step.emit_final:
            return FinalWindowAggregate(aggregator, *times)
        return TimeWindowAggregate(_group_states(step.aggregates), grouped.key, *times)

    def _project(self, step: steps.ProjectStep) -> Any:
        project = compile_projection([e for _, e in step.select], self._report)
        positions = step.key_positions
        same = positions == tuple(range(len(step.input.key)))
        expressions = [e for _, e in step.select]
        return Projection(
            project,
            None if same else positions,
            columns=_columns(expressions),
            types=[e.type for e in expressions if e.type is not None],
        )


def _side(operator: Any, side: int, node: int) -> Stage:
    columns = operator.process_columns if side == LEFT and isinstance(operator, StreamTableJoin) else None
    return Stage(lambda records: operator.process(side, records), columns, node)


class _Nothing:
    """GROUP BY of a table: the aggregation computes the groups of old and new rows itself."""

    def process(self, records: list[Record]) -> list[Record]:
        return records

    def checkpoint(self) -> Any:
        return None

    def restore(self, state: Any) -> None:
        pass


def _key_or_none(expressions: Sequence[b.Bound], report: Report) -> Callable[[Row], Key | None]:
    """Return a function to a complete key; None if a part is NULL or fails."""
    positions = [e.index for e in expressions if isinstance(e, b.ColumnValue)]
    if len(positions) == len(expressions):
        return _complete_columns(positions)
    parts = [compile_raising(e) for e in expressions]

    def make(row: Row) -> Key | None:
        try:
            key = tuple([part(row) for part in parts])
        except Exception as error:  # containment: whatever an expression raises leaves out this record only
            report(error)
            return None
        return None if any(v is None for v in key) else key

    return make


def _complete_columns(positions: Sequence[int]) -> Callable[[Row], Key | None]:
    if len(positions) == 1:
        (position,) = positions
        return lambda row: None if (value := row[position]) is None else (value,)

    def complete(row: Row) -> Key | None:
        key = tuple([row[i] for i in positions])
        return None if None in key else key

    return complete


def _columns(expressions: Sequence[b.Bound]) -> list[Callable[[ColumnBatch], Any]] | None:
    found = [compile_column(e) for e in expressions]
    columns = [f for f in found if f is not None]
    return columns if len(columns) == len(found) else None


def _group_states(aggregates: Sequence[steps.AggregateFunction]) -> GroupStates:
    columns = _columns([e for a in aggregates for e in a.arguments[:1]])
    remaining = iter(columns or ())
    return GroupStates(
        [a.function for a in aggregates],
        [[_argument(e) for e in a.arguments] for a in aggregates],
        None if columns is None else [next(remaining) if a.arguments else None for a in aggregates],
    )


def _argument(e: b.Bound) -> Argument:
    return e.index if isinstance(e, b.ColumnValue) else compile_value(e)


def _aggregate_call(aggregate: steps.AggregateFunction) -> AggregateCall:
    function = aggregate.function
    return AggregateCall(
        arguments=compile_projection(aggregate.arguments),
        initial=function.initial,
        add=function.add,
        result=function.result,
        undo=function.undo,
        merge=function.merge,
    )


_OPERATORS: dict[type[steps.Step], Callable[[_Builder, Any], Any]] = {
    steps.FilterStep: _Builder._filter,
    steps.SelectKeyStep: _Builder._select_key,
    steps.JoinKeyStep: _Builder._join_key,
    steps.FlatMapStep: _Builder._flat_map,
    steps.GroupByStep: _Builder._group_by,
    steps.AggregateStep: _Builder._aggregate,
    steps.ProjectStep: _Builder._project,
}

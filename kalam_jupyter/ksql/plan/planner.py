"""The planner: one SELECT to execution steps.

Order of steps: sources and joins, WHERE, PARTITION BY, table functions, GROUP BY with windows and
aggregation, HAVING, projection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from kalam_jupyter.engine.types import Column, DataType, Schema, Struct
from kalam_jupyter.ksql.analysis.layout import Layout, named
from kalam_jupyter.ksql.analysis.naming import key_names
from kalam_jupyter.ksql.analysis.scope import WINDOW_NAMES, NamedItem, Scope
from kalam_jupyter.ksql.config import Config
from kalam_jupyter.ksql.errors import KsqlError, StatementError
from kalam_jupyter.ksql.expressions.binder import Binder, ErrorRules
from kalam_jupyter.ksql.expressions.bound import ColumnValue
from kalam_jupyter.ksql.expressions.calls import table_function
from kalam_jupyter.ksql.expressions.coercion import typed
from kalam_jupyter.ksql.formats.base import SerdeFormat
from kalam_jupyter.ksql.functions.definitions import EvaluationContext
from kalam_jupyter.ksql.functions.registry import FunctionRegistry
from kalam_jupyter.ksql.lang import ast
from kalam_jupyter.ksql.metastore import RESERVED_NAMES, WINDOW_BOUNDS, Metastore, WindowInfo
from kalam_jupyter.ksql.plan import steps
from kalam_jupyter.ksql.plan.aggregation import AggregationPlan, AggregationPlanner, check_table_aggregates
from kalam_jupyter.ksql.plan.joins import JoinPlanner
from kalam_jupyter.ksql.plan.predicates import bind_predicate
from kalam_jupyter.ksql.plan.projection import (
    KeyPart,
    Projection,
    ResultKey,
    check_columns,
    reserved_name,
    split,
)
from kalam_jupyter.ksql.plan.query_plan import QueryPlan
from kalam_jupyter.ksql.plan.relation import WINDOWED_REPARTITION, Relation, source_relation


class QueryPlanner:
    """Plans queries against one metastore.

    Parameters
    ----------
    metastore : Metastore
    functions : FunctionRegistry
    context : EvaluationContext
        What non-deterministic functions draw from when the plan runs.
    partitions : callable
        From a topic's name to its number of partitions.
    config : Config
        Properties in force.
    """

    def __init__(
        self,
        metastore: Metastore,
        functions: FunctionRegistry,
        context: EvaluationContext,
        partitions: Callable[[str], int],
        config: Config,
    ) -> None:
        self.metastore = metastore
        self.functions = functions
        self.context = context
        self.partitions = partitions
        self.config = config
        self._rules = ErrorRules(
            contain=config.flag("ksql.nested.error.set.null"),
            keep_null=config.flag("ksql.cast.strings.preserve.nulls"),
        )

    def binder(self, layout: Layout, known: Mapping[ast.Expression, ColumnValue] | None = None) -> Binder:
        """Return a binder over `layout`."""
        return Binder(layout, self.functions, self.context, self.resolve_type, known or {}, self._rules)

    def resolve_type(self, type_: DataType) -> DataType:
        """Return a type with the names of custom types replaced."""
        return self.metastore.resolve_type(type_)

    def plan(self, query: ast.Query, sink: str | None, timestamp: str | None = None) -> QueryPlan:
        """Plan a query.

        Parameters
        ----------
        query : Query
        sink : str or None
            The stream or table that it fills; None for a transient query.
        timestamp : str, optional
            The result column that the sink's TIMESTAMP property names.

        Raises
        ------
        KsqlError
            If the query has no meaning; the message is the reference's.
        """
        return _Planning(self, query, sink, timestamp).run()


@dataclass(frozen=True)
class _Stage:
    """A query as far as its clauses are planned.

    Attributes
    ----------
    step : Step
    key : ResultKey
    items : tuple of NamedItem
        The result columns.
    window : WindowInfo or None
        How the key is windowed.
    key_format : SerdeFormat
    known : mapping
        Expressions that the step has computed, and where they are.
    without_key : bool
        Whether the key was taken away.
    aggregation : AggregationPlan or None
    """

    step: steps.Step
    key: ResultKey
    items: tuple[NamedItem, ...]
    window: WindowInfo | None
    key_format: SerdeFormat
    known: Mapping[ast.Expression, ColumnValue] = field(default_factory=dict)
    without_key: bool = False
    aggregation: AggregationPlan | None = None


class _Planning:
    """The planning of one query."""

    def __init__(
        self, planner: QueryPlanner, query: ast.Query, sink: str | None, timestamp: str | None
    ) -> None:
        self._timestamp = timestamp
        self._planner = planner
        self._query = query
        self._sink = sink
        self._scope = Scope.of(query, planner.metastore)
        self._newer_planner = planner.config.flag("ksql.new.query.planner.enabled")

    def run(self) -> QueryPlan:
        self._check_clauses()
        self._check_functions()
        stage = self._from()
        for clause in (
            self._where,
            self._partition_by,
            self._flat_map,
            self._aggregate,
            self._leave_key_out,
        ):
            stage = clause(stage)
        return self._project(stage)

    def _check_clauses(self) -> None:
        query = self._query
        if query.window is not None and query.group_by is None and not self._any_aggregate(query.select):
            raise KsqlError("WINDOW clause requires a GROUP BY clause.")
        if query.partition_by == ():
            raise StatementError("PARTITION BY requires at least one expression")
        if query.emit == "FINAL" and query.window is None:
            raise KsqlError("EMIT FINAL is only supported for windowed aggregations.")

    def _check_functions(self) -> None:
        """Refuse functions that there are not, before anything else is said about the query."""
        query = self._query
        clauses = (query.where, query.having, *(query.group_by or ()), *(query.partition_by or ()))
        for top in (*query.select, *(c for c in clauses if c is not None)):
            for node in ast.walk(top):
                if isinstance(node, ast.FunctionCall):
                    self._planner.functions.get(node.name)

    def _any_aggregate(self, nodes: Iterable[ast.Node]) -> bool:
        return any(
            isinstance(n, ast.FunctionCall) and self._planner.functions.is_aggregate(n.name)
            for top in nodes
            for n in ast.walk(top)
        )

    def _aggregates(self, items: Sequence[NamedItem]) -> bool:
        """Whether the query aggregates, with or without GROUP BY."""
        having = () if self._query.having is None else (self._query.having,)
        return self._query.group_by is not None or self._any_aggregate(
            (*(i.expression for i in items), *having)
        )

    # FROM

    def _from(self) -> _Stage:
        relation = self._relation()
        if relation.synthetic is not None:
            self._scope.synthetic.append(relation.synthetic)
        items = self._items(relation.step)
        return _Stage(relation.step, relation.key, items, relation.window, relation.key_format)

    def _relation(self) -> Relation:
        if self._scope.is_join:
            return JoinPlanner(self._planner, self._scope, self._query).plan()
        only = self._scope.sources[0]
        materialize = not only.source.is_stream and self._query.group_by is not None
        return source_relation(only, self._planner.partitions, materialize=materialize)

    def _items(self, step: steps.Step) -> tuple[NamedItem, ...]:
        binder = self._planner.binder(step.layout)

        def struct_type(e: ast.Expression) -> Struct:
            type_ = binder.type_of(self._scope.internal(e))
            if not isinstance(type_, Struct):
                raise StatementError(f"Cannot expand `{e}`: it is not a STRUCT but {type_}.")
            return type_

        if self._sink is not None and not self._scope.is_join:
            for item in self._query.select:
                if isinstance(item, ast.SingleColumn) and item.alias is None:
                    e = item.expression
                    if isinstance(e, ast.ColumnRef) and e.name in RESERVED_NAMES:
                        raise reserved_name(e.name)
        leak = self._query.partition_by is not None
        return tuple(
            self._scope.expand(
                self._query.select, struct_type, leak_pseudo=leak, window_bounds=self._sink is None
            )
        )

    # Clauses

    def _where(self, stage: _Stage) -> _Stage:
        if self._query.where is None:
            return stage
        step = stage.step
        where = self._scope.internal(self._scope.qualify(self._query.where, "WHERE"))
        filtered = steps.FilterStep(
            layout=step.layout,
            key=step.key,
            table=step.table,
            input=step,
            predicate=bind_predicate(self._planner.binder(step.layout), where, "WHERE"),
            text=str(where),
        )
        return replace(stage, step=filtered)

    def _partition_by(self, stage: _Stage) -> _Stage:
        wanted, step, scope = self._query.partition_by, stage.step, self._scope
        if wanted is None:
            return stage
        if step.table:
            raise StatementError("PARTITION BY is not supported on tables.")
        if stage.window is not None:
            raise StatementError(WINDOWED_REPARTITION)
        if any(isinstance(e, ast.Literal) and e.value is None for e in wanted):
            if len(wanted) > 1:
                raise StatementError("Cannot PARTITION BY multiple columns including NULL")
            return self._unkeyed(replace(stage, items=self._keys_last(stage.items, ())))
        qualified = tuple(scope.qualify(e, "PARTITION BY") for e in wanted)
        internal = [scope.internal(e) for e in qualified]
        expressions = tuple(map(self._planner.binder(step.layout).bind, internal))
        types = list(map(typed, expressions))
        names = key_names(scope, qualified, stage.items)
        rekeyed = steps.SelectKeyStep(
            layout=step.layout,
            key=tuple(Column(name, type_, key=True) for name, type_ in zip(names, types, strict=True)),
            table=False,
            input=step,
            expressions=expressions,
            text=tuple(map(str, internal)),
        )
        parts = tuple(KeyPart((e,), type_) for e, type_ in zip(qualified, types, strict=True))
        items = self._keys_last(stage.items, qualified)
        if any(isinstance(i, ast.AllColumns) and i.source is None for i in self._query.select):
            present = {i.expression for i in items}
            keys = zip(qualified, names, strict=True)
            items = (*(NamedItem(e, n, generated=True) for e, n in keys if e not in present), *items)
        key = ResultKey(parts, "partitioning expression")
        moves = internal != [ast.ColumnRef(c.name) for c in step.key]  # else even a null key stays what it is
        return replace(stage, step=rekeyed if moves else step, key=key, items=items)

    def _keys_last(
        self, items: tuple[NamedItem, ...], keys: Sequence[ast.Expression]
    ) -> tuple[NamedItem, ...]:
        """What ``*`` gave as key columns comes after the values: they are values now."""
        if self._scope.is_join or not any(isinstance(i, ast.AllColumns) for i in self._query.select):
            return items
        (only,) = self._scope.sources
        old = {ast.ColumnRef(c.name, only.alias) for c in only.source.schema.key} - set(keys)
        return tuple(sorted(items, key=lambda i: i.expression in old))

    def _unkeyed(self, stage: _Stage) -> _Stage:
        step = steps.SelectKeyStep(
            layout=stage.step.layout, key=(), table=False, input=stage.step, expressions=(), text=("NULL",)
        )
        return replace(stage, step=step, key=ResultKey((), "partitioning expression"), without_key=True)

    def _flat_map(self, stage: _Stage) -> _Stage:
        """Table functions: each of their rows becomes a record."""
        step = stage.step
        expressions = [self._scope.internal(item.expression) for item in stage.items]
        calls = dict.fromkeys(call for e in expressions for call in self._table_functions(e))
        if not calls:
            return stage
        for e in expressions:
            for node in ast.walk(e):
                if isinstance(node, ast.SearchedCase | ast.SimpleCase):
                    for call in self._table_functions(node):
                        raise StatementError(f"Table functions cannot be used in CASE: {call}")
        if self._aggregates(stage.items):
            raise StatementError("Table functions cannot be used with aggregations.")
        if step.table:
            raise KsqlError("Table source is not supported with table functions")
        binder = self._planner.binder(step.layout)
        bound = [table_function(binder, call) for call in calls]
        made = [(f"KSQL_SYNTH_{i}", type_) for i, (_, type_) in enumerate(bound)]
        expanded = steps.FlatMapStep(
            layout=step.layout.plus(made),
            key=step.key,
            table=False,
            input=step,
            functions=tuple(function for function, _ in bound),
            text=tuple(map(str, calls)),
        )
        known: dict[ast.Expression, ColumnValue] = {
            call: ColumnValue(type=type_, index=len(step.layout) + i, name=name)
            for i, (call, (name, type_)) in enumerate(zip(calls, made, strict=True))
        }
        return replace(stage, step=expanded, known=known)

    def _table_functions(self, e: ast.Expression) -> Iterator[ast.FunctionCall]:
        for node in ast.walk(e):
            if isinstance(node, ast.FunctionCall) and self._planner.functions.is_table_function(node.name):
                yield node

    def _aggregate(self, stage: _Stage) -> _Stage:
        """GROUP BY, windows, aggregate functions, HAVING."""
        if not self._aggregates(stage.items):
            return stage
        planner = AggregationPlanner(self._planner, self._query, self._scope)
        found = planner.plan(stage.step, stage.items, sink=self._sink)
        if stage.step.table:
            check_table_aggregates(found.aggregates)
        return replace(
            stage, step=found.step, key=found.key, known=found.known, window=found.window, aggregation=found
        )

    # SELECT

    def _leave_key_out(self, stage: _Stage) -> _Stage:
        """Take the key away where the projection leaves it out: ksqlDB's newer planner admits that."""
        key = stage.key
        if not self._newer_planner or self._sink is None or stage.step.table or key.role != "key column":
            return stage
        selected = {i.expression for i in stage.items}
        kept = any(a in selected for part in key.parts for a in part.alternatives)
        return stage if kept or not key.parts else self._unkeyed(stage)

    def _project(self, stage: _Stage) -> QueryPlan:
        step, key = stage.step, stage.key
        binder = self._planner.binder(step.layout, stage.known)
        bound = {id(i): binder.bind(self._scope.internal(i.expression)) for i in stage.items}
        types = {item: typed(e) for item, e in bound.items()}
        if self._timestamp is not None and self._timestamp not in {i.name for i in stage.items}:
            raise missing_timestamp(self._timestamp)
        if self._sink is None:
            projection, positions = Projection((), stage.items), tuple(range(len(step.key)))
        else:
            as_selected = self._newer_planner and not step.table and key.role == "key column"
            projection = split(stage.items, key, self._sink, as_selected=as_selected)
            positions = tuple(position for position, _ in projection.keys)
        keys = tuple(Column(name, key.parts[p].type, key=True) for p, name in projection.keys)
        values = tuple(Column(i.name, types[id(i)]) for i in projection.values)
        if self._sink is not None:
            check_columns(keys, values)
            if not values:
                raise StatementError("The projection contains no value columns.")
        root = steps.ProjectStep(
            layout=Layout(named(values)),
            key=keys or step.key,
            table=step.table,
            input=step,
            select=tuple((i.name, bound[id(i)]) for i in projection.values),
            text=tuple(str(self._scope.internal(i.expression)) for i in projection.values),
            key_positions=positions,
        )
        key_items, bound_items = _transient_keys(stage.items, key) if self._sink is None else ({}, {})
        sources = tuple(s.source for s in self._scope.sources)
        return QueryPlan(
            root=root,
            schema=Schema((*keys, *values)),
            is_table=step.table,
            window=stage.window,
            sources=sources,
            key_format=stage.key_format,
            value_format=sources[0].value_format,
            without_key=stage.without_key,
            key_items=key_items,
            bound_items=bound_items,
            aggregation=stage.aggregation,
            items=stage.items,
        )


def _transient_keys(items: Sequence[NamedItem], key: ResultKey) -> tuple[dict[int, int], dict[int, int]]:
    """Return where a transient query's result has the key columns, and where the window bounds."""
    keys, bounds = {}, {}
    for i, item in enumerate(items):
        for position, part in enumerate(key.parts):
            if item.expression in part.alternatives:
                keys[i] = position
        if isinstance(item.expression, ast.ColumnRef) and item.expression.name in WINDOW_NAMES:
            bounds[i] = int(item.expression.name == WINDOW_BOUNDS[1].name)
    return keys, bounds


def missing_timestamp(name: str) -> StatementError:
    """Return the error for a TIMESTAMP property that names no column."""
    return StatementError(
        f"The TIMESTAMP column set in the WITH clause does not exist in the schema: '{name}'"
    )

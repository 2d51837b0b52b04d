"""The planner: one SELECT to execution steps.

Order of steps: sources and joins, WHERE, PARTITION BY, table functions, GROUP BY with windows and
aggregation, HAVING, projection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kalam_jupyter.engine.types import Array, Column, DataType, Map, Schema, Struct
from kalam_jupyter.ksql.analysis.layout import Layout, named, source_layout
from kalam_jupyter.ksql.analysis.naming import key_names
from kalam_jupyter.ksql.analysis.scope import WINDOW_NAMES, AliasedSource, NamedItem, Scope
from kalam_jupyter.ksql.config import Config
from kalam_jupyter.ksql.errors import KsqlError, StatementError
from kalam_jupyter.ksql.expressions.binder import Binder, ErrorRules
from kalam_jupyter.ksql.expressions.bound import Bound, ColumnValue
from kalam_jupyter.ksql.expressions.calls import table_function
from kalam_jupyter.ksql.expressions.coercion import typed
from kalam_jupyter.ksql.formats.base import SerdeFormat
from kalam_jupyter.ksql.functions.definitions import EvaluationContext
from kalam_jupyter.ksql.functions.registry import FunctionRegistry
from kalam_jupyter.ksql.lang import ast
from kalam_jupyter.ksql.metastore import RESERVED_NAMES, WINDOW_BOUNDS, Metastore, Source, WindowInfo
from kalam_jupyter.ksql.plan import steps
from kalam_jupyter.ksql.plan.aggregation import AggregationPlan, AggregationPlanner, check_table_aggregates
from kalam_jupyter.ksql.plan.joins import JoinedRelation, JoinPlanner
from kalam_jupyter.ksql.plan.predicates import bind_predicate
from kalam_jupyter.ksql.plan.projection import KeyPart, ResultKey, check_columns, reserved_name, split


@dataclass(frozen=True)
class QueryPlan:
    """The steps of one query, without a sink, and what they result in.

    Attributes
    ----------
    root : ProjectStep
    schema : Schema
        Result columns: the key columns first for a persistent query, all in SELECT order for a transient one.
    is_table : bool
    window : WindowInfo or None
        How the result's keys are windowed.
    sources : tuple of Source
    key_format, value_format : SerdeFormat
        What a sink inherits.
    key_items : mapping of int to int
        Transient queries: positions in the result of key columns, and their position in the record's key.
    bound_items : mapping of int to int
        Transient queries: positions in the result of WINDOWSTART (0) and WINDOWEND (1).
    items : tuple of NamedItem
        The result columns, qualified and named.
    """

    root: steps.ProjectStep
    schema: Schema
    is_table: bool
    window: WindowInfo | None
    sources: tuple[Source, ...]
    key_format: SerdeFormat
    value_format: SerdeFormat
    rekeyed: bool = False
    without_key: bool = False
    key_items: Mapping[int, int] = field(default_factory=dict)
    bound_items: Mapping[int, int] = field(default_factory=dict)
    aggregation: AggregationPlan | None = None
    items: tuple[NamedItem, ...] = ()


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
        return resolve_custom_types(type_, self.metastore.types)

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
        self._sources = tuple(s.source for s in self._scope.sources)

    def run(self) -> QueryPlan:
        query, scope = self._query, self._scope
        self._check_clauses()
        self._check_functions()
        relation = self._relation()
        if relation.synthetic is not None:
            scope.synthetic.append(relation.synthetic)
        items = self._items(relation)
        step = relation.step
        if query.where is not None:
            step = self._where(step, scope.qualify(query.where, "WHERE"))
        rekeyed, without_key = False, False
        key = relation.key
        if query.partition_by is not None:
            step, key, items, without_key = self._partition_by(step, relation, items)
            rekeyed = True
        step, known = self._flat_map(step, items)
        aggregation = None
        window = relation.window
        if query.group_by is not None or self._has_aggregates(items):
            aggregation = AggregationPlanner(self._planner, query, scope).plan(step, items, sink=self._sink)
            if step.table:
                check_table_aggregates(aggregation.aggregates)
            step, key, known = aggregation.step, aggregation.key, dict(aggregation.known)
            rekeyed, window = True, aggregation.window
        elif query.emit == "FINAL":
            raise KsqlError("EMIT FINAL is only supported for windowed aggregations.")
        if self._drops_key(step, key, items):
            step, key, without_key = self._unkeyed(step), ResultKey((), "key column"), True
        return self._project(step, key, items, known, relation, window, rekeyed, without_key, aggregation)

    def _check_clauses(self) -> None:
        query = self._query
        if query.window is not None and query.group_by is None and not self._any_aggregate(query.select):
            raise KsqlError("WINDOW clause requires a GROUP BY clause.")
        if query.partition_by == ():
            raise StatementError("PARTITION BY requires at least one expression")
        if query.emit == "FINAL" and query.window is None:
            raise KsqlError("EMIT FINAL is only supported for windowed aggregations.")

    def _check_functions(self) -> None:
        query = self._query
        for top in (
            *query.select,
            query.where,
            query.having,
            *(query.group_by or ()),
            *(query.partition_by or ()),
        ):
            for node in () if top is None else ast.walk(top):
                if isinstance(node, ast.FunctionCall):
                    self._planner.functions.get(node.name)

    def _any_aggregate(self, node: Any) -> bool:
        nodes = node if isinstance(node, tuple) else (node,)
        return any(
            isinstance(n, ast.FunctionCall) and self._planner.functions.is_aggregate(n.name)
            for top in nodes
            for n in ast.walk(top)
        )

    def _has_aggregates(self, items: Sequence[NamedItem]) -> bool:
        having = self._query.having
        return any(self._any_aggregate(i.expression) for i in items) or (
            having is not None and self._any_aggregate(having)
        )

    # FROM

    def _relation(self) -> JoinedRelation:
        if self._scope.is_join:
            return JoinPlanner(self._planner, self._scope, self._query).plan()
        only = self._scope.sources[0]
        source = only.source
        step = steps.SourceStep(
            layout=source_layout(source),
            key=source.schema.key,
            table=not source.is_stream,
            source=source,
            alias=only.alias,
            materialize=not source.is_stream and self._query.group_by is not None,
        )
        return JoinedRelation(
            step,
            source_key(only),
            source.window,
            source.key_format,
            (only.alias,),
            self._planner.partitions(source.topic),
            single=only,
        )

    def _items(self, relation: JoinedRelation) -> list[NamedItem]:
        binder = self._planner.binder(relation.step.layout)

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
        return self._scope.expand(
            self._query.select, struct_type, leak_pseudo=leak, window_bounds=self._sink is None
        )

    # Clauses

    def _where(self, step: steps.Step, where: ast.Expression) -> steps.Step:
        internal = self._scope.internal(where)
        predicate = bind_predicate(self._planner.binder(step.layout), internal, "WHERE")
        return steps.FilterStep(
            layout=step.layout,
            key=step.key,
            table=step.table,
            input=step,
            predicate=predicate,
            text=str(internal),
        )

    def _partition_by(
        self, step: steps.Step, relation: JoinedRelation, items: list[NamedItem]
    ) -> tuple[steps.Step, ResultKey, list[NamedItem], bool]:
        query, scope = self._query, self._scope
        assert query.partition_by is not None
        if step.table:
            raise StatementError("PARTITION BY is not supported on tables.")
        if relation.window is not None:
            raise StatementError(
                "Implicit repartitioning of windowed sources is not supported. See "
                "https://github.com/confluentinc/ksql/issues/4385."
            )
        nulls = [e for e in query.partition_by if isinstance(e, ast.Literal) and e.value is None]
        if nulls and len(query.partition_by) > 1:
            raise StatementError("Cannot PARTITION BY multiple columns including NULL")
        if nulls:
            return (
                self._unkeyed(step),
                ResultKey((), "partitioning expression"),
                self._keys_last(items, ()),
                True,
            )
        qualified = tuple(scope.qualify(e, "PARTITION BY") for e in query.partition_by)
        binder = self._planner.binder(step.layout)
        bound = [binder.bind(scope.internal(e)) for e in qualified]
        names = key_names(scope, qualified, items)
        columns = tuple(
            Column(name, b.type, key=True)  # type: ignore[arg-type]
            for name, b in zip(names, bound, strict=True)
        )
        rekeyed = steps.SelectKeyStep(
            layout=step.layout,
            key=columns,
            table=False,
            input=step,
            expressions=tuple(bound),
            text=tuple(str(scope.internal(e)) for e in qualified),
        )
        parts = tuple(KeyPart((e,), b.type) for e, b in zip(qualified, bound, strict=True))  # type: ignore[arg-type]
        items = self._keys_last(items, qualified)
        if any(isinstance(i, ast.AllColumns) and i.source is None for i in query.select):
            present = {i.expression for i in items}
            made = [
                NamedItem(e, name, generated=True)
                for e, name in zip(qualified, names, strict=True)
                if e not in present
            ]
            items = made + items
        return rekeyed, ResultKey(parts, "partitioning expression"), items, False

    def _drops_key(self, step: steps.Step, key: ResultKey, items: Sequence[NamedItem]) -> bool:
        """Whether a stream's projection leaves the key out, which ksqlDB's newer planner admits."""
        if self._sink is None or step.table or key.role != "key column" or not key.parts:
            return False
        if not self._newer_planner:
            return False
        selected = {i.expression for i in items}
        return not any(a in selected for part in key.parts for a in part.alternatives)

    @property
    def _newer_planner(self) -> bool:
        return self._planner.config.flag("ksql.new.query.planner.enabled")

    def _unkeyed(self, step: steps.Step) -> steps.Step:
        return steps.SelectKeyStep(
            layout=step.layout, key=(), table=False, input=step, expressions=(), text=("NULL",)
        )

    def _keys_last(self, items: list[NamedItem], keys: Sequence[ast.Expression]) -> list[NamedItem]:
        """What ``*`` gave as key columns comes after the values: they are values now."""
        if not any(isinstance(i, ast.AllColumns) for i in self._query.select):
            return items
        old = {
            ast.ColumnRef(c.name, s.alias) for s in self._scope.sources for c in s.source.schema.key
        } - set(keys)
        if self._scope.is_join:
            return items
        return [i for i in items if i.expression not in old] + [i for i in items if i.expression in old]

    def _flat_map(
        self, step: steps.Step, items: Sequence[NamedItem]
    ) -> tuple[steps.Step, dict[ast.Expression, ColumnValue]]:
        expressions = [self._scope.internal(item.expression) for item in items]
        calls = dict.fromkeys(call for e in expressions for call in self._table_functions(e))
        for e in expressions:
            for node in ast.walk(e):
                if isinstance(node, ast.SearchedCase | ast.SimpleCase):
                    for call in self._table_functions(node):
                        raise StatementError(f"Table functions cannot be used in CASE: {call}")
        if not calls:
            return step, {}
        if self._has_aggregates(items) or self._query.group_by is not None:
            raise StatementError("Table functions cannot be used with aggregations.")
        if step.table:
            raise KsqlError("Table source is not supported with table functions")
        binder = self._planner.binder(step.layout)
        bound = [table_function(binder, call) for call in calls]
        known: dict[ast.Expression, ColumnValue] = {
            call: ColumnValue(type=type_, index=len(step.layout) + i, name=f"KSQL_SYNTH_{i}")
            for i, (call, (_, type_)) in enumerate(zip(calls, bound, strict=True))
        }
        expanded = steps.FlatMapStep(
            layout=step.layout.plus((f"KSQL_SYNTH_{i}", type_) for i, (_, type_) in enumerate(bound)),
            key=step.key,
            table=False,
            input=step,
            functions=tuple(function for function, _ in bound),
            text=tuple(map(str, calls)),
        )
        return expanded, known

    def _table_functions(self, e: ast.Expression) -> Iterator[ast.FunctionCall]:
        functions = self._planner.functions
        for node in ast.walk(e):
            if isinstance(node, ast.FunctionCall) and functions.is_table_function(node.name):
                yield node

    # SELECT

    def _project(
        self,
        step: steps.Step,
        key: ResultKey,
        items: Sequence[NamedItem],
        known: Mapping[ast.Expression, ColumnValue],
        relation: JoinedRelation,
        window: WindowInfo | None,
        rekeyed: bool,
        without_key: bool,
        aggregation: AggregationPlan | None,
    ) -> QueryPlan:
        binder = self._planner.binder(step.layout, known)
        bound_items = [(item, self._select(binder, item)) for item in items]
        if self._timestamp is not None and self._timestamp not in {i.name for i in items}:
            raise missing_timestamp(self._timestamp)
        if self._sink is not None:
            as_selected = self._newer_planner and not step.table and key.role == "key column"
            split_items = split(items, key, self._sink, as_selected=as_selected)
            key_columns = tuple(
                Column(name, key.parts[position].type, key=True) for position, name in split_items.keys
            )
            positions = tuple(position for position, _ in split_items.keys)
            chosen: Sequence[NamedItem] = split_items.values
        else:
            key_columns, positions, chosen = (), tuple(range(len(step.key))), items
        chosen_ids = {id(item) for item in chosen}
        select = tuple((item.name, e) for item, e in bound_items if id(item) in chosen_ids)
        values = tuple(Column(name, b.type) for name, b in select)  # type: ignore[arg-type]
        if self._sink is not None:
            check_columns(key_columns, values)
            if not values:
                raise StatementError("The projection contains no value columns.")
        root = steps.ProjectStep(
            layout=Layout(named(values)),
            key=key_columns or step.key,
            table=step.table,
            input=step,
            select=select,
            text=tuple(str(self._scope.internal(i.expression)) for i in chosen),
            key_positions=positions,
        )
        key_items, bounds = _transient_keys(items, key) if self._sink is None else ({}, {})
        return QueryPlan(
            root=root,
            schema=Schema((*key_columns, *values)),
            is_table=step.table,
            window=window,
            sources=self._sources,
            key_format=relation.key_format,
            value_format=self._sources[0].value_format,
            rekeyed=rekeyed,
            without_key=without_key,
            key_items=key_items,
            bound_items=bounds,
            aggregation=aggregation,
            items=tuple(items),
        )

    def _select(self, binder: Binder, item: NamedItem) -> Bound:
        bound = binder.bind(self._scope.internal(item.expression))
        typed(bound)
        return bound


def _transient_keys(items: Sequence[NamedItem], key: ResultKey) -> tuple[dict[int, int], dict[int, int]]:
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


def bare_name(e: ast.Expression) -> str:
    """Return a column's name without its source."""
    return e.name if isinstance(e, ast.ColumnRef) else str(e)


def source_key(aliased: AliasedSource) -> ResultKey:
    """Return the key of a source as the key of a query's result."""
    parts = tuple(KeyPart((ast.ColumnRef(c.name, aliased.alias),), c.type) for c in aliased.source.schema.key)
    return ResultKey(parts, "key column", bare_name, bare_name)


def resolve_custom_types(type_: DataType, types: Mapping[str, DataType]) -> DataType:
    """Return a type with the names of custom types replaced; StatementError if one is unknown."""
    match type_:
        case ast.NamedType(name):
            found = types.get(name.upper()) or types.get(name)
            if found is None:
                raise StatementError(f"Failed to prepare statement: Cannot resolve unknown type: {name}")
            return found
        case Array(element, size):
            return Array(resolve_custom_types(element, types), size)
        case Map(key, value):
            return Map(resolve_custom_types(key, types), resolve_custom_types(value, types))
        case Struct(fields):
            return Struct(tuple((n, resolve_custom_types(t, types)) for n, t in fields))
    return type_

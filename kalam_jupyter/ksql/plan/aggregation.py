"""Planning of GROUP BY, aggregate functions, windows and HAVING."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from kalam_jupyter.engine.types import Column
from kalam_jupyter.ksql.analysis.layout import Layout, named
from kalam_jupyter.ksql.analysis.naming import key_names
from kalam_jupyter.ksql.analysis.scope import WINDOW_NAMES, NamedItem, Scope
from kalam_jupyter.ksql.errors import KsqlError, StatementError, listed
from kalam_jupyter.ksql.expressions import bound as b
from kalam_jupyter.ksql.expressions.coercion import operand_of
from kalam_jupyter.ksql.lang import ast
from kalam_jupyter.ksql.metastore import ROWTIME, WINDOW_BOUNDS, WindowInfo
from kalam_jupyter.ksql.plan import steps
from kalam_jupyter.ksql.plan.predicates import bind_predicate
from kalam_jupyter.ksql.plan.projection import KeyPart, ResultKey
from kalam_jupyter.ksql.values.convert import identity

if TYPE_CHECKING:
    from kalam_jupyter.ksql.plan.planner import QueryPlanner

DAY_MS = 86_400_000


@dataclass(frozen=True)
class AggregationPlan:
    """The steps up to HAVING, and where what they computed is."""

    step: steps.Step
    key: ResultKey
    known: Mapping[ast.Expression, b.ColumnValue]
    window: WindowInfo | None
    retention_ms: int | None
    aggregates: tuple[steps.AggregateFunction, ...]


def plan_window(window: ast.Window | None, emit_final: bool) -> steps.WindowSpec | None:
    """Fill in a window clause's defaults: grace of 24 hours less the size, none for EMIT FINAL.

    Raises
    ------
    KsqlError
        If the retention is shorter than size and grace.
    """
    match window:
        case None:
            return None
        case ast.TumblingWindow(size=size):
            info, size_ms, advance_ms = WindowInfo("TUMBLING", size.ms), size.ms, size.ms
        case ast.HoppingWindow(size=size, advance=advance):
            info, size_ms, advance_ms = WindowInfo("HOPPING", size.ms), size.ms, advance.ms
        case ast.SessionWindow(gap=gap):
            info, size_ms, advance_ms = WindowInfo("SESSION"), gap.ms, gap.ms
        case _:
            raise TypeError(type(window).__name__)
    if size_ms <= 0 or advance_ms <= 0:
        raise KsqlError(f"Window size and advance must be larger than zero: {size_ms} ms, {advance_ms} ms")
    if advance_ms > size_ms:
        raise KsqlError(f"Window advance ({advance_ms} ms) must not be larger than its size ({size_ms} ms)")
    if window.grace is not None:
        grace = window.grace.ms
    else:
        grace = 0 if emit_final else max(DAY_MS - size_ms, 0)
    retention = size_ms + grace
    if window.retention is not None:
        retention = window.retention.ms
        if retention < size_ms + grace:
            raise KsqlError(
                f"The window retention ({retention} ms) must be at least window size plus grace period: "
                f"{size_ms + grace} ms"
            )
    return steps.WindowSpec(info, size_ms, advance_ms, grace, retention)


class AggregationPlanner:
    """Plans the aggregation of one query."""

    def __init__(self, planner: QueryPlanner, query: ast.Query, scope: Scope) -> None:
        self._planner = planner
        self._query = query
        self._scope = scope
        self._functions = planner.functions

    def plan(self, step: steps.Step, items: Sequence[NamedItem], *, sink: str | None) -> AggregationPlan:
        """Return the aggregation of `step` that the SELECT list and HAVING need."""
        query, scope = self._query, self._scope
        groups = self._groups()
        select = [scope.internal(i.expression) for i in items]
        having = None if query.having is None else scope.internal(scope.qualify(query.having, "HAVING"))
        calls = self._calls([*select, *([] if having is None else [having])])
        self._check(items, select, having, calls, groups, sink)
        window = plan_window(query.window, query.emit == "FINAL")
        if window is not None and step.table:
            raise KsqlError("WINDOW clause is not supported on tables.")
        internal_groups = [scope.internal(g) for g in groups]
        grouped, columns = self._group(step, groups, internal_groups, items)
        aggregates = tuple(self._aggregate(call, grouped.layout, step.table) for call in calls)
        layout = Layout(
            (
                *((f"KSQL_AGG_VARIABLE_{i}", a.function.type) for i, a in enumerate(aggregates)),  # type: ignore[arg-type]
                *named(columns),
                *(named(WINDOW_BOUNDS) if window is not None else ()),
            )
        )
        known: dict[ast.Expression, b.ColumnValue] = {}
        for i, expression in enumerate((*calls, *internal_groups)):
            name, type_ = layout.columns[i]
            known[expression] = b.ColumnValue(type=type_, index=i, name=name)
        result: steps.Step = steps.AggregateStep(
            layout=layout,
            key=columns,
            table=True,
            input=grouped,
            aggregates=aggregates,
            window=window,
            emit_final=query.emit == "FINAL",
        )
        if having is not None:
            predicate = bind_predicate(self._planner.binder(layout, known), having, "HAVING")
            result = steps.FilterStep(
                layout=layout, key=columns, table=True, input=result, predicate=predicate, text=str(having)
            )
        parts = tuple(KeyPart((g,), c.type) for g, c in zip(groups, columns, strict=True))
        key = ResultKey(parts, "grouping expression", lambda e: str(_unqualified(e)))
        return AggregationPlan(
            result,
            key,
            known,
            None if window is None else window.info,
            None if window is None else window.retention_ms,
            aggregates,
        )

    def _groups(self) -> list[ast.Expression]:
        groups: list[ast.Expression] = []
        for e in self._query.group_by or ():
            if self._query.window is not None:
                _refuse_bounds(e)
            for node in ast.walk(e):
                if isinstance(node, ast.FunctionCall) and self._functions.is_aggregate(node.name):
                    raise StatementError(
                        f"GROUP BY does not support aggregate functions: {node.name} is an aggregate "
                        "function."
                    )
            qualified = self._scope.qualify(e, "GROUP BY")
            if qualified in groups:
                raise StatementError(f"Duplicate GROUP BY expression: {qualified}")
            groups.append(qualified)
        return groups

    def _calls(self, expressions: Sequence[ast.Expression]) -> list[ast.FunctionCall]:
        """Return the distinct aggregate calls, in order of appearance."""
        calls: dict[ast.FunctionCall, None] = {}
        for e in expressions:
            self._collect(e, calls)
        return list(calls)

    def _collect(self, node: ast.Node, calls: dict[ast.FunctionCall, None]) -> None:
        if isinstance(node, ast.FunctionCall) and self._functions.is_aggregate(node.name):
            for below in ast.walk(node):
                if below is node or not isinstance(below, ast.FunctionCall):
                    continue
                if self._functions.is_aggregate(below.name):
                    raise StatementError(f"Aggregate functions can not be nested: {node}")
            if self._query.window is not None and not self._windowed_source:
                _refuse_bounds(node)
            calls[node] = None
            return
        for child in ast.children(node):
            self._collect(child, calls)

    @property
    def _windowed_source(self) -> bool:
        return any(s.source.window is not None for s in self._scope.sources)

    def _check(
        self,
        items: Sequence[NamedItem],
        select: Sequence[ast.Expression],
        having: ast.Expression | None,
        calls: Sequence[ast.FunctionCall],
        groups: Sequence[ast.Expression],
        sink: str | None,
    ) -> None:
        query = self._query
        if not calls:
            raise StatementError(
                "GROUP BY requires aggregate functions in either the SELECT or HAVING clause."
            )
        known = {self._scope.internal(g) for g in groups} | set(calls)
        windowed = query.window is not None
        wrong = [str(e) for e in select if not _covered(e, known, windowed)]
        if wrong:
            raise StatementError(
                f"Non-aggregate SELECT expression(s) not part of GROUP BY: {', '.join(wrong)}\n"
                "Either add the column(s) to the GROUP BY or remove them from the SELECT."
            )
        if query.group_by is None and sink is not None:
            names = ", ".join(str(_counted(c)) for c in calls)
            raise StatementError(
                f"CREATE TABLE AS SELECT statement does not support aggregate function [{names}] without "
                "a GROUP BY clause."
            )
        if having is not None:
            if windowed:
                _refuse_bounds(having)
            if not _covered(having, known, windowed):
                column = next(n for n in ast.walk(having) if isinstance(n, ast.ColumnRef) and n not in known)
                raise StatementError(f"Non-aggregate HAVING expression not part of GROUP BY: {column}")
        kafka = [s.alias for s in self._scope.sources if s.source.value_format.info.name == "KAFKA"]
        if kafka:
            raise StatementError(
                f"Source(s) {', '.join(kafka)} are using the 'KAFKA' value format. "
                "This format does not yet support GROUP BY."
            )

    def _group(
        self,
        step: steps.Step,
        groups: Sequence[ast.Expression],
        internal: Sequence[ast.Expression],
        items: Sequence[NamedItem],
    ) -> tuple[steps.Step, tuple[Column, ...]]:
        binder = self._planner.binder(step.layout)
        bound = tuple(map(binder.bind, internal))
        names = key_names(self._scope, groups, items)
        for name, e in zip(names, bound, strict=True):
            if e.type is None:
                raise StatementError(f"GROUP BY cannot use the untyped NULL {name}.")
        columns = tuple(Column(n, e.known_type, key=True) for n, e in zip(names, bound, strict=True))
        grouped = steps.GroupByStep(
            layout=step.layout,
            key=columns,
            table=step.table,
            input=step,
            expressions=bound,
            text=tuple(map(str, internal)),
        )
        return grouped, columns

    def _aggregate(self, call: ast.FunctionCall, layout: Layout, table: bool) -> steps.AggregateFunction:
        binder = self._planner.binder(layout)
        counted = _counted(call)
        bound = [binder.bind(a) for a in counted.args]
        operands = [replace(operand_of(e, a), text=str(a)) for e, a in zip(bound, counted.args, strict=True)]
        try:
            function = self._functions.aggregate(
                call.name, operands, self._planner.config, self._planner.context
            )
        except KsqlError as error:
            raise StatementError(error.message) from None
        arguments = []
        for i, conversion in zip(function.columns, function.conversions, strict=True):
            e = bound[i]
            if conversion is not identity:
                e = b.Conversion(type=e.type, operand=e, function=conversion, contains=False)
            arguments.append(e)
        return steps.AggregateFunction(function, tuple(arguments), str(counted))


def _counted(call: ast.FunctionCall) -> ast.FunctionCall:
    """``COUNT(*)`` and ``COUNT()`` count the record's timestamp, which is never NULL."""
    if call.name == "COUNT" and not call.args:
        return ast.FunctionCall(call.name, (ast.ColumnRef(ROWTIME),), location=call.location)
    return call


def _covered(e: ast.Node, known: set[Any], windowed: bool) -> bool:
    """Whether nothing but literals remains of `e` once what is known is taken out."""
    if e in known:
        return True
    if isinstance(e, ast.ColumnRef):
        return windowed and e.name in WINDOW_NAMES
    return all(_covered(child, known, windowed) for child in ast.children(e))


def _refuse_bounds(e: ast.Node) -> None:
    for node in ast.walk(e):
        if isinstance(node, ast.ColumnRef) and node.name in WINDOW_NAMES:
            raise StatementError(
                f"Window bounds column {node.name} can only be used in the SELECT clause of windowed "
                "aggregations and can not be passed to aggregate functions."
            )


def _unqualified(e: ast.Expression) -> Any:
    def change(node: ast.Expression) -> ast.Expression | None:
        if isinstance(node, ast.ColumnRef):
            return ast.ColumnRef(node.name, None, location=node.location)
        return None

    return ast.rewrite(e, change)


def check_table_aggregates(aggregates: Sequence[steps.AggregateFunction]) -> None:
    """Refuse aggregates without undo over a table."""
    names = [a.function.name for a in aggregates if a.function.undo is None]
    if names:
        plural = "s" if len(names) > 1 else ""
        raise StatementError(
            f"The aggregation function{plural} {listed(names)} cannot be applied to a table source, only to "
            "a stream source."
        )

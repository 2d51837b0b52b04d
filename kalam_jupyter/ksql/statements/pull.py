"""Pull queries: the current rows of a table, filtered and projected once."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kalam_jupyter.engine.types import Column, Struct
from kalam_jupyter.ksql.analysis.layout import source_layout
from kalam_jupyter.ksql.analysis.scope import PSEUDO_NAMES, NamedItem, Scope
from kalam_jupyter.ksql.errors import StatementError
from kalam_jupyter.ksql.expressions import bound as b
from kalam_jupyter.ksql.expressions.binder import Binder
from kalam_jupyter.ksql.expressions.codegen import compile_predicate, compile_projection
from kalam_jupyter.ksql.expressions.coercion import typed
from kalam_jupyter.ksql.lang import ast
from kalam_jupyter.ksql.metastore import ROWTIME, WINDOW_BOUNDS, Source
from kalam_jupyter.ksql.plan.predicates import bind_predicate
from kalam_jupyter.ksql.plan.projection import check_columns
from kalam_jupyter.ksql.runtime.materialization import Entry, Materialization
from kalam_jupyter.ksql.runtime.reports import Reporter
from kalam_jupyter.ksql.runtime.transient import PullQuery, ResultColumn
from kalam_jupyter.ksql.statements.pull_keys import check_key_literals, check_lookups
from kalam_jupyter.ksql.statements.run import Run

if TYPE_CHECKING:
    from kalam_jupyter.ksql.dialect import Ksql

#: What refusals of pull queries end with.
PULL_SUFFIX = (
    " See https://cnfl.io/queries for more info.\nAdd EMIT CHANGES if you intended to issue a push query."
)

#: Parts of an expression whose value needs no row.
_COMPUTABLE = (b.Constant, b.ArithmeticOp, b.Negation, b.Conversion)
#: Keys that are looked up one by one; beyond that the table is scanned.
MAX_LOOKUPS = 10_000


@dataclass(frozen=True)
class PullPlan:
    """How a pull query of a table is answered.

    Attributes
    ----------
    source : Source
    columns : tuple of ResultColumn
    project : callable
        From a source's row, as the layout has it, to the result's.
    predicate : callable or None
        Which of the looked up rows match.
    keys : tuple of tuple, or None
        The keys to look up; None scans the table.
    limit : int or None
    reporter : Reporter
        Takes what failed for single rows to the processing log.
    """

    source: Source
    columns: tuple[ResultColumn, ...]
    project: Callable[[tuple[Any, ...]], tuple[Any, ...]]
    predicate: Callable[[tuple[Any, ...]], bool] | None
    keys: tuple[tuple[Any, ...], ...] | None
    limit: int | None
    reporter: Reporter

    def run(self, ksql: Ksql, text: str) -> PullQuery:
        """Answer the query; the queries that feed the table have caught up."""
        rows = _rows(self._entries(ksql.materializations.of(self.source)), self.predicate, self.project)
        if (reports := self.reporter.drain(ksql.engine.clock.now_ms())) is not None:
            ksql.report(reports)
        query_id = f"query_{time.time_ns() // 1_000_000}"
        return PullQuery(query_id, self.columns, text, rows, self.limit, plan=self)

    def _entries(self, materialization: Materialization) -> Iterable[Entry]:
        """Return the rows that can match: those of the keys, or all."""
        if self.keys is None:
            return materialization.sorted_rows()
        return [e for key in self.keys for e in materialization.get(key)]


def pull_query(run: Run, query: ast.Query, text: str) -> PullQuery:
    """Run a pull query of a table."""
    plan = plan_pull(run, query)
    run.ksql.materializations.settle(plan.source)
    return plan.run(run.ksql, text)


def plan_pull(run: Run, query: ast.Query) -> PullPlan:
    """Plan a pull query of a table.

    Raises
    ------
    StatementError
    """
    scope = Scope.of(query, run.metastore)
    source = scope.sources[0].source
    check_pseudo_columns(query)
    layout = source_layout(source)
    binder = run.planner().binder(layout)
    items = _items(scope, query, binder)
    select = [binder.bind(scope.internal(i.expression)) for i in items]
    columns = _result_columns(source, items, select)
    check_queryable(source)
    predicate, keys = None, None
    reporter = Reporter(f"pull_{source.name}")
    condition = None if query.where is None else scope.internal(scope.qualify(query.where, "WHERE"))
    if condition is not None:
        where = _bind_where(binder, condition)
        predicate = compile_predicate(where, reporter.expression)
        keys = _key_lookups(where, [layout.index[c.name] for c in source.schema.key])
    try:
        check_key_literals(condition, source)
        check_lookups(condition, source, run.config)
    except StatementError as error:
        raise StatementError(error.message + PULL_SUFFIX) from None
    project = compile_projection(select, reporter.expression)
    return PullPlan(source, columns, project, predicate, keys, query.limit, reporter)


def _result_columns(
    source: Source, items: Sequence[NamedItem], select: Sequence[b.Bound]
) -> tuple[ResultColumn, ...]:
    key_names = {c.name for c in source.schema.key}
    if source.window is not None:
        key_names |= {c.name for c in WINDOW_BOUNDS}
    header_marks = _header_marks(source)
    columns = []
    for item, e in zip(items, select, strict=True):
        origin = item.expression.name if isinstance(item.expression, ast.ColumnRef) else None
        columns.append(
            ResultColumn(item.name, typed(e), origin in key_names, header_marks.get(origin or "", ""))
        )
    check_columns(
        [Column(c.name, c.type, True) for c in columns if c.key],
        [Column(c.name, c.type) for c in columns if not c.key],
    )
    return tuple(columns)


def _header_marks(source: Source) -> dict[str, str]:
    """Return how header columns are marked, by their name."""
    return {name: "HEADERS" if key is None else f"HEADER('{key}')" for name, key in source.headers}


def check_queryable(source: Source) -> None:
    """Refuse a table that is not materialized."""
    if source.query_id is None:
        raise StatementError(
            f"The `{source.name}` table isn't queryable. To derive a queryable table, you can do "
            f"'CREATE TABLE QUERYABLE_{source.name} AS SELECT * FROM {source.name}'.{PULL_SUFFIX}"
        )


def check_pseudo_columns(query: ast.Query) -> None:
    """Refuse pseudo columns that a materialization does not keep."""
    for clause, nodes in (
        ("SELECT", query.select),
        ("WHERE", (query.where,) if query.where is not None else ()),
    ):
        used = {
            n.name
            for top in nodes
            for n in ast.walk(top)
            if isinstance(n, ast.ColumnRef) and n.name in PSEUDO_NAMES - {ROWTIME}
        }
        if used:
            names = ", ".join(f"`{n}`" for n in sorted(used))
            raise StatementError(
                f"Pull queries don't support the following columns in {clause} clauses: {names}{PULL_SUFFIX}"
            )


def _items(scope: Scope, query: ast.Query, binder: Binder) -> list[NamedItem]:
    """Expand the SELECT list; ``*`` of a windowed table has the window bounds after the key."""

    def struct_type(e: ast.Expression) -> Struct:
        type_ = binder.type_of(scope.internal(e))
        if not isinstance(type_, Struct):
            raise StatementError(f"Cannot expand `{e}`: it is not a STRUCT but {type_}.")
        return type_

    return scope.expand(query.select, struct_type, window_bounds=True)


def _bind_where(binder: Binder, condition: ast.Expression) -> b.Bound:
    try:
        return bind_predicate(binder, condition, "WHERE")
    except StatementError as error:
        raise StatementError(
            f"{error.message}\nStatement: {condition}", line=error.line, column=error.column
        ) from None


def _key_lookups(where: b.Bound, positions: Sequence[int]) -> tuple[tuple[Any, ...], ...] | None:
    """Return the keys that a conjunction pins down by ``=`` or IN; None if it does not, or to too many."""
    found: dict[int, list[Any]] = {}
    for e in _conjuncts(where):
        match e:
            case b.CompareOp(operator="=", left=b.ColumnValue() as column, right=other, function=None):
                values = _constants((other,))
            case b.CompareOp(operator="=", left=other, right=b.ColumnValue() as column, function=None):
                values = _constants((other,))
            case b.Membership(operand=b.ColumnValue() as column, items=items):
                values = _constants(items)
            case _:
                continue
        if values is not None:
            found.setdefault(column.index, values)
    if not positions or any(p not in found for p in positions):
        return None
    if math.prod(len(found[p]) for p in positions) > MAX_LOOKUPS:
        return None
    keys = itertools.product(*(found[p] for p in positions))
    return tuple(dict.fromkeys(key for key in keys if None not in key))


def _constants(expressions: Sequence[b.Bound]) -> list[Any] | None:
    """Return the values of expressions that need no row; None if one does, or may differ each time."""
    if not all(isinstance(part, _COMPUTABLE) for e in expressions for part in e.walk()):
        return None
    return list(compile_projection(expressions)(()))


def _conjuncts(e: b.Bound) -> Iterable[b.Bound]:
    if isinstance(e, b.Logic) and e.operator == "AND":
        yield from _conjuncts(e.left)
        yield from _conjuncts(e.right)
    else:
        yield e


def _rows(
    entries: Iterable[Entry],
    predicate: Callable[[tuple[Any, ...]], bool] | None,
    project: Callable[[tuple[Any, ...]], tuple[Any, ...]],
) -> list[tuple[Any, ...]]:
    rows = []
    for key, value, ts, window in entries:
        flat = (*value, *key, ts, None, None, *(window or ()))
        if predicate is None or predicate(flat):
            rows.append(project(flat))
    return rows

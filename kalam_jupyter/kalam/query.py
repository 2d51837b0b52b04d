"""SELECT: the simplest queries answered at once (`direct`), all others planned and run by DataFusion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from kalam_jupyter.kalam import direct, rewrite
from kalam_jupyter.kalam.catalog import TableDef, ViewDef
from kalam_jupyter.kalam.errors import StatementError
from kalam_jupyter.kalam.expressions import quote
from kalam_jupyter.kalam.functions import generator_udfs, json_udfs
from kalam_jupyter.kalam.plans import Plan, Plans
from kalam_jupyter.kalam.predicate import ParameterMissingError
from kalam_jupyter.kalam.result import Result
from kalam_jupyter.kalam.scope import Scope
from kalam_jupyter.kalam.sizes import check_answer
from kalam_jupyter.kalam.sql_engine import as_table, engine_errors, run_sql
from kalam_jupyter.kalam.vectors import vector_udfs
from kalam_jupyter.kalam.visible import LiveBatches

if TYPE_CHECKING:
    from datafusion import DataFrame, SessionContext

    from kalam_jupyter.engine.relation import Snapshot
    from kalam_jupyter.kalam.auth import Session
    from kalam_jupyter.kalam.database import Kalam
    from kalam_jupyter.kalam.stopping import Stop

#: Reading this many rows, or combinations of rows, takes so little time that nobody needs to end it early.
_BOUNDED_ROWS = 200_000


class QueryEngine:
    """Runs SELECT for one `Kalam`."""

    def __init__(self, kalam: Kalam) -> None:
        self.kalam = kalam
        self._live = LiveBatches()
        self.plans = Plans(kalam)
        self._udfs: dict[str, Any] | None = None
        self._ordered: dict[tuple[str, str, str], bool] = {}

    def select(
        self,
        session: Session,
        sql: str,
        params: Sequence[Any] = (),
        namespace: str = "default",
        *,
        limit: bool = False,
        stop: Stop | None = None,
    ) -> Result:
        """Run a query.

        Parameters
        ----------
        limit : bool
            Apply the contract's row limits for HTTP clients: 50 without a LIMIT, never more than 1000; and
            to the bytes of the answer, the limit of a query's memory.
        stop : Stop, optional
            Ends it early.

        Raises
        ------
        StatementError
        """
        simple = direct.recognise(sql)
        if simple is not None:
            found = direct.run(self.kalam, session, simple, params, namespace, limit=limit)
            if found is not None:
                return found
            sql = direct.for_the_engine(self.kalam, simple, sql, params, namespace)
        plan = self._known_plan(session, rewrite.prepare(sql), params, namespace, limit)
        found = self._run(plan, session, stop)
        if limit:
            check_answer(found, self.kalam.config.query_memory)
        return Result.of_table(found)

    # ---- the query engine

    def collect(
        self,
        session: Session,
        sql: str,
        params: Sequence[Any] = (),
        namespace: str = "default",
        stop: Stop | None = None,
    ) -> pa.Table:
        """Run a query in full and return Arrow: for INSERT .. SELECT and the like."""
        plan = self._plan(session, rewrite.prepare(sql), params, namespace)
        return self._run(plan, session, stop)

    def _known_plan(
        self,
        session: Session,
        prepared: rewrite.Prepared,
        params: Sequence[Any],
        namespace: str,
        limit: bool,
    ) -> Plan:
        """Return the plan that was made when the same was asked of the same rows, or a new one."""
        text = prepared.fill(session.user_id, session.role)
        if params or len(text) > rewrite.CACHED_TEXT:  # values become part of a plan
            return self._plan(session, prepared, params, namespace, limit=limit)
        key = (text, session.user_id, session.role, namespace, limit)
        plan = self.plans.find(key, session)
        if plan is not None and plan.settled:
            return plan
        if plan is None:
            plan = self._plan(session, prepared, params, namespace, limit=limit)
        else:
            with engine_errors():
                plan = plan.settle()
        self.plans.keep(key, plan)
        return plan

    def _plan(
        self,
        session: Session,
        prepared: rewrite.Prepared,
        params: Sequence[Any],
        namespace: str,
        *,
        limit: bool = False,
    ) -> Plan:
        if prepared.parameters > len(params):
            raise ParameterMissingError(len(params) + 1)
        scope = Scope(self, session, prepared, namespace, params)
        text = prepared.fill(session.user_id, session.role)
        with engine_errors(scope.error):
            return Plan.of(scope, self._frame(scope, prepared, text, params, namespace, limit))

    def _run(self, plan: Plan, session: Session, stop: Stop | None) -> pa.Table:
        frame, bounded = plan.frame, plan.work is not None and plan.work <= _BOUNDED_ROWS
        with engine_errors():
            found = as_table(frame.collect(), frame) if stop is None or bounded else stop.collect(frame)
        return self._finish(found, session)

    def _frame(
        self,
        scope: Scope,
        prepared: rewrite.Prepared,
        text: str,
        params: Sequence[Any],
        namespace: str,
        limit: bool,
    ) -> DataFrame:
        """Plan the text: in key order when it asks for none, and within the limits for HTTP clients."""
        values = {str(i): v for i, v in enumerate(params, 1)}
        frame = self._in_order(scope, prepared, text, values, namespace)
        if not limit:
            return frame
        config = self.kalam.config
        return frame.limit(config.max_query_limit if prepared.has_limit else config.default_query_limit)

    def _in_order(
        self, scope: Scope, prepared: rewrite.Prepared, text: str, values: dict[str, Any], namespace: str
    ) -> DataFrame:
        order = self._default_order(prepared, scope.tables)
        key = (text, namespace, order or "")
        if order is None or not self._ordered.get(key, True):
            return run_sql(scope.context, text, values)
        at = prepared.order_at if prepared.order_at != -1 else rewrite.prepare(text).order_at
        ordered = f"{text[:at]} ORDER BY {quote(order)} ASC NULLS LAST {text[at:]}"
        try:
            with engine_errors():
                return run_sql(scope.context, ordered, values)
        except StatementError:  # the key is not among the output, or is ambiguous: no default order
            frame = run_sql(scope.context, text, values)
            if len(self._ordered) > 4096:
                self._ordered.clear()
            if len(text) <= rewrite.CACHED_TEXT:
                self._ordered[key] = False
            return frame

    @staticmethod
    def _default_order(prepared: rewrite.Prepared, tables: list[TableDef]) -> str | None:
        """Name of the column rows are sorted by when the query does not say: that of the only table's key."""
        if prepared.order_at is None or len(tables) != 1:
            return None
        table = tables[0]
        return "_seq" if table.primary_key is None else table.primary_key.name

    def _finish(self, table: pa.Table, session: Session) -> pa.Table:
        """Name unaliased context functions as the contract does."""
        names = table.column_names
        user, role = f'Utf8("{session.user_id}")', f'Utf8("{session.role}")'
        if user in names or role in names:
            shown = {user: "kdb_current_user()", role: "kdb_current_role()"}
            return table.rename_columns([shown.get(n, n) for n in names])
        return table

    def register_functions(self, context: SessionContext, words: frozenset[str]) -> None:
        """Register our own functions that a text may call."""
        if self._udfs is None:
            self._udfs = {**json_udfs(), **generator_udfs(self.kalam.generators), **vector_udfs()}
        for word in words:
            if (function := self._udfs.get(word)) is not None:
                context.register_udf(function)

    def command(self, session: Session, sql: str, namespace: str, stop: Stop | None = None) -> Result:
        """Run one of the query engine's own commands: EXPLAIN, SHOW ALL, SHOW COLUMNS, DESCRIBE."""
        prepared = replace(rewrite.prepare(sql), uses_information_schema=True, order_at=None)
        return Result.of_table(self._run(self._plan(session, prepared, (), namespace), session, stop))

    def check_view(self, session: Session, view: ViewDef) -> None:
        """Plan a view's query once, so that a mistake is an error now.

        Raises
        ------
        StatementError
        """
        prepared = rewrite.prepare(view.sql)
        scope = Scope(self, session, prepared, view.default_namespace, ())
        with engine_errors(scope.error):
            run_sql(scope.context, prepared.fill(session.user_id, session.role), {})

    @staticmethod
    def cache_size() -> int:
        """Return how many query texts are kept prepared."""
        return rewrite.prepare_cached.cache_info().currsize

    def live_batches(self, table: TableDef, snapshot: Snapshot, *, deleted: bool) -> list[pa.RecordBatch]:
        """Return the rows of a snapshot that readers see."""
        found = self._live.of(table, snapshot.batches(), deleted=deleted)
        if table.ttl_ms is not None:
            oldest = self.kalam.seq_at(self.kalam.engine.clock.now_ms() - table.ttl_ms)
            found = [b.filter(pc.greater_equal(b.column(table.seq_index), oldest)) for b in found]
        return found

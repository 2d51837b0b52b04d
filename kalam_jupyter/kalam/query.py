"""SELECT: the query engine over snapshots, and the direct path for a primary-key lookup.

Every query gets its own session context holding exactly the tables its text could mean and its user may read,
so a query sees one consistent set of snapshots and nothing else: no files, no network, no DDL, no DML.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from kalam_jupyter.kalam import direct, rewrite
from kalam_jupyter.kalam.catalog import TableDef, ViewDef
from kalam_jupyter.kalam.errors import StatementError, classify
from kalam_jupyter.kalam.expressions import quote
from kalam_jupyter.kalam.functions import generator_udfs, json_udfs
from kalam_jupyter.kalam.predicate import ParameterMissingError, parameter
from kalam_jupyter.kalam.result import Result, annotated_schema
from kalam_jupyter.kalam.sql_engine import engine_errors, run_sql
from kalam_jupyter.kalam.tokens import PARAM
from kalam_jupyter.kalam.vectors import vector_udfs

if TYPE_CHECKING:
    from datafusion import DataFrame, SessionContext

    from kalam_jupyter.kalam.auth import Session
    from kalam_jupyter.kalam.database import Kalam
    from kalam_jupyter.kalam.stopping import Stop

_CATALOG = "kalam"
_VIEW_DEPTH = 16
#: Reading this many rows, or combinations of rows, takes so little time that nobody needs to end it early.
_BOUNDED_ROWS = 200_000


class LiveBatches:
    """Snapshots as readers see them: without tombstones, and with fields that say their KalamDB types.

    Chunks of a snapshot stay the same objects while they do not change, so what was made of one is kept
    with it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: dict[tuple[int, bool], tuple[weakref.ref[pa.RecordBatch], pa.RecordBatch]] = {}

    def of(self, table: TableDef, chunks: Sequence[pa.RecordBatch], *, deleted: bool) -> list[pa.RecordBatch]:
        """Return the chunks, without tombstones unless `deleted`."""
        schema = annotated_schema(table)
        return [b for c in chunks if (b := self._one(c, schema, deleted)).num_rows]

    def _one(self, chunk: pa.RecordBatch, schema: pa.Schema, deleted: bool) -> pa.RecordBatch:
        key = (id(chunk), deleted)
        found = self._made.get(key)
        if found is not None and found[0]() is chunk and found[1].schema.equals(schema, check_metadata=True):
            return found[1]
        batch = pa.RecordBatch.from_arrays(chunk.columns, schema=schema)
        flags = chunk.column(chunk.num_columns - 1)
        if not deleted and flags.true_count:
            batch = batch.filter(pc.invert(flags))
        with self._lock:
            self._made[key] = (weakref.ref(chunk, lambda _: self._made.pop(key, None)), batch)
        return batch


class QueryEngine:
    """Runs SELECT for one `Kalam`."""

    def __init__(self, kalam: Kalam) -> None:
        self._kalam = kalam
        self._live = LiveBatches()
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
            Apply the contract's row limits for HTTP clients: 50 without a LIMIT, never more than 1000.
        stop : Stop, optional
            Ends it early.

        Raises
        ------
        StatementError
        """
        simple = direct.recognise(sql)
        if simple is not None:
            found = direct.run(self._kalam, session, simple, params, namespace, limit=limit)
            if found is not None:
                return found
            sql = direct.for_the_engine(self._kalam, simple, sql, params, namespace)
        prepared = rewrite.prepare(sql)
        return Result.of_table(self._collect(session, prepared, params, namespace, limit, stop))

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
        return self._collect(session, rewrite.prepare(sql), params, namespace, False, stop)

    def _collect(
        self,
        session: Session,
        prepared: rewrite.Prepared,
        params: Sequence[Any],
        namespace: str,
        limit: bool,
        stop: Stop | None = None,
    ) -> pa.Table:
        if prepared.parameters > len(params):
            raise ParameterMissingError(len(params) + 1)
        context, filling = self._context(session, prepared, namespace, params)
        text = prepared.fill(session.user_id, session.role)
        values = {str(i): v for i, v in enumerate(params, 1)}
        with engine_errors(lambda error: self._translate(error, filling.denied)):
            frame = self._plan(context, prepared, text, values, namespace, filling.tables)
            if limit:
                config = self._kalam.config
                frame = frame.limit(
                    config.max_query_limit if prepared.has_limit else config.default_query_limit
                )
            work = filling.combinations(prepared, namespace)
            if stop is not None and (work is None or work > _BOUNDED_ROWS):
                return self._finish(stop.collect(frame), session)
            return self._finish(frame.to_arrow_table(), session)

    def _plan(
        self,
        context: SessionContext,
        prepared: rewrite.Prepared,
        text: str,
        values: dict[str, Any],
        namespace: str,
        tables: list[TableDef],
    ) -> DataFrame:
        """Plan the text, in primary-key order when nothing else is asked for."""
        order = self._default_order(prepared, tables)
        key = (text, namespace, order or "")
        if order is not None and self._ordered.get(key, True):
            at = prepared.order_at if prepared.order_at != -1 else rewrite.prepare(text).order_at
            ordered = f"{text[:at]} ORDER BY {quote(order)} ASC NULLS LAST {text[at:]}"
            try:
                with engine_errors():
                    return run_sql(context, ordered, values)
            except StatementError:  # the key is not among the output, or is ambiguous: no default order
                frame = run_sql(context, text, values)
                if len(self._ordered) > 4096:
                    self._ordered.clear()
                if len(text) <= rewrite.CACHED_TEXT:
                    self._ordered[key] = False
                return frame
        return run_sql(context, text, values)

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

    @staticmethod
    def _translate(text: str, denied: dict[str, StatementError]) -> StatementError:
        for name, refusal in denied.items():
            if f"table 'kalam.{name}' not found" in text:
                return refusal
        return classify(text)

    def _context(
        self, session: Session, prepared: rewrite.Prepared, namespace: str, params: Sequence[Any]
    ) -> tuple[SessionContext, _Filling]:
        """Make a session context with the tables the text could mean; also what went into it."""
        from datafusion import RuntimeEnvBuilder, SessionConfig, SessionContext

        config = (
            SessionConfig()
            .with_default_catalog_and_schema(_CATALOG, namespace)
            .with_create_default_catalog_and_schema(True)
            .with_target_partitions(1)
            .with_information_schema(prepared.uses_information_schema)
        )
        memory = self._kalam.config.query_memory
        runtime = RuntimeEnvBuilder().with_fair_spill_pool(memory) if memory else None
        context = SessionContext(config, runtime)
        self._register_functions(context, prepared.functions)
        filling = _Filling(self, context, session, prepared)
        names = prepared.names
        if prepared.uses_information_schema:
            names = tuple((t.namespace, t.name) for t in self._kalam.tables())
        for ns, name in names:
            filling.add(ns or namespace, name)
        for call in prepared.vector_calls:
            filling.add_search(call, params, namespace)
        return context, filling

    def _register_functions(self, context: SessionContext, words: frozenset[str]) -> None:
        if self._udfs is None:
            self._udfs = {**json_udfs(), **generator_udfs(self._kalam.generators), **vector_udfs()}
        for word in words:
            if (function := self._udfs.get(word)) is not None:
                context.register_udf(function)

    def command(self, session: Session, sql: str, namespace: str, stop: Stop | None = None) -> Result:
        """Run one of the query engine's own commands: EXPLAIN, SHOW ALL, SHOW COLUMNS, DESCRIBE."""
        prepared = replace(rewrite.prepare(sql), uses_information_schema=True, order_at=None)
        return Result.of_table(self._collect(session, prepared, (), namespace, False, stop))

    def check_view(self, session: Session, view: ViewDef) -> None:
        """Plan a view's query once, so that a mistake is an error now.

        Raises
        ------
        StatementError
        """
        prepared = rewrite.prepare(view.sql)
        context, filling = self._context(session, prepared, view.default_namespace, ())
        with engine_errors(lambda error: self._translate(error, filling.denied)):
            run_sql(context, prepared.fill(session.user_id, session.role), {})

    @staticmethod
    def cache_size() -> int:
        """Return how many query texts are kept prepared."""
        return rewrite.prepare_cached.cache_info().currsize

    def batches(self, session: Session, table: TableDef, *, deleted: bool) -> list[pa.RecordBatch]:
        """Return the rows of a table that a session sees."""
        kalam = self._kalam
        snapshot = kalam.relation(table).snapshot(kalam.owner(session, table))
        found = self._live.of(table, snapshot.batches(), deleted=deleted)
        if table.ttl_ms is not None:
            oldest = kalam.seq_at(kalam.engine.clock.now_ms() - table.ttl_ms)
            found = [b.filter(pc.greater_equal(b.column(table.seq_index), oldest)) for b in found]
        return found


class _Filling:
    """Registers tables, views and sources in a session context.

    Attributes
    ----------
    denied : dict
        Refusals by qualified name.
    tables : list of TableDef
        The stored tables the query itself names.
    """

    def __init__(
        self, queries: QueryEngine, context: SessionContext, session: Session, prepared: rewrite.Prepared
    ) -> None:
        self._queries, self._kalam = queries, queries._kalam
        self._context, self._session = context, session
        self._deleted = prepared.mentions_deleted
        self._sizes: dict[tuple[str, str], int | None] = {}
        self._seen: set[tuple[str, str]] = set()
        self._schemas: dict[str, Any] = {}
        self._depth = 0
        self.denied: dict[str, StatementError] = {}
        self.tables: list[TableDef] = []

    def add(self, namespace: str, name: str) -> None:
        """Register what `namespace.name` is, if it is anything."""
        if (namespace, name) in self._seen:
            return
        self._seen.add((namespace, name))
        kalam = self._kalam
        table = kalam.find_table(namespace, name)
        if table is not None:
            try:
                kalam.check_read(self._session, table)
            except StatementError as refusal:
                self.denied[table.qualified] = refusal
                return
            self.tables.append(table)
            batches = self._queries.batches(self._session, table, deleted=self._deleted)
            self._register(namespace, name, batches, annotated_schema(table))
            return
        view = kalam.find_view(namespace, name)
        if view is not None:
            try:
                with engine_errors(lambda error: self._queries._translate(error, self.denied)):
                    self._add_view(view)
            except StatementError as refusal:  # it counts only if the query really reads the view
                self.denied[view.qualified] = refusal
            return
        try:
            virtual = kalam.virtual_table(self._session, namespace, name)
        except StatementError as refusal:
            self.denied[f"{namespace}.{name}"] = refusal
            return
        if virtual is not None:
            self._register(namespace, name, virtual.to_batches(), virtual.schema)

    def combinations(self, prepared: rewrite.Prepared, namespace: str) -> int | None:
        """Return how many combinations of rows a query can look at; None when nobody knows."""
        if prepared.references is None:
            return None
        found = 1
        for ns, name in prepared.references:
            size = self._sizes.get((ns or namespace, name))
            if size is None:
                return None
            found *= max(size, 1)
        return found

    def _add_view(self, view: ViewDef) -> None:
        prepared = rewrite.prepare(view.sql)
        if self._depth >= _VIEW_DEPTH:
            raise StatementError("invalid_operation", f"View '{view.qualified}' is nested too deeply")
        self._depth += 1
        before = len(self.tables)
        try:
            for ns, name in prepared.names:
                self.add(ns or view.default_namespace, name)
        finally:
            self._depth -= 1
            del self.tables[before:]  # a view has no primary key to sort by
        text = prepared.fill(self._session.user_id, self._session.role)
        self._queries._register_functions(self._context, prepared.functions)
        frame = run_sql(self._context, text, {})
        if view.columns:
            names = frame.schema().names
            if len(names) != len(view.columns):
                raise StatementError(
                    "invalid_operation",
                    f"View '{view.qualified}' names {len(view.columns)} of {len(names)} columns",
                )
            import datafusion

            pairs = zip(names, view.columns, strict=True)
            frame = frame.select(*[datafusion.col(quote(a)).alias(b) for a, b in pairs])
        self._schema(view.namespace).register_table(view.name, frame.into_view())
        self._sizes[view.namespace, view.name] = self.combinations(prepared, view.default_namespace)

    def add_search(self, call: rewrite.VectorCall, params: Sequence[Any], namespace: str) -> None:
        """Run a `vector_search` and register its rows as the table that stands for it."""
        kalam, (ns, _, name) = self._kalam, call.table.lower().rpartition(".")
        table = kalam.table(ns or namespace, name)
        kalam.check_read(self._session, table)
        query = parameter(params, int(call.query.text[1:])) if call.query.kind == PARAM else call.query.text
        owner = kalam.owner(self._session, table)
        batches = self._queries.batches(self._session, table, deleted=False)
        found = kalam.vectors.search(table, owner, batches, call.column.lower(), query, call.k)
        self._register(namespace, call.name, [found], found.schema)

    def _register(
        self, namespace: str, name: str, batches: Sequence[pa.RecordBatch], schema: pa.Schema
    ) -> None:
        self._schema(namespace)
        self._sizes[namespace, name] = sum(b.num_rows for b in batches)
        if not batches:
            batches = [pa.RecordBatch.from_arrays([pa.array([], type=f.type) for f in schema], schema=schema)]
        self._context.register_record_batches(f"{quote(namespace)}.{quote(name)}", [list(batches)])

    def _schema(self, namespace: str) -> Any:
        from datafusion.catalog import Schema

        found = self._schemas.get(namespace)
        if found is None:
            catalog = self._context.catalog(_CATALOG)
            if namespace not in catalog.names():
                catalog.register_schema(namespace, Schema.memory_schema())
            found = self._schemas[namespace] = catalog.schema(namespace)
        return found

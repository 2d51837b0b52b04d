"""What the names in a query mean to one session, now: tables, views and sources, in a session context of the
query engine.

A context holds exactly the tables that a text could mean and its user may read, so a query sees one
consistent set of snapshots and nothing else: no files, no network, no DDL, no DML.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from kalam_jupyter.kalam import rewrite
from kalam_jupyter.kalam.catalog import VIEW, TableDef, ViewDef
from kalam_jupyter.kalam.errors import StatementError, classify
from kalam_jupyter.kalam.expressions import quote
from kalam_jupyter.kalam.predicate import parameter
from kalam_jupyter.kalam.result import annotated_schema
from kalam_jupyter.kalam.sql_engine import engine_errors, run_sql
from kalam_jupyter.kalam.tokens import PARAM

if TYPE_CHECKING:
    from datafusion import SessionContext

    from kalam_jupyter.engine.relation import Snapshot
    from kalam_jupyter.kalam.auth import Session
    from kalam_jupyter.kalam.query import QueryEngine

_CATALOG = "kalam"
_VIEW_DEPTH = 16


class Scope:
    """A session context with what a query's names mean.

    Attributes
    ----------
    context : SessionContext
    denied : dict
        Refusals by qualified name.
    tables : list of TableDef
        The stored tables the query itself names.
    read : list of (TableDef, Snapshot)
        The stored tables that are there, whether the query or a view names them.
    views : list of (qualified name, catalogue value)
    lasting : bool
        Whether `read` and `views` settle all there is: no system table, no clock.
    size : int
        Bytes of the rows.
    """

    def __init__(
        self,
        queries: QueryEngine,
        session: Session,
        prepared: rewrite.Prepared,
        namespace: str,
        params: Sequence[Any],
    ) -> None:
        self._queries, self._kalam, self._session = queries, queries.kalam, session
        self._prepared, self._namespace = prepared, namespace
        self._sizes: dict[tuple[str, str], int | None] = {}
        self._seen: set[tuple[str, str]] = set()
        self._schemas: dict[str, Any] = {}
        self._depth = 0
        self.denied: dict[str, StatementError] = {}
        self.tables: list[TableDef] = []
        self.read: list[tuple[TableDef, Snapshot]] = []
        self.views: list[tuple[str, Any]] = []
        self.lasting = not (prepared.changing or prepared.uses_information_schema or prepared.vector_calls)
        self.size = 0
        self.context = self._new_context()
        queries.register_functions(self.context, prepared.functions)
        for ns, name in prepared.names:
            self._add(ns or namespace, name)
        if prepared.uses_information_schema:
            self._add_all()
        for call in prepared.vector_calls:
            self._add_search(call, params)

    def _new_context(self) -> SessionContext:
        from datafusion import RuntimeEnvBuilder, SessionConfig, SessionContext

        config = (
            SessionConfig()
            .with_default_catalog_and_schema(_CATALOG, self._namespace)
            .with_create_default_catalog_and_schema(True)
            .with_target_partitions(1)
            .with_information_schema(self._prepared.uses_information_schema)
            # with it, ORDER BY .. LIMIT over groups leaves out those whose key or aggregate is NULL
            .set("datafusion.optimizer.enable_topk_aggregation", "false")
        )
        memory = self._kalam.config.query_memory
        return SessionContext(config, RuntimeEnvBuilder().with_fair_spill_pool(memory) if memory else None)

    def error(self, text: str) -> StatementError:
        """Return what an error text of the query engine means: a table that is not here may be denied."""
        for name, refusal in self.denied.items():
            if f"table '{_CATALOG}.{name}' not found" in text:
                return refusal
        return classify(text)

    def combinations(self) -> int | None:
        """Return how many combinations of rows the query can look at; None when nobody knows."""
        return self._combinations(self._prepared, self._namespace)

    def _combinations(self, prepared: rewrite.Prepared, namespace: str) -> int | None:
        if prepared.references is None:
            return None
        found = 1
        for ns, name in prepared.references:
            size = self._sizes.get((ns or namespace, name))
            if size is None:
                return None
            found *= max(size, 1)
        return found

    # ---- what goes into it

    def _add(self, namespace: str, name: str) -> None:
        """Register what `namespace.name` is, if it is anything."""
        if (namespace, name) in self._seen:
            return
        self._seen.add((namespace, name))
        kalam, qualified = self._kalam, f"{namespace}.{name}"
        table = kalam.find_table(namespace, name)
        if table is not None:
            self._add_table(table)
            return
        view = kalam.find_view(namespace, name)
        if view is not None:
            self.views.append((qualified, kalam.engine.catalogue.get(VIEW, qualified)))
            try:
                with engine_errors(self.error):
                    self._add_view(view)
            except StatementError as refusal:  # it counts only if the query really reads the view
                self.denied[qualified] = refusal
            return
        try:
            virtual = kalam.virtual_table(self._session, namespace, name)
        except StatementError as refusal:
            self.denied[qualified] = refusal
            return
        if virtual is not None:
            self.lasting = False
            self._register(namespace, name, virtual.to_batches(), virtual.schema)

    def _add_all(self) -> None:
        """Register whatever the information schema may tell of; nobody reads rows of the system's tables."""
        kalam = self._kalam
        for table in kalam.tables():
            with suppress(StatementError):  # dropped meanwhile
                self._add(table.namespace, table.name)
        for view in kalam.views():
            self._add(view.namespace, view.name)
        for name in kalam.system.names() if self._session.is_admin else ():
            if ("system", name) not in self._seen:
                self._register("system", name, [], kalam.system.schema(name))

    def _add_table(self, table: TableDef) -> None:
        kalam, session = self._kalam, self._session
        try:
            kalam.check_read(session, table)
        except StatementError as refusal:
            self.denied[table.qualified] = refusal
            return
        table, snapshot = kalam.current(table, kalam.owner(session, table))
        self.tables.append(table)
        self.read.append((table, snapshot))
        self.lasting = self.lasting and table.ttl_ms is None
        batches = self._queries.live_batches(table, snapshot, deleted=self._prepared.mentions_deleted)
        self._register(table.namespace, table.name, batches, annotated_schema(table))

    def _add_view(self, view: ViewDef) -> None:
        prepared = rewrite.prepare(view.sql)
        if self._depth >= _VIEW_DEPTH:
            raise StatementError("invalid_operation", f"View '{view.qualified}' is nested too deeply")
        self.lasting = self.lasting and not prepared.changing
        self._depth += 1
        before = len(self.tables)
        try:
            for ns, name in prepared.names:
                self._add(ns or view.default_namespace, name)
        finally:
            self._depth -= 1
            del self.tables[before:]  # a view has no primary key to sort by
        text = prepared.fill(self._session.user_id, self._session.role)
        self._queries.register_functions(self.context, prepared.functions)
        frame = run_sql(self.context, text, {})
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
        self._sizes[view.namespace, view.name] = self._combinations(prepared, view.default_namespace)

    def _add_search(self, call: rewrite.VectorCall, params: Sequence[Any]) -> None:
        """Run a `vector_search` and register its rows as the table that stands for it."""
        kalam, (ns, _, name) = self._kalam, call.table.lower().rpartition(".")
        table = kalam.table(ns or self._namespace, name)
        kalam.check_read(self._session, table)
        query = parameter(params, int(call.query.text[1:])) if call.query.kind == PARAM else call.query.text
        owner = kalam.owner(self._session, table)
        table, snapshot = kalam.current(table, owner)
        batches = self._queries.live_batches(table, snapshot, deleted=False)
        found = kalam.vectors.search(table, owner, batches, call.column.lower(), query, call.k)
        self._register(self._namespace, call.name, [found], found.schema)

    def _register(
        self, namespace: str, name: str, batches: Sequence[pa.RecordBatch], schema: pa.Schema
    ) -> None:
        self._schema(namespace)
        self._sizes[namespace, name] = sum(b.num_rows for b in batches)
        self.size += sum(b.nbytes for b in batches)
        if not batches:
            batches = [pa.RecordBatch.from_arrays([pa.array([], type=f.type) for f in schema], schema=schema)]
        self.context.register_record_batches(f"{quote(namespace)}.{quote(name)}", [list(batches)])

    def _schema(self, namespace: str) -> Any:
        from datafusion.catalog import Schema

        found = self._schemas.get(namespace)
        if found is None:
            catalog = self.context.catalog(_CATALOG)
            if namespace not in catalog.names():
                catalog.register_schema(namespace, Schema.memory_schema())
            found = self._schemas[namespace] = catalog.schema(namespace)
        return found

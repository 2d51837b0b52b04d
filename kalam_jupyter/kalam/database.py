"""`Kalam`: the KalamDB dialect on an engine. Holds the parts together; the work is in the modules it
names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kalam_jupyter.engine import Engine, Relation, Snapshot
from kalam_jupyter.engine.errors import NotFoundError
from kalam_jupyter.engine.ids import KALAM_EPOCH_MS, Snowflake
from kalam_jupyter.engine.transaction import Transaction
from kalam_jupyter.kalam import access
from kalam_jupyter.kalam.audit import Audit
from kalam_jupyter.kalam.auth import Auth, Session
from kalam_jupyter.kalam.backup import Backups
from kalam_jupyter.kalam.bootstrap import first_boot
from kalam_jupyter.kalam.catalog import TABLE, VIEW, TableDef, ViewDef
from kalam_jupyter.kalam.config import KalamConfig
from kalam_jupyter.kalam.context import Context
from kalam_jupyter.kalam.errors import StatementError
from kalam_jupyter.kalam.execute import Executor
from kalam_jupyter.kalam.exports import Exports
from kalam_jupyter.kalam.files import Files, Incoming, Upload
from kalam_jupyter.kalam.functions import Generators
from kalam_jupyter.kalam.jobs import Jobs
from kalam_jupyter.kalam.live import LiveQueries
from kalam_jupyter.kalam.live_query import LiveQuery
from kalam_jupyter.kalam.names import SYSTEM_NAMESPACES
from kalam_jupyter.kalam.query import QueryEngine
from kalam_jupyter.kalam.result import Result
from kalam_jupyter.kalam.segments import Segments
from kalam_jupyter.kalam.statements.nodes import Name
from kalam_jupyter.kalam.stopping import Stop
from kalam_jupyter.kalam.storage import Storages
from kalam_jupyter.kalam.system import SystemTables
from kalam_jupyter.kalam.topics import Topics
from kalam_jupyter.kalam.vectors import VectorSearch
from kalam_jupyter.kalam.visible import SmallTables

_ROLES = ("user", "service", "dba", "system")


class Kalam:
    """KalamDB on an engine.

    Parameters
    ----------
    engine : Engine
    config : KalamConfig, optional

    Attributes
    ----------
    auth : Auth
        Users, logins and tokens.
    live : LiveQueries
    topics : Topics
        Consuming and acknowledging.
    jobs : Jobs
    storages : Storages
    """

    def __init__(self, engine: Engine, config: KalamConfig | None = None) -> None:
        self.engine = engine
        self.config = config or KalamConfig()
        self.cache: dict[Any, Any] = {}
        self._definitions: dict[str, tuple[Any, TableDef]] = {}
        self._evicted: dict[tuple[str, str], int] = {}
        self.seqs = Snowflake(engine.clock, KALAM_EPOCH_MS, self.config.node_id)
        self.generators = Generators(engine.clock)
        self.audit = Audit(engine)
        self.auth = Auth(engine, self.config, self.audit)
        self.jobs = Jobs(engine, self.config.node_id)
        self.storages = Storages(self)
        first_boot(self)
        self.seqs.advance_past(self._newest_seq())
        self.vectors = VectorSearch(self.storages.base / "vectors" if self.storages.has_base else None)
        self.queries = QueryEngine(self)
        self.small_tables = SmallTables()
        self.topics = Topics(self)
        self.live = LiveQueries(self)
        self.segments = Segments(self)
        self.files = Files(self)
        self.exports = Exports(self)
        self.backups = Backups(self)
        self.system = SystemTables(self)
        self.executor = Executor(self)

    # ---- the interface

    def session(self, user_id: str) -> Session:
        """Return a trusted session of a user, in process: no password is asked.

        Raises
        ------
        KalamError
            If there is no such user.
        """
        return self.auth.session(user_id)

    def execute(
        self,
        session: Session,
        sql: str,
        *,
        params: Sequence[Any] = (),
        namespace: str = "default",
        limit: bool = False,
        stop: Stop | None = None,
    ) -> list[Result]:
        """Run one or more statements.

        Parameters
        ----------
        params : sequence
            Values of ``$1``, ``$2``, ...; one statement only.
        namespace : str
            Where unqualified names are looked up.
        limit : bool
            Cut SELECT results at the row limits for HTTP clients.
        stop : Stop, optional
            Ends the request early.

        Raises
        ------
        KalamError
        """
        return self.executor.execute(session, sql, params, namespace, limit=limit, stop=stop)

    def subscribe(
        self,
        session: Session,
        sql: str,
        options: Any = None,
        *,
        subscription_id: str | None = None,
        connection_id: str | None = None,
    ) -> LiveQuery:
        """Open a live query; see `LiveQueries.subscribe`."""
        return self.live.subscribe(
            session, sql, options, subscription_id=subscription_id, connection_id=connection_id
        )

    def execute_upload(
        self,
        session: Session,
        sql: str,
        *,
        params: Sequence[Any] = (),
        namespace: str = "default",
        files: Mapping[str, Upload | Incoming],
    ) -> list[Result]:
        """Run a statement whose FILE() placeholders stand for uploaded files; see `Files.execute`."""
        return self.files.execute(session, sql, files, params, namespace)

    def read_file(
        self,
        session: Session,
        namespace: str,
        table: str,
        subfolder: str,
        file_id: str,
        *,
        user_id: str | None = None,
    ) -> tuple[str, bytes]:
        """Return the stored name and the bytes of a file; `Files.open` gives a handle to read parts of it."""
        name, source = self.files.open(session, namespace, table, subfolder, file_id, user_id=user_id)
        with source:
            return name, source.read()

    def read_export(self, session: Session, user_id: str, export_id: str) -> bytes:
        """Return the bytes of a finished export; `Exports.open` gives its path."""
        return self.exports.open(session, user_id, export_id).read_bytes()

    def close(self) -> None:
        """End live queries and jobs. The engine stays open."""
        self.live.close()
        self.segments.close()
        self.jobs.close()
        self.vectors.close()
        self.storages.close()

    # ---- tables and views

    def find_table(self, namespace: str, name: str) -> TableDef | None:
        """Return a table's current definition; inside a transaction, the one it has made."""
        qualified = f"{namespace}.{name}"
        value = self.engine.catalogue.get(TABLE, qualified)
        if value is None:
            return None
        found = self._definitions.get(qualified)
        if found is None or found[0] is not value:
            found = self._definitions[qualified] = (value, TableDef.from_json(value))
        return found[1]

    def table(self, namespace: str, name: str) -> TableDef:
        """Return a table's definition; StatementError if there is none."""
        found = self.find_table(namespace, name)
        if found is None:
            raise StatementError("not_found", f"Table {namespace}.{name} not found")
        return found

    def tables(self, namespace: str | None = None) -> list[TableDef]:
        """Return all tables, or those of a namespace, by name."""
        found = []
        for qualified in self.engine.catalogue.names(TABLE):
            ns, _, name = qualified.partition(".")
            if (namespace is None or ns == namespace) and (table := self.find_table(ns, name)) is not None:
                found.append(table)
        return found

    def forget_table(self, table: TableDef) -> None:
        """Drop what is cached of a table that is gone."""
        self._definitions.pop(table.qualified, None)
        self.cache.pop(("sources", table.qualified), None)
        self.live.table_altered(table)
        self.vectors.forget(table)
        self.segments.forget(table)
        for key in [key for key in self._evicted if key[0] == table.relation]:
            self._evicted.pop(key, None)

    def relation(self, table: TableDef) -> Relation:
        """Return the relation that holds a table's rows."""
        try:
            return self.engine.relation(table.relation)
        except NotFoundError:
            raise StatementError("not_found", f"Table {table.qualified} not found") from None

    def current(self, table: TableDef, owner: str) -> tuple[TableDef, Snapshot]:
        """Return a table's definition and an owner's rows, both as they are now: others may be altering it.

        Raises
        ------
        StatementError
            If it is gone, or another of its name has taken its place.
        """
        with self.engine.lock:
            found = self.find_table(table.namespace, table.name)
            if found is None or found.incarnation != table.incarnation:
                raise StatementError("not_found", f"Table {table.qualified} not found")
            return found, self.relation(found).snapshot(owner)

    def find_view(self, namespace: str, name: str) -> ViewDef | None:
        """Return a view."""
        value = self.engine.catalogue.get(VIEW, f"{namespace}.{name}")
        return None if value is None else ViewDef.from_json(value)

    def views(self) -> list[ViewDef]:
        """Return all views, by name."""
        return [ViewDef.from_json(value) for _, value in self.engine.catalogue.items(VIEW)]

    def virtual_table(self, session: Session, namespace: str, name: str) -> pa.Table | None:
        """Return a system table or another dialect's source as Arrow, or None.

        Raises
        ------
        StatementError
            If the session may not read it.
        """
        if namespace == "system" and self.system.has(name):
            access.check_system_read(session, f"system.{name}")
            return self.system.table(name)
        source = self.engine.sources.get(namespace)
        if source is None or source.schema(name) is None:
            return None
        self.check_source(session, namespace, name)
        return source.table(name)

    def check_source(self, session: Session, namespace: str, name: str) -> None:
        """Raise `StatementError` unless the session may read another dialect's source."""
        if _ROLES.index(session.role) < _ROLES.index(self.config.ksql_role):
            raise StatementError(
                "permission_denied",
                f"Access denied: Role '{access.role_name(session.role)}' cannot access table "
                f"'{namespace}.{name}'",
            )

    # ---- rows

    def owners(self, table: TableDef) -> list[str]:
        """Return whose row sets a table has: the owner of those of a shared table is the empty string."""
        return self.relation(table).owners() if table.owned else [""]

    def owner(self, session: Session, table: TableDef) -> str:
        """Return whose rows of a table a session means."""
        return session.user_id if table.owned else ""

    def check_read(self, session: Session, table: TableDef) -> None:
        """Raise `StatementError` unless the session may read the table."""
        access.check_read(session, table)

    def writable(self, ctx: Context, name: Name, operation: str) -> TableDef:
        """Return the table a DML statement changes.

        Raises
        ------
        StatementError
            If it does not exist, or may not be written.
        """
        namespace, table_name = (name[0] or ctx.namespace), name[1]
        if namespace in SYSTEM_NAMESPACES:
            access.check_block(ctx.session, "system")
            raise StatementError(
                "invalid_operation",
                f"Cannot {operation} system table '{namespace}.{table_name}'",
            )
        table = self.find_table(namespace, table_name)
        if table is None:
            what = f"Error during planning: table 'kalam.{namespace}.{table_name}' not found"
            if self.find_view(namespace, table_name) is not None or namespace in self.engine.sources:
                raise StatementError(
                    "invalid_operation", f"Cannot {operation} '{namespace}.{table_name}': it is read only"
                )
            raise StatementError("table_not_found", what)
        access.check_write(ctx.session, table)
        return table

    def charge(self, ctx: Context, rows: Sequence[Sequence[Any]]) -> None:
        """Count what an explicit transaction buffers."""
        if ctx.block is not None:
            size = sum(len(v) if isinstance(v, (str, bytes)) else 8 for row in rows for v in row)
            ctx.block.charge(size, self.config.transaction_buffer_limit)

    def seq_at(self, ms: int) -> int:
        """Return the smallest `_seq` a row written at this time can have."""
        return max(0, ms - KALAM_EPOCH_MS) << 22

    def evict(self, tx: Transaction, table: TableDef, owner: str) -> None:
        """Remove a stream's expired rows, now and then: as part of a write, so that streams nobody
        writes cost nothing."""
        ttl = table.ttl_ms
        if ttl is None:
            return
        key = (table.relation, owner)
        if tx.now_ms - self._evicted.get(key, 0) < min(max(ttl // 8, 100), 60_000):
            return
        self._evicted[key] = tx.now_ms
        oldest = self.seq_at(tx.now_ms - ttl)
        gone: list[tuple[Any, ...]] = []
        for batch in self.relation(table).snapshot(owner).batches():
            column = batch.column(table.seq_index)
            gone += [(s,) for s in column.filter(pc.less(column, oldest)).to_pylist()]
        if gone:
            tx.delete(table.relation, gone, owner=owner)

    def _newest_seq(self) -> int:
        """The greatest `_seq` there is: sequences go on after a restart even if the clock went back."""
        newest = 0
        for table in self.tables():
            relation = self.relation(table)
            for owner in self.owners(table):
                for batch in relation.snapshot(owner).batches():
                    newest = max(newest, pc.max(batch.column(table.seq_index)).as_py() or 0)
        return newest

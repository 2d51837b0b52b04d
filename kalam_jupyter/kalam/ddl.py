"""Namespaces, tables and views: the handlers of their statements; `alter_table` has those of ALTER TABLE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kalam_jupyter.engine import Transaction
from kalam_jupyter.engine.errors import EngineError
from kalam_jupyter.kalam import access, names
from kalam_jupyter.kalam.catalog import (
    FILES,
    MANIFEST,
    NAMESPACE,
    STORAGE,
    TABLE,
    TABLE_HISTORY,
    TOPIC,
    VIEW,
    TableDef,
    ViewDef,
)
from kalam_jupyter.kalam.context import Change
from kalam_jupyter.kalam.errors import StatementError
from kalam_jupyter.kalam.result import Result
from kalam_jupyter.kalam.statements import nodes
from kalam_jupyter.kalam.storage import manifest_key
from kalam_jupyter.kalam.topic_statements import remove_topic

if TYPE_CHECKING:
    from kalam_jupyter.kalam.context import Context
    from kalam_jupyter.kalam.database import Kalam


# ---- namespaces --------------------------------------------------------------------------------------------


def create_namespace(kalam: Kalam, ctx: Context, st: nodes.CreateNamespace) -> Change[str]:
    """CREATE NAMESPACE."""
    name = st.name.lower()
    if name not in names.BUILTIN_NAMESPACES:
        name = names.check_namespace(st.name)

    def apply(tx: Transaction) -> str:
        if tx.get(NAMESPACE, name) is not None:
            if st.if_not_exists:
                return f"Namespace '{name}' already exists"
            raise StatementError("already_exists", f"Namespace '{name}' already exists")
        tx.put(NAMESPACE, name, {"name": name, "created_at": tx.now_ms, "options": {}})
        return f"Namespace '{name}' created successfully"

    return Change.said(apply)


def _not_system(namespace: str, operation: str, what: str) -> None:
    """Raise `StatementError` for what is in, or is, a namespace of the system."""
    if namespace in names.SYSTEM_NAMESPACES:
        raise StatementError(
            "invalid_operation",
            f"Cannot {operation} system {what}. System tables are managed internally.",
        )


def drop_namespace(kalam: Kalam, ctx: Context, st: nodes.DropNamespace) -> Change[str]:
    """DROP NAMESPACE, with everything in it."""
    _not_system(st.name, "drop", f"namespace '{st.name}'")

    def apply(tx: Transaction) -> str:
        if tx.get(NAMESPACE, st.name) is None:
            if st.if_exists:
                return f"Namespace '{st.name}' does not exist"
            raise StatementError("not_found", f"Namespace '{st.name}' not found")
        if st.name in names.BUILTIN_NAMESPACES:
            raise StatementError("invalid_operation", f"Namespace '{st.name}' is reserved and cannot be used")
        for table in kalam.tables(st.name):
            remove_table(kalam, tx, table)
        tx.remove(NAMESPACE, st.name)
        for view in kalam.views():
            if view.namespace == st.name:
                tx.remove(VIEW, view.qualified)
        for topic in kalam.engine.catalogue.names(TOPIC):
            if topic.partition(".")[0].lower() == st.name:
                remove_topic(kalam, tx, topic)
        return f"Namespace '{st.name}' dropped successfully"

    return Change.said(apply)


def alter_namespace(kalam: Kalam, ctx: Context, st: nodes.AlterNamespace) -> Change[None]:
    """ALTER NAMESPACE .. SET OPTIONS."""
    _not_system(st.name, "alter", f"namespace '{st.name}'")

    def apply(tx: Transaction) -> None:
        found = tx.get(NAMESPACE, st.name)
        if found is None:
            raise StatementError("not_found", f"Namespace '{st.name}' not found")
        tx.put(NAMESPACE, st.name, {**found, "options": {**found["options"], **st.options}})

    return Change(apply, lambda _: Result.say(f"Namespace '{st.name}' altered successfully"))


def use_namespace(kalam: Kalam, ctx: Context, st: nodes.UseNamespace) -> Result:
    """USE: for the rest of the request."""
    known = st.name in names.SYSTEM_NAMESPACES or st.name in kalam.engine.sources
    if not known and kalam.engine.catalogue.get(NAMESPACE, st.name) is None:
        raise StatementError("not_found", f"Namespace '{st.name}' does not exist")
    ctx.namespace = st.name
    return Result.say(f"Namespace switched to '{st.name}'")


# ---- tables ------------------------------------------------------------------------------------------------


def target(ctx: Context, name: nodes.Name, operation: str) -> tuple[str, str]:
    """Return namespace and name of what a statement changes.

    Raises
    ------
    StatementError
        If it is a system table.
    """
    namespace = (name[0] or ctx.namespace).lower()
    _not_system(namespace, operation, f"table '{namespace}.{name[1].lower()}'")
    return namespace, name[1].lower()


_TYPE_OPTIONS = {
    "user": {"storage_id", "use_user_storage", "flush_policy", "compression", "deleted_retention_hours"},
    "shared": {"storage_id", "access_level", "flush_policy", "compression", "deleted_retention_hours"},
    "stream": {"ttl_seconds", "storage_id"},
}


def _options(kind: str, given: dict[str, Any]) -> dict[str, Any]:
    """Check a table's options against its type and fill in what is not said."""
    for name in given:
        if name not in _TYPE_OPTIONS[kind]:
            raise StatementError(
                "invalid_operation", f"{name.upper()} is not supported for {kind.upper()} tables"
            )
    if kind == "stream":
        ttl = given.get("ttl_seconds")
        if ttl is None:
            raise StatementError("invalid_operation", "STREAM tables require TTL_SECONDS")
        if ttl < 1:
            raise StatementError("invalid_operation", "TTL_SECONDS must be at least 1")
        return {
            "ttl_seconds": ttl,
            "eviction_strategy": "time_based",
            "max_stream_size_bytes": 0,
            "compression": "none",
        }
    base: dict[str, Any] = {"storage_id": "local", "flush_policy": None, "compression": "snappy"}
    base.update({"use_user_storage": False} if kind == "user" else {"access_level": "private"})
    base.update(given)
    return base


def create_table(kalam: Kalam, ctx: Context, st: nodes.CreateTable) -> Change[None]:
    """CREATE TABLE."""
    namespace, name = target(ctx, st.table, "create")
    if (problem := names.name_problem(st.table[1])) is not None:
        raise StatementError("invalid_operation", problem)
    kind = st.type
    if kind is None:
        own = ctx.session.role in ("user", "service") and namespace == ctx.session.user_id
        kind = "user" if own else "shared"
    access.check_create(ctx.session, kind)
    done = f"CREATE TABLE via Raft consensus: {kind} table {namespace}.{name} created successfully"
    options = _options(kind, st.options)
    key = next((c for c in st.columns if c.primary_key), None)
    if key is None and kind != "stream":
        raise StatementError("invalid_operation", f"{kind.capitalize()} tables require a PRIMARY KEY column")

    def apply(tx: Transaction) -> None:
        if tx.get(NAMESPACE, namespace) is None:
            raise StatementError(
                "invalid_operation",
                f"Namespace '{namespace}' does not exist. Create it first with CREATE NAMESPACE {namespace}",
            )
        if kalam.find_table(namespace, name) is not None:
            if st.if_not_exists:
                return
            raise StatementError("already_exists", f"Table {namespace}.{name} already exists")
        if kalam.find_view(namespace, name) is not None:
            raise StatementError("already_exists", f"View {namespace}.{name} already exists")
        storage = options.get("storage_id", "local")
        if tx.get(STORAGE, storage) is None:
            raise StatementError("invalid_operation", f"Storage '{storage}' does not exist")
        table = TableDef(
            namespace,
            name,
            kind,  # type: ignore[arg-type]
            st.columns,
            options=options,
            created_at=tx.now_ms,
            updated_at=tx.now_ms,
            incarnation=tx.position,
        )
        kalam.topics.check_sources(table)
        try:
            tx.create_relation(table.relation, table.schema, owned=table.owned)
        except EngineError as error:
            raise StatementError("invalid_operation", str(error)) from None
        tx.put(TABLE, table.qualified, table.to_json())

    return Change(apply, lambda _: Result.say(done))


def remove_table(kalam: Kalam, tx: Transaction, table: TableDef) -> str:
    """Drop a table with its rows and history inside a transaction.

    Returns
    -------
    str
        Id of the job that removes its segments and files from the storage.
    """
    owners = list(dict.fromkeys([*kalam.owners(table), *kalam.storages.owners(table)]))
    tx.on_commit(lambda: kalam.forget_table(table))
    job = kalam.segments.start_cleanup(tx, table, owners)
    tx.drop_relation(table.relation)
    tx.remove(TABLE, table.qualified)
    for version in range(1, table.version):
        tx.remove(TABLE_HISTORY, table.version_name(version))
    tx.remove(FILES, f"count:{table.qualified}")
    for owner in owners:
        tx.remove(MANIFEST, manifest_key(table, owner))
    return job


def drop_table(kalam: Kalam, ctx: Context, st: nodes.DropTable) -> Change[str]:
    """DROP TABLE."""
    namespace, name = target(ctx, st.table, "drop")
    access.require_admin(ctx.session, "DROP TABLE")

    def apply(tx: Transaction) -> str:
        table = kalam.find_table(namespace, name)
        if table is None:
            if st.if_exists:
                return f"Table {namespace}.{name} does not exist (skipped)"
            raise StatementError("not_found", f"Table '{name}' not found in namespace '{namespace}'")
        job = remove_table(kalam, tx, table)
        return f"Table {namespace}.{name} dropped successfully. Cleanup job: {job}"

    return Change.said(apply)


def create_view(kalam: Kalam, ctx: Context, st: nodes.CreateView) -> Result:
    """CREATE VIEW."""
    access.require_admin(ctx.session, "CREATE VIEW")
    namespace, name = target(ctx, st.view, "create")
    if kalam.engine.catalogue.get(NAMESPACE, namespace) is None:
        raise StatementError("invalid_operation", f"Namespace '{namespace}' does not exist")
    if (problem := names.name_problem(name)) is not None:
        raise StatementError("invalid_operation", problem)
    if kalam.find_table(namespace, name) is not None:
        raise StatementError("already_exists", f"Table {namespace}.{name} already exists")
    if kalam.find_view(namespace, name) is not None and not st.or_replace:
        raise StatementError("already_exists", f"View {namespace}.{name} already exists")
    columns = tuple(c.lower() for c in st.columns)
    view = ViewDef(namespace, name, st.query, columns, kalam.engine.clock.now_ms(), ctx.namespace)
    kalam.queries.check_view(ctx.session, view)
    ctx.run(lambda tx: tx.put(VIEW, view.qualified, view.to_json()))
    return Result.say(f"View {view.qualified} created successfully")


def drop_view(kalam: Kalam, ctx: Context, st: nodes.DropView) -> Change[str]:
    """DROP VIEW."""
    access.require_admin(ctx.session, "DROP VIEW")
    namespace, name = target(ctx, st.view, "drop")

    def apply(tx: Transaction) -> str:
        view = kalam.find_view(namespace, name)
        if view is None:
            if st.if_exists:
                return f"View {namespace}.{name} does not exist (skipped)"
            raise StatementError("not_found", f"View '{name}' not found in namespace '{namespace}'")
        tx.remove(VIEW, view.qualified)
        return f"View {view.qualified} dropped successfully"

    return Change.said(apply)


HANDLERS: dict[type[nodes.Statement], Any] = {
    nodes.CreateNamespace: create_namespace,
    nodes.DropNamespace: drop_namespace,
    nodes.AlterNamespace: alter_namespace,
    nodes.UseNamespace: use_namespace,
    nodes.CreateTable: create_table,
    nodes.DropTable: drop_table,
    nodes.CreateView: create_view,
    nodes.DropView: drop_view,
}

"""Namespaces, tables and views: the handlers of their statements."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from kalam_jupyter.engine import Constant, Transaction
from kalam_jupyter.engine.errors import EngineError
from kalam_jupyter.kalam import access, names
from kalam_jupyter.kalam.catalog import (
    FILES,
    MANIFEST,
    NAMESPACE,
    STORAGE,
    TABLE,
    TABLE_HISTORY,
    VIEW,
    ColumnDef,
    TableDef,
    ViewDef,
)
from kalam_jupyter.kalam.dml import default
from kalam_jupyter.kalam.errors import StatementError
from kalam_jupyter.kalam.jobs import Job
from kalam_jupyter.kalam.result import Result
from kalam_jupyter.kalam.segments import delete_tree
from kalam_jupyter.kalam.statements import nodes
from kalam_jupyter.kalam.storage import manifest_key
from kalam_jupyter.kalam.types import coercer, sql_type

if TYPE_CHECKING:
    from kalam_jupyter.kalam.context import Context
    from kalam_jupyter.kalam.database import Kalam


# ---- namespaces --------------------------------------------------------------------------------------------


def create_namespace(kalam: Kalam, ctx: Context, st: nodes.CreateNamespace) -> Result:
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

    return Result.say(ctx.run(apply))


def drop_namespace(kalam: Kalam, ctx: Context, st: nodes.DropNamespace) -> Result:
    """DROP NAMESPACE, with everything in it."""

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
        return f"Namespace '{st.name}' dropped successfully"

    return Result.say(ctx.run(apply))


def alter_namespace(kalam: Kalam, ctx: Context, st: nodes.AlterNamespace) -> Result:
    """ALTER NAMESPACE .. SET OPTIONS."""

    def apply(tx: Transaction) -> None:
        found = tx.get(NAMESPACE, st.name)
        if found is None:
            raise StatementError("not_found", f"Namespace '{st.name}' not found")
        tx.put(NAMESPACE, st.name, {**found, "options": {**found["options"], **st.options}})

    ctx.run(apply)
    return Result.say(f"Namespace '{st.name}' altered successfully")


def use_namespace(kalam: Kalam, ctx: Context, st: nodes.UseNamespace) -> Result:
    """USE: for the rest of the request."""
    known = st.name in names.SYSTEM_NAMESPACES or st.name in kalam.engine.sources
    if not known and kalam.engine.catalogue.get(NAMESPACE, st.name) is None:
        raise StatementError("not_found", f"Namespace '{st.name}' does not exist")
    ctx.namespace = st.name
    return Result.say(f"Namespace switched to '{st.name}'")


# ---- tables ------------------------------------------------------------------------------------------------


def _target(ctx: Context, name: nodes.Name, operation: str) -> tuple[str, str]:
    namespace = (name[0] or ctx.namespace).lower()
    if namespace in names.SYSTEM_NAMESPACES:
        raise StatementError(
            "invalid_operation",
            f"Cannot {operation} system table '{namespace}.{name[1].lower()}'. System tables are managed "
            f"internally.",
        )
    return namespace, name[1].lower()


_TYPE_OPTIONS = {
    "user": {"storage_id", "use_user_storage", "flush_policy", "deleted_retention_hours"},
    "shared": {"storage_id", "access_level", "flush_policy", "deleted_retention_hours"},
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


def create_table(kalam: Kalam, ctx: Context, st: nodes.CreateTable) -> Result:
    """CREATE TABLE."""
    namespace, name = _target(ctx, st.table, "create")
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
        try:
            tx.create_relation(table.relation, table.schema, owned=table.owned)
        except EngineError as error:
            raise StatementError("invalid_operation", str(error)) from None
        tx.put(TABLE, table.qualified, table.to_json())

    ctx.run(apply)
    return Result.say(done)


def remove_table(kalam: Kalam, tx: Transaction, table: TableDef) -> str:
    """Drop a table with its rows and history inside a transaction.

    Returns
    -------
    str
        Id of the job that removes its segments and files from the storage.
    """
    storages = kalam.storages
    owners = kalam.relation(table).owners() if table.owned else [""]
    owners = list(dict.fromkeys([*owners, *storages.owners(table)]))
    directories = [storages.table_path(table, owner) for owner in owners] if table.type != "stream" else []
    stored = storages.may_hold(table)
    tx.drop_relation(table.relation)
    tx.remove(TABLE, table.qualified)
    tx.remove(TABLE_HISTORY, table.qualified)
    tx.remove(FILES, f"count:{table.qualified}")
    for owner in owners:
        tx.remove(MANIFEST, manifest_key(table, owner))
    tx.on_commit(lambda: kalam.forget_table(table))
    parameters = {"table_id": f"{table.namespace}:{table.name}"}
    if not stored:
        return kalam.jobs.finished(tx, "CL", "cleanup", parameters, "Cleanup completed")

    born = kalam.generators.functions["SNOWFLAKE_ID"]()

    def clean(job: Job) -> str:
        files = storages.of_table(table)
        for directory in directories:
            job.check()
            delete_tree(files, directory, born)
        return "Cleanup completed"

    return kalam.jobs.start(tx, "CL", "cleanup", parameters, clean)


def drop_table(kalam: Kalam, ctx: Context, st: nodes.DropTable) -> Result:
    """DROP TABLE."""
    namespace, name = _target(ctx, st.table, "drop")
    access.require_admin(ctx.session, "DROP TABLE")

    def apply(tx: Transaction) -> str:
        table = kalam.find_table(namespace, name)
        if table is None:
            if st.if_exists:
                return f"Table {namespace}.{name} does not exist (skipped)"
            raise StatementError("not_found", f"Table '{name}' not found in namespace '{namespace}'")
        job = remove_table(kalam, tx, table)
        return f"Table {namespace}.{name} dropped successfully. Cleanup job: {job}"

    return Result.say(ctx.run(apply))


def create_view(kalam: Kalam, ctx: Context, st: nodes.CreateView) -> Result:
    """CREATE VIEW."""
    access.require_admin(ctx.session, "CREATE VIEW")
    namespace, name = _target(ctx, st.view, "create")
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


# ---- ALTER TABLE -------------------------------------------------------------------------------------------


def _altered(kalam: Kalam, ctx: Context, name: nodes.Name) -> TableDef:
    namespace, table_name = _target(ctx, name, "alter")
    table = kalam.find_table(namespace, table_name)
    if table is None:
        raise StatementError("not_found", f"Table '{table_name}' not found in namespace '{namespace}'")
    access.check_alter(ctx.session, table)
    return table


def _column(table: TableDef, name: str) -> ColumnDef:
    if name in names.SYSTEM_COLUMNS or name == "_commit_seq":
        raise StatementError(
            "invalid_operation", f"Cannot alter column '{name}': system column cannot be modified"
        )
    index = table.by_name.get(name)
    if index is None:
        raise StatementError("invalid_operation", f"Column '{name}' does not exist")
    return table.columns[index]


def _save(kalam: Kalam, tx: Transaction, old: TableDef, new: TableDef) -> None:
    history = tx.get(TABLE_HISTORY, old.qualified) or []
    tx.put(TABLE_HISTORY, old.qualified, [*history, old.to_json()])
    tx.put(TABLE, new.qualified, new.to_json())


def _alter(kalam: Kalam, ctx: Context, name: nodes.Name, change: str, step: Any) -> Result:
    """Run one ALTER: `step(tx, table)` gives (new definition, sources of its columns) or None for no
    change."""

    def apply(tx: Transaction) -> str:
        table = _altered(kalam, ctx, name)
        found = step(tx, table)
        if found is None:
            return (
                f"Table {table.qualified} unchanged: {change} (version {table.version} - no changes needed)"
            )
        columns, sources, extra = found
        new = table.next_version(tx.now_ms, columns=tuple(columns), **extra)
        if sources is not None:
            try:
                tx.alter_relation(table.relation, new.schema, sources)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError, EngineError) as error:
                raise StatementError("invalid_operation", f"Cannot change existing values: {error}") from None
        _save(kalam, tx, table, new)
        tx.on_commit(lambda: kalam.live.table_altered(new))
        return f"Table {table.qualified} altered successfully: {change} (version {new.version})"

    return Result.say(ctx.run(apply))


def _identity(table: TableDef) -> list[int | Constant]:
    return list(range(len(table.columns) + 2))


def add_column(kalam: Kalam, ctx: Context, st: nodes.AddColumn) -> Result:
    """ALTER TABLE .. ADD COLUMN."""
    column = st.column

    def step(tx: Transaction, table: TableDef) -> Any:
        if column.name in table.by_name:
            raise StatementError("invalid_operation", f"Column '{column.name}' already exists")
        if column.primary_key:
            raise StatementError("invalid_operation", "A PRIMARY KEY column cannot be added to a table")
        value = coercer(column.type, column.name)(default(kalam, ctx, column))
        relation = kalam.relation(table)
        owners = relation.owners() if table.owned else [""]
        if value is None and not column.nullable and any(relation.count(o) for o in owners):
            raise StatementError(
                "invalid_operation",
                f"Cannot add NOT NULL column '{column.name}' without DEFAULT: table '{table.qualified}' "
                f"has rows",
            )
        n = len(table.columns)
        added = replace(column, id=max(c.id for c in table.columns) + 1)
        return [*table.columns, added], [*range(n), Constant(value), n, n + 1], {}

    return _alter(kalam, ctx, st.table, f"ADD COLUMN {column.name} {sql_type(column.type)}", step)


def drop_column(kalam: Kalam, ctx: Context, st: nodes.DropColumn) -> Result:
    """ALTER TABLE .. DROP COLUMN."""

    def step(tx: Transaction, table: TableDef) -> Any:
        if st.column in names.SYSTEM_COLUMNS or st.column == "_commit_seq":
            raise StatementError(
                "invalid_operation", f"Cannot drop column '{st.column}': system column cannot be modified"
            )
        column = _column(table, st.column)
        if column.primary_key:
            raise StatementError(
                "invalid_operation", f"Cannot drop column '{st.column}': it is the PRIMARY KEY"
            )
        if len(table.columns) == 1:
            raise StatementError(
                "invalid_operation", f"Cannot drop column '{st.column}': it is the only column"
            )
        gone = table.by_name[st.column]
        vectors = {k: v for k, v in table.vectors.items() if k != st.column}
        sources = [i for i in _identity(table) if i != gone]
        return [c for c in table.columns if c is not column], sources, {"vectors": vectors}

    return _alter(kalam, ctx, st.table, f"DROP COLUMN {st.column}", step)


def _checked_nulls(kalam: Kalam, table: TableDef, column: ColumnDef, nullable: bool) -> None:
    """Refuse NULL for a primary key, and NOT NULL for a column that holds NULLs."""
    if nullable and column.primary_key:
        raise StatementError(
            "invalid_operation", f"Column '{column.name}' is a PRIMARY KEY and cannot be nullable"
        )
    if nullable or not column.nullable:
        return
    relation, index = kalam.relation(table), table.by_name[column.name]
    for owner in relation.owners() if table.owned else [""]:
        if any(b.column(index).null_count for b in relation.snapshot(owner).batches()):
            raise StatementError(
                "constraint", f"NOT NULL constraint violation: column '{column.name}' contains NULL values"
            )


def modify_column(kalam: Kalam, ctx: Context, st: nodes.ModifyColumn) -> Result:
    """ALTER TABLE .. MODIFY COLUMN."""

    def step(tx: Transaction, table: TableDef) -> Any:
        column = _column(table, st.column)
        nullable = column.nullable if st.nullable is None else st.nullable
        if column.type == st.type and nullable == column.nullable:
            return None
        _checked_nulls(kalam, table, column, nullable)
        changed = replace(column, type=st.type, nullable=nullable)
        return [changed if c is column else c for c in table.columns], _identity(table), {}

    return _alter(kalam, ctx, st.table, f"MODIFY COLUMN {st.column} {sql_type(st.type)}", step)


def set_nullable(kalam: Kalam, ctx: Context, st: nodes.SetNullable) -> Result:
    """ALTER TABLE .. ALTER COLUMN .. SET | DROP NOT NULL."""

    def step(tx: Transaction, table: TableDef) -> Any:
        column = _column(table, st.column)
        _checked_nulls(kalam, table, column, st.nullable)
        if column.nullable == st.nullable:
            return None
        changed = replace(column, nullable=st.nullable)
        return [changed if c is column else c for c in table.columns], _identity(table), {}

    change = f"ALTER COLUMN {st.column} {'DROP' if st.nullable else 'SET'} NOT NULL"
    return _alter(kalam, ctx, st.table, change, step)


def set_default(kalam: Kalam, ctx: Context, st: nodes.SetDefault) -> Result:
    """ALTER TABLE .. ALTER COLUMN .. SET | DROP DEFAULT."""

    def step(tx: Transaction, table: TableDef) -> Any:
        column = _column(table, st.column)
        if column.default == st.default:
            return None
        changed = replace(column, default=st.default)
        coercer(column.type, column.name)(default(kalam, ctx, changed))
        return [changed if c is column else c for c in table.columns], None, {}

    change = f"ALTER COLUMN {st.column} " + (
        "DROP DEFAULT" if st.default is None else f"SET DEFAULT {st.text}"
    )
    return _alter(kalam, ctx, st.table, change, step)


def rename_column(kalam: Kalam, ctx: Context, st: nodes.RenameColumn) -> Result:
    """ALTER TABLE .. RENAME COLUMN: the data stays under the new name."""

    def step(tx: Transaction, table: TableDef) -> Any:
        column = _column(table, st.column)
        if (problem := names.column_problem(st.new_name)) is not None:
            raise StatementError("invalid_operation", problem)
        if st.new_name == st.column:
            return None
        if st.new_name in table.by_name:
            raise StatementError("invalid_operation", f"Column '{st.new_name}' already exists")
        vectors = {st.new_name if k == st.column else k: v for k, v in table.vectors.items()}
        changed = replace(column, name=st.new_name)
        return [changed if c is column else c for c in table.columns], _identity(table), {"vectors": vectors}

    return _alter(kalam, ctx, st.table, f"RENAME COLUMN {st.column} TO {st.new_name}", step)


def set_access_level(kalam: Kalam, ctx: Context, st: nodes.SetAccessLevel) -> Result:
    """ALTER TABLE .. SET ACCESS LEVEL."""

    def step(tx: Transaction, table: TableDef) -> Any:
        if table.type != "shared":
            raise StatementError("invalid_operation", "ACCESS LEVEL can only be set on SHARED tables")
        if table.access_level == st.level:
            return None
        return table.columns, None, {"options": {**table.options, "access_level": st.level}}

    return _alter(kalam, ctx, st.table, f"SET ACCESS LEVEL {st.level.capitalize()}", step)


def alter_index(kalam: Kalam, ctx: Context, st: nodes.AlterIndex) -> Result:
    """ALTER TABLE .. CREATE | DROP VECTOR INDEX."""

    def apply(tx: Transaction) -> str:
        table = _altered(kalam, ctx, st.table)
        if table.type == "stream":
            raise StatementError(
                "invalid_operation", "Vector indexing is only supported for USER/SHARED tables"
            )
        column = _column(table, st.column)
        if column not in table.embeddings:
            raise StatementError("invalid_operation", f"Column '{st.column}' is not EMBEDDING")
        vectors = {k: v for k, v in table.vectors.items() if k != st.column}
        if st.metric is not None:
            vectors[st.column] = st.metric.lower()
        if vectors != table.vectors:
            _save(kalam, tx, table, table.next_version(tx.now_ms, vectors=vectors))
        target = f"{table.qualified}.{st.column}"
        if st.metric is None:
            return f"Vector index disabled on {target}"
        shown = "L2" if st.metric == "L2" else st.metric.capitalize()
        return f"Vector index enabled on {target} ({shown})"

    return Result.say(ctx.run(apply))


HANDLERS: dict[type[nodes.Statement], Any] = {
    nodes.CreateNamespace: create_namespace,
    nodes.DropNamespace: drop_namespace,
    nodes.AlterNamespace: alter_namespace,
    nodes.UseNamespace: use_namespace,
    nodes.CreateTable: create_table,
    nodes.DropTable: drop_table,
    nodes.CreateView: create_view,
    nodes.AddColumn: add_column,
    nodes.DropColumn: drop_column,
    nodes.ModifyColumn: modify_column,
    nodes.SetNullable: set_nullable,
    nodes.SetDefault: set_default,
    nodes.RenameColumn: rename_column,
    nodes.SetAccessLevel: set_access_level,
    nodes.AlterIndex: alter_index,
}

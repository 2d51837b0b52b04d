"""CREATE, ALTER, DROP and CHECK STORAGE, FLUSH, COMPACT, BACKUP, RESTORE, EXPORT and CLUSTER."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from kalam_jupyter.engine.transaction import Transaction
from kalam_jupyter.engine.types import BIGINT, BOOLEAN, INTEGER, STRING
from kalam_jupyter.kalam import access
from kalam_jupyter.kalam.catalog import NAMESPACE, STORAGE, TableDef
from kalam_jupyter.kalam.errors import StatementError
from kalam_jupyter.kalam.result import Result, ResultColumn
from kalam_jupyter.kalam.segments import flush_key
from kalam_jupyter.kalam.statements import nodes
from kalam_jupyter.kalam.storage import LOCAL, directory, record
from kalam_jupyter.kalam.types import TIMESTAMP

if TYPE_CHECKING:
    from kalam_jupyter.kalam.context import Context
    from kalam_jupyter.kalam.database import Kalam


# ---- storages ----------------------------------------------------------------------------------------------


def _checked(storage: dict[str, Any]) -> dict[str, Any]:
    identifier = storage["storage_id"]
    if not identifier or not all(c.isascii() and (c.isalnum() or c in "-_") for c in identifier):
        raise StatementError("invalid_operation", f"Invalid storage id '{identifier}'")
    if "{userId}" not in storage["user_tables_template"]:
        raise StatementError("invalid_operation", "USER_TABLES_TEMPLATE must contain {userId}")
    for name in ("shared_tables_template", "user_tables_template"):
        for part in ("{namespace}", "{tableName}"):
            if part not in storage[name]:
                raise StatementError("invalid_operation", f"{name.upper()} must contain {part}")
        if ".." in storage[name]:
            raise StatementError("invalid_operation", f"{name.upper()} must not contain '..'")
    return storage


def create_storage(kalam: Kalam, ctx: Context, st: nodes.CreateStorage) -> Result:
    """CREATE STORAGE, after it was written to and read from."""
    storage = _checked(record(st.storage_id, st.type, st.options, kalam.engine.clock.now_ms()))
    if kalam.engine.catalogue.get(STORAGE, st.storage_id) is not None:
        raise StatementError("already_exists", f"Storage '{st.storage_id}' already exists")
    found = kalam.storages.check(storage)
    if found["error"] is not None:
        raise StatementError("invalid_operation", f"Storage connectivity check failed: {found['error']}")

    def apply(tx: Transaction) -> None:
        if tx.get(STORAGE, st.storage_id) is not None:
            raise StatementError("already_exists", f"Storage '{st.storage_id}' already exists")
        tx.put(STORAGE, st.storage_id, storage)

    ctx.run(apply)
    return Result.say(f"Storage '{st.storage_id}' created successfully")


_ALTERABLE = {"name": "storage_name", "config": "config_json"}


def alter_storage(kalam: Kalam, ctx: Context, st: nodes.AlterStorage) -> Result:
    """ALTER STORAGE .. SET."""

    def apply(tx: Transaction) -> None:
        found = tx.get(STORAGE, st.storage_id)
        if found is None:
            raise StatementError("invalid_operation", f"Storage '{st.storage_id}' not found")
        changes = {_ALTERABLE.get(name, name): value for name, value in st.options.items()}
        tx.put(STORAGE, st.storage_id, _checked({**found, **changes, "updated_at": tx.now_ms}))

    ctx.run(apply)
    return Result.say(f"Storage '{st.storage_id}' altered successfully")


def drop_storage(kalam: Kalam, ctx: Context, st: nodes.DropStorage) -> Result:
    """DROP STORAGE that no table uses."""

    def apply(tx: Transaction) -> str:
        if tx.get(STORAGE, st.storage_id) is None:
            if st.if_exists:
                return f"Storage '{st.storage_id}' does not exist (skipped)"
            raise StatementError("invalid_operation", f"Storage '{st.storage_id}' not found")
        if st.storage_id == LOCAL:
            raise StatementError(
                "invalid_operation", "Cannot drop storage 'local': it is the default storage"
            )
        used = kalam.storages.users_of(st.storage_id)
        if used:
            raise StatementError(
                "invalid_operation", f"Cannot drop storage '{st.storage_id}': {used} table(s) still using it"
            )
        tx.remove(STORAGE, st.storage_id)
        return f"Storage '{st.storage_id}' dropped successfully"

    return Result.say(ctx.run(apply))


_CHECK = (
    ResultColumn("storage_id", STRING),
    ResultColumn("status", STRING),
    *(ResultColumn(name, BOOLEAN) for name in ("readable", "writable", "listable", "deletable")),
    *(ResultColumn(name, BIGINT) for name in ("latency_ms", "total_bytes", "used_bytes")),
    ResultColumn("error", STRING),
    ResultColumn("tested_at", TIMESTAMP),
)


def check_storage(kalam: Kalam, ctx: Context, st: nodes.CheckStorage) -> Result:
    """STORAGE CHECK: what works; EXTENDED adds the size of a file system."""
    storage = kalam.storages.get(st.storage_id)
    found = kalam.storages.check(storage)
    works = [found[n] for n in ("readable", "writable", "listable", "deletable")]
    status = "healthy" if all(works) else "degraded" if any(works) else "unreachable"
    total = used = None
    if st.extended and storage["storage_type"] == "filesystem" and found["readable"]:
        usage = shutil.disk_usage(directory(kalam.storages, storage))
        total, used = usage.total, usage.used
    now = kalam.engine.clock.now_ms() * 1000
    row = (st.storage_id, status, *works, found["latency_ms"], total, used, found["error"], now)
    return Result.of_rows(_CHECK, [row])


# ---- flush, compact ----------------------------------------------------------------------------------------


def maintain(kalam: Kalam, ctx: Context, st: nodes.Maintain) -> Result:
    """STORAGE FLUSH | COMPACT of a table, or of all tables of a namespace."""
    verb = st.what.upper()
    access.require_service(ctx.session, f"STORAGE {verb}")
    if st.table is not None:
        table = _maintained(kalam, verb, st.table)
        return _flush_one(kalam, ctx, table) if st.what == "flush" else _compact_one(kalam, ctx, table)
    namespace = st.namespace or "default"
    if kalam.engine.catalogue.get(NAMESPACE, namespace) is None:
        raise StatementError("not_found", f"Namespace '{namespace}' not found")
    return _flush_all(kalam, ctx, namespace) if st.what == "flush" else _compact_all(kalam, ctx, namespace)


def _maintained(kalam: Kalam, verb: str, name: nodes.Name) -> TableDef:
    namespace = (name[0] or "default").lower()
    if namespace == "system":
        raise StatementError("invalid_operation", f"STORAGE {verb} TABLE is not supported for SYSTEM tables")
    table = kalam.table(namespace, name[1].lower())
    if table.type == "stream":
        raise StatementError("invalid_operation", f"STORAGE {verb} TABLE is not supported for STREAM tables")
    return table


def _flush_one(kalam: Kalam, ctx: Context, table: TableDef) -> Result:
    name = table.qualified
    if kalam.jobs.active(flush_key(table)) is not None:
        text = f"Storage flush skipped: a flush is already queued or running for table '{name}'"
        return Result.say(text)
    if not kalam.segments.has_pending(table):
        return Result.say(f"Storage flush skipped: no pending writes for table '{name}'")
    job = ctx.run(lambda tx: kalam.segments.start_flush(tx, table))
    return Result.say(f"Storage flush started for table '{name}'. Job ID: {job}")


def _flush_all(kalam: Kalam, ctx: Context, namespace: str) -> Result:
    tables = [
        t
        for t in kalam.tables(namespace)
        if t.type != "stream" and kalam.jobs.active(flush_key(t)) is None and kalam.segments.has_pending(t)
    ]
    if not tables:
        return Result.say(f"Storage flush skipped: no pending writes in namespace '{namespace}'")
    jobs = ctx.run(lambda tx: [kalam.segments.start_flush(tx, t) for t in tables])
    what = f"{len(tables)} table(s) in namespace '{namespace}'"
    return Result.say(f"Storage flush started for {what}. Job IDs: [{', '.join(jobs)}]")


def _compact_one(kalam: Kalam, ctx: Context, table: TableDef) -> Result:
    job = ctx.run(lambda tx: kalam.segments.start_compact(tx, table))
    return Result.say(f"Storage compaction started for table '{table.qualified}'. Job ID: {job}")


def _compact_all(kalam: Kalam, ctx: Context, namespace: str) -> Result:
    tables = [t for t in kalam.tables(namespace) if t.type != "stream"]
    if not tables:
        raise StatementError("not_found", f"No compactable tables found in namespace {namespace}")
    jobs = ctx.run(lambda tx: [kalam.segments.start_compact(tx, t) for t in tables])
    what = f"{len(tables)} table(s) in namespace '{namespace}'"
    return Result.say(f"Storage compaction started for {what}. Job IDs: [{', '.join(jobs)}]")


# ---- backup, restore, export, cluster ----------------------------------------------------------------------


def backup(kalam: Kalam, ctx: Context, st: nodes.Backup) -> Result:
    """BACKUP DATABASE TO."""
    kalam.backups.check_target(st.path)
    job = ctx.run(lambda tx: kalam.backups.start_backup(tx, st.path))
    return Result.say(f"Database backup started to '{st.path}'. Job ID: {job}")


def restore(kalam: Kalam, ctx: Context, st: nodes.Restore) -> Result:
    """RESTORE DATABASE FROM."""
    kalam.backups.check_source(st.path)
    job = ctx.run(lambda tx: kalam.backups.start_restore(tx, st.path))
    done = "Server restart required after completion."
    return Result.say(f"Database restore started from '{st.path}'. Job ID: {job}. {done}")


def export_user_data(kalam: Kalam, ctx: Context, st: nodes.ExportUserData) -> Result:
    """EXPORT USER DATA."""
    job = ctx.run(lambda tx: kalam.exports.start(tx, ctx.session.user_id))
    return Result.say(
        f"User data export started. Job ID: {job}. Use SHOW EXPORT to check status and get the download link."
    )


_DONE = (ResultColumn("action", STRING), ResultColumn("group_id", STRING))
_ACTION = (*_DONE, ResultColumn("success", BOOLEAN), ResultColumn("message", STRING))


def cluster(kalam: Kalam, ctx: Context, st: nodes.Cluster) -> Result:
    """CLUSTER: this is a cluster of one node, so most actions have nothing to move.

    A snapshot of it is a checkpoint of the engine, which keeps the last one only: there are none to clear.
    """
    if st.action == "snapshot":
        kalam.engine.checkpoint()
        where = "" if kalam.engine.path is None else str(kalam.engine.path / "data")
        return Result.of_rows((*_DONE, ResultColumn("snapshots_dir", STRING)), [(st.action, "meta", where)])
    if st.action == "clear":
        return Result.of_rows((*_DONE, ResultColumn("snapshots_cleared", INTEGER)), [(st.action, "meta", 0)])
    if st.action in ("join", "leave"):
        raise StatementError(
            "invalid_operation", f"CLUSTER {st.action.upper()} is not supported on a single node"
        )
    return Result.of_rows(_ACTION, [(st.action, "meta", True, "single node: nothing to do")])


HANDLERS: dict[type[nodes.Statement], Any] = {
    nodes.CreateStorage: create_storage,
    nodes.AlterStorage: alter_storage,
    nodes.DropStorage: drop_storage,
    nodes.CheckStorage: check_storage,
    nodes.Maintain: maintain,
    nodes.Backup: backup,
    nodes.Restore: restore,
    nodes.ExportUserData: export_user_data,
    nodes.Cluster: cluster,
}

"""SHOW, DESCRIBE, SUBSCRIBE TO, KILL and the query engine's own commands."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import orjson

from kalam_jupyter.engine.types import STRING
from kalam_jupyter.kalam import access
from kalam_jupyter.kalam.catalog import TableDef
from kalam_jupyter.kalam.errors import StatementError
from kalam_jupyter.kalam.live_sql import parse_live
from kalam_jupyter.kalam.result import Result, ResultColumn
from kalam_jupyter.kalam.statements import nodes
from kalam_jupyter.kalam.types import JSON

if TYPE_CHECKING:
    from kalam_jupyter.kalam.context import Context
    from kalam_jupyter.kalam.database import Kalam


def select(kalam: Kalam, ctx: Context, st: nodes.Select) -> Result:
    """SELECT."""
    return kalam.queries.select(
        ctx.session, st.sql, ctx.params, ctx.namespace, limit=ctx.limit, stop=ctx.stop
    )


def engine_command(kalam: Kalam, ctx: Context, st: nodes.EngineCommand) -> Result:
    """EXPLAIN, SHOW ALL, SHOW COLUMNS, DESCRIBE: as the query engine answers them. SET changes nothing
    that lasts."""
    if st.what == "SET":
        raise StatementError(
            "invalid_operation", "SET is not supported: settings belong to the server's configuration"
        )
    return kalam.queries.command(ctx.session, st.sql, ctx.namespace, ctx.stop)


def show(kalam: Kalam, ctx: Context, st: nodes.Show) -> Result:
    """SHOW NAMESPACES | TABLES | STORAGES | MANIFEST | EXPORT: open to everyone."""
    if st.what == "export":
        return kalam.exports.show(ctx)
    return kalam.system.show(ctx, st.what, st.namespace)


def _table(kalam: Kalam, ctx: Context, name: nodes.Name) -> TableDef:
    return kalam.table((name[0] or ctx.namespace).lower(), name[1].lower())


def describe_table(kalam: Kalam, ctx: Context, st: nodes.DescribeTable) -> Result:
    """DESCRIBE TABLE: those of the system to who may read them."""
    namespace, name = st.table[0] or ctx.namespace, st.table[1].lower()
    if namespace.lower() == "system" and kalam.system.has(name):
        access.check_system_read(ctx.session, f"system.{name}")
        return kalam.system.describe_own(name)
    return kalam.system.describe(_table(kalam, ctx, st.table), history=st.history)


def show_stats(kalam: Kalam, ctx: Context, st: nodes.ShowStats) -> Result:
    """SHOW STATS FOR TABLE."""
    return kalam.system.table_stats(ctx, _table(kalam, ctx, st.table))


_SUBSCRIPTION = (
    ResultColumn("status", STRING),
    ResultColumn("ws_url", STRING),
    ResultColumn("subscription", JSON, nested=True),
    ResultColumn("message", STRING),
)


def subscribe_to(kalam: Kalam, ctx: Context, st: nodes.SubscribeTo) -> Result:
    """SUBSCRIBE TO: checks the query; the client opens the WebSocket itself."""
    found = parse_live(st.sql)
    name = f"sub-{found.namespace}-{found.table}-{uuid.uuid4().hex}"
    subscription = orjson.dumps({"id": name, "sql": st.sql}).decode()
    message = "WebSocket subscription created. Connect to ws_url to receive updates."
    return Result.of_rows(_SUBSCRIPTION, [("active", "ws://localhost:8080/ws", subscription, message)])


def kill_live_query(kalam: Kalam, ctx: Context, st: nodes.KillLiveQuery) -> Result:
    """KILL LIVE QUERY."""
    access.require_admin(ctx.session, "KILL LIVE QUERY")
    kalam.live.kill(st.live_id)
    return Result.say(f"Live query killed: {st.live_id}")


def kill_job(kalam: Kalam, ctx: Context, st: nodes.KillJob) -> Result:
    """KILL JOB."""
    kalam.jobs.kill(st.job_id)
    return Result.say(f"Job {st.job_id} killed: cancelled")


def refused(kalam: Kalam, ctx: Context, st: nodes.Refused) -> Result:
    """Fail as the parser found. A new error each time: the statement is kept parsed, and an exception
    holds its traceback."""
    raise StatementError(st.error.kind, st.error.text, st.error.position)


HANDLERS: dict[type[nodes.Statement], Any] = {
    nodes.Refused: refused,
    nodes.Select: select,
    nodes.EngineCommand: engine_command,
    nodes.Show: show,
    nodes.DescribeTable: describe_table,
    nodes.ShowStats: show_stats,
    nodes.SubscribeTo: subscribe_to,
    nodes.KillLiveQuery: kill_live_query,
    nodes.KillJob: kill_job,
}

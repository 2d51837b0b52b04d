"""CREATE, ALTER, DROP and CLEAR TOPIC, CONSUME and ACK."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kalam_jupyter.engine.errors import AlreadyExistsError
from kalam_jupyter.engine.transaction import Transaction
from kalam_jupyter.engine.types import BIGINT, BYTES, INTEGER, STRING
from kalam_jupyter.kalam.auth import Session
from kalam_jupyter.kalam.catalog import NAMESPACE, TOPIC
from kalam_jupyter.kalam.errors import GateError, StatementError
from kalam_jupyter.kalam.result import Result, ResultColumn
from kalam_jupyter.kalam.rowfilter import RowFilter
from kalam_jupyter.kalam.statements import nodes
from kalam_jupyter.kalam.topics import CONSUMER_ROLES

if TYPE_CHECKING:
    from kalam_jupyter.kalam.context import Context
    from kalam_jupyter.kalam.database import Kalam


def create_topic(kalam: Kalam, ctx: Context, st: nodes.CreateTopic) -> Result:
    """CREATE TOPIC."""
    namespace, dot, name = st.name.partition(".")
    if not dot or not namespace or not name:
        raise StatementError(
            "invalid_operation", "Topic name must be namespace-qualified: <namespace>.<topic>"
        )
    config = kalam.config

    def apply(tx: Transaction) -> None:
        if tx.get(NAMESPACE, namespace.lower()) is None:
            raise StatementError("not_found", f"Namespace '{namespace}' does not exist")
        retention = {
            "retention_ms": config.topic_retention_seconds * 1000,
            "retention_bytes": config.topic_retention_max_bytes,
        }
        try:
            tx.create_topic(st.name, st.partitions, retention)
        except AlreadyExistsError:
            raise StatementError("already_exists", f"Topic '{st.name}' already exists") from None
        tx.put(
            TOPIC,
            st.name,
            {
                "topic_id": st.name,
                "partitions": st.partitions,
                "retention_seconds": config.topic_retention_seconds,
                "retention_max_bytes": config.topic_retention_max_bytes,
                "routes": [],
                "created_at": tx.now_ms,
                "updated_at": tx.now_ms,
            },
        )

    ctx.run(apply)
    return Result.say(f"Created topic '{st.name}' with {st.partitions} partition(s)")


def _definition(tx: Transaction, name: str) -> Any:
    found = tx.get(TOPIC, name)
    if found is None:
        raise StatementError("not_found", f"Topic '{name}' does not exist")
    return found


def add_source(kalam: Kalam, ctx: Context, st: nodes.AddSource) -> Result:
    """ALTER TOPIC .. ADD SOURCE. The table need not exist yet; if it does, the condition must fit it."""
    namespace, name = (st.table[0] or "default").lower(), st.table[1].lower()
    table_id = f"{namespace}.{name}"

    def apply(tx: Transaction) -> None:
        found = _definition(tx, st.topic)
        shown = f"{table_id} ON {st.operation.capitalize()}"
        if any(r["table_id"] == table_id and r["op"] == st.operation for r in found["routes"]):
            raise StatementError("already_exists", f"Route for {shown} already exists in topic '{st.topic}'")
        table = kalam.find_table(namespace, name)
        if table is not None and st.where_sql is not None:
            RowFilter(table, st.where_sql)
        route = {
            "table_id": table_id,
            "op": st.operation,
            "payload_mode": st.payload,
            "filter_expr": st.where_sql,
            "partition_key_expr": None,
        }
        tx.put(TOPIC, st.topic, {**found, "routes": [*found["routes"], route], "updated_at": tx.now_ms})

    ctx.run(apply)
    return Result.say(f"Added source {table_id} ON {st.operation.capitalize()} to topic '{st.topic}'")


def drop_topic(kalam: Kalam, ctx: Context, st: nodes.DropTopic) -> Result:
    """DROP TOPIC."""

    def apply(tx: Transaction) -> str:
        _definition(tx, st.name)
        return remove_topic(kalam, tx, st.name)

    return Result.say(f"Dropped topic '{st.name}' and scheduled cleanup job [{ctx.run(apply)}]")


def remove_topic(kalam: Kalam, tx: Transaction, name: str) -> str:
    """Drop a topic with its messages inside a transaction; return the id of the job that did it."""
    tx.drop_topic(name)
    tx.remove(TOPIC, name)
    tx.on_commit(lambda: kalam.topics.forget(name))
    return kalam.jobs.finished(tx, "TC", "topic_cleanup", {"topic_id": name}, "Topic dropped")


def clear_topic(kalam: Kalam, ctx: Context, st: nodes.ClearTopic) -> Result:
    """CLEAR TOPIC: drop its messages; offsets go on."""

    def apply(tx: Transaction) -> str:
        _definition(tx, st.name)
        tx.truncate_topic(st.name)
        tx.on_commit(lambda: kalam.topics.forget(st.name))
        return kalam.jobs.finished(tx, "TC", "topic_cleanup", {"topic_id": st.name}, "Topic cleared")

    return Result.say(f"Scheduled cleanup job [{ctx.run(apply)}] for topic '{st.name}'")


def check_consumer(session: Session, action: str) -> None:
    """Raise `GateError` below role service."""
    if session.role not in CONSUMER_ROLES:
        raise GateError(f"Only service, dba, or system roles can {action}")


_CONSUMED = (
    ResultColumn("topic_id", STRING),
    ResultColumn("partition_id", INTEGER),
    ResultColumn("offset", BIGINT),
    ResultColumn("key", STRING),
    ResultColumn("payload", BYTES),
    ResultColumn("timestamp_ms", BIGINT),
    ResultColumn("user_id", STRING),
    ResultColumn("op", STRING),
)


def consume(kalam: Kalam, ctx: Context, st: nodes.Consume) -> Result:
    """CONSUME FROM; with a group the last returned offset is committed at once."""
    check_consumer(ctx.session, "consume from topics")
    found = kalam.topics.consume(st.topic, st.group, start=st.start, limit=st.limit)
    if st.group is not None and found.messages:
        kalam.topics.acknowledge(st.topic, st.group, 0, found.messages[-1].offset, run=ctx.run)
    rows = [
        (m.topic, m.partition, m.offset, m.key, m.payload, m.timestamp_ms, m.user, m.op)
        for m in found.messages
    ]
    return Result.of_rows(_CONSUMED, rows)


def ack(kalam: Kalam, ctx: Context, st: nodes.Ack) -> Result:
    """ACK .. UPTO OFFSET."""
    check_consumer(ctx.session, "acknowledge topic offsets")
    kalam.topics.acknowledge(st.topic, st.group, st.partition, st.offset, run=ctx.run)
    columns = (
        ResultColumn("topic", STRING),
        ResultColumn("group_id", STRING),
        ResultColumn("partition", INTEGER),
        ResultColumn("committed_offset", BIGINT),
    )
    return Result.of_rows(columns, [(st.topic, st.group, st.partition, st.offset)])


HANDLERS: dict[type[nodes.Statement], Any] = {
    nodes.CreateTopic: create_topic,
    nodes.AddSource: add_source,
    nodes.DropTopic: drop_topic,
    nodes.ClearTopic: clear_topic,
    nodes.Consume: consume,
    nodes.Ack: ack,
}

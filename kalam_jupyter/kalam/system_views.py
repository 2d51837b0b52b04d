"""The virtual views of `system`: computed, times in microseconds."""

from __future__ import annotations

import os
import platform
import socket
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import orjson

from kalam_jupyter.kalam.settings import KEYS
from kalam_jupyter.kalam.types import NAMES, json_type, sql_type

if TYPE_CHECKING:
    from kalam_jupyter.kalam.database import Kalam

VERSION = "0.4.3-rc.4"
Rows = list[tuple[Any, ...]]
_STARTED = time.monotonic()
_SECRETS = ("jwt_secret", "root_password")
_DESCRIPTIONS = {
    "Boolean": "True or false",
    "SmallInt": "16-bit signed integer",
    "Int": "32-bit signed integer",
    "BigInt": "64-bit signed integer",
    "Float": "32-bit floating point",
    "Double": "64-bit floating point",
    "Text": "UTF-8 text",
    "Json": "JSON document as text",
    "Bytes": "Binary data",
    "Uuid": "128-bit identifier",
    "File": "Reference to a stored file",
    "Timestamp": "Moment in microseconds without zone",
    "DateTime": "Moment in microseconds, UTC",
    "Date": "Calendar day",
    "Time": "Time of day in microseconds",
}


def resident_mb() -> int:
    """Return the process's resident memory in MiB; 0 where the system does not say."""
    try:
        with open("/proc/self/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 2**20
    except (OSError, ValueError, IndexError):
        return 0


def _setting(value: Any, *, secret: bool) -> str:
    """Return a setting as the file would have it."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case tuple():
            return ",".join(value)
    return "***" if secret else str(value)


def uptime_human(seconds: int) -> str:
    """Return an uptime as ``2d 3h 4m`` without leading zero units."""
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3600)
    minutes = rest // 60
    if days:
        return f"{days}d {hours}h {minutes}m"
    return f"{hours}h {minutes}m" if hours else f"{minutes}m"


def views(kalam: Kalam) -> dict[str, tuple[Any, Callable[[], Rows]]]:
    """Return the views by name: columns and the function that gives the rows."""
    from kalam_jupyter.kalam.system import DESCRIBE, all_columns, columns, options_json

    def tables() -> Rows:
        found: Rows = [
            (
                t.namespace,
                t.name,
                t.type,
                t.options.get("storage_id"),
                t.version,
                options_json(t),
                t.comment,
                t.updated_at * 1000,
                t.created_at * 1000,
            )
            for t in kalam.tables()
        ]
        found += [("system", n, "system", None, 1, "{}", None, None, None) for n in kalam.system.names()]
        return found

    def table_columns() -> Rows:
        found: Rows = []
        for t in kalam.tables():
            for i, c in enumerate(all_columns(t), 1):
                default = None if c.default is None else orjson.dumps(c.default.json()).decode()
                nullable = c.nullable and not c.primary_key
                key = 1 if c.primary_key else None
                found.append(
                    (
                        *(t.namespace, t.name, t.version, c.id, c.name, c.comment, sql_type(c.type)),
                        *(default, i, nullable, c.primary_key, key),
                    )
                )
        return found

    def live() -> Rows:
        return [
            (
                *(q.live_id, q.connection_id, q.id, q.namespace, q.table_name, q.session.user_id, q.sql),
                orjson.dumps(q.options_json()).decode(),
                "active",
                q.created_at * 1000,
                q.last_update * 1000,
                q.delivered,
                str(kalam.config.node_id),
                q.last_update * 1000,
            )
            for q in kalam.live.all()
        ]

    def settings() -> Rows:
        found: Rows = []
        for key, (field, _) in KEYS.items():
            category, _, name = key.partition(".")
            shown = _setting(getattr(kalam.config, field), secret=field in _SECRETS)
            found.append((key, shown, name.replace("_", " ").replace(".", ": "), category))
        return found

    def stats() -> Rows:
        catalogue = kalam.engine.catalogue
        jobs = [r["status"] for _, r in catalogue.items("kalam.job")]
        queries = kalam.live.all()
        rss = resident_mb()
        values: dict[str, Any] = {
            "server_version": VERSION,
            "node_id": kalam.config.node_id,
            "total_users": len(catalogue.names("kalam.user")),
            "total_namespaces": len(catalogue.names("kalam.namespace")),
            "total_tables": len(catalogue.names("kalam.table")),
            "total_jobs": len(jobs),
            "jobs_running": jobs.count("running"),
            "jobs_queued": jobs.count("queued"),
            "jobs_failed": jobs.count("failed"),
            "total_storages": len(catalogue.names("kalam.storage")),
            "active_connections": len({q.connection_id for q in queries}),
            "active_subscriptions": len(queries),
            "plan_cache_size": kalam.queries.cache_size(),
            "topic_cache_topic_count": len(catalogue.names("kalam.topic")),
            "cluster_mode": "standalone",
            "memory_usage_mb": rss,
            "memory_usage_source": "rss",
            "memory_rss_mb": rss,
            "memory_virtual_mb": rss,
            "memory_rss_gap_mb": 0,
            "allocator_name": "system",
        }
        return [(name, str(value)) for name, value in values.items()]

    def cluster() -> Rows:
        up = int(time.monotonic() - _STARTED)
        host = socket.gethostname()
        node = kalam.config.node_id
        return [
            (
                *(
                    host,
                    node,
                    "leader",
                    "active",
                    None,
                    kalam.config.base_url.partition("//")[2],
                    True,
                    True,
                    3,
                    3,
                    1,
                ),
                *(kalam.engine.position, kalam.engine.position, None, None, None, host, VERSION, None),
                *(resident_mb(), None, up, uptime_human(up), sys.platform, platform.machine()),
            )
        ]

    def groups() -> Rows:
        node, position = kalam.config.node_id, kalam.engine.position
        return [
            (
                i,
                socket.gethostname(),
                node,
                kind,
                1,
                node,
                position,
                position,
                None,
                None,
                position,
                "leader",
                node,
                0,
            )
            for i, kind in enumerate(("meta", "user_data", "shared_data"))
        ]

    def datatypes() -> Rows:
        shown = dict.fromkeys(NAMES.values())
        return [
            (str(t.arrow), str(json_type(t)), sql_type(t), _DESCRIPTIONS.get(str(json_type(t)), ""))
            for t in shown
        ]

    def describe() -> Rows:
        return []

    def nothing() -> Rows:
        return []

    return {
        "tables": (
            columns(
                "namespace_id table_name table_type storage_id version:int options:json comment "
                "updated_at:time created_at:time"
            ),
            tables,
        ),
        "columns": (
            columns(
                "namespace_id table_name version:int column_id:big column_name comment data_type "
                "default_value:json "
                "ordinal:int nullable:bool primary_key:bool primary_key_pos:int"
            ),
            table_columns,
        ),
        "live": (
            columns(
                "live_id connection_id subscription_id namespace_id table_name user_id query options:json "
                "status "
                "created_at:time last_update:time changes:big node_id last_ping_at:time"
            ),
            live,
        ),
        "sessions": (
            columns(
                "session_id backend_pid:int current_schema state transaction_id transaction_state "
                "transaction_has_writes:bool client_addr transport opened_at:time last_seen_at:time "
                "last_method"
            ),
            nothing,
        ),
        "transactions": (
            columns(
                "transaction_id owner_id origin state age_ms:big idle_ms:big write_count:big write_bytes:big "
                "touched_tables_count:big snapshot_commit_seq:big"
            ),
            nothing,
        ),
        "settings": (columns("name value description category"), settings),
        "stats": (columns("metric_name metric_value"), stats),
        "server_logs": (columns("timestamp:time level thread target line:int message"), nothing),
        "cluster": (
            columns(
                "cluster_id node_id:big role status rpc_addr api_addr is_self:bool is_leader:bool "
                "groups_leading:int total_groups:int current_term:big last_applied_log:big "
                "leader_last_log_index:big snapshot_index:big catchup_progress_pct:int replication_lag:big "
                "hostname version memory_mb:big memory_usage_mb:big cpu_usage_percent:double "
                "uptime_seconds:big uptime_human os arch"
            ),
            cluster,
        ),
        "cluster_groups": (
            columns(
                "group_id:big cluster_id node_id:big group_type current_term:big vote:big last_log_index:big "
                "last_applied:big snapshot:big purged:big committed:big state current_leader:big "
                "millis_since_quorum_ack:big"
            ),
            groups,
        ),
        "datatypes": (columns("arrow_type kalam_type sql_name description"), datatypes),
        "describe": (DESCRIBE, describe),
    }

"""`system.*`: tables made from the catalogue when they are read, and what SHOW and DESCRIBE say.

Stored tables carry their times in ms (``:ms``), virtual views in microseconds (``:time``), as the contract
has it. A table is a list of columns and a function that gives its rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa

from kalam_jupyter.engine.types import BIGINT, BOOLEAN, DOUBLE, INTEGER, STRING, DataType
from kalam_jupyter.kalam import access, system_views
from kalam_jupyter.kalam.catalog import (
    JOB,
    NAMESPACE,
    STORAGE,
    TABLE_HISTORY,
    TOPIC,
    USER,
    ColumnDef,
    TableDef,
)
from kalam_jupyter.kalam.result import Result, ResultColumn, annotate
from kalam_jupyter.kalam.types import JSON, TIMESTAMP, TIMESTAMP_MS, json_type, sql_type

if TYPE_CHECKING:
    from kalam_jupyter.kalam.auth import Session
    from kalam_jupyter.kalam.context import Context
    from kalam_jupyter.kalam.database import Kalam

Columns = tuple[tuple[str, DataType], ...]
Rows = list[tuple[Any, ...]]


def columns(spec: str) -> Columns:
    """Read ``name:type`` words; without a type a column is TEXT."""
    words = {
        "": STRING,
        "int": INTEGER,
        "big": BIGINT,
        "time": TIMESTAMP,
        "ms": TIMESTAMP_MS,
        "json": JSON,
        "bool": BOOLEAN,
        "double": DOUBLE,
    }
    return tuple((name, words[kind]) for name, _, kind in (w.partition(":") for w in spec.split()))


USERS = columns(
    "user_id password_hash role email auth_type auth_data:json storage_mode storage_id "
    "failed_login_attempts:int "
    "locked_until:ms last_login_at:ms created_at:ms updated_at:ms last_seen:ms deleted_at:ms"
)
NAMESPACES = columns("namespace_id name created_at:ms options:json table_count:int")
SCHEMAS = columns(
    "table_id table_name namespace_id table_type created_at:ms schema_version:int columns:json "
    "table_comment "
    "updated_at:ms options:json access_level is_latest:bool storage_id use_user_storage:bool"
)
STORAGES = columns(
    "storage_id storage_name description storage_type base_directory credentials:json config_json:json "
    "shared_tables_template user_tables_template created_at:ms updated_at:ms"
)
JOBS = columns(
    "job_id job_type status leader_status parameters:json message exception_trace idempotency_key queue "
    "priority:int "
    "retry_count:int max_retries:int memory_used:big cpu_used:big created_at:ms updated_at:ms "
    "started_at:ms "
    "finished_at:ms node_id leader_node_id"
)
JOB_NODES = columns(
    "job_id node_id status error_message created_at:ms started_at:ms finished_at:ms updated_at:ms"
)
AUDIT_LOG = columns(
    "audit_id timestamp:ms actor_user_id action target details:json ip_address subject_user_id"
)
MANIFEST = columns(
    "cache_key namespace_id table_name scope etag last_refreshed:ms last_accessed:ms in_memory:bool "
    "sync_state "
    "manifest_json:json"
)
TOPICS = columns(
    "topic_id name alias partitions:int retention_seconds:big retention_max_bytes:big routes:json "
    "created_at:ms "
    "updated_at:ms"
)
TOPIC_OFFSETS = columns("topic_id group_id partition_id:int last_acked_offset:big updated_at:ms")
DESCRIBE = columns(
    "column_name ordinal_position:int column_id:big data_type is_nullable:bool is_primary_key:bool "
    "column_default "
    "column_comment schema_version:int"
)
STATS = columns(
    "table_name namespace schema_version:int logical_rows:big flushed_segments:big active_streams:big "
    "memory_bytes:big"
)


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _picked(spec: Columns, record: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(record.get(name) for name, _ in spec)


def column_json(table: TableDef) -> str:
    """Return `system.schemas.columns`: the shape ORM generators read."""
    found = [
        {
            "column_id": c.id,
            "column_name": c.name,
            "column_comment": c.comment,
            "data_type": json_type(c.type),
            "default_value": "None" if c.default is None else c.default.json(),
            "ordinal_position": i,
            "is_nullable": c.nullable and not c.primary_key,
            "is_primary_key": c.primary_key,
            "is_partition_key": False,
        }
        for i, c in enumerate(all_columns(table), 1)
    ]
    return _json(found)


def all_columns(table: TableDef) -> list[ColumnDef]:
    """Return a table's columns with `_seq` and `_deleted` at the end."""
    last = max(c.id for c in table.columns)
    system = [ColumnDef(last + 1, "_seq", BIGINT, False), ColumnDef(last + 2, "_deleted", BOOLEAN, False)]
    return [*table.columns, *system]


def options_json(table: TableDef) -> str:
    """Return `system.schemas.options`, tagged with the table's type."""
    options = dict(table.options)
    policy = options.get("flush_policy")
    if policy is not None:
        options["flush_policy"] = ",".join(f"{k}:{v}" for k, v in policy.items())
    return _json({"table_type": table.type.upper(), **options})


class SystemTables:
    """Answers `system.*`, SHOW and DESCRIBE for one `Kalam`."""

    def __init__(self, kalam: Kalam) -> None:
        self._kalam = kalam
        self._tables: dict[str, tuple[Columns, Callable[[], Rows]]] = {
            "users": (USERS, self._users),
            "namespaces": (NAMESPACES, self._namespaces),
            "schemas": (SCHEMAS, self._schemas),
            "table_schemas": (SCHEMAS, self._schemas),
            "storages": (STORAGES, lambda: self._records(STORAGE, STORAGES)),
            "jobs": (JOBS, lambda: self._records(JOB, JOBS)),
            "job_nodes": (JOB_NODES, self._job_nodes),
            "audit_log": (AUDIT_LOG, self._audit_log),
            "manifest": (MANIFEST, self._manifest),
            "topics": (TOPICS, self._topics),
            "topic_offsets": (TOPIC_OFFSETS, self._topic_offsets),
            **system_views.views(kalam),
        }

    def names(self) -> list[str]:
        """Return the names of all system tables."""
        return sorted(self._tables)

    def has(self, name: str) -> bool:
        """Whether there is a system table of this name."""
        return name in self._tables

    def schema(self, name: str) -> pa.Schema:
        """Return the columns of a system table."""
        return to_table(self._tables[name][0], []).schema

    def table(self, name: str) -> pa.Table:
        """Return a system table as Arrow."""
        spec, rows = self._tables[name]
        return to_table(spec, rows())

    # ---- stored tables

    def _records(self, kind: str, spec: Columns) -> Rows:
        return [_picked(spec, record) for _, record in self._kalam.engine.catalogue.items(kind)]

    def _users(self) -> Rows:
        return self._records(USER, USERS)

    def _namespaces(self) -> Rows:
        counts: dict[str, int] = {}
        for table in self._kalam.tables():
            counts[table.namespace] = counts.get(table.namespace, 0) + 1
        return [
            (name, name, record["created_at"], _json(record["options"]), counts.get(name, 0))
            for name, record in self._kalam.engine.catalogue.items(NAMESPACE)
        ]

    def versions(self, table: TableDef) -> list[TableDef]:
        """Return all versions of a table's definition, oldest first."""
        get = self._kalam.engine.catalogue.get
        earlier = [get(TABLE_HISTORY, table.version_name(v)) for v in range(1, table.version)]
        return [*(TableDef.from_json(value) for value in earlier if value is not None), table]

    def _schema_row(self, table: TableDef, *, latest: bool) -> tuple[Any, ...]:
        return (
            f"{table.namespace}:{table.name}",
            table.name,
            table.namespace,
            table.type,
            table.created_at,
            table.version,
            column_json(table),
            table.comment,
            table.updated_at,
            options_json(table),
            table.access_level if table.type == "shared" else None,
            latest,
            table.options.get("storage_id"),
            table.options.get("use_user_storage"),
        )

    def _schemas(self) -> Rows:
        return [
            self._schema_row(version, latest=version is table)
            for table in self._kalam.tables()
            for version in self.versions(table)
        ]

    def _job_nodes(self) -> Rows:
        return [
            (
                r["job_id"],
                r["node_id"],
                r["status"],
                r["message"] if r["status"] == "failed" else None,
                r["created_at"],
                r["started_at"],
                r["finished_at"],
                r["updated_at"],
            )
            for _, r in self._kalam.engine.catalogue.items(JOB)
        ]

    def _audit_log(self) -> Rows:
        from kalam_jupyter.kalam.audit import RELATION

        return self._kalam.engine.relation(RELATION).snapshot().rows()

    def _manifest(self) -> Rows:
        return self._kalam.storages.manifests()

    def _topics(self) -> Rows:
        return [
            (
                name,
                name.partition(".")[2] or name,
                None,
                r["partitions"],
                r["retention_seconds"],
                r["retention_max_bytes"],
                _json(r["routes"]),
                r["created_at"],
                r["updated_at"],
            )
            for name, r in self._kalam.engine.catalogue.items(TOPIC)
        ]

    def _topic_offsets(self) -> Rows:
        engine = self._kalam.engine
        found: Rows = []
        for name in engine.topics():
            topic = engine.find_topic(name)
            if topic is None:
                continue
            for group in topic.groups():
                found.extend(
                    (name, group, partition, commit.offset - 1, commit.at_ms)
                    for partition, commit in sorted(topic.commits(group).items())
                )
        return found

    # ---- SHOW, DESCRIBE

    def show(self, ctx: Context, what: str, namespace: str | None = None) -> Result:
        """Answer SHOW: open to every role."""
        name = {"tables": "schemas"}.get(what, what)
        spec, rows = self._tables[name]
        found = self._visible_manifests(ctx.session) if name == "manifest" else rows()
        if namespace is not None:
            found = [r for r in found if r[2] == namespace and r[11]]
        return Result.of_table(to_table(spec, found))

    def _visible_manifests(self, session: Session) -> Rows:
        """All to admins; to others those of their own rows, and of shared tables they may read."""

        def visible(namespace: str, name: str, owner: str) -> bool:
            table = self._kalam.find_table(namespace, name)
            if session.is_admin or table is None or table.owned:
                return session.is_admin or owner == session.user_id
            return access.may_read_shared(session.role, table.access_level)

        return self._kalam.storages.manifests(visible)

    def describe(self, table: TableDef, *, history: bool) -> Result:
        """Answer DESCRIBE TABLE."""
        found: Rows = []
        for version in self.versions(table) if history else [table]:
            number = version.version if history else 1
            for i, c in enumerate(all_columns(version), 1):
                default = None if c.default is None else str(c.default.value)
                if c.default is not None and c.default.kind == "function":
                    default = f"{c.default.value}()"
                nullable = c.nullable and not c.primary_key
                found.append(
                    (c.name, i, c.id, sql_type(c.type), nullable, c.primary_key, default, c.comment, number)
                )
        return Result.of_rows([ResultColumn(n, t) for n, t in DESCRIBE], found)

    def describe_own(self, name: str) -> Result:
        """Answer DESCRIBE TABLE for a system table."""
        found = [
            (column, i, i, sql_type(type_), True, False, None, None, 1)
            for i, (column, type_) in enumerate(self._tables[name][0], 1)
        ]
        return Result.of_rows([ResultColumn(n, t) for n, t in DESCRIBE], found)

    def table_stats(self, ctx: Context, table: TableDef) -> Result:
        """Answer SHOW STATS: of all owners' rows to admins, of one's own to others."""
        relation = self._kalam.relation(table)
        owners = self._kalam.owners(table)
        live, segments = self._kalam.live.all(), self._kalam.storages.segments(table)
        if table.owned and not ctx.session.is_admin:
            user = ctx.session.user_id
            owners = [user]
            live = [q for q in live if q.session.user_id == user]
            segments = self._kalam.storages.manifest(table, user)["segments"]
        snapshots = [relation.snapshot(owner) for owner in owners]
        batches = [b for s in snapshots for b in s.batches()]
        rows = sum(b.num_rows - b.column(table.seq_index + 1).true_count for b in batches)
        memory = sum(b.nbytes for b in batches)
        streams = sum(1 for q in live if q.table == table.qualified)
        row = (table.name, table.namespace, table.version, rows, len(segments), streams, memory)
        return Result.of_rows([ResultColumn(n, t) for n, t in STATS], [row])


def to_table(spec: Columns, rows: Rows) -> pa.Table:
    """Make an Arrow table of rows, its fields saying their KalamDB types."""
    lists = list(zip(*rows, strict=True)) if rows else [()] * len(spec)
    arrays = [
        pa.array(list(values), type=type_.arrow) for values, (_, type_) in zip(lists, spec, strict=True)
    ]
    schema = pa.schema([pa.field(name, type_.arrow) for name, type_ in spec])
    return pa.Table.from_arrays(arrays, schema=annotate(schema, [t for _, t in spec], {}))

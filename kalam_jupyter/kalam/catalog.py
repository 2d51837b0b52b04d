"""What the KalamDB dialect knows about: namespaces, tables, views. Definitions are values kept in the
catalogue."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from kalam_jupyter.engine.types import BIGINT, BOOLEAN, Array, Column, DataType, Schema
from kalam_jupyter.kalam.types import from_json_type, json_type

TableType = Literal["user", "shared", "stream", "system"]

#: Catalogue kinds.
NAMESPACE, TABLE, TABLE_HISTORY, VIEW, USER, STORAGE, TOPIC, JOB, MANIFEST, FILES = (
    "kalam.namespace",
    "kalam.table",
    "kalam.table_history",
    "kalam.view",
    "kalam.user",
    "kalam.storage",
    "kalam.topic",
    "kalam.job",
    "kalam.manifest",
    "kalam.file",
)


@dataclass(frozen=True)
class Default:
    """A column default: a literal, or a call of one of the default functions.

    Attributes
    ----------
    kind : str
        ``literal`` or ``function``.
    value : object
        The literal (JSON), or the function's upper-case name.
    """

    kind: Literal["literal", "function"]
    value: Any

    def json(self) -> Any:
        """Return the form in `system.schemas.columns`."""
        if self.kind == "literal":
            return {"Literal": self.value}
        return {"FunctionCall": {"name": self.value, "args": []}}


@dataclass(frozen=True)
class ColumnDef:
    """A user-visible column.

    Attributes
    ----------
    id : int
        Stable over renames; 1-based.
    """

    id: int
    name: str
    type: DataType
    nullable: bool = True
    primary_key: bool = False
    default: Default | None = None
    comment: str | None = None


@dataclass(frozen=True)
class TableDef:
    """A table's definition; a new version for every ALTER.

    Attributes
    ----------
    options : dict
        Those of the table's type: storage_id, use_user_storage, flush_policy, access_level, ttl_seconds, ...
    vectors : dict
        Indexed EMBEDDING column -> metric.
    """

    namespace: str
    name: str
    type: TableType
    columns: tuple[ColumnDef, ...]
    version: int = 1
    options: dict[str, Any] = field(default_factory=dict)
    vectors: dict[str, str] = field(default_factory=dict)
    created_at: int = 0
    updated_at: int = 0
    comment: str | None = None
    #: distinguishes a table from a dropped one of the same name
    incarnation: int = 0

    @cached_property
    def qualified(self) -> str:
        """``ns.table``."""
        return f"{self.namespace}.{self.name}"

    def version_name(self, version: int) -> str:
        """Name of an earlier version in the catalogue's `TABLE_HISTORY`."""
        return f"{self.qualified}@{version}"

    @cached_property
    def relation(self) -> str:
        """Name of the engine relation that holds the rows."""
        return f"kalam:{self.namespace}.{self.name}"

    @cached_property
    def owned(self) -> bool:
        """Whether every user has an own row set."""
        return self.type in ("user", "stream")

    @cached_property
    def access_level(self) -> str:
        """Access level of a shared table."""
        return str(self.options.get("access_level", "private"))

    @cached_property
    def primary_key(self) -> ColumnDef | None:
        """The primary key column."""
        return next((c for c in self.columns if c.primary_key), None)

    @cached_property
    def by_name(self) -> dict[str, int]:
        """Position of each user column."""
        return {c.name: i for i, c in enumerate(self.columns)}

    @cached_property
    def seq_index(self) -> int:
        """Position of `_seq` in a row; `_deleted` is the next."""
        return len(self.columns)

    @cached_property
    def key_index(self) -> int:
        """Position of the relation's key: the primary key, or `_seq` for streams (an event has no other
        identity)."""
        if self.type == "stream" or self.primary_key is None:
            return self.seq_index
        return self.by_name[self.primary_key.name]

    @cached_property
    def schema(self) -> Schema:
        """Engine schema: the columns, then `_seq` and `_deleted`."""
        key = self.key_index
        columns = [
            Column(c.name, c.type, key=i == key, nullable=c.nullable and i != key)
            for i, c in enumerate(self.columns)
        ]
        columns.append(Column("_seq", BIGINT, key=key == self.seq_index, nullable=False))
        columns.append(Column("_deleted", BOOLEAN, nullable=False))
        return Schema(tuple(columns))

    @cached_property
    def flags(self) -> dict[str, tuple[str, ...]]:
        """Result schema flags of each column that has some."""
        found: dict[str, tuple[str, ...]] = {}
        for c in self.columns:
            if c.primary_key:
                found[c.name] = ("nn", "pk", "uq")
            elif not c.nullable:
                found[c.name] = ("nn",)
        found["_seq"] = found["_deleted"] = ("nn",)
        return found

    @cached_property
    def embeddings(self) -> tuple[ColumnDef, ...]:
        """The EMBEDDING columns."""
        return tuple(c for c in self.columns if isinstance(c.type, Array))

    @cached_property
    def derived(self) -> dict[Any, Any]:
        """What others made of this definition, and keep as long as it is the definition."""
        return {}

    @property
    def ttl_ms(self) -> int | None:
        """Lifetime of a stream's rows."""
        seconds = self.options.get("ttl_seconds")
        return None if seconds is None else int(seconds) * 1000

    def to_json(self) -> dict[str, Any]:
        """Return the stored form."""
        return {
            "namespace": self.namespace,
            "name": self.name,
            "type": self.type,
            "columns": [
                {
                    "id": c.id,
                    "name": c.name,
                    "type": json_type(c.type),
                    "nullable": c.nullable,
                    "primary_key": c.primary_key,
                    "default": None if c.default is None else [c.default.kind, c.default.value],
                    "comment": c.comment,
                }
                for c in self.columns
            ],
            "version": self.version,
            "options": self.options,
            "vectors": self.vectors,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "comment": self.comment,
            "incarnation": self.incarnation,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> TableDef:
        """Rebuild a definition from its stored form."""
        columns = tuple(
            ColumnDef(
                c["id"],
                c["name"],
                from_json_type(c["type"]),
                c["nullable"],
                c["primary_key"],
                None if c["default"] is None else Default(c["default"][0], c["default"][1]),
                c["comment"],
            )
            for c in value["columns"]
        )
        return cls(**{**value, "columns": columns})

    def next_version(self, now_ms: int, **changes: Any) -> TableDef:
        """Return the definition after an ALTER."""
        return replace(self, version=self.version + 1, updated_at=now_ms, **changes)


@dataclass(frozen=True)
class ViewDef:
    """A view: a query by name, planned anew each time it is read."""

    namespace: str
    name: str
    sql: str
    columns: tuple[str, ...] = ()
    created_at: int = 0
    #: namespace its unqualified names resolve in
    default_namespace: str = "default"

    @property
    def qualified(self) -> str:
        """``ns.view``."""
        return f"{self.namespace}.{self.name}"

    def to_json(self) -> dict[str, Any]:
        """Return the value kept in the catalogue."""
        return {**vars(self), "columns": list(self.columns)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> ViewDef:
        """Return the view of a catalogue value."""
        return cls(**{**value, "columns": tuple(value["columns"])})

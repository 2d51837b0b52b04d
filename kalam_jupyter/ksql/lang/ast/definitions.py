"""Statements that define, change and drop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from typing import Literal as OneOf

from kalam_jupyter.engine.types import DataType
from kalam_jupyter.ksql.lang.ast.base import Node, Statement
from kalam_jupyter.ksql.lang.ast.expressions import Expression, Literal, Variable
from kalam_jupyter.ksql.lang.ast.queries import Query

SourceKind = OneOf["STREAM", "TABLE"]


@dataclass(frozen=True)
class Properties:
    """A WITH clause: names (upper case, or as written for connectors) and literals, in order."""

    items: tuple[tuple[str, Literal | Variable], ...] = ()

    def get(self, name: str, default: Any = None) -> Any:
        """The physical value of a property, or `default`."""
        for key, value in self.items:
            if key == name and isinstance(value, Literal):
                return value.value
        return default

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all given properties."""
        return tuple(name for name, _ in self.items)

    def __contains__(self, name: object) -> bool:
        return any(key == name for key, _ in self.items)

    def __bool__(self) -> bool:
        return bool(self.items)

    def replace(self, **values: Literal) -> Properties:
        """Return a copy with these properties set; new ones come last."""
        merged = dict(self.items) | values
        return Properties(tuple(merged.items()))


NO_PROPERTIES = Properties()


@dataclass(frozen=True)
class TableElement(Node):
    """One column of a CREATE statement.

    `constraint` is what was written after the type; `header` is the name in ``HEADER('name')``.
    """

    name: str
    type: DataType
    constraint: OneOf["KEY", "PRIMARY KEY", "HEADERS", "HEADER"] | None = None
    header: str | None = None


@dataclass(frozen=True)
class CreateSource(Statement):
    """CREATE [OR REPLACE] [SOURCE] {STREAM|TABLE} [IF NOT EXISTS] name (elements) WITH (properties)."""

    kind: SourceKind
    name: str
    elements: tuple[TableElement, ...] = ()
    properties: Properties = NO_PROPERTIES
    or_replace: bool = False
    if_not_exists: bool = False
    read_only: bool = False


@dataclass(frozen=True)
class CreateSourceAs(Statement):
    """CREATE [OR REPLACE] {STREAM|TABLE} [IF NOT EXISTS] name WITH (properties) AS query."""

    kind: SourceKind
    name: str
    query: Query
    properties: Properties = NO_PROPERTIES
    or_replace: bool = False
    if_not_exists: bool = False


@dataclass(frozen=True)
class InsertInto(Statement):
    """INSERT INTO target [WITH (properties)] query."""

    target: str
    query: Query
    properties: Properties = NO_PROPERTIES


@dataclass(frozen=True)
class InsertValues(Statement):
    """INSERT INTO target [(columns)] VALUES (values); `columns` is () when none were listed."""

    target: str
    columns: tuple[str, ...]
    values: tuple[Expression, ...]


@dataclass(frozen=True)
class DropSource(Statement):
    """DROP {STREAM|TABLE} [IF EXISTS] name [DELETE TOPIC]."""

    kind: SourceKind
    name: str
    if_exists: bool = False
    delete_topic: bool = False


@dataclass(frozen=True)
class AlterSource(Statement):
    """ALTER {STREAM|TABLE} name ADD [COLUMN] column type, .."""

    kind: SourceKind
    name: str
    columns: tuple[tuple[str, DataType], ...]


@dataclass(frozen=True)
class CreateType(Statement):
    """CREATE TYPE [IF NOT EXISTS] name AS type."""

    name: str
    type: DataType
    if_not_exists: bool = False


@dataclass(frozen=True)
class DropType(Statement):
    """DROP TYPE [IF EXISTS] name."""

    name: str
    if_exists: bool = False


@dataclass(frozen=True)
class CreateConnector(Statement):
    """CREATE {SOURCE|SINK} CONNECTOR [IF NOT EXISTS] name WITH (properties)."""

    kind: OneOf["SOURCE", "SINK"]
    name: str
    properties: Properties
    if_not_exists: bool = False


@dataclass(frozen=True)
class DropConnector(Statement):
    """DROP CONNECTOR [IF EXISTS] name."""

    name: str
    if_exists: bool = False

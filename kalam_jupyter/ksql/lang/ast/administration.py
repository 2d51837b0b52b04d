"""Statements about queries and properties, statements that look, assert, or belong to a client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal as OneOf

from kalam_jupyter.ksql.lang.ast.base import Statement
from kalam_jupyter.ksql.lang.ast.definitions import NO_PROPERTIES, CreateSource, Properties
from kalam_jupyter.ksql.lang.ast.expressions import Expression
from kalam_jupyter.ksql.lang.ast.queries import Duration


@dataclass(frozen=True)
class Terminate(Statement):
    """TERMINATE {query id | ALL}; `query_id` is None for ALL."""

    query_id: str | None


@dataclass(frozen=True)
class Pause(Statement):
    """PAUSE {query id | ALL}; `query_id` is None for ALL."""

    query_id: str | None


@dataclass(frozen=True)
class Resume(Statement):
    """RESUME {query id | ALL}; `query_id` is None for ALL."""

    query_id: str | None


@dataclass(frozen=True)
class SetProperty(Statement):
    """SET 'name' = 'value'."""

    name: str
    value: str


@dataclass(frozen=True)
class UnsetProperty(Statement):
    """UNSET 'name'."""

    name: str


@dataclass(frozen=True)
class AlterSystem(Statement):
    """ALTER SYSTEM 'name' = 'value'."""

    name: str
    value: str


@dataclass(frozen=True)
class Define(Statement):
    """DEFINE name = 'value'."""

    name: str
    value: str


@dataclass(frozen=True)
class Undefine(Statement):
    """UNDEFINE name."""

    name: str


# Statements that look


@dataclass(frozen=True)
class Show(Statement):
    """SHOW or LIST.

    `all` is SHOW ALL TOPICS; `connector_kind` narrows SHOW CONNECTORS.
    """

    what: OneOf[
        "STREAMS",
        "TABLES",
        "TOPICS",
        "FUNCTIONS",
        "QUERIES",
        "PROPERTIES",
        "TYPES",
        "VARIABLES",
        "CONNECTORS",
        "CONNECTOR PLUGINS",
    ]
    extended: bool = False
    all: bool = False
    connector_kind: OneOf["SOURCE", "SINK"] | None = None


@dataclass(frozen=True)
class Describe(Statement):
    """DESCRIBE name [EXTENDED]."""

    name: str
    extended: bool = False


@dataclass(frozen=True)
class DescribeAll(Statement):
    """DESCRIBE {STREAMS|TABLES} [EXTENDED]."""

    what: OneOf["STREAMS", "TABLES"]
    extended: bool = False


@dataclass(frozen=True)
class DescribeFunction(Statement):
    """DESCRIBE FUNCTION name."""

    name: str


@dataclass(frozen=True)
class DescribeConnector(Statement):
    """DESCRIBE CONNECTOR name."""

    name: str


@dataclass(frozen=True)
class Explain(Statement):
    """EXPLAIN {query id | statement}: exactly one of both is set."""

    query_id: str | None = None
    statement: Statement | None = None


@dataclass(frozen=True)
class Print(Statement):
    """PRINT topic [FROM BEGINNING] [INTERVAL n] [LIMIT n]."""

    topic: str
    from_beginning: bool = False
    interval: int | None = None
    limit: int | None = None


# Statements that assert


@dataclass(frozen=True)
class AssertTopic(Statement):
    """ASSERT [NOT EXISTS] TOPIC name [WITH (properties)] [TIMEOUT duration]."""

    topic: str
    properties: Properties = NO_PROPERTIES
    timeout: Duration | None = None
    exists: bool = True


@dataclass(frozen=True)
class AssertSchema(Statement):
    """ASSERT [NOT EXISTS] SCHEMA [SUBJECT name] [ID n] [TIMEOUT duration]."""

    subject: str | None = None
    id: int | None = None
    timeout: Duration | None = None
    exists: bool = True


@dataclass(frozen=True)
class AssertValues(Statement):
    """ASSERT VALUES source (columns) VALUES (values): test scripts only."""

    source: str
    columns: tuple[str, ...]
    values: tuple[Expression, ...]


@dataclass(frozen=True)
class AssertNullValues(Statement):
    """ASSERT NULL VALUES source (columns) KEY (values): test scripts only."""

    source: str
    columns: tuple[str, ...]
    values: tuple[Expression, ...]


@dataclass(frozen=True)
class AssertSource(Statement):
    """ASSERT {STREAM|TABLE} name (elements) WITH (properties): test scripts only."""

    source: CreateSource


# Statements of a command line client


@dataclass(frozen=True)
class RunScript(Statement):
    """RUN SCRIPT 'path'."""

    path: str


@dataclass(frozen=True)
class Spool(Statement):
    """SPOOL {'path' | OFF}; `path` is None for OFF."""

    path: str | None

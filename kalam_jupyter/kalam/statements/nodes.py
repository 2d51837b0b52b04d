"""Statements as values. What every kind has in common sits in class attributes.

gate
    Text of the classification gate: roles below dba get 403 with it before anything runs; None for no gate.
family
    How the statement is treated inside a transaction and in the results of a batch: ``select``, ``dml``,
    ``ddl`` (refused inside BEGIN..COMMIT), ``transaction`` or ``command``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from kalam_jupyter.kalam.catalog import ColumnDef, Default
from kalam_jupyter.kalam.errors import StatementError
from kalam_jupyter.kalam.expressions import Expression

Name = tuple[str | None, str]


def admin_gate(what: str) -> str:
    """Return the text of a classification gate."""
    return f"Admin privileges (DBA or System role) required for {what}"


@dataclass(frozen=True)
class Statement:
    """Base of all statements."""

    gate: ClassVar[str | None] = None
    family: ClassVar[str] = "command"


@dataclass(frozen=True)
class _Ddl(Statement):
    family: ClassVar[str] = "ddl"


@dataclass(frozen=True)
class Refused(Statement):
    """What is a statement, but none that can be carried out: it fails when its turn comes."""

    error: StatementError


# ---- data --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Select(Statement):
    """SELECT, WITH, VALUES, or an engine command that answers rows (EXPLAIN, SHOW ALL, ...)."""

    sql: str
    family: ClassVar[str] = "select"


@dataclass(frozen=True)
class EngineCommand(Select):
    """EXPLAIN, SET, SHOW ALL, SHOW COLUMNS, DESCRIBE <name>: the query engine's own, for admins."""

    what: str = ""


@dataclass(frozen=True)
class Insert(Statement):
    """INSERT: rows of expressions, a query, or rows of values where there are only literals."""

    table: Name
    columns: tuple[str, ...] | None
    rows: tuple[tuple[Expression, ...], ...] = ()
    query: str | None = None
    values: tuple[tuple[Any, ...], ...] = ()
    family: ClassVar[str] = "dml"


@dataclass(frozen=True)
class Update(Statement):
    """UPDATE with its assignments and WHERE; where_sql is the text of the WHERE."""

    table: Name
    assignments: tuple[tuple[str, Expression, str], ...]
    where: Expression
    where_sql: str
    family: ClassVar[str] = "dml"


@dataclass(frozen=True)
class Delete(Statement):
    """DELETE with its WHERE."""

    table: Name
    where: Expression
    where_sql: str
    family: ClassVar[str] = "dml"


@dataclass(frozen=True)
class Begin(Statement):
    """BEGIN, START TRANSACTION."""

    family: ClassVar[str] = "transaction"


@dataclass(frozen=True)
class Commit(Statement):
    """COMMIT."""

    family: ClassVar[str] = "transaction"


@dataclass(frozen=True)
class Rollback(Statement):
    """ROLLBACK."""

    family: ClassVar[str] = "transaction"


@dataclass(frozen=True)
class ExecuteAs(Statement):
    """EXECUTE AS USER 'u' (statement)."""

    user: str
    inner: Statement


# ---- namespaces and tables ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class CreateNamespace(_Ddl):
    name: str
    if_not_exists: bool = False
    gate: ClassVar[str | None] = admin_gate("namespace operations")


@dataclass(frozen=True)
class DropNamespace(_Ddl):
    name: str
    if_exists: bool = False
    gate: ClassVar[str | None] = admin_gate("namespace operations")


@dataclass(frozen=True)
class AlterNamespace(_Ddl):
    name: str
    options: dict[str, Any] = field(default_factory=dict)
    gate: ClassVar[str | None] = admin_gate("namespace operations")


@dataclass(frozen=True)
class UseNamespace(Statement):
    name: str


@dataclass(frozen=True)
class CreateTable(_Ddl):
    table: Name
    columns: tuple[ColumnDef, ...]
    type: str | None
    options: dict[str, Any]
    if_not_exists: bool = False


@dataclass(frozen=True)
class DropTable(_Ddl):
    table: Name
    if_exists: bool = False


@dataclass(frozen=True)
class CreateView(_Ddl):
    view: Name
    columns: tuple[str, ...]
    query: str
    or_replace: bool = False


@dataclass(frozen=True)
class DropView(_Ddl):
    view: Name
    if_exists: bool = False


@dataclass(frozen=True)
class AddColumn(_Ddl):
    table: Name
    column: ColumnDef


@dataclass(frozen=True)
class DropColumn(_Ddl):
    table: Name
    column: str


@dataclass(frozen=True)
class ModifyColumn(_Ddl):
    """MODIFY COLUMN c type [NULL|NOT NULL]; nullable None keeps it."""

    table: Name
    column: str
    type: Any
    nullable: bool | None


@dataclass(frozen=True)
class SetNullable(_Ddl):
    table: Name
    column: str
    nullable: bool


@dataclass(frozen=True)
class SetDefault(_Ddl):
    """SET DEFAULT x, or DROP DEFAULT when default is None; text is as written."""

    table: Name
    column: str
    default: Default | None
    text: str = ""


@dataclass(frozen=True)
class RenameColumn(_Ddl):
    table: Name
    column: str
    new_name: str


@dataclass(frozen=True)
class SetAccessLevel(_Ddl):
    table: Name
    level: str


@dataclass(frozen=True)
class AlterIndex(_Ddl):
    """CREATE or DROP [VECTOR] INDEX; metric None drops."""

    table: Name
    column: str
    metric: str | None


# ---- inspection --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Show(Statement):
    """SHOW NAMESPACES | TABLES [IN ns] | STORAGES | MANIFEST | EXPORT."""

    what: str
    namespace: str | None = None


@dataclass(frozen=True)
class ShowStats(Statement):
    table: Name


@dataclass(frozen=True)
class DescribeTable(Statement):
    table: Name
    history: bool = False


# ---- users -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CreateUser(Statement):
    """CREATE USER; auth is Password, OAuth or Internal and secret the password or the OAuth JSON."""

    user: str
    auth: str
    secret: str | None
    role: str
    email: str | None = None
    gate: ClassVar[str | None] = admin_gate("user management")


@dataclass(frozen=True)
class AlterUser(Statement):
    """ALTER USER .. SET PASSWORD | ROLE | EMAIL."""

    user: str
    what: str
    value: str


@dataclass(frozen=True)
class DropUser(Statement):
    user: str
    if_exists: bool = False
    gate: ClassVar[str | None] = admin_gate("user management")


# ---- storage, jobs, maintenance ----------------------------------------------------------------------------


@dataclass(frozen=True)
class CreateStorage(_Ddl):
    storage_id: str
    type: str
    options: dict[str, str]
    gate: ClassVar[str | None] = admin_gate("storage operations")


@dataclass(frozen=True)
class AlterStorage(_Ddl):
    storage_id: str
    options: dict[str, str]
    gate: ClassVar[str | None] = admin_gate("storage operations")


@dataclass(frozen=True)
class DropStorage(_Ddl):
    storage_id: str
    if_exists: bool = False
    gate: ClassVar[str | None] = admin_gate("storage operations")


@dataclass(frozen=True)
class CheckStorage(Statement):
    storage_id: str
    extended: bool = False
    gate: ClassVar[str | None] = admin_gate("storage operations")


@dataclass(frozen=True)
class Maintain(Statement):
    """STORAGE FLUSH | COMPACT of one table, or of all tables of a namespace (table None)."""

    what: str
    table: Name | None
    namespace: str | None = None


@dataclass(frozen=True)
class KillJob(Statement):
    job_id: str
    gate: ClassVar[str | None] = admin_gate("job management")


@dataclass(frozen=True)
class KillLiveQuery(Statement):
    live_id: str


@dataclass(frozen=True)
class Backup(Statement):
    path: str
    gate: ClassVar[str | None] = admin_gate("backup operations")


@dataclass(frozen=True)
class Restore(Statement):
    path: str
    gate: ClassVar[str | None] = admin_gate("restore operations")


@dataclass(frozen=True)
class ExportUserData(Statement):
    pass


@dataclass(frozen=True)
class Cluster(Statement):
    action: str
    argument: int | None = None
    gate: ClassVar[str | None] = admin_gate("cluster operations")


# ---- topics and subscriptions ------------------------------------------------------------------------------


@dataclass(frozen=True)
class CreateTopic(Statement):
    name: str
    partitions: int = 1
    gate: ClassVar[str | None] = admin_gate("topic management")


@dataclass(frozen=True)
class DropTopic(Statement):
    name: str
    gate: ClassVar[str | None] = admin_gate("topic management")


@dataclass(frozen=True)
class ClearTopic(Statement):
    name: str
    gate: ClassVar[str | None] = admin_gate("topic management")


@dataclass(frozen=True)
class AddSource(Statement):
    """ALTER TOPIC t ADD SOURCE table ON op [WHERE expr] [WITH (payload = mode)]."""

    topic: str
    table: Name
    operation: str
    where_sql: str | None = None
    payload: str = "full"
    gate: ClassVar[str | None] = admin_gate("topic management")


@dataclass(frozen=True)
class Consume(Statement):
    """CONSUME FROM; start is earliest, latest or an offset."""

    topic: str
    group: str | None
    start: str | int
    limit: int


@dataclass(frozen=True)
class Ack(Statement):
    topic: str
    group: str
    partition: int
    offset: int


@dataclass(frozen=True)
class SubscribeTo(Statement):
    sql: str
    options: dict[str, int]

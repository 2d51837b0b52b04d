"""The abstract syntax tree of ksqlDB's SQL.

Every node is a frozen dataclass. Equality and hash ignore `location`, so two spellings of one expression
are equal: that is how GROUP BY expressions are found again in the SELECT list. Names are stored folded:
upper case unless they were quoted. Types are those of `kalam_jupyter.engine.types`, plus `NamedType` for
the name of a custom type that is not resolved yet.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from typing import Literal as OneOf

from kalam_jupyter.engine.types import DataType

SourceKind = OneOf["STREAM", "TABLE"]
JoinKind = OneOf["INNER", "LEFT", "RIGHT", "FULL"]
Emit = OneOf["CHANGES", "FINAL"]


@dataclass(frozen=True, slots=True)
class Location:
    """Position in the submitted text, both numbers from 1."""

    line: int
    column: int

    @property
    def prefix(self) -> str:
        """How planner messages start: ``Line: 3, Col: 38: ``."""
        return f"Line: {self.line}, Col: {self.column}: "


@dataclass(frozen=True)
class NamedType(DataType):
    """A custom type (CREATE TYPE) by its name, before it is resolved."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Node:
    """Base of everything in the tree."""

    location: Location | None = field(default=None, compare=False, repr=False, kw_only=True)

    @property
    def prefix(self) -> str:
        """``Line: l, Col: c: `` where the position is known, else nothing."""
        return self.location.prefix if self.location else ""


# Expressions


@dataclass(frozen=True)
class Expression(Node):
    """Base of expressions. ``str(expression)`` is its canonical text."""

    def __str__(self) -> str:
        from kalam_jupyter.ksql.lang.format import format_expression

        return format_expression(self)


@dataclass(frozen=True)
class Literal(Expression):
    """A constant: its physical value, and its type (None for the untyped NULL)."""

    value: Any
    type: DataType | None


@dataclass(frozen=True)
class Variable(Expression):
    """``${name}`` where a literal is expected, before substitution."""

    name: str


@dataclass(frozen=True)
class ColumnRef(Expression):
    """A column, with the source or alias it was qualified with."""

    name: str
    qualifier: str | None = None


@dataclass(frozen=True)
class LambdaVariable(Expression):
    """A parameter of an enclosing lambda."""

    name: str


@dataclass(frozen=True)
class Dereference(Expression):
    """``base->field_name``: a field of a struct."""

    base: Expression
    field_name: str


@dataclass(frozen=True)
class Subscript(Expression):
    """``base[index]`` of an array or a map."""

    base: Expression
    index: Expression


@dataclass(frozen=True)
class FunctionCall(Expression):
    """A call; the name is upper case. `star` marks ``COUNT(*)``, which has no arguments."""

    name: str
    args: tuple[Expression, ...] = ()
    star: bool = False


@dataclass(frozen=True)
class Lambda(Expression):
    """``x => body`` or ``(x, y) => body``; in the body the parameters are `LambdaVariable`."""

    params: tuple[str, ...]
    body: Expression


@dataclass(frozen=True)
class IntervalUnit(Expression):
    """A bare time unit as function argument, e.g. ``DATEADD(DAYS, 1, d)``: always plural, upper case."""

    unit: str


@dataclass(frozen=True)
class Arithmetic(Expression):
    """`op` is one of ``+ - * / %``."""

    op: str
    left: Expression
    right: Expression


@dataclass(frozen=True)
class Unary(Expression):
    """`op` is ``+`` or ``-``."""

    op: str
    operand: Expression


@dataclass(frozen=True)
class Comparison(Expression):
    """`op` is one of ``= <> < <= > >=`` (``!=`` is stored as ``<>``)."""

    op: str
    left: Expression
    right: Expression


@dataclass(frozen=True)
class Logical(Expression):
    """`op` is ``AND`` or ``OR``."""

    op: str
    left: Expression
    right: Expression


@dataclass(frozen=True)
class Not(Expression):
    """NOT; also what NOT BETWEEN, NOT IN, NOT LIKE and IS NOT DISTINCT FROM become."""

    operand: Expression


@dataclass(frozen=True)
class IsNull(Expression):
    """``operand IS [NOT] NULL``."""

    operand: Expression
    negated: bool = False


@dataclass(frozen=True)
class IsDistinct(Expression):
    """``left IS DISTINCT FROM right``."""

    left: Expression
    right: Expression


@dataclass(frozen=True)
class Between(Expression):
    """``value BETWEEN low AND high``."""

    value: Expression
    low: Expression
    high: Expression


@dataclass(frozen=True)
class In(Expression):
    """``value IN (items)``."""

    value: Expression
    items: tuple[Expression, ...]


@dataclass(frozen=True)
class Like(Expression):
    """``value LIKE pattern [ESCAPE 'c']``."""

    value: Expression
    pattern: Expression
    escape: str | None = None


@dataclass(frozen=True)
class When(Node):
    """One WHEN .. THEN .. of a CASE. `condition` is the value to equal in a simple CASE."""

    condition: Expression
    result: Expression


@dataclass(frozen=True)
class SearchedCase(Expression):
    """``CASE WHEN condition THEN result .. [ELSE default] END``."""

    whens: tuple[When, ...]
    default: Expression | None = None


@dataclass(frozen=True)
class SimpleCase(Expression):
    """``CASE operand WHEN value THEN result .. [ELSE default] END``."""

    operand: Expression
    whens: tuple[When, ...]
    default: Expression | None = None


@dataclass(frozen=True)
class Cast(Expression):
    """``CAST(operand AS type)``."""

    operand: Expression
    type: DataType


@dataclass(frozen=True)
class ArrayConstructor(Expression):
    """``ARRAY[items]``."""

    items: tuple[Expression, ...]


@dataclass(frozen=True)
class MapConstructor(Expression):
    """``MAP(key := value, ..)``."""

    entries: tuple[tuple[Expression, Expression], ...]


@dataclass(frozen=True)
class StructConstructor(Expression):
    """``STRUCT(name := value, ..)``."""

    fields: tuple[tuple[str, Expression], ...]


# Relations, windows, queries


@dataclass(frozen=True)
class Duration(Node):
    """``amount unit``, e.g. 30 SECONDS; the unit is plural, upper case."""

    amount: int
    unit: str

    @property
    def ms(self) -> int:
        """The duration in milliseconds."""
        return self.amount * UNIT_MS[self.unit]

    def __str__(self) -> str:
        return f"{self.amount} {self.unit}"


UNIT_MS = {
    "MILLISECONDS": 1,
    "SECONDS": 1_000,
    "MINUTES": 60_000,
    "HOURS": 3_600_000,
    "DAYS": 86_400_000,
}


@dataclass(frozen=True)
class SourceRef(Node):
    """A stream or table in FROM or JOIN."""

    name: str
    alias: str | None = None

    @property
    def label(self) -> str:
        """What columns are qualified with: the alias, or the name."""
        return self.alias or self.name


@dataclass(frozen=True)
class Within(Node):
    """``WITHIN before`` or ``WITHIN (before, after) [GRACE PERIOD grace]``."""

    before: Duration
    after: Duration
    grace: Duration | None = None


@dataclass(frozen=True)
class Join(Node):
    """A join; joins nest to the left."""

    left: Relation
    right: SourceRef
    kind: JoinKind
    criteria: Expression
    within: Within | None = None


Relation = SourceRef | Join


@dataclass(frozen=True)
class Window(Node):
    """Base of the windows of a WINDOW clause."""

    retention: Duration | None = field(default=None, kw_only=True)
    grace: Duration | None = field(default=None, kw_only=True)
    name: str | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class TumblingWindow(Window):
    """``TUMBLING (SIZE size)``."""

    size: Duration


@dataclass(frozen=True)
class HoppingWindow(Window):
    """``HOPPING (SIZE size, ADVANCE BY advance)``."""

    size: Duration
    advance: Duration


@dataclass(frozen=True)
class SessionWindow(Window):
    """``SESSION (gap)``."""

    gap: Duration


@dataclass(frozen=True)
class AllColumns(Node):
    """``*``, or ``source.*``."""

    source: str | None = None


@dataclass(frozen=True)
class StructAll(Node):
    """``expression->*``: all fields of a struct as columns."""

    base: Expression


@dataclass(frozen=True)
class SingleColumn(Node):
    """``expression [AS alias]``."""

    expression: Expression
    alias: str | None = None


SelectItem = AllColumns | StructAll | SingleColumn


@dataclass(frozen=True)
class Statement(Node):
    """Base of statements. ``str(statement)`` is its canonical text.

    `name_location` is where the name of the object stands that the statement is about.
    """

    name_location: Location | None = field(default=None, compare=False, repr=False, kw_only=True)

    def __str__(self) -> str:
        from kalam_jupyter.ksql.lang.format import format_statement

        return format_statement(self)


@dataclass(frozen=True)
class Query(Statement):
    """SELECT. `group_by` and `partition_by` are None when the clause is absent, () for ``BY ()``.

    `emit` is None when no EMIT was written: a pull query if transient, EMIT CHANGES if persistent.
    """

    select: tuple[SelectItem, ...]
    relation: Relation
    window: Window | None = None
    where: Expression | None = None
    group_by: tuple[Expression, ...] | None = None
    partition_by: tuple[Expression, ...] | None = None
    having: Expression | None = None
    emit: Emit | None = None
    limit: int | None = None

    @property
    def sources(self) -> tuple[SourceRef, ...]:
        """The sources it reads, left to right."""
        found: list[SourceRef] = []
        relation = self.relation
        while isinstance(relation, Join):
            found.append(relation.right)
            relation = relation.left
        return (relation, *reversed(found))


# Statements that define, change and drop


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
    properties: Properties = Properties()
    or_replace: bool = False
    if_not_exists: bool = False
    read_only: bool = False


@dataclass(frozen=True)
class CreateSourceAs(Statement):
    """CREATE [OR REPLACE] {STREAM|TABLE} [IF NOT EXISTS] name WITH (properties) AS query."""

    kind: SourceKind
    name: str
    query: Query
    properties: Properties = Properties()
    or_replace: bool = False
    if_not_exists: bool = False


@dataclass(frozen=True)
class InsertInto(Statement):
    """INSERT INTO target [WITH (properties)] query."""

    target: str
    query: Query
    properties: Properties = Properties()


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


# Statements about queries, properties, variables


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
    properties: Properties = Properties()
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


# Walking


def children(node: Node) -> Iterator[Node]:
    """Yield the nodes directly below `node`, in source order."""
    for f in dataclasses.fields(node):
        yield from _nodes(getattr(node, f.name))


def walk(node: Node) -> Iterator[Node]:
    """Yield `node` and everything below it, parents first."""
    yield node
    for child in children(node):
        yield from walk(child)


def _nodes(value: object) -> Iterator[Node]:
    if isinstance(value, Node):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _nodes(item)
    elif isinstance(value, Properties):
        yield from _nodes(value.items)


def rewrite(node: Any, change: Callable[[Expression], Expression | None]) -> Any:
    """Return `node` with expressions replaced, from the root down.

    Parameters
    ----------
    node : Node or tuple of nodes
    change : callable
        Gets each expression; what it returns takes the place and is not looked into again. None
        means: keep it, and go on with what is below.
    """
    if isinstance(node, Expression):
        changed = change(node)
        if changed is not None:
            return changed
    if isinstance(node, Node):
        updates = {}
        for f in dataclasses.fields(node):
            old = getattr(node, f.name)
            if isinstance(old, Node | tuple):
                new = rewrite(old, change)
                if new is not old:
                    updates[f.name] = new
        return dataclasses.replace(node, **updates) if updates else node
    if isinstance(node, tuple):
        items = tuple(rewrite(item, change) for item in node)
        return items if any(a is not b for a, b in zip(items, node, strict=True)) else node
    return node

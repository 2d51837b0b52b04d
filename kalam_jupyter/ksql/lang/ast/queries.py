"""Relations, windows and SELECT."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal as OneOf

from kalam_jupyter.ksql.lang.ast.base import Node, Statement
from kalam_jupyter.ksql.lang.ast.expressions import Expression

JoinKind = OneOf["INNER", "LEFT", "RIGHT", "FULL"]
Emit = OneOf["CHANGES", "FINAL"]


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

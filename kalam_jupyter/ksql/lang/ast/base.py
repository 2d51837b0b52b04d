"""What every node has: a position."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypedDict

from kalam_jupyter.engine.types import DataType


class Position(TypedDict, total=False):
    """A position as errors take it."""

    line: int
    column: int


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

    @property
    def position(self) -> Position:
        """The position as keywords of an error; none where it is not known."""
        return {} if self.location is None else {"line": self.location.line, "column": self.location.column}


@dataclass(frozen=True)
class Statement(Node):
    """Base of statements. ``str(statement)`` is its canonical text.

    `name_location` is where the name of the object stands that the statement is about.
    """

    name_location: Location | None = field(default=None, compare=False, repr=False, kw_only=True)

    def __str__(self) -> str:
        from kalam_jupyter.ksql.lang.format import format_statement

        return format_statement(self)

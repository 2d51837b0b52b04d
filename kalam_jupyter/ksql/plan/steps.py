"""Execution steps: the immutable plan of one query, a tree from the sink to its sources.

Each step knows the layout of the flat row it emits. `operators` builds one operator per step; `explain`
renders them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from kalam_jupyter.engine.types import Column
from kalam_jupyter.ksql.analysis.layout import Layout
from kalam_jupyter.ksql.expressions.bound import Bound
from kalam_jupyter.ksql.functions.definitions import Aggregation
from kalam_jupyter.ksql.metastore import RESERVED_NAMES, Source, WindowInfo

JoinType = Literal["STREAM_STREAM", "STREAM_TABLE", "TABLE_TABLE", "FOREIGN_KEY"]


@dataclass(frozen=True, kw_only=True)
class Step:
    """Base of all steps.

    Attributes
    ----------
    layout : Layout
        The flat row that it emits.
    key : tuple of Column
        The key that it emits.
    table : bool
        Whether it emits a changelog.
    """

    layout: Layout
    key: tuple[Column, ...]
    table: bool

    @property
    def inputs(self) -> tuple[Step, ...]:
        """The steps it reads."""
        return ()

    def walk(self) -> Iterator[Step]:
        """Yield this step and all before it, itself first."""
        yield self
        for step in self.inputs:
            yield from step.walk()

    def hidden_names(self) -> frozenset[str]:
        """Return what the layouts up to here call pseudo columns, and what no name stands for."""
        aliases = {s.alias for s in self.walk() if isinstance(s, SourceStep)}
        return RESERVED_NAMES | {f"{alias}_{name}" for alias in aliases for name in RESERVED_NAMES} | {""}


@dataclass(frozen=True, kw_only=True)
class SourceStep(Step):
    """Reads a stream's or table's topic. `materialize`: keep the table's rows, so that changes know what they
    replace.
    """

    source: Source
    alias: str
    materialize: bool = False


@dataclass(frozen=True, kw_only=True)
class Unary(Step):
    """A step with one input."""

    input: Step

    @property
    def inputs(self) -> tuple[Step, ...]:
        return (self.input,)


@dataclass(frozen=True, kw_only=True)
class FilterStep(Unary):
    """WHERE, or HAVING."""

    predicate: Bound
    text: str


@dataclass(frozen=True, kw_only=True)
class SelectKeyStep(Unary):
    """PARTITION BY. An empty `expressions` is PARTITION BY NULL."""

    expressions: tuple[Bound, ...]
    text: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class JoinKeyStep(Unary):
    """Re-keys a stream by its side of a join criterion."""

    expression: Bound
    text: str


@dataclass(frozen=True, kw_only=True)
class FlatMapStep(Unary):
    """Table functions; their results follow the input's flat row."""

    functions: tuple[Bound, ...]
    text: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class GroupByStep(Unary):
    """GROUP BY: re-keys by the group."""

    expressions: tuple[Bound, ...]
    text: tuple[str, ...]


@dataclass(frozen=True)
class AggregateFunction:
    """One aggregate call: the resolved function and its column arguments."""

    function: Aggregation
    arguments: tuple[Bound, ...]
    text: str


@dataclass(frozen=True)
class WindowSpec:
    """A window clause with its defaults filled in; milliseconds. `size_ms` is the gap of sessions."""

    info: WindowInfo
    size_ms: int
    advance_ms: int
    grace_ms: int
    retention_ms: int


@dataclass(frozen=True, kw_only=True)
class AggregateStep(Unary):
    """Aggregation, of a stream (windowed or not) or of a table."""

    aggregates: tuple[AggregateFunction, ...]
    window: WindowSpec | None = None
    emit_final: bool = False


@dataclass(frozen=True, kw_only=True)
class JoinStep(Step):
    """A join of two inputs. `sessions`: their keys are session windowed."""

    left: Step
    right: Step
    join_type: JoinType
    kind: Literal["INNER", "LEFT", "RIGHT", "FULL"]
    foreign_key: Bound | None = None
    before_ms: int = 0
    after_ms: int = 0
    grace_ms: int | None = None
    sessions: bool = False

    @property
    def inputs(self) -> tuple[Step, ...]:
        return (self.left, self.right)


@dataclass(frozen=True, kw_only=True)
class ProjectStep(Unary):
    """SELECT: the value columns, and which parts of the key go out under which name."""

    select: tuple[tuple[str, Bound], ...]
    text: tuple[str, ...]
    key_positions: tuple[int, ...]

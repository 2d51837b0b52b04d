"""Bound expressions: what the binder makes of an AST expression once names, types and overloads are known.

A bound expression refers to columns by their position in the flat row (see
`kalam_jupyter.ksql.operators.record`),
holds the function it calls, and knows its type. `type` is None for an untyped NULL. Two back ends read it:
`codegen` (Python source, the
complete reference) and `columnar` (Arrow kernels for part of it).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from kalam_jupyter.engine.types import BOOLEAN, DOUBLE, DataType, Decimal
from kalam_jupyter.ksql.values.numbers import shortest_decimal


@dataclass(frozen=True, kw_only=True)
class Bound:
    """Base of all bound expressions."""

    type: DataType | None

    #: Whether the value is never NULL and evaluation of the node itself never fails.
    total = False

    @property
    def known_type(self) -> DataType:
        """The type of what has one: everything but an untyped NULL."""
        assert self.type is not None
        return self.type

    def children(self) -> tuple[Bound, ...]:
        """Return the operands, in evaluation order."""
        return ()

    def walk(self) -> Iterator[Bound]:
        """Yield this expression and everything below it."""
        yield self
        for child in self.children():
            yield from child.walk()


@dataclass(frozen=True)
class Constant(Bound):
    """A literal, in physical form."""

    value: Any


@dataclass(frozen=True)
class ColumnValue(Bound):
    """A column of the flat row."""

    index: int
    name: str


@dataclass(frozen=True)
class LambdaParameter(Bound):
    """A parameter of an enclosing lambda."""

    name: str


@dataclass(frozen=True)
class LambdaValue(Bound):
    """A lambda passed to a function."""

    parameters: tuple[str, ...]
    body: Bound

    def children(self) -> tuple[Bound, ...]:
        return (self.body,)


@dataclass(frozen=True)
class Call(Bound):
    """A scalar function, or any other operation that is a Python callable of its operands' values.

    Attributes
    ----------
    name : str
    function : callable
        Takes the operands' values; may raise.
    arguments : tuple of Bound
    contains : bool
        Whether failing arguments that contain failures themselves become NULL here.
    null_on_null : bool
        The result is NULL, without calling, when an argument is.
    columnar : callable or None
        The same over Arrow arrays.
    """

    name: str
    function: Callable[..., Any]
    arguments: tuple[Bound, ...]
    contains: bool = True
    null_on_null: bool = False
    columnar: Callable[..., Any] | None = None

    def children(self) -> tuple[Bound, ...]:
        return self.arguments


@dataclass(frozen=True)
class ArithmeticOp(Bound):
    """``+ - * / %`` over numbers; `function` does what Python's operator does not (decimals, division)."""

    operator: str
    left: Bound
    right: Bound
    function: Callable[[Any, Any], Any] | None = None

    def children(self) -> tuple[Bound, ...]:
        return (self.left, self.right)


@dataclass(frozen=True)
class Negation(Bound):
    """Unary minus."""

    operand: Bound

    def children(self) -> tuple[Bound, ...]:
        return (self.operand,)


@dataclass(frozen=True)
class CompareOp(Bound):
    """A comparison; false when an operand is NULL. `function` is None where Python's operator agrees."""

    operator: str
    left: Bound
    right: Bound
    function: Callable[[Any, Any], bool] | None = None
    type: DataType | None = field(default=BOOLEAN, kw_only=True)
    total = True

    def children(self) -> tuple[Bound, ...]:
        return (self.left, self.right)


@dataclass(frozen=True)
class Distinct(Bound):
    """``IS [NOT] DISTINCT FROM``: comparison in which NULL equals NULL."""

    left: Bound
    right: Bound
    negated: bool
    function: Callable[[Any, Any], bool] | None = None
    type: DataType | None = field(default=BOOLEAN, kw_only=True)
    total = True

    def children(self) -> tuple[Bound, ...]:
        return (self.left, self.right)


@dataclass(frozen=True)
class Logic(Bound):
    """AND, OR: two-valued, short-circuit; a NULL operand is a failure."""

    operator: str
    left: Bound
    right: Bound
    type: DataType | None = field(default=BOOLEAN, kw_only=True)
    total = True

    def children(self) -> tuple[Bound, ...]:
        return (self.left, self.right)


@dataclass(frozen=True)
class NotOp(Bound):
    """Two-valued NOT; a NULL operand is a failure."""

    operand: Bound
    type: DataType | None = field(default=BOOLEAN, kw_only=True)
    total = True

    def children(self) -> tuple[Bound, ...]:
        return (self.operand,)


@dataclass(frozen=True)
class NullTest(Bound):
    """``IS [NOT] NULL``."""

    operand: Bound
    negated: bool
    type: DataType | None = field(default=BOOLEAN, kw_only=True)
    total = True

    def children(self) -> tuple[Bound, ...]:
        return (self.operand,)


@dataclass(frozen=True)
class Membership(Bound):
    """``x IN (items)``, all of one common type; false for a NULL x, NULL items never match."""

    operand: Bound
    items: tuple[Bound, ...]
    type: DataType | None = field(default=BOOLEAN, kw_only=True)
    total = True

    def children(self) -> tuple[Bound, ...]:
        return (self.operand, *self.items)


@dataclass(frozen=True)
class Case(Bound):
    """Searched CASE; lazy. A NULL condition is a failure."""

    branches: tuple[tuple[Bound, Bound], ...]
    default: Bound | None

    def children(self) -> tuple[Bound, ...]:
        flat = tuple(part for branch in self.branches for part in branch)
        return flat if self.default is None else (*flat, self.default)


@dataclass(frozen=True)
class Conversion(Bound):
    """CAST or an implicit widening; both keep NULL.

    Attributes
    ----------
    function : callable
        Of a value that is not NULL.
    contains : bool
        Whether a failure of the operand becomes NULL here, and one of the conversion where it is an argument.
    """

    operand: Bound
    function: Callable[[Any], Any]
    contains: bool = True

    def children(self) -> tuple[Bound, ...]:
        return (self.operand,)


@dataclass(frozen=True)
class Field(Bound):
    """``struct->field``; where it is an argument, a failure becomes NULL if `contains` says so."""

    operand: Bound
    index: int
    name: str
    contains: bool = True

    def children(self) -> tuple[Bound, ...]:
        return (self.operand,)


@dataclass(frozen=True)
class Item(Bound):
    """``array[i]`` (1-based, negative from the end) or ``map[key]``."""

    operand: Bound
    subscript: Bound
    of_map: bool

    def children(self) -> tuple[Bound, ...]:
        return (self.operand, self.subscript)


@dataclass(frozen=True)
class ArrayOf(Bound):
    """``ARRAY[..]``; a failing element becomes NULL, where `contains` says so."""

    items: tuple[Bound, ...]
    contains: bool = True

    def children(self) -> tuple[Bound, ...]:
        return self.items


@dataclass(frozen=True)
class MapOf(Bound):
    """``MAP(k := v, ..)``; a failing key or value becomes NULL, where `contains` says so."""

    keys: tuple[Bound, ...]
    values: tuple[Bound, ...]
    contains: bool = True

    def children(self) -> tuple[Bound, ...]:
        return self.keys + self.values


@dataclass(frozen=True)
class StructOf(Bound):
    """``STRUCT(f := v, ..)``; a failing field becomes NULL, where `contains` says so."""

    items: tuple[Bound, ...]
    contains: bool = True

    def children(self) -> tuple[Bound, ...]:
        return self.items


def as_double(e: Bound, other: Bound) -> Bound:
    """Return the operand of a comparison: a DECIMAL literal beside a DOUBLE as the DOUBLE whose text it is.

    Finite DOUBLEs compare with it as their shortest decimals compare with the literal.
    """
    if (
        isinstance(e, Constant)
        and isinstance(e.type, Decimal)
        and other.type == DOUBLE
        and e.value is not None
    ):
        value = float(e.value)
        if shortest_decimal(value) == e.value:
            return Constant(type=DOUBLE, value=value)
    return e

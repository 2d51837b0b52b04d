"""Expressions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kalam_jupyter.engine.types import DataType
from kalam_jupyter.ksql.lang.ast.base import Node


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

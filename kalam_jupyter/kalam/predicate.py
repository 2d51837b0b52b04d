"""Expressions as Python functions over a row of physical values, with SQL's three-valued logic.

`Compiler` knows comparisons, logic, arithmetic on numbers, text concatenation and a few functions. For the
rest it raises `UnsupportedError`; `RowFilter` and others ask the query engine then.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

from kalam_jupyter.engine.types import STRING, Column, DataType, Logical, Primitive, Schema, Timestamp
from kalam_jupyter.engine.types import Decimal as DecimalType
from kalam_jupyter.kalam import expressions as ex
from kalam_jupyter.kalam.coercion import coercer
from kalam_jupyter.kalam.errors import StatementError

Row = Sequence[Any]
Function = Callable[[Row], Any]
Params = Sequence[Any]


#: Deeper expressions are the query engine's: compiled ones call each other once per level.
MAX_DEPTH = 100


class UnsupportedError(Exception):
    """The expression needs the query engine."""


@dataclass(frozen=True)
class Compiled:
    """A compiled expression.

    Attributes
    ----------
    function : callable
    type : DataType or None
        Type of its result, if known.
    constant : bool
        Whether it reads no column.
    needs : (int, value) or None
        A column, by its index, and the value it has in all rows of which the expression is true.
    """

    function: Function
    type: DataType | None
    constant: bool
    needs: tuple[int, Any] | None = None


class ParameterMissingError(StatementError):
    """A placeholder has no value."""

    def __init__(self, index: int) -> None:
        super().__init__(
            "parameter",
            f"Parameter binding error: No value found for placeholder with name ${index}",
        )


def parameter(params: Params, index: int) -> Any:
    """Return the value of ``$index``."""
    if not 1 <= index <= len(params):
        raise ParameterMissingError(index)
    return params[index - 1]


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_NUMERIC_NAMES = frozenset({"SMALLINT", "INTEGER", "BIGINT", "FLOAT", "DOUBLE"})


def _is_number(type_: DataType | None) -> bool:
    return isinstance(type_, DecimalType) or (isinstance(type_, Primitive) and type_.name in _NUMERIC_NAMES)


def _is_text(type_: DataType | None) -> bool:
    return type_ == STRING or isinstance(type_, Logical)


class Compiler:
    """Compiles expressions over one schema.

    Parameters
    ----------
    schema : Schema
        Columns of the rows; an index into a row is an index into it.
    params : sequence
        Values of ``$1``, ``$2``, ...
    user_id : str
        What CURRENT_USER stands for.
    role : str
        What CURRENT_ROLE stands for.
    """

    def __init__(self, schema: Schema, params: Params = (), user_id: str = "", role: str = "user") -> None:
        self.schema, self.params, self.user_id, self.role = schema, params, user_id, role
        self._depth = 0

    def compile(self, node: ex.Expression) -> Compiled:
        """Compile one expression.

        Raises
        ------
        UnsupportedError
            If only the query engine can evaluate it.
        StatementError
            For an unknown column or a missing parameter.
        """
        method = getattr(self, f"_{type(node).__name__.lower()}", None)
        if method is None or self._depth >= MAX_DEPTH:
            raise UnsupportedError
        self._depth += 1
        compiled: Compiled = method(node)
        self._depth -= 1
        return compiled

    def _literal(self, node: ex.Literal) -> Compiled:
        value = node.value
        return Compiled(lambda _: value, STRING if isinstance(value, str) else None, True)

    def _parameter(self, node: ex.Parameter) -> Compiled:
        value = parameter(self.params, node.index)
        return Compiled(lambda _: value, STRING if isinstance(value, str) else None, True)

    def _columnref(self, node: ex.ColumnRef) -> Compiled:
        index = self.schema.index.get(node.name)
        if index is None:
            valid = ", ".join(self.schema.names)
            raise StatementError(
                "invalid_operation", f"Schema error: No field named {node.name}. Valid fields are {valid}."
            )
        return Compiled(operator.itemgetter(index), self.schema.columns[index].type, False)

    def _call(self, node: ex.Call) -> Compiled:
        if node.name in ("CURRENT_USER", "CURRENT_USER_ID") and not node.arguments:
            user = self.user_id
            return Compiled(lambda _: user, STRING, True)
        if node.name == "CURRENT_ROLE" and not node.arguments:
            role = self.role
            return Compiled(lambda _: role, STRING, True)
        function = _FUNCTIONS.get((node.name, len(node.arguments)))
        if function is None:
            raise UnsupportedError
        needs_text, result, apply = function
        inner = [self.compile(a) for a in node.arguments]
        if needs_text and not all(_is_text(c.type) for c in inner):
            raise UnsupportedError
        functions = [c.function for c in inner]
        if node.name == "COALESCE":
            types = {c.type for c in inner}
            if len(types) > 1:
                raise UnsupportedError
            return Compiled(
                lambda row: next((v for f in functions if (v := f(row)) is not None), None),
                inner[0].type,
                all(c.constant for c in inner),
            )

        def call(row: Row) -> Any:
            values = [f(row) for f in functions]
            return None if None in values else apply(*values)

        return Compiled(call, result or inner[0].type, all(c.constant for c in inner))

    def _unary(self, node: ex.Unary) -> Compiled:
        inner = self.compile(node.operand)
        f = inner.function
        if node.op == "NOT":
            return Compiled(lambda row: None if (v := f(row)) is None else not v, None, inner.constant)
        if inner.type is not None and not _is_number(inner.type):
            raise UnsupportedError
        return Compiled(lambda row: None if (v := f(row)) is None else -v, inner.type, inner.constant)

    def _binary(self, node: ex.Binary) -> Compiled:
        if node.op in ("AND", "OR"):
            return self._logic(node)
        left, right = self.compile(node.left), self.compile(node.right)
        if node.op in _COMPARE:
            f, g = self._aligned(left, right)
            needs = None
            if node.op == "=" and isinstance(node.left, ex.ColumnRef) and right.constant:
                needs = self.schema.index[node.left.name], g(())
            elif node.op == "=" and isinstance(node.right, ex.ColumnRef) and left.constant:
                needs = self.schema.index[node.right.name], f(())
            constant = left.constant and right.constant
            return Compiled(_comparison(_COMPARE[node.op], f, g), None, constant, needs)
        return _arithmetic(node.op, left, right)

    def _logic(self, node: ex.Binary) -> Compiled:
        left, right = self.compile(node.left), self.compile(node.right)
        f, g = left.function, right.function
        if node.op == "AND":

            def both(row: Row) -> bool | None:
                a = f(row)
                if a is False:
                    return False
                b = g(row)
                return False if b is False else None if a is None or b is None else True

            return Compiled(both, None, left.constant and right.constant, left.needs or right.needs)

        def either(row: Row) -> bool | None:
            a = f(row)
            if a is True:
                return True
            b = g(row)
            return True if b is True else None if a is None or b is None else False

        return Compiled(either, None, left.constant and right.constant)

    def _aligned(self, left: Compiled, right: Compiled) -> tuple[Function, Function]:
        """Bring a constant to the type of the column it is compared with."""
        if left.constant and not right.constant:
            return self._as_type(left, right.type), right.function
        if right.constant and not left.constant:
            return left.function, self._as_type(right, left.type)
        if (
            not left.constant
            and left.type != right.type
            and not (_is_number(left.type) and _is_number(right.type))
        ):
            raise UnsupportedError
        return left.function, right.function

    def _as_type(self, constant: Compiled, type_: DataType | None) -> Function:
        value = constant.function(())
        if value is None or type_ is None:
            return constant.function
        plain_number = isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)
        if _is_number(type_) and plain_number:
            if isinstance(value, Decimal) and not isinstance(type_, DecimalType):
                value = float(value)
            elif isinstance(value, float) and isinstance(type_, DecimalType):
                value = Decimal(str(value))
            return lambda _: value
        if isinstance(type_, Timestamp) and not isinstance(value, str):
            if not isinstance(value, int) or isinstance(value, bool):
                raise UnsupportedError
            return lambda _: value
        try:
            value = coercer(type_)(value)
        except StatementError:
            raise UnsupportedError from None
        return lambda _: value

    def _inlist(self, node: ex.InList) -> Compiled:
        operand = self.compile(node.operand)
        items = [self.compile(i) for i in node.items]
        if operand.constant or not all(i.constant for i in items):
            raise UnsupportedError
        values = [self._as_type(i, operand.type)(()) for i in items]
        has_null, negated, f = None in values, node.negated, operand.function
        members = frozenset(v for v in values if v is not None)

        def contains(row: Row) -> bool | None:
            v = f(row)
            if v is None:
                return None
            if v in members:
                return not negated
            return None if has_null else negated

        return Compiled(contains, None, False)

    def _between(self, node: ex.Between) -> Compiled:
        low = ex.Binary(">=", node.operand, node.low)
        high = ex.Binary("<=", node.operand, node.high)
        both: ex.Expression = ex.Binary("AND", low, high)
        return self.compile(ex.Unary("NOT", both) if node.negated else both)

    def _is(self, node: ex.Is) -> Compiled:
        inner = self.compile(node.operand)
        f, value, negated = inner.function, node.value, node.negated
        return Compiled(lambda row: (f(row) is value) is not negated, None, inner.constant)

    def _like(self, node: ex.Like) -> Compiled:
        operand, pattern = self.compile(node.operand), self.compile(node.pattern)
        if not _is_text(operand.type) or not pattern.constant:
            raise UnsupportedError
        text = pattern.function(())
        if text is None:
            return Compiled(lambda _: None, None, True)
        if not isinstance(text, str):
            raise UnsupportedError
        match = like_pattern(text, node.escape, node.case_insensitive).fullmatch
        f, negated = operand.function, node.negated

        def like(row: Row) -> bool | None:
            v = f(row)
            return None if v is None else (match(v) is not None) is not negated

        return Compiled(like, None, operand.constant)


def _comparison(compare: Callable[[Any, Any], bool], f: Function, g: Function) -> Function:
    def function(row: Row) -> bool | None:
        a, b = f(row), g(row)
        return None if a is None or b is None else compare(a, b)

    return function


def _arithmetic(op: str, left: Compiled, right: Compiled) -> Compiled:
    f, g = left.function, right.function
    constant = left.constant and right.constant
    if op == "||":
        if not (_is_text(left.type) and _is_text(right.type)):
            raise UnsupportedError

        def concat(row: Row) -> Any:
            a, b = f(row), g(row)
            return None if a is None or b is None else a + b

        return Compiled(concat, STRING, constant)
    apply = {"+": operator.add, "-": operator.sub, "*": operator.mul}.get(op)
    whole = all(_is_whole(c) for c in (left, right))
    floating = all(_is_floating(c) or _is_whole(c) for c in (left, right))
    if apply is None or not (whole or floating):
        raise UnsupportedError  # division and decimals have rules of their own

    def compute(row: Row) -> Any:
        a, b = f(row), g(row)
        return None if a is None or b is None else apply(a, b)

    types = [c.type for c in (left, right) if c.type is not None]
    return Compiled(compute, types[0] if types else None, constant)


def _is_whole(c: Compiled) -> bool:
    if c.constant:
        value = c.function(())
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(c.type, Primitive) and c.type.name in ("SMALLINT", "INTEGER", "BIGINT")


def _is_floating(c: Compiled) -> bool:
    if c.constant:
        return isinstance(c.function(()), float)
    return c.type == Primitive("DOUBLE")


#: (name, arity) -> (arguments must be text, result type or that of the first argument, function)
_FUNCTIONS: dict[tuple[str, int], tuple[bool, DataType | None, Callable[..., Any]]] = {
    ("LOWER", 1): (True, STRING, str.lower),
    ("UPPER", 1): (True, STRING, str.upper),
    ("LENGTH", 1): (True, Primitive("BIGINT"), len),
    ("COALESCE", 2): (False, None, lambda a, _: a),
    ("COALESCE", 3): (False, None, lambda a, _b, _c: a),
}


@lru_cache(maxsize=256)
def like_pattern(pattern: str, escape: str | None, case_insensitive: bool) -> re.Pattern[str]:
    """Translate a LIKE pattern into a regular expression that matches in time linear in the text.

    What stands between two ``%`` is taken where it first occurs, and never taken back (an atomic group).
    """
    escape = "\\" if escape is None else escape
    pieces, i = [""], 0
    while i < len(pattern):
        c = pattern[i]
        if c == escape and i + 1 < len(pattern):
            i += 1
            pieces[-1] += re.escape(pattern[i])
        elif c == "%":
            pieces.append("")
        else:
            pieces[-1] += "." if c == "_" else re.escape(c)
        i += 1
    text = pieces[0]
    if len(pieces) > 1:
        text += "".join(f"(?>.*?{p})" for p in pieces[1:-1] if p) + f".*{pieces[-1]}"
    return re.compile(text, re.DOTALL | (re.IGNORECASE if case_insensitive else 0))


def key_column(schema: Schema, node: ex.Expression) -> tuple[Column, ex.Expression] | None:
    """Return (key column, constant expression) if `node` is ``key = constant`` over a one-column key."""
    if not isinstance(node, ex.Binary) or node.op != "=" or len(schema.key) != 1:
        return None
    key = schema.key[0]
    for side, other in ((node.left, node.right), (node.right, node.left)):
        if (
            isinstance(side, ex.ColumnRef)
            and side.name == key.name
            and isinstance(other, (ex.Literal, ex.Parameter))
        ):
            return key, other
    return None

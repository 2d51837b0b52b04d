"""Expressions: their tree, and the parser that reads them.

Used for VALUES, SET, DEFAULT, the WHERE of UPDATE, DELETE, live queries and topic sources. What this grammar
does not know becomes `Opaque`: its text is left to the query engine.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kalam_jupyter.kalam.nesting import MAX_NESTING
from kalam_jupyter.kalam.stream import TokenStream
from kalam_jupyter.kalam.tokens import NUMBER, OP, PARAM, QUOTED, STRING, WORD


@dataclass(frozen=True)
class Expression:
    """Base of all nodes."""


@dataclass(frozen=True)
class Literal(Expression):
    """A number (int or float), string, boolean, NULL or bytes."""

    value: Any


@dataclass(frozen=True)
class Parameter(Expression):
    """``$n``, 1-based."""

    index: int


@dataclass(frozen=True)
class Default(Expression):
    """The word DEFAULT in place of a value that is written to a column."""


@dataclass(frozen=True)
class ColumnRef(Expression):
    """A column, with the qualifier it was written with."""

    name: str
    qualifier: str | None = None


@dataclass(frozen=True)
class Unary(Expression):
    """``NOT x``, ``-x``, ``+x``."""

    op: str
    operand: Expression


@dataclass(frozen=True)
class Binary(Expression):
    """``a op b`` with op upper case: AND OR = <> < <= > >= + - * / % ||."""

    op: str
    left: Expression
    right: Expression


@dataclass(frozen=True)
class InList(Expression):
    """``x [NOT] IN (a, b)``."""

    operand: Expression
    items: tuple[Expression, ...]
    negated: bool


@dataclass(frozen=True)
class Between(Expression):
    """``x [NOT] BETWEEN low AND high``."""

    operand: Expression
    low: Expression
    high: Expression
    negated: bool


@dataclass(frozen=True)
class Is(Expression):
    """``x IS [NOT] NULL | TRUE | FALSE``; value is None, True or False."""

    operand: Expression
    value: bool | None
    negated: bool


@dataclass(frozen=True)
class Like(Expression):
    """``x [NOT] LIKE|ILIKE pattern [ESCAPE c]``."""

    operand: Expression
    pattern: Expression
    escape: str | None
    negated: bool
    case_insensitive: bool


@dataclass(frozen=True)
class Call(Expression):
    """A function call; the name is upper case."""

    name: str
    arguments: tuple[Expression, ...]


@dataclass(frozen=True)
class Opaque(Expression):
    """Text only the query engine understands (CASE, CAST, subqueries, arrays, ...)."""

    text: str


COMPARISONS = {"=": "=", "<>": "<>", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_STOP = frozenset(
    {
        "FROM",
        "WHERE",
        "OPTIONS",
        "WITH",
        "ORDER",
        "GROUP",
        "LIMIT",
        "OFFSET",
        "HAVING",
        "RETURNING",
        "ON",
        "AS",
    }
)
_BARE_CALLS = frozenset({"CURRENT_TIMESTAMP", "CURRENT_USER", "CURRENT_ROLE", "CURRENT_DATE", "CURRENT_TIME"})
_MAX_DEPTH = 64


class _NotHereError(Exception):
    """The expression uses something only the query engine understands."""


def parse_expression(s: TokenStream) -> Expression:
    """Read one expression; the stream is left behind it.

    Raises
    ------
    SqlSyntaxError
        If there is no expression at all, its brackets are not closed, or it is nested too deep.
    """
    start, parser = s.i, _Parser(s)
    try:
        found = parser.disjunction()
    except _NotHereError:
        s.i = start
        return _opaque(s)
    if parser.operations > MAX_NESTING and _depth(found) > MAX_NESTING:
        raise s.error(f"The expression holds more than {MAX_NESTING} operations in each other")
    return found


def _opaque(s: TokenStream) -> Opaque:
    """Step to the next comma, closing bracket or clause keyword of the same depth."""
    begin, depth = s.current.start, 0
    end = begin
    while s.current.kind != "end":
        token = s.current
        if token.kind == OP:
            if token.text in "([":
                depth += 1
            elif token.text in ")]":
                if depth == 0:
                    break
                depth -= 1
            elif token.text in ",;" and depth == 0:
                break
        elif depth == 0 and token.kind == WORD and token.text in _STOP:
            break
        end = token.end
        s.advance()
    if depth:
        raise s.error("Expected: ), found: end of statement")
    if end == begin:
        raise s.error(f"Expected: an expression, found: {s.found()}")
    return Opaque(s.sql[begin:end])


class _Parser:
    """Precedence climbing; one method per level."""

    def __init__(self, s: TokenStream) -> None:
        self.s = s
        self.depth = self.operations = 0

    def disjunction(self) -> Expression:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise self.s.error(f"Expression is nested deeper than {_MAX_DEPTH} levels")
        left = self.conjunction()
        while self.s.accept_word("OR"):
            left = self.binary("OR", left, self.conjunction())
        self.depth -= 1
        return left

    def binary(self, op: str, left: Expression, right: Expression) -> Binary:
        self.operations += 1
        return Binary(op, left, right)

    def conjunction(self) -> Expression:
        left = self.negation()
        while self.s.accept_word("AND"):
            left = self.binary("AND", left, self.negation())
        return left

    def negation(self) -> Expression:
        if self.s.accept_word("NOT"):
            with self._deeper():
                return Unary("NOT", self.negation())
        return self.comparison()

    @contextlib.contextmanager
    def _deeper(self) -> Iterator[None]:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise self.s.error(f"Expression is nested deeper than {_MAX_DEPTH} levels")
        yield
        self.depth -= 1

    def comparison(self) -> Expression:
        s = self.s
        left = self.additive()
        while True:
            token = s.current
            if token.kind == OP and token.text in COMPARISONS:
                s.advance()
                left = self.binary(COMPARISONS[token.text], left, self.additive())
            elif token.kind == WORD and token.text in ("IS", "NOT", "IN", "BETWEEN", "LIKE", "ILIKE"):
                left = self.predicate(left)
            elif (token.kind == OP and token.text not in (",", ")", ";")) or (
                token.kind == WORD and token.text in ("SIMILAR", "COLLATE", "AT", "OVER", "FILTER")
            ):
                raise _NotHereError
            else:
                return left

    def predicate(self, left: Expression) -> Expression:
        s = self.s
        if s.accept_word("IS"):
            negated = s.accept_word("NOT")
            word = s.accept_any("NULL", "TRUE", "FALSE")
            if word is None:
                raise _NotHereError
            return Is(left, {"NULL": None, "TRUE": True, "FALSE": False}[word], negated)
        negated = s.accept_word("NOT")
        if s.accept_word("IN"):
            s.expect_op("(")
            if s.at_word("SELECT") or s.at_word("WITH"):
                raise _NotHereError
            return InList(left, self.arguments(), negated)
        if s.accept_word("BETWEEN"):
            low = self.additive()
            s.expect_word("AND")
            return Between(left, low, self.additive(), negated)
        word = s.accept_any("LIKE", "ILIKE")
        if word is None:
            raise s.error(f"Expected: IN, BETWEEN or LIKE, found: {s.found()}")
        pattern = self.additive()
        escape = s.string("escape character") if s.accept_word("ESCAPE") else None
        return Like(left, pattern, escape, negated, word == "ILIKE")

    def additive(self) -> Expression:
        s = self.s
        left = self.multiplicative()
        while s.current.kind == OP and s.current.text in ("+", "-", "||"):
            left = self.binary(s.advance().text, left, self.multiplicative())
        return left

    def multiplicative(self) -> Expression:
        s = self.s
        left = self.unary()
        while s.current.kind == OP and s.current.text in ("*", "/", "%"):
            left = self.binary(s.advance().text, left, self.unary())
        return left

    def unary(self) -> Expression:
        s = self.s
        if s.accept_op("-"):
            with self._deeper():
                operand = self.unary()
            if isinstance(operand, Literal) and isinstance(operand.value, (int, float)):
                return Literal(-operand.value)
            return Unary("-", operand)
        if s.accept_op("+"):
            with self._deeper():
                return self.unary()
        return self.primary()

    def arguments(self) -> tuple[Expression, ...]:
        """Read expressions up to and including the closing bracket."""
        s = self.s
        items: list[Expression] = []
        if s.accept_op(")"):
            return ()
        while True:
            items.append(self.disjunction())
            if s.accept_op(")"):
                return tuple(items)
            if not s.at_op(","):
                if s.current.kind == "end":
                    raise s.error("Expected: ), found: end of statement")
                raise _NotHereError
            s.advance()

    def primary(self) -> Expression:
        s = self.s
        token = s.current
        if token.kind == NUMBER:
            s.advance()
            return Literal(int(token.text) if token.text.isdigit() else number_value(token.text))
        if token.kind == STRING:
            s.advance()
            return Literal(token.text)
        if token.kind == PARAM:
            s.advance()
            return Parameter(int(token.text[1:]))
        if token.kind == OP and token.text == "(":
            s.advance()
            if s.at_word("SELECT") or s.at_word("WITH"):
                raise _NotHereError
            inner = self.disjunction()
            if s.at_op(","):
                raise _NotHereError
            s.expect_op(")")
            return inner
        if token.kind in (WORD, QUOTED):
            return self.word()
        if token.kind == OP and token.text not in (")", ",", ";"):
            raise _NotHereError
        raise s.error(f"Expected: an expression, found: {s.found()}")

    def word(self) -> Expression:
        s = self.s
        token, after = s.current, s.peek()
        if token.kind == WORD:
            if token.text in ("TRUE", "FALSE", "NULL") and not (after.kind == OP and after.text == "("):
                s.advance()
                return Literal({"TRUE": True, "FALSE": False, "NULL": None}[token.text])
            if after.kind == STRING:
                if token.text == "X" and after.start == token.end:
                    s.i += 2
                    return Literal(bytes.fromhex(after.text))
                raise _NotHereError  # DATE '...', TIMESTAMP '...', INTERVAL '...'
            if token.text in ("CASE", "CAST", "TRY_CAST", "EXTRACT", "EXISTS", "INTERVAL", "ARRAY"):
                raise _NotHereError
            if token.text in _STOP:
                raise s.error(f"Expected: an expression, found: {s.found()}")
            if token.text in _BARE_CALLS and not (after.kind == OP and after.text in ("(", ".")):
                s.advance()
                return Call(token.text, ())
            if after.kind == OP and after.text == "(":
                s.i += 2
                if s.at_op("*") or s.at_word("DISTINCT"):
                    raise _NotHereError
                return Call(token.text, self.arguments())
        parts = [s.identifier()]
        while s.accept_op("."):
            parts.append(s.identifier())
        return ColumnRef(parts[-1], ".".join(parts[:-1]) or None)


def number_value(text: str) -> Any:
    """Return a number literal's value; a fraction is a Decimal, so DECIMAL columns get what was written."""
    import decimal

    return float(text) if "e" in text.lower() else decimal.Decimal(text)


def walk(node: Expression) -> list[Expression]:
    """Return the node and all nodes below it."""
    found, todo = [], [node]
    while todo:
        current = todo.pop()
        found.append(current)
        todo += _below(current)
    return found


def _below(node: Expression) -> Iterator[Expression]:
    for name in node.__dataclass_fields__:
        value = getattr(node, name)
        if isinstance(value, Expression):
            yield value
        elif isinstance(value, tuple):
            yield from (item for item in value if isinstance(item, Expression))


def _depth(node: Expression) -> int:
    """Return how many nodes are in each other. Without recursion: that is what it guards."""
    depth, level = 0, [node]
    while level:
        depth, level = depth + 1, [below for above in level for below in _below(above)]
    return depth


def render(node: Expression) -> str:
    """Return an expression as SQL text for the query engine."""
    match node:
        case Literal(value):
            return render_literal(value)
        case Parameter(index):
            return f"${index}"
        case ColumnRef(name, qualifier):
            return ".".join(quote(p) for p in (*(qualifier.split(".") if qualifier else ()), name))
        case Unary(op, operand):
            return f"({op} {render(operand)})"
        case Binary():
            return f"({_render_chain(node)})"
        case InList(operand, items, negated):
            return f"({render(operand)} {'NOT ' * negated}IN ({', '.join(map(render, items))}))"
        case Between(operand, low, high, negated):
            return f"({render(operand)} {'NOT ' * negated}BETWEEN {render(low)} AND {render(high)})"
        case Is(operand, value, negated):
            return f"({render(operand)} IS {'NOT ' * negated}{render_literal(value)})"
        case Like(operand, pattern, escape, negated, case_insensitive):
            word = "ILIKE" if case_insensitive else "LIKE"
            tail = "" if escape is None else f" ESCAPE {render_literal(escape)}"
            return f"({render(operand)} {'NOT ' * negated}{word} {render(pattern)}{tail})"
        case Call(name, arguments):
            return f"{name.lower()}({', '.join(map(render, arguments))})"
        case Opaque(text):
            return text
    raise TypeError(type(node).__name__)


#: Operators that may follow each other without brackets, from left to right.
_CHAINS = {"+": ("+", "-"), "-": ("+", "-")}


def _render_chain(node: Binary) -> str:
    """Return an operation without brackets around its left side where that changes nothing.

    The query engine reads few brackets in each other, and chains as long as ours.
    """
    alike = _CHAINS.get(node.op, (node.op,))
    left: Expression = node
    behind: list[str] = []
    while isinstance(left, Binary) and left.op in alike:
        behind.append(f" {left.op} {render(left.right)}")
        left = left.left
    return render(left) + "".join(reversed(behind))


def render_literal(value: Any) -> str:
    """Return a value as an SQL literal."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, bytes):
        return f"X'{value.hex()}'"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(value)


def quote(name: str) -> str:
    """Return an identifier in double quotes."""
    return '"' + name.replace('"', '""') + '"'

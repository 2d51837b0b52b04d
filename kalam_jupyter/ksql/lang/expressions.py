"""Expressions, by precedence climbing.

From loose to tight: OR, AND, NOT, predicates, ``||``, ``+ -``, ``* / %``, unary ``+ -``, ``AT TIME ZONE``,
``x[i]`` and ``s->f``. A predicate does not chain: ``a = b = c`` needs parentheses.
"""

from __future__ import annotations

import decimal
import math
import re
from collections.abc import Callable

from kalam_jupyter.engine.types import BIGINT, BOOLEAN, DOUBLE, INTEGER, STRING, Decimal
from kalam_jupyter.ksql.lang import ast
from kalam_jupyter.ksql.lang.ast import Expression, Literal, Location
from kalam_jupyter.ksql.lang.tokens import RESERVED, Token
from kalam_jupyter.ksql.lang.types import TypeParser

_FRAMES = 5
_CALL_FRAMES = 3
"""Calls between an expression and one in parentheses in it; and how many more if it is an argument."""

_LONG_CHAIN = 50
_VALUE_LEVEL = {"||": 0, "+": 1, "-": 1, "*": 2, "/": 2, "%": 2}
_COMPARISONS = ("=", "<>", "<", "<=", ">", ">=")
_NUMBERS = ("<integer>", "<decimal>", "<float>")

_DECIMAL_TEXT = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)")

# Every spelling of a unit, and the one we keep.
UNITS = {spelling: unit for unit in ast.UNIT_MS for spelling in (unit, unit[:-1])}


class ExpressionParser(TypeParser):
    """Parses expressions; lambda parameters in scope are in `_parameters`."""

    _parameters: tuple[str, ...] = ()

    def expression(self) -> Expression:
        """Parse any expression."""
        self.enter(_FRAMES)
        alternatives: list[Expression] = []
        conditions = [self._condition()]
        while operator := self.accept_any("AND", "OR"):
            if operator == "OR":
                alternatives.append(_chain("AND", conditions))
                conditions = []
            conditions.append(self._condition())
        alternatives.append(_chain("AND", conditions))
        self.leave(_FRAMES)
        return _chain("OR", alternatives)

    def value_expression(self) -> Expression:
        """Parse an expression without bare predicates: what GROUP BY and PARTITION BY take."""
        self.enter(_FRAMES)
        result = self._value(0)
        self.leave(_FRAMES)
        return result

    # Logic

    def _condition(self) -> Expression:
        """What AND and OR join."""
        nots: list[Location] = []
        while self.at("NOT"):
            nots.append(self.advance().location)
        result = self._predicate(self._value(0))
        for location in reversed(nots):
            result = ast.Not(result, location=location)
        return result

    def _predicate(self, value: Expression) -> Expression:
        at = value.location
        operator = self.accept_any(*_COMPARISONS)
        if operator:
            return ast.Comparison(operator, value, self._value(0), location=at)
        if self.accept("IS"):
            return self._is(value)
        negated = self.accept("NOT")
        for word, parse in self._predicates.items():
            if self.accept(word):
                result = parse(self, value)
                return ast.Not(result, location=at) if negated else result
        if negated:
            self.mismatch(*self._predicates)
        return value

    def _is(self, value: Expression) -> Expression:
        at = value.location
        negated = self.accept("NOT")
        if self.accept("DISTINCT", "FROM"):
            distinct = ast.IsDistinct(value, self._value(0), location=at)
            return ast.Not(distinct, location=at) if negated else distinct
        if not self.at("NULL"):
            self.mismatch("NULL", "DISTINCT")
        self.advance()
        return ast.IsNull(value, negated, location=at)

    def _between(self, value: Expression) -> Expression:
        low = self._value(0)
        self.expect("AND")
        return ast.Between(value, low, self._value(0), location=value.location)

    def _in(self, value: Expression) -> Expression:
        self.expect("(")
        return ast.In(value, self.list_of(self.expression, ")"), location=value.location)

    def _like(self, value: Expression) -> Expression:
        pattern = self._value(0)
        escape = None
        if self.accept("ESCAPE"):
            escape = self.string()
            if len(escape) != 1:
                self.defer(f"Expected single character escape but got: {escape}")
        return ast.Like(value, pattern, escape, location=value.location)

    _predicates: dict[str, Callable[[ExpressionParser, Expression], Expression]] = {
        "BETWEEN": _between,
        "IN": _in,
        "LIKE": _like,
    }

    # Arithmetic

    def _value(self, level: int) -> Expression:
        left = self._unary()
        while self.at(*_VALUE_LEVEL) and _VALUE_LEVEL[self.token.key] >= level:
            operator = self.advance().key
            right = self._value(_VALUE_LEVEL[operator] + 1)
            if operator == "||":
                left = ast.FunctionCall("CONCAT", (left, right), location=left.location)
            else:
                left = ast.Arithmetic(operator, left, right, location=left.location)
        return left

    def _unary(self) -> Expression:
        start = self.token
        if start.key == "-" and self.peek().key in _NUMBERS:
            return self._postfix(self.number())
        operator = self.accept_any("+", "-")
        if operator:
            self.enter(1)
            operand = self._unary()
            self.leave(1)
            return ast.Unary(operator, operand, location=start.location)
        return self._postfix(self._primary())

    def _postfix(self, base: Expression) -> Expression:
        while True:
            if self.accept("["):
                index = self.value_expression()
                self.expect("]")
                base = ast.Subscript(base, index, location=base.location)
            elif self.at("->") and self.peek().key != "*":
                self.advance()
                base = ast.Dereference(base, self.name("column"), location=base.location)
            elif self.token.key == "AT" and self.peek().key == "TIME":
                self.defer("AT TIME ZONE is not supported. Use CONVERT_TZ(timestamp, from, to).")
                self.expect("AT", "TIME", "ZONE")
                self.string()
            else:
                return base

    # Primaries

    def _primary(self) -> Expression:
        token = self.token
        if token.key in _NUMBERS:
            return self.number()
        if token.kind == "string":
            return Literal(self.advance().value, STRING, location=token.location)
        if token.kind == "variable":
            return self._variable()
        if token.kind == "cursor":
            self.at_name("column")
            self.at_name("function")
            self.at(*self._words, "NULL", "TRUE", "FALSE", "NOT", *(w for w, _ in self._constructors))
            self.no_viable()
        if token.key in ("NULL", "TRUE", "FALSE"):
            self.advance()
            if token.key == "NULL":
                return Literal(None, None, location=token.location)
            return Literal(token.key == "TRUE", BOOLEAN, location=token.location)
        if token.key == "(":
            self.advance()
            inner = self.expression()
            self.expect(")")
            return inner
        if token.key in self._words:
            return self._words[token.key](self)
        constructor = self._constructors.get((token.key, self.peek().key))
        if constructor is not None:
            return constructor(self)
        return self._reference()

    def _variable(self) -> Expression:
        token = self.advance()
        if self.at("("):
            return self._call(token)
        if self.at("."):
            return self._qualified(token)
        self.use_variable(token, as_name=False)
        return ast.Variable(token.value, location=token.location)

    def _reference(self) -> Expression:
        """A column, a qualified column, a function call, or ``TYPE 'text'``."""
        if not self.at_name("column"):
            if self.token.key in RESERVED:
                self.reserved()
            self.no_viable(wanted="an expression")
        token = self.advance()
        if self.token.kind == "string":
            return self._typed_literal(token)
        if self.at("("):
            return self._call(token)
        if self.at("."):
            return self._qualified(token)
        name = _folded(token)
        if name in self._parameters:
            return ast.LambdaVariable(name, location=token.location)
        return ast.ColumnRef(name, location=token.location)

    def _qualified(self, token: Token) -> Expression:
        if token.kind == "variable":
            self.use_variable(token, as_name=True)
        self.expect(".")
        return ast.ColumnRef(self.name("column"), _folded(token), location=token.location)

    def _typed_literal(self, type_name: Token) -> Expression:
        text = self.advance().value
        if type_name.key != "DECIMAL":
            self.defer_at(f"Unknown type: {type_name.value}", type_name)
            return Literal(None, None, location=type_name.location)
        return self._decimal_literal(text, type_name)

    # Numbers

    def number(self) -> Literal:
        """Parse a number with its sign: the smallest of INTEGER and BIGINT, DECIMAL or DOUBLE."""
        start = self.token
        sign = "-" if self.accept("-") else ""
        if not self.at(*_NUMBERS):
            self.mismatch("-", *_NUMBERS)
        token = self.advance()
        text = sign + token.text
        if token.kind == "integer":
            return self._integer_literal(text, start)
        if token.kind == "decimal":
            return self._decimal_literal(text, start)
        return self._double_literal(text, start)

    def _integer_literal(self, text: str, start: Token) -> Literal:
        value = int(text) if len(text) < 40 else 1 << 64
        if -(1 << 31) <= value < 1 << 31:
            return Literal(value, INTEGER, location=start.location)
        if not -(1 << 63) <= value < 1 << 63:
            self.defer_at(f"Invalid numeric literal: {text}", start)
            value = 0
        return Literal(value, BIGINT, location=start.location)

    def _decimal_literal(self, text: str, start: Token) -> Literal:
        if _DECIMAL_TEXT.fullmatch(text) is None:
            self.defer_at(f"Invalid numeric literal: {text}", start)
            text = "0"
        value = decimal.Decimal(text)
        if not value:
            value = value.copy_abs()  # BigDecimal has no negative zero
        _, digits, exponent = value.as_tuple()
        scale = max(0, -int(exponent))
        precision = max(len(digits), scale + 1)
        return Literal(value, Decimal(precision, scale), location=start.location)

    def _double_literal(self, text: str, start: Token) -> Literal:
        value = float(text)
        if math.isinf(value):
            shown = text.upper()
            self.defer_at(f"Number overflows DOUBLE: {shown}", start)
            value = 0.0
        return Literal(value, DOUBLE, location=start.location)

    def integer(self, clause: str) -> int:
        """Parse a whole number; `clause` is what asks for it."""
        literal = self.number()
        if literal.type not in (INTEGER, BIGINT):
            self.defer(f"Value must be integer for command: {clause}", literal.location)
            return 0
        return int(literal.value)

    # CASE, CAST, constructors

    def _case(self) -> Expression:
        start = self.expect("CASE").location
        operand = None if self.at("WHEN") else self.value_expression()
        whens = [self._when()]
        while self.at("WHEN"):
            whens.append(self._when())
        default = self.expression() if self.accept("ELSE") else None
        self.expect("END")
        if operand is None:
            return ast.SearchedCase(tuple(whens), default, location=start)
        return ast.SimpleCase(operand, tuple(whens), default, location=start)

    def _when(self) -> ast.When:
        start = self.expect("WHEN").location
        condition = self.expression()
        self.expect("THEN")
        return ast.When(condition, self.expression(), location=start)

    def _cast(self) -> Expression:
        start = self.expect("CAST").location
        self.expect("(")
        operand = self.expression()
        self.expect("AS")
        type_ = self.type()
        self.expect(")")
        return ast.Cast(operand, type_, location=start)

    def _array(self) -> Expression:
        start = self.expect("ARRAY", "[").location
        items = () if self.accept("]") else self.list_of(self.expression, "]")
        return ast.ArrayConstructor(items, location=start)

    def _map(self) -> Expression:
        start = self.advance().location
        self.expect("(")
        entries = () if self.accept(")") else self.list_of(self._entry, ")")
        return ast.MapConstructor(entries, location=start)

    def _entry(self) -> tuple[Expression, Expression]:
        key = self.expression()
        self.expect(":=")
        return key, self.expression()

    def _struct(self) -> Expression:
        start = self.advance().location
        self.expect("(")
        fields = () if self.accept(")") else self.list_of(self._struct_field, ")")
        return ast.StructConstructor(fields, location=start)

    def _struct_field(self) -> tuple[str, Expression]:
        name = self.name("name")
        self.expect(":=")
        return name, self.expression()

    _words: dict[str, Callable[[ExpressionParser], Expression]] = {"CASE": _case, "CAST": _cast}
    _constructors: dict[tuple[str, str], Callable[[ExpressionParser], Expression]] = {
        ("ARRAY", "["): _array,
        ("MAP", "("): _map,
        ("STRUCT", "("): _struct,
    }

    # Calls and lambdas

    def _call(self, token: Token) -> Expression:
        if token.kind == "variable":
            self.use_variable(token, as_name=True)
        name = _folded(token)
        self.expect("(")
        if self.accept("*"):
            self.expect(")")
            return ast.FunctionCall(name, star=True, location=token.location)
        if self.accept(")"):
            return ast.FunctionCall(name, location=token.location)
        self.enter(_CALL_FRAMES)
        args = [self._argument(first=True)]
        while not self.accept(")"):
            if not self.at(","):
                self.mismatch(",", ")")
            self.advance()
            args.append(self._argument(after=args[-1]))
        self.leave(_CALL_FRAMES)
        return ast.FunctionCall(name, tuple(args), location=token.location)

    def _argument(self, *, first: bool = False, after: Expression | None = None) -> Expression:
        token = self.token
        parameters = self._lambda_parameters()
        if parameters is not None:
            if first:
                self.fail("A lambda cannot be the first argument")
            return self._lambda(parameters, token)
        if isinstance(after, ast.Lambda):
            self.fail("Only a lambda can follow a lambda")
        if token.key in UNITS and (token.key in RESERVED):
            self.advance()
            return ast.IntervalUnit(UNITS[token.key], location=token.location)
        return self.expression()

    def _lambda_parameters(self) -> tuple[str, ...] | None:
        """The parameters of the lambda that starts here, which are skipped with the arrow; else None."""
        if self.peek().key == "=>":
            found: tuple[str, ...] = (self.name("name"),)
        elif self.at("(") and self._arrow_after_parenthesis():
            self.advance()
            found = self.list_of(lambda: self.name("name"), ")")
        else:
            return None
        self.expect("=>")
        return found

    def _arrow_after_parenthesis(self) -> bool:
        ahead = 1
        while self.peek(ahead + 1).key == ",":
            ahead += 2
        return self.peek(ahead + 1).key == ")" and self.peek(ahead + 2).key == "=>"

    def _lambda(self, parameters: tuple[str, ...], start: Token) -> Expression:
        outer = self._parameters
        self._parameters = (*outer, *parameters)
        body = self.expression()
        self._parameters = outer
        return ast.Lambda(parameters, body, location=start.location)


def _chain(operator: str, operands: list[Expression]) -> Expression:
    """Join operands by AND or OR.

    To the left, as it is written; but a long chain, which programs write, becomes a balanced tree, so that
    it is not deep.
    """
    if len(operands) > _LONG_CHAIN:
        half = len(operands) // 2
        halves = [_chain(operator, operands[:half]), _chain(operator, operands[half:])]
        return _chain(operator, halves)
    result = operands[0]
    for operand in operands[1:]:
        result = ast.Logical(operator, result, operand, location=result.location)
    return result


def _folded(token: Token) -> str:
    if token.kind in ("word", "digit word"):
        return token.text.upper()
    return token.text if token.kind == "variable" else token.value

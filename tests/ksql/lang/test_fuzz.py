"""Laws: any text parses or is refused with a position; formatting is undone by parsing."""

from __future__ import annotations

import decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from kalam_jupyter.engine.types import BIGINT, BOOLEAN, DOUBLE, INTEGER, STRING, Array, Decimal, Map, Struct
from kalam_jupyter.ksql.errors import ParseError
from kalam_jupyter.ksql.lang import (
    ParsedStatement,
    ast,
    parse_expression,
    parse_script,
    parse_statement,
    split_statements,
)
from kalam_jupyter.ksql.lang.tokens import KEYWORDS, scan
from tests.ksql.lang.test_format import lines

SYMBOLS_AND_VALUES = """
    ; , ( ) [ ] < > <= = <> != + - * / % || -> => := . : a b S `q` 'x' '' 1 2.5 1E3 1R ${v}
    INT VARCHAR COUNT TIMEOUT OFF SCRIPT
"""
PIECES = st.one_of(
    st.sampled_from(sorted(KEYWORDS)), st.sampled_from(SYMBOLS_AND_VALUES.split()), st.text(max_size=3)
)


@settings(deadline=None)
@given(st.lists(PIECES, max_size=25).map(" ".join))
def test_any_text_is_parsed_or_refused_at_a_position(text: str) -> None:
    statements, error = outcome(text)
    for statement in statements:
        assert statement.text in text
    if error is not None:
        assert error.line is not None
        assert 1 <= error.line <= text.count("\n") + 1
        assert error.column is not None


def outcome(text: str) -> tuple[list[ParsedStatement], ParseError | None]:
    try:
        return parse_script(text, cli=True, testing=True, terminated=False), None
    except ParseError as error:
        return [], error


@st.composite
def broken_statements(draw: st.DrawFn) -> str:
    """A good statement with some of its tokens left out, doubled or replaced."""
    words = [t.text for t in scan(draw(st.sampled_from(lines("identity.sql")))) if t.text.strip()]
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(words) - 1))
        words[at : at + 1] = draw(
            st.sampled_from([[], [words[at]] * 2, [draw(st.sampled_from(["(", ")", ",", "AS", "x", "1"]))]])
        ) or ["SELECT"]
    return " ".join(words)


@settings(max_examples=200, deadline=None)
@given(broken_statements())
def test_what_parses_survives_formatting(text: str) -> None:
    statements, _ = outcome(text)
    for statement in statements:
        if statement.error is None:
            again = parse_statement(str(statement.tree), cli=True, testing=True)
            assert again == statement.tree
            assert str(again) == str(statement.tree)


names = st.one_of(
    st.sampled_from(["A", "ID", "lower", "SELECT", "ARRAY", "MAP", "DAYS", "1E5", "X-Y", "`", "EMIT", "É"]),
    st.text(min_size=1, max_size=4),
)
types = st.recursive(
    st.sampled_from([INTEGER, BIGINT, DOUBLE, STRING, BOOLEAN, Decimal(4, 2), ast.NamedType("my")]),
    lambda inner: st.one_of(
        inner.map(Array),
        st.tuples(inner, inner).map(lambda kv: Map(*kv)),
        st.lists(st.tuples(names, inner), max_size=2).map(lambda fields: Struct(tuple(fields))),
    ),
    max_leaves=3,
)


def decimal_literal(value: decimal.Decimal) -> ast.Literal:
    _, digits, exponent = value.as_tuple()
    scale = -int(exponent)
    return ast.Literal(value, Decimal(max(len(digits), scale + 1), scale))


literals = st.one_of(
    st.integers(-(1 << 31), (1 << 31) - 1).map(lambda v: ast.Literal(v, INTEGER)),
    st.integers(1 << 31, (1 << 63) - 1).map(lambda v: ast.Literal(v, BIGINT)),
    st.decimals(-1000, 1000, places=2, allow_nan=False).map(decimal_literal),
    st.floats(allow_nan=False, allow_infinity=False).map(lambda v: ast.Literal(v, DOUBLE)),
    st.text(max_size=5).map(lambda v: ast.Literal(v, STRING)),
    st.booleans().map(lambda v: ast.Literal(v, BOOLEAN)),
    st.just(ast.Literal(None, None)),
)
leaves = st.one_of(
    literals,
    names.map(ast.ColumnRef),
    st.tuples(names, names).map(lambda n: ast.ColumnRef(*n)),
)


def composed(inner: st.SearchStrategy[ast.Expression]) -> st.SearchStrategy[ast.Expression]:
    pair = st.tuples(inner, inner)
    few = st.lists(inner, min_size=1, max_size=3).map(tuple)
    whens = st.lists(pair, min_size=1, max_size=2).map(lambda ws: tuple(ast.When(c, r) for c, r in ws))
    return st.one_of(
        st.tuples(st.sampled_from("+-*/%"), pair).map(lambda t: ast.Arithmetic(t[0], *t[1])),
        st.tuples(st.sampled_from(["=", "<>", "<", ">="]), pair).map(lambda t: ast.Comparison(t[0], *t[1])),
        st.tuples(st.sampled_from(["AND", "OR"]), pair).map(lambda t: ast.Logical(t[0], *t[1])),
        inner.map(ast.Not),
        st.tuples(st.sampled_from("+-"), inner).map(lambda t: ast.Unary(*t)),
        st.tuples(inner, st.booleans()).map(lambda t: ast.IsNull(*t)),
        pair.map(lambda t: ast.IsDistinct(*t)),
        st.tuples(inner, pair).map(lambda t: ast.Between(t[0], *t[1])),
        st.tuples(inner, few).map(lambda t: ast.In(*t)),
        st.tuples(pair, st.none() | st.sampled_from("!'")).map(lambda t: ast.Like(*t[0], t[1])),
        pair.map(lambda t: ast.Subscript(*t)),
        st.tuples(inner, names).map(lambda t: ast.Dereference(*t)),
        st.tuples(names.map(str.upper), few).map(lambda t: ast.FunctionCall(*t)),
        st.tuples(inner, types).map(lambda t: ast.Cast(*t)),
        st.tuples(whens, st.none() | inner).map(lambda t: ast.SearchedCase(*t)),
        st.tuples(inner, whens, st.none() | inner).map(lambda t: ast.SimpleCase(*t)),
        few.map(ast.ArrayConstructor),
        st.lists(pair, max_size=2).map(lambda t: ast.MapConstructor(tuple(t))),
        st.lists(st.tuples(names, inner), max_size=2).map(lambda t: ast.StructConstructor(tuple(t))),
    )


@settings(max_examples=100, deadline=None)
@given(st.recursive(leaves, composed, max_leaves=6))
def test_every_expression_reads_back(expression: ast.Expression) -> None:
    assert parse_expression(str(expression)) == expression


@settings(deadline=None)
@given(st.lists(st.sampled_from(["SELECT 1", "';'", "-- ;\n", "/* ; */", "`;`", ";", "\n", " "])))
def test_splitting_loses_nothing_but_what_stands_between(parts: list[str]) -> None:
    text = "".join(parts)
    pieces = split_statements(text)
    position = 0
    for piece, lines_before in pieces:
        position = text.index(piece, position)
        assert text.count("\n", 0, position) == lines_before
        position += len(piece)
    kept = [t.text for piece, _ in pieces for t in scan(piece) if t.kind == "string"]
    assert kept == [t.text for t in scan(text) if t.kind == "string"]

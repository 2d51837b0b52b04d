"""Substitution of ${name}."""

from __future__ import annotations

import pytest

from kalam_jupyter.ksql.errors import ParseError
from kalam_jupyter.ksql.lang import ast, parse_script
from kalam_jupyter.ksql.lang.variables import prepare, substitute


@pytest.mark.parametrize(
    ("text", "value", "result"),
    [
        ("SELECT * FROM ${x};", "orders", "SELECT * FROM orders;"),
        ("SELECT * FROM ${x};", "`my_s`", "SELECT * FROM `my_s`;"),
        (
            "SELECT ${x}.a, b.${x}, ${x}(1), c->${x} FROM s AS ${x};",
            "q",
            "SELECT q.a, b.q, q(1), c->q FROM s AS q;",
        ),
        ("SELECT ${x} FROM s;", "'it''s'", "SELECT 'it''s' FROM s;"),
        ("SELECT ${x} FROM s;", "-1.5e3", "SELECT -1.5e3 FROM s;"),
        (
            "CREATE STREAM s (a ${x}) WITH (kafka_topic='t');",
            "BIGINT",
            "CREATE STREAM s (a BIGINT) WITH (kafka_topic='t');",
        ),
        (
            "CREATE STREAM s WITH (kafka_topic='a-${X}-b');",
            "t",
            "CREATE STREAM s WITH (kafka_topic='a-t-b');",
        ),
        (
            "CREATE STREAM s WITH (kafka_topic='t', partitions=${x});",
            "3",
            "CREATE STREAM s WITH (kafka_topic='t', partitions=3);",
        ),
        ("SELECT '${x}' FROM s;", "it's", "SELECT 'it''s' FROM s;"),
        ("SELECT `${x}` FROM s;", "a`b", "SELECT `a``b` FROM s;"),
        ("SELECT ${y} FROM ${x};", "s", "SELECT ${y} FROM s;"),
        ("SELECT '${y}' -- ${x}\nFROM ${x};", "s", "SELECT '${y}' -- ${x}\nFROM s;"),
        (
            "SELECT a FROM s; SHOW STREAMS; DROP STREAM ${x};",
            "s",
            "SELECT a FROM s; SHOW STREAMS; DROP STREAM s;",
        ),
    ],
)
def test_a_variable_takes_the_place_of_a_name_a_literal_or_a_part_of_a_string(
    text: str, value: str, result: str
) -> None:
    assert substitute(text, {"x": value}) == result


@pytest.mark.parametrize("value", ["a b", "a.b", "1a", "'a'", "a; DROP STREAM s", "", "`a b`", "a-b"])
def test_in_the_place_of_a_name_only_a_name(value: str) -> None:
    with pytest.raises(ParseError, match=r"^Illegal argument at Line: 1, Col: 15\."):
        substitute("SELECT * FROM ${x};", {"x": value})


@pytest.mark.parametrize("value", ["abc", "1 + 1", "'a' || 'b'", "'a", "1; DROP STREAM s", "", "f(1)"])
def test_in_the_place_of_a_literal_only_a_literal(value: str) -> None:
    with pytest.raises(ParseError, match=r"^Illegal argument at Line: 1, Col: 8\."):
        substitute("SELECT ${x} FROM s;", {"x": value})


def test_a_value_cannot_leave_its_string() -> None:
    value = "x'); DROP STREAM s; INSERT INTO s VALUES ('"
    text = substitute("INSERT INTO s VALUES ('${x}');", {"x": value})
    (insert,) = parse_script(text)
    assert isinstance(insert.ast, ast.InsertValues)
    assert [v.value for v in insert.ast.values if isinstance(v, ast.Literal)] == [value]


def test_a_prepared_statement_keeps_its_place_in_the_script() -> None:
    script = "DEFINE t = 'orders';\nSELECT * FROM ${t}; SELECT ${t} FROM s;"
    _, second, third = parse_script(script)
    assert second.error is not None
    prepared = prepare(second, {"T": "orders"})
    assert prepared.text == "SELECT * FROM orders;"
    assert prepared.location == second.location
    assert isinstance(prepared.ast, ast.Query)
    assert prepared.ast.sources[0].prefix == "Line: 2, Col: 15: "
    with pytest.raises(ParseError, match=r"^Illegal argument at Line: 2, Col: 28\."):
        prepare(third, {"t": "orders"})


def test_statements_without_variables_are_prepared_already() -> None:
    (statement,) = parse_script("SHOW STREAMS;")
    assert prepare(statement, {"a": "b"}) is statement


def test_undefined_variables_stay_and_are_named_when_their_statement_is_prepared() -> None:
    (statement,) = parse_script("SELECT ${x} FROM s;")
    with pytest.raises(ParseError, match="Variable 'x' is not defined"):
        _ = prepare(statement, {}).ast

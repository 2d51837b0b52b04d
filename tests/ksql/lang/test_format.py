"""The canonical text of statements reads back as the statement it was made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from kalam_jupyter.engine.types import BIGINT, STRING, Column, Struct
from kalam_jupyter.ksql.lang import (
    format_expression,
    format_schema,
    format_statement,
    format_type,
    parse_expression,
    parse_statement,
    parse_type,
)
from kalam_jupyter.ksql.lang.ast import Statement
from kalam_jupyter.ksql.lang.format import format_masked, format_name

FIXTURES = Path(__file__).parent / "fixtures"


def lines(name: str) -> list[str]:
    text = (FIXTURES / name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("-- ")]


def parse(text: str) -> Statement:
    return parse_statement(text, cli=True, testing=True)


def on_one_line(text: str) -> str:
    return " ".join(part.strip() for part in text.split("\n"))


@pytest.mark.parametrize("text", lines("identity.sql"))
def test_canonical_statements_stay_as_they_are(text: str) -> None:
    assert on_one_line(format_statement(parse(text))) == text


@pytest.mark.parametrize("text", lines("identity.sql"))
def test_what_was_formatted_parses_to_the_same_tree(text: str) -> None:
    tree = parse(text)
    assert parse(format_statement(tree)) == tree
    assert hash(parse(text)) == hash(tree)


@pytest.mark.parametrize(
    ("written", "canonical"),
    [pytest.param(a, b.strip(), id=a) for a, b in zip(*[iter(lines("canonical.sql"))] * 2, strict=True)],
)
def test_other_spellings_become_canonical(written: str, canonical: str) -> None:
    assert on_one_line(format_statement(parse(written))) == canonical
    assert parse(written) == parse(canonical)


def test_queries_have_a_line_for_each_clause() -> None:
    query = parse(
        "CREATE TABLE o WITH (key_format='KAFKA') AS SELECT t.f1 k1, COUNT(*) total FROM t "
        "WHERE t.a = 1 GROUP BY t.f1 EMIT CHANGES;"
    )
    assert str(query) == (
        "CREATE TABLE O WITH (KEY_FORMAT='KAFKA') AS SELECT\n  T.F1 K1,\n  COUNT(*) TOTAL\nFROM T T\n"
        "WHERE (T.A = 1)\nGROUP BY T.F1\nEMIT CHANGES"
    )


def test_expressions_print_themselves() -> None:
    assert str(parse_expression("a->b + cast(x as varchar)")) == "(A->B + CAST(X AS STRING))"


def test_column_names_that_would_read_as_something_else_are_quoted() -> None:
    for text in ["`ARRAY`[1]", "`MAP`(1)", "`CASE`(A)", "`DAYS`", "`1E5`", "`a-b`", "`ÄÖ`"]:
        tree = parse_expression(text)
        assert parse_expression(format_expression(tree)) == tree


@pytest.mark.parametrize(
    ("name", "text"),
    [("ID", "ID"), ("id", "`id`"), ("SELECT", "`SELECT`"), ("KEY", "KEY"), ("1R", "1R"), ("", "``")],
)
def test_names_are_quoted_only_if_need_be(name: str, text: str) -> None:
    assert format_name(name) == text


def test_types_in_statements_and_in_schemas() -> None:
    struct = Struct((("F", BIGINT), ("g", STRING)))
    assert format_type(struct) == "STRUCT<F BIGINT, `g` STRING>"
    assert str(struct) == "STRUCT<`F` BIGINT, `g` STRING>"
    assert parse_type(format_type(struct)) == parse_type(str(struct)) == struct


def test_schemas_mark_key_columns() -> None:
    columns = [Column("K", STRING, key=True), Column("WINDOWSTART", BIGINT, key=True), Column("V", BIGINT)]
    assert format_schema(columns) == "`K` STRING KEY, `WINDOWSTART` BIGINT KEY, `V` BIGINT"


def test_values_of_inserts_are_masked() -> None:
    masked = format_masked(parse("INSERT INTO foo (a, b) VALUES ('secret', 1);"))
    assert masked == "INSERT INTO `FOO` (`A`, `B`) VALUES ('[value]', '[value]')"
    assert format_masked(parse("INSERT INTO foo VALUES (x)")) == "INSERT INTO `FOO` VALUES ('[value]')"


def test_settings_of_connectors_are_masked_but_for_their_class() -> None:
    statement = parse("CREATE SINK CONNECTOR c WITH ('connector.class'='a.B', 'password'='secret');")
    assert format_masked(statement) == (
        "CREATE SINK CONNECTOR `c` WITH ('connector.class'='a.B', 'password'='[string]')"
    )


def test_statements_without_data_need_no_mask() -> None:
    assert format_masked(parse("SELECT * FROM s WHERE a = 'x';")) is None

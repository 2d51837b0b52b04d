"""What is shown of statements holds no data of INSERT and no secrets of connectors."""

from __future__ import annotations

import pytest

from kalam_jupyter.ksql.errors import ParseError
from kalam_jupyter.ksql.lang import parse_script


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("select 'x' from s;", "select 'x' from s;"),
        (
            "INSERT INTO foo (a, b) VALUES ('secret', 1);",
            "INSERT INTO `FOO` (`A`, `B`) VALUES ('[value]', '[value]');",
        ),
        ("EXPLAIN INSERT INTO foo VALUES ('secret');", "EXPLAIN INSERT INTO `FOO` VALUES ('[value]');"),
        ("INSERT INTO s SELECT 'x' FROM t;", "INSERT INTO s SELECT 'x' FROM t;"),
        (
            "CREATE SINK CONNECTOR c WITH ('connector.class'='a.B', 'password'='secret');",
            "CREATE SINK CONNECTOR `c` WITH ('connector.class'='a.B', 'password'='[string]');",
        ),
    ],
)
def test_statements_that_parse(text: str, shown: str) -> None:
    (statement,) = parse_script(text)
    assert (statement.text, statement.shown_text) == (text, shown)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "INSERT INTO foo VALUES ('secret', 77 88);",
            "INSERT INTO foo VALUES ('[value]', '[value]' '[value]');",
        ),
        ("insert into foo values ('secret', 'secret", "insert into foo values ('[value]', "),
        ("CREATE SINK CONNECTOR c WITH ('a'='secret';", "CREATE SINK CONNECTOR c WITH ('[value]'='[value]';"),
        ("SELECT 'x' FROM;", "SELECT 'x' FROM;"),
        ("SHOW STREAMS; SELECT 'x", "SELECT 'x"),
    ],
)
def test_statements_that_do_not_parse(text: str, shown: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse_script(text)
    assert caught.value.statement_text == shown
    assert "secret" not in caught.value.full_message


def test_what_is_wrong_with_an_insert_shows_no_data() -> None:
    (statement,) = parse_script("INSERT INTO foo (a, b) VALUES ('secret');")
    assert statement.error is not None
    assert statement.error.statement_text == "INSERT INTO `FOO` (`A`, `B`) VALUES ('[value]');"

"""What the parser expects at the cursor, marked by |."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kalam_jupyter.ksql.lang.completion import Expectation, expected_at


def at(text: str) -> Expectation:
    return expected_at(text.replace("|", "", 1), text.index("|"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("|", {"SELECT", "CREATE", "SHOW", "PRINT", "INSERT"}),
        ("SHOW STREAMS; SEL|", {"SELECT"}),
        ("CREATE |", {"STREAM", "TABLE", "TYPE", "OR REPLACE", "SOURCE"}),
        ("CREATE STREAM |", {"IF NOT EXISTS"}),
        ("CREATE STREAM IF |", {"NOT EXISTS"}),
        ("CREATE STREAM s (a |", {"INT", "VARCHAR", "ARRAY<", "DECIMAL("}),
        ("CREATE STREAM s (a INT |", {"KEY", "PRIMARY KEY", "HEADERS"}),
        ("CREATE STREAM s (a INT) WITH (|", {"KAFKA_TOPIC", "VALUE_FORMAT"}),
        ("INSERT INTO s WITH (|", {"QUERY_ID"}),
        ("SELECT a FROM s |", {"WHERE", "GROUP BY", "EMIT CHANGES", "LEFT", "JOIN", "LIMIT"}),
        ("SELECT a FROM s LEFT |", {"JOIN", "OUTER"}),
        ("SELECT a FROM s WHERE a |", {"AND", "OR", "BETWEEN", "IN", "LIKE", "IS"}),
        ("SELECT a FROM s WINDOW TUMBLING (SIZE 1 |", {"SECONDS", "MINUTES", "HOURS", "DAYS"}),
        ("SHOW |", {"STREAMS", "TOPICS", "QUERIES"}),
        ("DROP |", {"STREAM", "TABLE", "TYPE", "CONNECTOR"}),
        ("EXPLAIN |", {"SELECT", "CREATE"}),
    ],
)
def test_keywords(text: str, words: set[str]) -> None:
    assert words <= set(at(text).words)


@pytest.mark.parametrize(
    ("text", "roles"),
    [
        ("SELECT |", {"column", "function"}),
        ("SELECT a, MAX(|) FROM s", {"column", "function"}),
        ("SELECT a FROM |", {"source"}),
        ("SELECT a FROM s JOIN |", {"source"}),
        ("INSERT INTO |", {"source"}),
        ("INSERT INTO s (a, |", {"column"}),
        ("DROP TABLE |", {"source"}),
        ("DESCRIBE FUNCTION |", {"function"}),
        ("TERMINATE |", {"query"}),
        ("PRINT |", {"topic"}),
        ("PRINT 'my|", {"topic"}),
        ("CREATE STREAM |", {"name"}),
        ("CREATE STREAM s WITH (kafka_topic='|", {"topic"}),
        ("CREATE STREAM s WITH (kafka_topic='t', value_format='J|');", {"format"}),
        ("SET 'auto.|", {"setting"}),
        ("SELECT 'a|", set()),
    ],
)
def test_roles_of_names(text: str, roles: set[str]) -> None:
    assert at(text).roles == roles


def test_what_is_typed_already_is_the_prefix() -> None:
    expected = at("SELECT a FROM s WHERE ab|cd")
    assert (expected.prefix, expected.start) == ("ab", 22)
    quoted = at("SELECT `My C| FROM s")
    assert (quoted.prefix, quoted.start) == ("My C", 8)


def test_sources_are_found_on_both_sides_of_the_cursor() -> None:
    expected = at(
        "SELECT x FROM y; SELECT | FROM orders AS o JOIN `Items` WITHIN 1 DAY ON a = b; DROP STREAM z;"
    )
    assert expected.sources == {"O": "ORDERS", "Items": "Items"}


def test_behind_a_point_stand_columns_of_one_source() -> None:
    expected = at("SELECT o.pr| FROM orders o")
    assert (expected.qualifier, expected.roles, expected.words) == ("O", {"column"}, ())
    assert expected.sources == {"O": "ORDERS"}


def test_used_properties_are_not_offered_again() -> None:
    assert "KAFKA_TOPIC" not in at("CREATE STREAM s WITH (kafka_topic='t', |").words


def test_nothing_is_offered_in_a_comment() -> None:
    expected = at("SELECT a /* it's |")
    assert (expected.words, expected.roles) == ((), frozenset())


def test_behind_a_syntax_error_everything_is_offered() -> None:
    expected = at("SELECT FROM FROM |")
    assert "WHERE" in expected.words
    assert {"source", "column", "function"} <= expected.roles


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["SELECT ", "FROM ", "a", ".", ",", "'", "`", "(", ")", "/*", "--", "\n", " ", "1", ";", "WITH"]
        )
    ),
    st.integers(0, 100),
)
def test_any_text_can_be_completed(parts: list[str], cut: int) -> None:
    text = "".join(parts)
    offset = min(cut, len(text))
    expected = expected_at(text, offset)
    assert 0 <= expected.start <= offset
    assert text[expected.start : offset] == expected.prefix

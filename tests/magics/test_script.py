from __future__ import annotations

import pytest

from kalam_jupyter.magics.errors import UsageError
from kalam_jupyter.magics.options import Options
from kalam_jupyter.magics.script import Step, live_query, plan


def test_plain_statements_travel_together():
    assert plan("CREATE A;\nCREATE B;", "ksql", Options()) == [Step("CREATE A;\nCREATE B;")]


def test_an_assigned_query_goes_alone_and_keeps_its_place():
    steps = plan("BEGIN;\n  x << SELECT 1;\nCOMMIT;", "kalam", Options())
    assert steps == [Step("BEGIN;"), Step("\n       SELECT 1;", "x"), Step("\n\nCOMMIT;")]


def test_limit_is_added_where_there_is_none():
    assert plan("SELECT a FROM t", "ksql", Options(limit=3)) == [Step("SELECT a FROM t LIMIT 3;")]
    assert plan("SELECT a FROM t LIMIT 9;", "ksql", Options(limit=3)) == [Step("SELECT a FROM t LIMIT 9;")]
    assert plan("LIST STREAMS;", "ksql", Options(limit=3)) == [Step("LIST STREAMS;")]


def test_a_trailing_comment_does_not_swallow_the_limit():
    (step,) = plan("SELECT a FROM t -- all", "ksql", Options(limit=3))
    assert step.text == "SELECT a FROM t -- all\n LIMIT 3;"


def test_live_makes_a_push_query_in_ksql_and_a_live_query_in_kalam():
    assert plan("SELECT a FROM t;", "ksql", Options(live=True)) == [Step("SELECT a FROM t EMIT CHANGES;")]
    emitting = "SELECT a FROM t EMIT CHANGES;"
    assert plan(emitting, "ksql", Options(live=True)) == [Step(emitting)]
    assert plan("SELECT a FROM t;", "kalam", Options(live=True)) == [Step("SELECT a FROM t;", live=True)]


def test_subscribe_to_is_live():
    assert plan("SUBSCRIBE TO a.b;", "kalam", Options()) == [Step("SUBSCRIBE TO a.b;", live=True)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SUBSCRIBE TO app.orders WHERE a > 1;", ("SELECT * FROM app.orders WHERE a > 1", {})),
        (
            "subscribe to SELECT a FROM b OPTIONS (last_rows=5, from=7)",
            ("SELECT a FROM b", {"last_rows": 5, "from_seq": 7}),
        ),
        ("\n  SELECT a FROM b;", ("SELECT a FROM b", {})),
    ],
)
def test_a_subscription_is_a_select_with_options(text, expected):
    assert live_query(text) == expected


@pytest.mark.parametrize("option", ["rows=5", "last_rows=all"])
def test_subscription_options_are_checked(option):
    with pytest.raises(UsageError):
        live_query(f"SUBSCRIBE TO a.b OPTIONS ({option})")


def test_explain_goes_into_the_padding_so_positions_stay():
    (first, second) = plan("\nSELECT a FROM s;\n  SELECT b FROM s;", "ksql", Options(explain=True))
    assert first == Step("EXPLAIN\nSELECT a FROM s;")
    assert second == Step("EXPLAIN\n\n  SELECT b FROM s;")


def test_as_user_wraps_each_statement_for_itself():
    steps = plan("\nDELETE FROM t;\nSELECT 1 -- one", "kalam", Options(as_user="o'neil"))
    assert steps == [
        Step("EXECUTE AS USER 'o''neil' (\nDELETE FROM t\n);"),
        Step("EXECUTE AS USER 'o''neil' (\n\nSELECT 1 -- one\n);"),
    ]


def test_into_names_the_last_statement_unless_it_has_a_name():
    assert [s.target for s in plan("SELECT 1;\nSELECT 2", "ksql", Options(into="x"))] == [None, "x"]
    assert [s.target for s in plan("y << SELECT 2", "ksql", Options(into="x"))] == ["y"]

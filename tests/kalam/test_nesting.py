"""Queries that are too deep or too wide: the query engine's stack is not endless, nor is anybody's time."""

from __future__ import annotations

import pytest

from kalam_jupyter.kalam.errors import SqlSyntaxError
from kalam_jupyter.kalam.nesting import MAX_LISTED, MAX_NESTING, check_nesting
from tests.kalam.conftest import Client

TOO_MANY = 2_000  # ten times as many overflow the stack


@pytest.fixture
def client(root: Client) -> Client:
    root.run("CREATE TABLE app.t (id BIGINT PRIMARY KEY, v TEXT) WITH (TYPE='SHARED')")
    root.run("INSERT INTO app.t VALUES (1, 'a')")
    return root


def around(n: int) -> str:
    """Operations in brackets, each followed by a chain."""
    text = "1"
    for _ in range(10):
        text = f"({text})" + " + 1" * (n // 10)
    return text


NESTED = {
    "a sum": lambda n: "SELECT " + " + ".join(["1"] * n),
    "OR": lambda n: "SELECT * FROM app.t WHERE " + " OR ".join(["v = chr(65)"] * n),
    "OR of AND": lambda n: "SELECT * FROM app.t WHERE " + " OR ".join(["(id = 1 AND v > 'a')"] * n),
    "chains in brackets": lambda n: f"SELECT {around(n)}",
    "UNION": lambda n: " UNION ALL ".join(["SELECT id FROM app.t"] * n),
    "joins": lambda n: "SELECT count(*) FROM app.t a0" + "".join([f", app.t a{i}" for i in range(1, n)]),
    "casts": lambda n: "SELECT 1" + "::INT" * n,
    "common table expressions": lambda n: (
        ("WITH c0 AS (SELECT 1)" + "".join([f", c{i} AS (SELECT * FROM c{i - 1})" for i in range(1, n)]))
        + " SELECT 1"
    ),
    "UPDATE": lambda n: "UPDATE app.t SET v = v WHERE " + " AND ".join(["id = 1"] * n),
    "INSERT": lambda n: f"INSERT INTO app.t VALUES (7, {' || '.join(['chr(65)'] * n)})",
    "DELETE": lambda n: f"DELETE FROM app.t WHERE id = CASE WHEN true THEN {' + '.join(['9'] * n)} END",
}


@pytest.mark.parametrize("kind", NESTED)
def test_what_would_end_the_process_is_refused(client: Client, kind: str) -> None:
    assert f"more than {MAX_NESTING}" in client.error(NESTED[kind](TOO_MANY)).message


@pytest.mark.parametrize("kind", [k for k in NESTED if k != "joins"])
def test_what_programs_write_is_not(client: Client, kind: str) -> None:
    client.run(NESTED[kind](150))


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT * FROM app.t WHERE id IN ({', '.join(['-1'] * 5000)})",
        f"SELECT {', '.join(['id + 1'] * MAX_LISTED)} FROM app.t",
        f"SELECT abs(greatest({', '.join(['1'] * 5000)})) FROM (VALUES {', '.join(['(1)'] * 5000)}) AS t",
        f"SELECT CASE {'WHEN id = 1 AND v = v THEN id + 1 ' * 5000} END FROM app.t",
        f"SELECT '{'+' * 5000}' -- {'+' * 5000}",
    ],
)
def test_what_stands_beside_each_other_is_not_counted(sql: str) -> None:
    check_nesting(sql)


def test_the_error_is_where_there_is_one_too_many() -> None:
    with pytest.raises(SqlSyntaxError) as refused:
        check_nesting("SELECT\n" + "+".join(["1"] * 2000))
    assert refused.value.position == (2, 2 * (MAX_NESTING + 1))


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT {} FROM app.t",
        "SELECT 1 FROM app.t GROUP BY {}",
        "SELECT count(*) FROM (SELECT id FROM app.t ORDER BY {})",
        "SELECT sum(id) OVER (PARTITION BY {}) FROM app.t",
    ],
)
def test_more_expressions_in_lists_than_planning_holds_out_are_refused(client: Client, sql: str) -> None:
    error = client.error(sql.format(", ".join(["id"] * (MAX_LISTED + 1))))
    assert f"more than {MAX_LISTED} expressions in lists" in error.message


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO app.t VALUES ({}, 'x')",
        "UPDATE app.t SET v = 'x' WHERE id = {}",
        "SELECT * FROM app.t LIMIT {}",
    ],
)
def test_a_number_of_very_many_digits_is_refused(client: Client, sql: str) -> None:
    assert client.error(sql.format("9" * 10_000)).status == 400


@pytest.mark.parametrize("number", ["1E999999999", "-1E999999999", "9E-999999999", "NaN", "Infinity"])
def test_a_text_that_would_be_a_number_without_end_is_no_integer(client: Client, number: str) -> None:
    assert "Unable to cast" in client.error(f"INSERT INTO app.t VALUES ('{number}', 'x')").message


@pytest.mark.parametrize(
    "text",
    ["SELECT {}", "SELECT * FROM {}", "DELETE FROM app.t WHERE id = {}", "CREATE VIEW app.w AS SELECT {}"],
)
def test_brackets_in_each_other_are_refused_where_they_are_too_many(client: Client, text: str) -> None:
    for opening in ("(", "[", "abs ( "):
        sql = text.format(opening * 100_000)
        at = text.index("{") + (MAX_NESTING + 1) * len(opening) - len(opening.partition("(")[2])
        refused = f"more than {MAX_NESTING} brackets in each other at Line: 1, Column: {at}"
        assert client.error(sql).message.endswith(refused)


def test_brackets_side_by_side_and_in_quotes_are_not_in_each_other(client: Client) -> None:
    many = "(" * 2 * MAX_NESTING
    sql = f"SELECT '{many}' AS \"{many}\", /* {many} ' */ id FROM app.t -- {many}\n WHERE id IN ("
    assert client.rows(sql + "(1), " * 2_000 + "(2))") == [(many, 1)]

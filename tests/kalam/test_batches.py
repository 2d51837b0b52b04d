"""Several statements in one request, and what a transaction refuses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalam_jupyter.kalam.tokens import split_statements
from tests.kalam.conftest import Client


def test_batch_sums_up_dml_behind_the_other_results(items: Client) -> None:
    results = items.run(
        "INSERT INTO shop.items (id, name) VALUES (1, 'a'); INSERT INTO shop.items (id, name) VALUES (2, "
        "'b'); "
        "SELECT 1; DELETE FROM shop.items WHERE id = 1"
    )
    assert [r.message for r in results] == [None, "Inserted 2 row(s)", "Deleted 1 row(s)"]


def test_batch_stops_at_the_first_error_and_keeps_what_was_done(items: Client) -> None:
    error = items.error("INSERT INTO shop.items (id, name) VALUES (1, 'a'); SELECT nope; SELECT 1")
    assert error.message.startswith("Statement 2 failed: ")
    assert items.rows("SELECT id FROM shop.items") == [(1,)]


def test_failed_transaction_leaves_nothing_but_earlier_blocks_stay(items: Client) -> None:
    items.error(
        "BEGIN; INSERT INTO shop.items (id, name) VALUES (1, 'a'); COMMIT; BEGIN; "
        "INSERT INTO shop.items (id, name) VALUES (2, 'b'); INSERT INTO shop.items (id, name) VALUES (1, "
        "'again'); COMMIT"
    )
    assert items.rows("SELECT id FROM shop.items") == [(1,)]


@pytest.mark.parametrize(
    ("sql", "text"),
    [
        ("BEGIN; BEGIN; COMMIT", "already has an active transaction"),
        ("BEGIN; CREATE NAMESPACE x; COMMIT", "DDL is not allowed inside explicit transaction"),
        (
            "BEGIN; INSERT INTO shop.items (id, name) VALUES (7, 'x')",
            "open explicit transaction; rolled back",
        ),
        (
            "BEGIN; INSERT INTO app.ev VALUES (1); COMMIT",
            "stream tables are not supported inside explicit transactions",
        ),
        (
            "BEGIN; INSERT INTO shop.items (id, name) VALUES (7, 'x'); SELECT * FROM app.evs; COMMIT",
            "stream tables are not supported inside explicit transactions",
        ),
        (
            "BEGIN; INSERT INTO shop.items (id, name) SELECT id, 'x' FROM app.ev; COMMIT",
            "stream tables are not supported inside explicit transactions",
        ),
        (
            "BEGIN; SELECT * FROM system.users; COMMIT",
            "system tables are not supported inside explicit transactions",
        ),
        (
            "BEGIN; DELETE FROM system.users WHERE user_id = 'root'; COMMIT",
            "system tables are not supported inside explicit transactions",
        ),
    ],
)
def test_refused_in_transactions(items: Client, sql: str, text: str) -> None:
    items.run(
        "CREATE STREAM TABLE app.ev (id INT) WITH (TTL_SECONDS = 5); "
        "CREATE VIEW app.evs AS SELECT * FROM app.ev"
    )
    assert text in items.error(sql).message
    assert items.rows("SELECT id FROM shop.items") == []


@given(
    st.lists(
        st.sampled_from(["a", " ", ";", "'x'", "''", "';'", "it''s", "'it''s;'", "\n", "-", "/"]), max_size=12
    )
)
def test_a_batch_without_comments_and_quoted_names_is_split_like_any_other(pieces: list[str]) -> None:
    sql = "".join(pieces).replace("--", "- -")
    assert split_statements(sql) == split_statements(f'"x"; {sql}')[1:]

"""ALTER TABLE and views."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.kalam.conftest import Client


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("ADD COLUMN c INT DEFAULT 5", "altered successfully: ADD COLUMN c INT (version 2)"),
        ("DROP COLUMN tags", "altered successfully: DROP COLUMN tags (version 2)"),
        ("MODIFY COLUMN id BIGINT", "altered successfully: MODIFY COLUMN id BIGINT (version 2)"),
        (
            "ALTER COLUMN price SET NOT NULL",
            "altered successfully: ALTER COLUMN price SET NOT NULL (version 2)",
        ),
        (
            "ALTER COLUMN name DROP NOT NULL",
            "altered successfully: ALTER COLUMN name DROP NOT NULL (version 2)",
        ),
        (
            "ALTER COLUMN name SET DEFAULT 'x'",
            "altered successfully: ALTER COLUMN name SET DEFAULT 'x' (version 2)",
        ),
        ("ALTER COLUMN at DROP DEFAULT", "altered successfully: ALTER COLUMN at DROP DEFAULT (version 2)"),
        ("RENAME COLUMN name TO label", "altered successfully: RENAME COLUMN name TO label (version 2)"),
        ("SET ACCESS LEVEL PRIVATE", "altered successfully: SET ACCESS LEVEL Private (version 2)"),
        (
            "SET TBLPROPERTIES (ACCESS_LEVEL = 'PUBLIC')",
            "unchanged: SET ACCESS LEVEL Public (version 1 - no changes needed)",
        ),
    ],
)
def test_alter_table(items: Client, sql: str, message: str) -> None:
    items.run("INSERT INTO shop.items (id, name, price) VALUES (1, 'pen', 1)")
    assert items.say(f"ALTER TABLE shop.items {sql}") == f"Table shop.items {message}"
    assert items.rows("SELECT id FROM shop.items") == [(1,)]
    assert items.say(
        "INSERT INTO shop.items (id, price) VALUES (2, 1)"
        if "name" in sql and "RENAME" not in sql
        else "UPDATE shop.items SET price = 2 WHERE id = 1"
    )


@pytest.mark.parametrize(
    ("sql", "text"),
    [
        ("ADD COLUMN c INT NOT NULL", "without DEFAULT"),
        ("ADD COLUMN name INT", "Column 'name' already exists"),
        ("ADD COLUMN _seq INT", "Cannot add column '_seq': reserved system column name"),
        ("DROP COLUMN _seq", "Cannot drop column '_seq': system column cannot be modified"),
        ("DROP COLUMN nope", "Column 'nope' does not exist"),
        ("ALTER COLUMN id DROP NOT NULL", "Column 'id' is a PRIMARY KEY and cannot be nullable"),
        ("ALTER COLUMN tags SET NOT NULL", "contains NULL values"),
        ("MODIFY COLUMN name INT", "Cannot change existing values"),
        ("CREATE VECTOR INDEX name", "Column 'name' is not EMBEDDING"),
    ],
)
def test_refused_alterations(items: Client, sql: str, text: str) -> None:
    items.run("INSERT INTO shop.items (id, name) VALUES (1, 'pen')")
    assert text in items.error(f"ALTER TABLE shop.items {sql}").message
    assert items.rows("SELECT id, name, _deleted FROM shop.items") == [(1, "pen", False)]


def test_renamed_column_keeps_its_data(items: Client) -> None:
    items.run("INSERT INTO shop.items (id, name) VALUES (1, 'pen')")
    items.run("ALTER TABLE shop.items RENAME COLUMN name TO label")
    assert items.rows("SELECT label FROM shop.items WHERE label = 'pen'") == [("pen",)]


def test_views(items: Client, user: Callable[..., Client]) -> None:
    items.run("INSERT INTO shop.items (id, name, price) VALUES (1, 'pen', 1), (2, 'ink', 5)")
    assert items.say("CREATE VIEW shop.cheap (n) AS SELECT name FROM shop.items WHERE price < 2") == (
        "View shop.cheap created successfully"
    )
    assert user("alice").rows("SELECT n FROM shop.cheap") == [("pen",)]
    assert "already exists" in items.error("CREATE VIEW shop.cheap AS SELECT 1").message
    assert "No field named nope" in items.error("CREATE VIEW shop.v AS SELECT nope FROM shop.items").message
    for taken in ("CREATE TABLE shop.cheap (id INT PRIMARY KEY)", "CREATE VIEW shop.items AS SELECT 1"):
        assert "already exists" in items.error(taken).message
    for write in (
        "INSERT INTO shop.cheap VALUES ('x')",
        "UPDATE shop.cheap SET n = 'x' WHERE n = 'y'",
        "DELETE FROM shop.cheap WHERE n = 'x'",
    ):
        assert "'shop.cheap': it is read only" in items.error(write).message
    assert user("bob").error("DROP VIEW shop.cheap").status == 403
    assert items.say("DROP VIEW shop.cheap") == "View shop.cheap dropped successfully"
    assert "View 'cheap' not found in namespace 'shop'" in items.error("DROP VIEW shop.cheap").message
    assert items.say("DROP VIEW IF EXISTS shop.cheap") == "View shop.cheap does not exist (skipped)"
    assert "Table not found" in items.error("SELECT * FROM shop.cheap").message

"""Statements: what they answer, the errors they give, names, parameters, limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kalam_jupyter.engine import Clock, Engine
from kalam_jupyter.kalam import Kalam, KalamError
from tests.kalam.conftest import CONFIG, START_MS, Client


def test_worked_examples_of_the_contract(items: Client) -> None:
    assert items.say(
        """INSERT INTO shop.items (id,name,price,tags) VALUES
        (1,'pen',2.5,'{"c":"blue"}'),(2,'ink',12,NULL)"""
    ) == ("Inserted 2 row(s)")
    result = items.one("SELECT * FROM shop.items WHERE id = 1")
    assert [(c["name"], c["data_type"], c.get("flags")) for c in result.schema] == [
        ("id", "Int", ["nn", "pk", "uq"]),
        ("name", "Text", ["nn"]),
        ("price", {"Decimal": {"precision": 10, "scale": 2}}, None),
        ("tags", "Json", None),
        ("at", "Timestamp", None),
        ("_seq", "BigInt", ["nn"]),
        ("_deleted", "Boolean", ["nn"]),
    ]
    assert items.json("SELECT * FROM shop.items WHERE id = 1")[0][:5] == [
        1,
        "pen",
        "2.50",
        '{"c":"blue"}',
        START_MS * 1000,
    ]
    (updated,) = items.run(
        "UPDATE shop.items SET price = 3 WHERE id = 1; UPDATE shop.items SET price = 3 WHERE id = 1"
    )
    assert (updated.row_count, updated.message) == (1, "Updated 1 row(s)")
    assert "DELETE requires a WHERE clause" in items.error("DELETE FROM shop.items").message
    texts = [
        r.message for r in items.run("BEGIN; INSERT INTO shop.items (id,name) VALUES (3,'cap'); ROLLBACK")
    ]
    assert [str(t).split(" (")[0] for t in texts] == [
        "Transaction started",
        "Transaction rolled back",
        "Inserted 1 row(s)",
    ]
    assert items.rows("SELECT id FROM shop.items") == [(1,), (2,)]


@pytest.mark.parametrize(
    ("sql", "text"),
    [
        (
            "INSERT INTO shop.items (id, name) VALUES (1, 'x')",
            "Already exists: Primary key violation: value '1' already exists",
        ),
        ("INSERT INTO shop.items (id, name) VALUES (5, 'x'), (5, 'y')", "appears multiple times in the"),
        (
            "INSERT INTO shop.items (id, name) VALUES (5, NULL)",
            "NOT NULL constraint violation: column 'name' cannot be NULL (row 1)",
        ),
        ("INSERT INTO shop.items (id) VALUES (5)", "column 'name' is missing in row 1 (row index 0)"),
        ("INSERT INTO shop.items (id, nope) VALUES (5, 1)", "Column 'nope' does not exist"),
        (
            "INSERT INTO shop.items (id, name) VALUES ('x', 'y')",
            "Invalid operation: Schema coercion failed: Unable to cast value 'x'",
        ),
        ("INSERT INTO shop.items (id, name) VALUES (99999999999, 'y')", "Unable to cast value"),
        ("INSERT INTO shop.items (id, _seq) VALUES (1, 1)", "system column"),
        ("UPDATE shop.items SET id = 2 WHERE id = 1", "UPDATE cannot modify primary key column 'id'"),
        ("UPDATE shop.items SET name = 'x'", "UPDATE requires a WHERE clause"),
        ("UPDATE shop.items SET name = NULL WHERE id = 1", "NOT NULL constraint violation"),
        ("INSERT INTO shop.nope VALUES (1)", "Table not found: "),
        (
            "SELECT * FROM shop.nope",
            "Table not found: Error during planning: table 'kalam.shop.nope' not found",
        ),
        ("SELECT nope FROM shop.items", "Invalid operation: Schema error: No field named nope"),
        (
            "INSERT INTO system.users VALUES (1)",
            "Invalid operation: Cannot insert system table 'system.users'",
        ),
        (
            "CREATE TABLE system.x (id INT PRIMARY KEY)",
            "Cannot create system table 'system.x'. System tables are managed",
        ),
        ("DROP NAMESPACE system", "Cannot drop system namespace 'system'. System tables are managed"),
        ("CREATE NAMESPACE main", "Namespace 'main' is reserved and cannot be used"),
        ("CREATE NAMESPACE shop", "Already exists: Namespace 'shop' already exists"),
        ("CREATE TABLE shop.t (id INT)", "Shared tables require a PRIMARY KEY column"),
        (
            "CREATE TABLE shop.t (a INT, b INT, PRIMARY KEY (a, b))",
            "Composite PRIMARY KEYs are not supported yet",
        ),
        ("CREATE TABLE shop.t (id INT PRIMARY KEY, id TEXT)", "Duplicate column name 'id'"),
        ("CREATE TABLE shop.t (id INT PRIMARY KEY, x TINYINT)", "Unsupported data type: TINYINT"),
        ("CREATE TABLE shop.t (id INT PRIMARY KEY, _seq INT)", "Column name '_seq' is reserved"),
        ("CREATE TABLE shop.t (id INT PRIMARY KEY) WITH (NOPE = 1)", "Unknown table option 'NOPE'"),
        (
            "CREATE TABLE shop.t (id INT PRIMARY KEY) WITH (COMPRESSION='lzo')",
            "Supported values: none, snappy",
        ),
        ("CREATE STREAM TABLE shop.t (id INT) WITH (COMPRESSION='zstd')", "COMPRESSION is not supported for"),
        ("CREATE TABLE none.t (id INT PRIMARY KEY)", "Namespace 'none' does not exist. Create it first"),
        ("CREATE STREAM TABLE shop.t (id INT)", "TTL_SECONDS"),
        (
            "CREATE USER TABLE shop.t (id INT PRIMARY KEY) WITH (TTL_SECONDS = 1)",
            "not supported for USER tables",
        ),
        (
            "CREATE USER TABLE shop.t (id INT PRIMARY KEY) WITH (TYPE = 'SHARED')",
            "Conflicting table type definitions",
        ),
        (
            "CREATE USER TABLE shop.t (id INT PRIMARY KEY) WITH (STORAGE_ID = 'x')",
            "Storage 'x' does not exist",
        ),
        ("CREATE TABLE shop.items (id INT PRIMARY KEY)", "Already exists: Table shop.items already exists"),
        ("CREATE TABLE shop.t (id INT PRIMARY KEY, e EMBEDDING)", "needs exactly one dimension"),
        ("CREATE TABLE shop.t (", "Invalid CREATE TABLE statement: "),
        ("DROP TABLE shop.nope", "Not found: Table 'nope' not found in namespace 'shop'"),
        ("DROP NAMESPACE nope", "Not found: Namespace 'nope' not found"),
        ("DROP SCHEMA nope", "Not found: Namespace 'nope' not found"),
        ("CREATE SCHEMA shop", "Already exists: Namespace 'shop' already exists"),
        ("DROP NAMESPACE shop RESTRICT", "Expected: end of statement, found: RESTRICT"),
        ("USE nope", "Not found: Namespace 'nope' does not exist"),
        ("ALTER NAMESPACE shop SET DESCRIPTION 'x'", "Expected SET OPTIONS clause"),
        ("FROBNICATE", "Unsupported statement type: FROBNICATE"),
        ("COMMIT", "Invalid operation: COMMIT requires an active explicit SQL transaction"),
        ("CLUSTER LIST", "CLUSTER LIST is a CLI-only command."),
        ("SELECT $1", "Parameter binding error: "),
        ("INSERT INTO shop.items (id, name) VALUES ($1, 'x')", "Parameter binding error: "),
    ],
)
def test_errors(items: Client, sql: str, text: str) -> None:
    items.run("INSERT INTO shop.items (id, name) VALUES (1, 'pen')")
    before = items.rows("SELECT * FROM shop.items"), items.rows("SELECT table_id FROM system.schemas")
    assert text in items.error(sql).message
    assert (
        items.rows("SELECT * FROM shop.items"),
        items.rows("SELECT table_id FROM system.schemas"),
    ) == before


def test_errors_are_redacted_for_ordinary_users_and_detailed_for_admins(
    items: Client, user: Callable[..., Client]
) -> None:
    alice = user("alice")
    for sql, code, text in [
        ("SELECT * FROM shop.nope", "SQL_EXECUTION_ERROR", "SQL statement failed"),
        ("FROBNICATE", "INVALID_SQL", "SQL statement is invalid or not allowed"),
        ("SELECT 'a", "INVALID_SQL", "SQL statement is invalid or not allowed"),
        ("SELECT 'a; SELECT 1 -- x", "BATCH_PARSE_ERROR", "Failed to parse SQL batch"),
    ]:
        error = alice.error(sql)
        assert (error.code, error.message, error.details) == (code, text, None)
    assert items.error("SELECT * FROM shop.nope").details == "SELECT * FROM shop.nope"
    assert "No field named nope" in alice.error("SELECT nope FROM shop.items").message


@pytest.mark.parametrize(
    "sql",
    [
        "/* one */ SELECT 1 AS n",
        "-- one\nSELECT 1 AS n",
        "SELECT /* ; */ 1 AS n -- ;",
        "/* a /* nested */ one */ SELECT 1 AS n; /* nothing more */",
    ],
)
def test_comments_stand_anywhere(root: Client, sql: str) -> None:
    assert root.rows(sql) == [(1,)]
    root.run("CREATE /* a */ NAMESPACE c; CREATE TABLE c.t (id INT /* key */ PRIMARY KEY)")
    assert root.say("INSERT /* a */ INTO c.t -- rows\n VALUES (1) /* end */") == "Inserted 1 row(s)"
    assert root.say("DELETE FROM c.t WHERE id /* all */ = 1") == "Deleted 1 row(s)"


@pytest.mark.parametrize(
    "name", ["desc", "to", "by", "final", "values", "key", "user", "type", "date", "escape"]
)
def test_words_that_are_no_reserved_ones_name_columns(root: Client, name: str) -> None:
    root.run(f"CREATE TABLE app.w (id INT PRIMARY KEY, {name} TEXT, n INT)")
    root.run(f"INSERT INTO app.w (id, {name}, n) VALUES (1, 'a', 1), (2, 'b', 2)")
    assert root.say(f"UPDATE app.w SET {name} = 'c' WHERE {name} = 'a'") == "Updated 1 row(s)"
    assert root.rows(f"SELECT id, {name} FROM app.w ORDER BY {name} DESC") == [(1, "c"), (2, "b")]
    assert root.rows(f"SELECT max({name}) FROM app.w WHERE {name} LIKE 'b%' GROUP BY {name}") == [("b",)]
    assert root.say(f"DELETE FROM app.w WHERE {name} = 'c' OR {name} IS NULL") == "Deleted 1 row(s)"


def test_deleted_rows_hide_until_asked_for_and_keys_can_be_used_again(items: Client) -> None:
    items.run("INSERT INTO shop.items (id, name) VALUES (1, 'pen'), (2, 'ink')")
    assert items.say("DELETE FROM shop.items WHERE id = '1'") == "Deleted 1 row(s)"
    assert items.say("DELETE FROM shop.items WHERE id = 1") == "Deleted 0 row(s)"
    assert items.say("UPDATE shop.items SET name = 'x' WHERE id = 1") == "Updated 0 row(s)"
    for sql in ("SELECT id FROM shop.items", "SELECT id FROM shop.items GROUP BY id"):
        assert items.rows(sql) == [(2,)]
    assert items.rows("SELECT id, name FROM shop.items WHERE _deleted = true") == [(1, "pen")]
    assert items.say("INSERT INTO shop.items (id, name) VALUES (1, 'new')") == "Inserted 1 row(s)"
    assert items.rows("SELECT name FROM shop.items WHERE id = 1") == [("new",)]


def test_quoted_names_and_text_keys_of_the_typescript_client(items: Client) -> None:
    assert items.say("""INSERT INTO "shop"."items" ("id", "name") VALUES (100, 'a')""") == "Inserted 1 row(s)"
    assert items.say("UPDATE shop.items SET name = 'b' WHERE id = 100") == "Updated 1 row(s)"
    assert items.say("""DELETE FROM "shop"."items" WHERE id = '100'""") == "Deleted 1 row(s)"


def test_default_in_place_of_a_value_is_the_default_of_its_column(root: Client) -> None:
    """Drizzle, below KalamDB's ORM, names every column and writes DEFAULT for those without a value."""
    root.run(
        "CREATE TABLE app.d (id BIGINT PRIMARY KEY DEFAULT SNOWFLAKE_ID(), room TEXT DEFAULT 'main', n INT)"
    )
    insert = 'insert into "app"."d" ("id", "room", "n") values '
    root.run(insert + "(default, default, $1), (DEFAULT, Default, $2)", 1, 2)
    root.run(insert + "(9, 'x', default)")
    root.run("INSERT INTO app.d (id) VALUES (DEFAULT)")
    assert sorted(root.rows("SELECT room, n FROM app.d"), key=str) == [
        ("main", 1), ("main", 2), ("main", None), ("x", None)
    ]  # fmt: skip
    root.run("INSERT INTO app.d (id, room) VALUES (1, DEFAULT), (2, 'y')")
    root.run("INSERT INTO app.d VALUES (3, DEFAULT, $1)", 5)
    root.run("UPDATE app.d SET room = DEFAULT, n = 7 WHERE id = 2")
    root.run("UPDATE app.d SET n = DEFAULT WHERE id = 3")
    assert root.rows("SELECT id, room, n FROM app.d WHERE id < 4 ORDER BY id") == [
        (1, "main", None), (2, "main", 7), (3, "main", None)
    ]  # fmt: skip
    for values in (" (id, no) VALUES (1, DEFAULT)", " VALUES (4, DEFAULT, 1, DEFAULT)"):
        with pytest.raises(KalamError, match=r"does not exist|INSERT has 4 values"):
            root.run("INSERT INTO app.d" + values)


def test_groups_without_a_key_or_a_value_are_there_under_order_and_limit(items: Client) -> None:
    items.run("INSERT INTO shop.items (id, name, price) VALUES (1, 'a', NULL), (2, 'b', 1), (3, 'b', 2)")
    items.run("UPDATE shop.items SET price = NULL WHERE id = 3")
    assert items.rows("SELECT DISTINCT price FROM shop.items ORDER BY price LIMIT 50")[-1] == (None,)
    grouped = "SELECT name, max(price) AS p FROM shop.items GROUP BY name ORDER BY p DESC LIMIT 50"
    assert [name for name, _ in items.rows(grouped)] == ["a", "b"]


def test_every_change_gets_a_greater_seq(items: Client) -> None:
    seqs = []
    for sql in (
        "INSERT INTO shop.items (id, name) VALUES (1, 'a')",
        "UPDATE shop.items SET name = 'b' WHERE id = 1",
        "DELETE FROM shop.items WHERE id = 1",
    ):
        items.run(sql)
        seqs.append(items.rows("SELECT _seq FROM shop.items WHERE _deleted = true OR id = 1")[0][0])
    assert seqs == sorted(set(seqs))


@pytest.mark.parametrize(
    "where", ["length(name) = 3", "name IN (SELECT 'pen')", "abs(id) = 1", "price * 2 = 5"]
)
def test_any_where_selects_rows_to_change(items: Client, where: str) -> None:
    items.run("INSERT INTO shop.items (id, name, price) VALUES (1, 'pen', 2.5), (2, 'paper', 9)")
    assert items.say(f"UPDATE shop.items SET tags = upper(name) || '!' WHERE {where}") == "Updated 1 row(s)"
    assert items.rows("SELECT tags FROM shop.items") == [("PEN!",), (None,)]
    assert items.say(f"DELETE FROM shop.items WHERE {where}") == "Deleted 1 row(s)"


def test_json_operators(items: Client) -> None:
    items.run("""INSERT INTO shop.items (id, name, tags) VALUES (1, 'a', '{"a":{"b":[1,"x"]},"n":null}')""")
    assert items.rows(
        "SELECT tags->'a'->'b'->1, tags->'a'->'b'->>1, tags ? 'n', json_length(tags), json_get_int(tags, "
        "'a', 'b', 0), "
        "json_object_keys(tags)[1] FROM shop.items WHERE tags->'a' ? 'b'"
    ) == [('"x"', "x", True, 2, 1, "a")]


def test_limits_apply_to_http_selects_only(root: Client) -> None:
    root.run("CREATE SHARED TABLE app.n (id INT PRIMARY KEY)")
    root.run("INSERT INTO app.n VALUES " + ", ".join(f"({i})" for i in range(1200)))
    for sql, cut in [
        ("SELECT id FROM app.n", 50),
        ("SELECT id FROM app.n LIMIT 1100", 1000),
        ("SELECT id FROM app.n LIMIT 7", 7),
    ]:
        assert root.rows(sql, limit=True) == [(i,) for i in range(cut)]
    assert len(root.rows("SELECT id FROM app.n")) == 1200


def test_unqualified_names_use_the_namespace_of_the_request(items: Client) -> None:
    items.run("INSERT INTO items (id, name) VALUES (1, 'pen')", namespace="shop")
    assert items.rows("SELECT name FROM items", namespace="shop") == [("pen",)]
    assert items.run("USE shop; SELECT name FROM items")[1].rows() == [("pen",)]


@pytest.mark.parametrize(
    ("sql", "params", "code", "text"),
    [
        ("SELECT 1", [1] * 51, "SQL_EXECUTION_ERROR", "maximum 50 parameters allowed, got 51"),
        (
            "SELECT $1",
            ["x" * 600_000],
            "SQL_EXECUTION_ERROR",
            "parameter at index 0 is 600000 bytes (max 524288 bytes)",
        ),
        ("SELECT $1", [[1]], "INVALID_PARAMETER", "Parameter $1 invalid: Array parameters not yet supported"),
        ("SELECT $1", [{}], "INVALID_PARAMETER", "Object parameters not yet supported"),
        (
            "SELECT 1; SELECT 2",
            [1],
            "PARAMS_WITH_BATCH",
            "Parameters not supported with multi-statement batches",
        ),
        ("", [], "EMPTY_SQL", "No SQL statements provided"),
        (" ; -- nothing\n ; ", [], "EMPTY_SQL", "No SQL statements provided"),
        ("SELECT '" + "x" * 1_100_000 + "'", [], "INVALID_SQL", "SQL query too long: 1100009 bytes"),
    ],
)
def test_refused_requests(root: Client, sql: str, params: list[Any], code: str, text: str) -> None:
    with pytest.raises(KalamError) as caught:
        root.run(sql, *params)
    assert caught.value.code == code
    assert text in caught.value.message


def test_state_survives_a_restart(tmp_path: Any) -> None:
    clock = Clock(START_MS)
    with Engine.open(tmp_path / "d", clock=clock) as engine:
        root = Client(kalam := Kalam(engine, CONFIG), kalam.session("root"))
        root.run("CREATE NAMESPACE app; CREATE USER TABLE app.t (id INT PRIMARY KEY, v TEXT DEFAULT 'x')")
        root.run("INSERT INTO app.t (id) VALUES (1), (2); DELETE FROM app.t WHERE id = 2")
        root.run("ALTER TABLE app.t ADD COLUMN n INT DEFAULT 3; CREATE USER bob WITH PASSWORD 'b' ROLE dba")
        root.run("CREATE VIEW app.keys (k) AS SELECT id FROM app.t")
        before = root.rows("SELECT * FROM app.t WHERE _deleted = true OR true")
        kalam.close()
    clock.set(START_MS - 1000)
    with Engine.open(tmp_path / "d", clock=clock) as engine:
        root = Client(kalam := Kalam(engine, CONFIG), kalam.session("root"))
        assert root.rows("SELECT * FROM app.t WHERE _deleted = true OR true") == before
        root.run("INSERT INTO app.t (id) VALUES (5)")
        assert root.rows("SELECT _seq FROM app.t WHERE id = 5")[0][0] > max(r[3] for r in before)
        assert kalam.auth.login("bob", "b").user.role == "dba"
        assert root.rows("SELECT k FROM app.keys") == [(1,), (5,)]
        root.run("DROP NAMESPACE app; CREATE NAMESPACE app")
        assert "not found" in root.error("SELECT k FROM app.keys").message
        kalam.close()


def test_generator_functions_in_a_query_give_each_row_its_own_value(items: Client) -> None:
    items.run("INSERT INTO shop.items (id, name) VALUES (1, 'a'), (2, 'b')")
    rows = items.rows("SELECT SNOWFLAKE_ID() AS s, ULID() AS u, UUID_V7() AS v FROM shop.items")
    assert len({value for row in rows for value in row}) == 6
    ((alone,),) = items.rows("SELECT SNOWFLAKE_ID()")
    assert alone > max(row[0] for row in rows)

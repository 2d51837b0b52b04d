"""Statements: exact messages, errors, coercions, transactions, batches."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kalam_jupyter.engine import Clock, Engine
from kalam_jupyter.kalam import Kalam, KalamError, direct
from tests.kalam.conftest import CONFIG, START_MS, Client


@pytest.fixture
def items(root: Client) -> Client:
    root.run(
        "CREATE NAMESPACE shop; CREATE TABLE shop.items (id INT PRIMARY KEY, name TEXT NOT NULL, price "
        "DECIMAL(10,2), "
        "tags JSON, at TIMESTAMP DEFAULT NOW()) WITH (TYPE='SHARED', ACCESS_LEVEL='PUBLIC')"
    )
    return root


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


TYPES: list[tuple[str, str, Any, Any]] = [
    ("BOOLEAN", "true", True, True),
    ("SMALLINT", "7", 7, 7),
    ("BIGINT", "'9007199254740993'", 9007199254740993, "9007199254740993"),
    ("FLOAT", "0.1", 0.10000000149011612, 0.10000000149011612),
    ("DOUBLE PRECISION", "1.5e0", 1.5, 1.5),
    ("DECIMAL(12,2)", "200.745", Decimal("200.75"), "200.75"),
    ("NUMERIC(5,2)", "-0.5", Decimal("-0.50"), "-0.50"),
    ("VARCHAR(3)", "'longer'", "longer", "longer"),
    ("JSONB", "'{\"a\":1}'", '{"a":1}', '{"a":1}'),
    ("BYTEA", "X'4869'", b"Hi", [72, 105]),
    (
        "UUID",
        "'018F0000-0000-7000-8000-000000000001'",
        "018f0000-0000-7000-8000-000000000001",
        "018f0000-0000-7000-8000-000000000001",
    ),
    ("TIMESTAMP", "'2026-03-08T11:15:00Z'", 1772968500000000, 1772968500000000),
    ("DATETIME", "'2026-03-08T12:15:00+01:00'", 1772968500000000, 1772968500000000),
    ("DATE", "'2024-12-14'", 20071, 20071),
    ("TIME", "'12:34:56'", 45296000000, 45296000000),
    ("EMBEDDING(2)", "'[0.5, 1]'", [0.5, 1.0], [0.5, 1.0]),
]


@pytest.mark.parametrize(("type_", "literal", "physical", "json"), TYPES)
@pytest.mark.parametrize("path", ["direct", "engine"])
def test_every_type_round_trips(
    root: Client, type_: str, literal: str, physical: Any, json: Any, path: str
) -> None:
    root.run(f"CREATE SHARED TABLE app.v (id INT PRIMARY KEY, v {type_})")
    root.run(f"INSERT INTO app.v VALUES (1, {literal}), (2, NULL)")
    sql = (
        "SELECT v FROM app.v"
        if path == "direct"
        else "SELECT v FROM app.v WHERE id + 0 > 0 GROUP BY id, v ORDER BY id"
    )
    assert root.rows(sql) == [(physical,), (None,)]
    assert root.json(sql) == [[json], [None]]


def test_defaults_fill_omitted_columns_only(root: Client) -> None:
    root.run(
        "CREATE SHARED TABLE app.d (id BIGINT PRIMARY KEY DEFAULT SNOWFLAKE_ID(), u TEXT DEFAULT "
        "UUID_V7(), l TEXT DEFAULT ULID(), "
        "at TIMESTAMP DEFAULT NOW(), who TEXT DEFAULT CURRENT_USER(), n INT DEFAULT 7, s TEXT DEFAULT 'x', "
        "v INT)"
    )
    root.run("INSERT INTO app.d (v) VALUES (1), (2); INSERT INTO app.d (v, n) VALUES (3, NULL)")
    rows = root.rows("SELECT id, u, l, at, who, n, s FROM app.d")
    assert len({r[0] for r in rows}) == len({r[1] for r in rows}) == len({r[2] for r in rows}) == 3
    assert [r[3:] for r in rows] == [(START_MS * 1000, "root", 7, "x")] * 2 + [
        (START_MS * 1000, "root", None, "x")
    ]


def test_generator_functions_in_a_query_give_each_row_its_own_value(items: Client) -> None:
    items.run("INSERT INTO shop.items (id, name) VALUES (1, 'a'), (2, 'b')")
    rows = items.rows("SELECT SNOWFLAKE_ID() AS s, ULID() AS u, UUID_V7() AS v FROM shop.items")
    assert len({value for row in rows for value in row}) == 6
    ((alone,),) = items.rows("SELECT SNOWFLAKE_ID()")
    assert alone > max(row[0] for row in rows)


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


def test_parameters_beyond_bigint_are_doubles(root: Client) -> None:
    result = root.one("SELECT $1 AS n", 2**63)
    assert (result.schema[0]["data_type"], result.rows()) == ("Double", [(float(2**63),)])
    root.run("CREATE TABLE app.big (id BIGINT PRIMARY KEY, d DOUBLE)")
    assert "Unable to cast value 9223372036854775808 to type BIGINT" in (
        root.error("INSERT INTO app.big VALUES ($1, 0)", 2**63).message
    )
    root.run("INSERT INTO app.big VALUES (1, $1)", 2**64)
    assert root.rows("SELECT id FROM app.big WHERE d > $1", 2**63) == [(1,)]


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
    ],
)
def test_refused_in_transactions(items: Client, sql: str, text: str) -> None:
    items.run("CREATE STREAM TABLE app.ev (id INT) WITH (TTL_SECONDS = 5)")
    assert text in items.error(sql).message
    assert items.rows("SELECT id FROM shop.items") == []


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


def test_a_cluster_snapshot_is_a_checkpoint(tmp_path: Any, root: Client) -> None:
    assert root.json("CLUSTER SNAPSHOT") == [["snapshot", "meta", ""]]  # in memory
    assert root.json("CLUSTER CLEAR") == [["clear", "meta", 0]]
    with Engine.open(tmp_path / "kept") as engine:
        kalam = Kalam(engine, CONFIG)
        other = Client(kalam, kalam.session("root"))
        other.run(
            "CREATE NAMESPACE app; CREATE TABLE app.t (id INT PRIMARY KEY); INSERT INTO app.t VALUES (1)"
        )
        assert not (tmp_path / "kept" / "checkpoint.json").exists()
        ((_, _, directory),) = other.rows("CLUSTER SNAPSHOT")
        while not (tmp_path / "kept" / "checkpoint.json").exists():
            other.run("CREATE NAMESPACE IF NOT EXISTS app")  # a turn of the writer
        assert list(Path(directory).iterdir())
        kalam.close()


def test_settings_are_shown_under_their_own_names(root: Client, user: Callable[..., Client]) -> None:
    rows = dict(root.rows("SELECT name, value FROM system.settings"))
    assert (rows["auth.jwt_expiry_hours"], rows["auth.cookie_secure"]) == ("24", "true")
    assert (rows["auth.jwt_secret"], rows["security.cors.allowed_origins"]) == ("", "")
    secretive = replace(CONFIG, jwt_secret="s" * 32, root_password="r" * 12, cors_allowed_origins=("a", "b"))
    with Engine.open(clock=Clock(START_MS)) as engine:
        kalam = Kalam(engine, secretive)
        other = Client(kalam, kalam.session("root"))
        rows = dict(other.rows("SELECT name, value FROM system.settings"))
        kalam.close()
    assert (rows["auth.jwt_secret"], rows["auth.root_password"]) == ("***", "***")
    assert rows["security.cors.allowed_origins"] == "a,b"


def test_unqualified_names_use_the_namespace_of_the_request(items: Client) -> None:
    items.run("INSERT INTO items (id, name) VALUES (1, 'pen')", namespace="shop")
    assert items.rows("SELECT name FROM items", namespace="shop") == [("pen",)]
    assert items.run("USE shop; SELECT name FROM items")[1].rows() == [("pen",)]


def test_show_and_describe(items: Client, user: Callable[..., Client]) -> None:
    rows = user("alice").rows("DESCRIBE TABLE shop.items")
    assert [(r[0], r[3], r[4], r[5]) for r in rows][:3] == [
        ("id", "INT", False, True),
        ("name", "TEXT", False, False),
        ("price", "DECIMAL(10, 2)", True, False),
    ]
    assert [r[0] for r in rows][-2:] == ["_seq", "_deleted"]
    assert [r[0] for r in items.rows("SHOW TABLES IN shop")] == ["shop:items"]
    assert {"default", "dba", "shop"} <= {r[0] for r in items.rows("SHOW NAMESPACES")}
    assert items.rows("SELECT table_name FROM information_schema.tables WHERE table_schema = 'shop'") == [
        ("items",)
    ]
    assert items.rows("DESCRIBE shop.items")[0][0] == "id"


@pytest.mark.parametrize(
    "name",
    [
        "users",
        "namespaces",
        "schemas",
        "storages",
        "jobs",
        "job_nodes",
        "audit_log",
        "manifest",
        "topics",
        "topic_offsets",
        "tables",
        "columns",
        "live",
        "sessions",
        "transactions",
        "settings",
        "stats",
        "server_logs",
        "cluster",
        "cluster_groups",
        "datatypes",
        "describe",
        "table_schemas",
    ],
)
def test_every_system_table_answers_admins_only(root: Client, user: Callable[..., Client], name: str) -> None:
    root.one(f"SELECT * FROM system.{name}")
    assert root.json(f"SELECT * FROM system.{name}") is not None
    assert user("alice", "service").error(f"SELECT * FROM system.{name}").status == 403


def test_secrets_are_masked(root: Client) -> None:
    root.run("CREATE USER bob WITH PASSWORD 'x' ROLE dba")
    assert root.json("SELECT password_hash FROM system.users WHERE user_id = 'bob'") == [["***"]]
    assert "'x'" not in str(root.rows("SELECT * FROM system.audit_log"))


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("users", "created_at"),
        ("namespaces", "created_at"),
        ("schemas", "updated_at"),
        ("tables", "updated_at"),
    ],
)
def test_times_of_system_tables_are_moments_of_now(root: Client, table: str, column: str) -> None:
    before = root.kalam.engine.clock.now_ms()
    root.run("CREATE USER bob WITH PASSWORD 'x' ROLE dba")
    root.run("CREATE NAMESPACE later")
    root.run("CREATE TABLE later.t (id INT PRIMARY KEY)")
    sql = f"SELECT MAX({column}) AS at FROM system.{table}"
    found = root.one(sql).table
    assert found is not None
    moment = found.column("at")[0].as_py()
    assert moment.replace(tzinfo=dt.UTC).timestamp() * 1000 >= before
    wire = root.json(sql)[0][0]  # a number, in ms where the table is stored
    assert wire == round(
        moment.replace(tzinfo=dt.UTC).timestamp() * (1_000_000 if table == "tables" else 1000)
    )
    schema = root.one(f"SELECT {column} FROM system.{table}").schema
    assert schema[0]["data_type"] == "Timestamp"


# ---- the two ways to answer a simple query agree -----------------------------------------------------------

ROWS = st.lists(
    st.tuples(
        st.one_of(st.none(), st.integers(-3, 3)),
        st.one_of(st.none(), st.sampled_from(["", "a", "B", "a_b", "%"])),
    ),
    max_size=8,
)
CONDITIONS = [
    "n = 1",
    "n <> 1 OR s IS NULL",
    "NOT (n > 0 AND s = 'a')",
    "n IN (1, NULL)",
    "n NOT IN (0, 2)",
    "n BETWEEN -1 AND 1",
    "n NOT BETWEEN 0 AND 2",
    "s LIKE 'a%'",
    "s NOT LIKE 'a\\_b'",
    "s ILIKE 'b'",
    "(n = 1) IS NULL",
    "n + 1 > 1",
    "-n < 2",
    "upper(s) = 'A' AND length(s) = 1",
    "coalesce(n, 0) = 0",
    "s || 'x' = 'ax'",
    "n = 1 IS NOT TRUE",
]


@settings(max_examples=60, deadline=None)
@given(
    rows=ROWS,
    where=st.sampled_from(CONDITIONS),
    order=st.sampled_from(["n, id", "s DESC, id DESC", "n DESC NULLS LAST, id"]),
)
def test_direct_answers_equal_those_of_the_query_engine(rows: Any, where: str, order: str) -> None:
    with Engine.open(clock=Clock(START_MS)) as engine:
        kalam = Kalam(engine, CONFIG)
        client = Client(kalam, kalam.session("root"))
        client.run("CREATE NAMESPACE app; CREATE SHARED TABLE app.t (id INT PRIMARY KEY, n INT, s TEXT)")
        for i, (n, s) in enumerate(rows):
            client.run("INSERT INTO app.t VALUES ($1, $2, $3)", i, n, s)
        sql = f"SELECT id, n, s FROM app.t WHERE {where} ORDER BY {order}"
        assert direct.recognise(sql) is not None
        table = kalam.queries.collect(client.session, sql)
        assert client.rows(sql) == list(zip(*(c.to_pylist() for c in table.columns), strict=True))
        kalam.close()


MIXED = {
    "SMALLINT": ("1", "10", "'9'", "' 9 '", "'09'", "9.5", "'x'", "true"),
    "BIGINT": ("1", "10", "'9'", "9.5", "'9007199254740993'"),
    "DOUBLE": ("1.5", "10", "'1.5'", "'1.50'", "'1e0'", "2"),
    "DECIMAL(10,2)": ("1.50", "10", "'1.5'", "1.505", "2"),
    "BOOLEAN": ("true", "false", "1", "0", "'true'", "'f'", "'x'"),
    "TEXT": ("'1'", "'b'", "1", "true"),
    "UUID": (
        "'018f3c6c-7c5e-7bbb-8000-000000000001'",
        "'018f3c6c-7c5e-7bbb-8000-000000000002'",
        "'018F3C6C-7C5E-7BBB-8000-000000000001'",
    ),
    "TIMESTAMP": ("'2026-01-01'", "'2026-01-02T10:00:00Z'", "1767225600000000", "1", "'x'"),
    "DATETIME": ("'2026-01-01'", "'2026-01-02T10:00:00+02:00'", "1767225600000000"),
    "DATE": ("'2026-01-01'", "'2026-01-02'", "20454", "'2026-01-01T00:00:00Z'"),
    "TIME": ("'10:00:00'", "'10:00:01.5'", "36000000000", "-1", "99999999999999"),
}


@pytest.mark.parametrize("type_", MIXED)
def test_constants_mean_the_same_to_python_and_to_the_query_engine(root: Client, type_: str) -> None:
    """A condition is a Python function over few rows and the query engine's over many."""
    first, second, *_ = literals = MIXED[type_]
    root.run(f"CREATE TABLE app.t (id INT PRIMARY KEY, c {type_})")
    root.run(f"INSERT INTO app.t VALUES (1, {first}), (2, {second}), (3, NULL)")
    compared = 0
    for form in ("c = {}", "c <> {}", "c < {}", "{} <= c", "c IN ({}, NULL)", "NOT (c > {} AND id > 0)"):
        for sql in [f"SELECT id FROM app.t WHERE {form.format(literal)}" for literal in literals]:
            query = direct.recognise(sql)
            assert query is not None
            found = direct.run(root.kalam, root.session, query, (), "default", limit=False)
            if found is None:
                continue
            text = direct.for_the_engine(root.kalam, query, sql, (), "default")
            table = root.kalam.queries.collect(root.session, f"{text} ORDER BY id")
            assert (sql, list(found.rows())) == (sql, [(i,) for i in table.column(0).to_pylist()])
            compared += 1
    assert compared >= 3 * len(literals)


def test_numbers_that_clients_got_for_moments_find_them_in_large_tables_too(root: Client) -> None:
    root.run("CREATE TABLE app.log (id INT PRIMARY KEY, at TIMESTAMP, n TEXT)")
    start = START_MS * 1000
    root.run("INSERT INTO app.log VALUES " + ", ".join(f"({i}, {start + i}, '{i}')" for i in range(5000)))
    assert root.rows("SELECT id FROM app.log WHERE at = $1", start + 4321) == [(4321,)]
    assert root.rows("SELECT count(*) FROM app.log WHERE at >= $1 AND n <> $2", start + 10, "x") == [(4990,)]
    live = root.kalam.subscribe(root.session, f"SELECT id FROM app.log WHERE at > {start + 4997}", {})
    assert live.snapshot().column("id").to_pylist() == [4998, 4999]
    live.close()
    assert root.say("UPDATE app.log SET n = upper(n) || '!' WHERE at < $1", start + 3) == "Updated 3 row(s)"
    assert root.say("DELETE FROM app.log WHERE at >= $1", start + 2) == "Deleted 4998 row(s)"


# ---- parameters --------------------------------------------------------------------------------------------


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

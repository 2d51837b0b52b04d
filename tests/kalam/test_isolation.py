"""Two users never see each other's rows, by any statement."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest

from kalam_jupyter.kalam import KalamError
from tests.kalam.conftest import Client

READS = [
    "SELECT * FROM app.notes",
    "SELECT * FROM app.notes WHERE id = 1",
    "SELECT body FROM app.notes WHERE id = 1",
    "SELECT * FROM app.notes WHERE _deleted = true OR true",
    "SELECT count(*) FROM app.notes",
    "SELECT * FROM kalam.app.notes",
    'SELECT * FROM "app"."notes" AS x',
    "WITH n AS (SELECT * FROM app.notes) SELECT * FROM n",
    "SELECT (SELECT max(body) FROM app.notes)",
    "SELECT body FROM app.notes UNION ALL SELECT body FROM app.notes",
    "SELECT a.body FROM app.notes a JOIN app.notes b ON a.id = b.id",
    "SELECT * FROM app.notes_view",
]
WRITES = [
    "UPDATE app.notes SET body = 'taken' WHERE id = 1",
    "UPDATE app.notes SET body = 'taken' WHERE body LIKE '%'",
    "DELETE FROM app.notes WHERE id = 1",
    "DELETE FROM app.notes WHERE true",
    "INSERT INTO app.notes (id, body) VALUES (1, 'own')",
    "INSERT INTO app.copy SELECT id, body FROM app.notes",
]


@pytest.fixture
def alice_and_bob(root: Client, user: Callable[..., Client]) -> tuple[Client, Client]:
    root.run("CREATE TABLE app.notes (id INT PRIMARY KEY, body TEXT) WITH (TYPE='USER')")
    root.run("CREATE USER TABLE app.copy (id INT PRIMARY KEY, body TEXT)")
    root.run("CREATE VIEW app.notes_view AS SELECT * FROM app.notes")
    alice, bob = user("alice"), user("bob")
    alice.run("INSERT INTO app.notes VALUES (1, 'secret of alice'), (2, 'x')")
    alice.run("DELETE FROM app.notes WHERE id = 2")
    return alice, bob


@pytest.mark.parametrize("sql", READS)
@pytest.mark.parametrize("who", ["bob", "root"])
def test_reads_show_own_rows_only(
    alice_and_bob: tuple[Client, Client], root: Client, sql: str, who: str
) -> None:
    reader = alice_and_bob[1] if who == "bob" else root
    assert "secret" not in str(reader.rows(sql))
    assert "secret" in str(alice_and_bob[0].rows(sql)) or "count" in sql


@pytest.mark.parametrize("sql", WRITES)
@pytest.mark.parametrize("who", ["bob", "root"])
def test_writes_touch_own_rows_only(
    alice_and_bob: tuple[Client, Client], root: Client, sql: str, who: str
) -> None:
    alice, bob = alice_and_bob
    (bob if who == "bob" else root).run(sql)
    assert alice.rows("SELECT id, body FROM app.notes") == [(1, "secret of alice")]
    assert alice.rows("SELECT id FROM app.copy") == []


def test_stream_rows_are_isolated(root: Client, user: Callable[..., Client]) -> None:
    root.run("CREATE STREAM TABLE app.ev (id INT, body TEXT) WITH (TTL_SECONDS = 60)")
    alice, bob = user("alice"), user("bob")
    alice.run("INSERT INTO app.ev VALUES (1, 'secret')")
    assert bob.rows("SELECT * FROM app.ev") == []
    assert bob.say("DELETE FROM app.ev WHERE true") == "Deleted 0 row(s)"
    assert alice.rows("SELECT id FROM app.ev") == [(1,)]


@pytest.mark.parametrize(
    ("level", "role", "reads", "writes"),
    [
        ("public", "user", True, False),
        ("private", "user", False, False),
        ("restricted", "user", False, False),
        ("dba", "user", False, False),
        ("private", "service", True, True),
        ("dba", "service", False, False),
        ("dba", "dba", True, True),
    ],
)
def test_shared_tables_by_access_level(
    root: Client, user: Callable[..., Client], level: str, role: str, reads: bool, writes: bool
) -> None:
    root.run(f"CREATE SHARED TABLE app.s (id INT PRIMARY KEY) WITH (ACCESS_LEVEL = '{level}')")
    root.run("INSERT INTO app.s VALUES (1)")
    client = user("someone", role)
    for sql in ("SELECT * FROM app.s", "SELECT id FROM app.s WHERE id = 1", "SELECT count(*) FROM app.s"):
        if reads:
            assert len(client.rows(sql)) == 1
        else:
            error = client.error(sql)
            assert (error.code, error.status) == ("PERMISSION_DENIED", 403)
            assert "Shared table access denied" in error.message
    if writes:
        assert client.say("INSERT INTO app.s VALUES (2)") == "Inserted 1 row(s)"
    else:
        assert "Shared table write denied" in client.error("INSERT INTO app.s VALUES (2)").message


@pytest.mark.parametrize(
    ("actor", "target", "allowed"),
    [
        ("user", "user", False),
        ("service", "user", True),
        ("service", "dba", False),
        ("dba", "service", True),
        ("dba", "system", False),
    ],
)
def test_impersonation_matrix(
    root: Client, user: Callable[..., Client], actor: str, target: str, allowed: bool
) -> None:
    root.run("CREATE USER TABLE app.notes (id INT PRIMARY KEY)")
    client = user("actor", actor)
    name = "root" if target == "system" else user("target", target).session.user_id
    sql = f"EXECUTE AS USER '{name}' (INSERT INTO app.notes VALUES (1))"
    if allowed:
        result = client.one(sql)
        assert (result.as_user, result.message) == (name, "Inserted 1 row(s)")
        assert client.rows("SELECT * FROM app.notes") == []
    else:
        error = client.error(sql)
        assert error.status == 403
        assert error.message.startswith(
            "Unauthorized: EXECUTE AS USER is not authorized: actor 'actor' with role"
        )
        assert root.rows("SELECT target FROM system.audit_log WHERE action = 'EXECUTE_AS_USER_DENIED'") == [
            (name,)
        ]


def test_impersonation_keeps_off_shared_tables(root: Client, user: Callable[..., Client]) -> None:
    root.run("CREATE SHARED TABLE app.s (id INT PRIMARY KEY) WITH (ACCESS_LEVEL = 'PUBLIC')")
    user("alice")
    for words in ("EXECUTE AS USER alice", "EXECUTE AS 'alice'"):
        assert (
            "EXECUTE AS USER is not allowed on SHARED tables (table 'app:s')"
            in root.error(f"{words} (SELECT * FROM app.s)").message
        )


def test_the_audit_log_names_statements(root: Client) -> None:
    root.run("CREATE SHARED TABLE app.a (id INT PRIMARY KEY); ALTER TABLE app.a ADD COLUMN v INT")
    root.run("CREATE TOPIC app.ev; ALTER TOPIC app.ev ADD SOURCE app.a ON INSERT; DROP TABLE app.a")
    found = root.rows("SELECT action, target FROM system.audit_log ORDER BY timestamp, audit_id")
    assert found[-5:] == [
        ("CREATE_TABLE", "app.a"),
        ("ALTER_TABLE", "app.a"),
        ("CREATE_TOPIC", "app.ev"),
        ("ALTER_TOPIC", "app.ev"),
        ("DROP_TABLE", "app.a"),
    ]


def test_no_password_reaches_the_audit_log(root: Client) -> None:
    root.run("CREATE USER a WITH PASSWORD 'hunter2' ROLE user; ALTER USER a SET PASSWORD 'hunter2'")
    root.run("EXECUTE AS USER a (CREATE USER b WITH PASSWORD 'hunter2' ROLE user)")
    assert "hunter2" not in str(root.rows("SELECT * FROM system.audit_log"))


@pytest.mark.parametrize(
    ("sql", "text"),
    [
        ("EXECUTE AS USER '' (SELECT 1)", "username cannot be empty"),
        ("EXECUTE AS USER 'a' SELECT 1", "must wrap SQL in parentheses"),
        ("EXECUTE AS USER 'a' (SELECT 1", "missing closing ')'"),
        ("EXECUTE AS USER 'a' ()", "requires a non-empty inner SQL statement"),
        ("EXECUTE AS USER 'a' (SELECT 1) SELECT 2", "must contain exactly one wrapped SQL statement"),
        ("EXECUTE AS USER 'a' (SELECT 1; SELECT ';')", "can only wrap a single SQL statement"),
        ("USE app; EXECUTE AS USER 'a' (SELECT 1; SELECT 2", "missing closing ')'"),
        (
            "-- a\nEXECUTE AS USER 'a' (SELECT 1; SELECT 2); USE app",
            "can only wrap a single SQL statement",
        ),
    ],
)
def test_malformed_impersonation(root: Client, sql: str, text: str) -> None:
    error = root.error(sql)
    assert (error.code, error.status) == ("INVALID_INPUT", 400)
    assert text in error.message


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM 'file:///etc/passwd'",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM parquet_metadata('/etc/passwd')",
        'SELECT * FROM "/etc/passwd"',
        'SELECT * FROM "file:///etc/passwd"',
        "SELECT * FROM 'http://127.0.0.1:9/x.parquet'",
        "SELECT * FROM 's3://bucket/x.parquet'",
        "SELECT * FROM read_parquet('/etc/passwd')",
        "SELECT * FROM read_json('/etc/passwd')",
        "SELECT * FROM url_table('/etc/passwd')",
        "WITH x AS (SELECT * FROM '/etc/passwd') SELECT * FROM x",
        "SELECT pg_read_file('/etc/passwd')",
        "LOAD 'x'",
        "ATTACH '/tmp/x.db'",
        "CREATE TABLE app.x AS SELECT * FROM '/etc/passwd'",
        "INSERT INTO app.s SELECT 1 FROM '/etc/passwd'",
        "INSERT OVERWRITE app.s VALUES (1)",
        "PREPARE p AS SELECT 1",
        "EXPLAIN SET datafusion.catalog.format = 'csv'",
        "CREATE FUNCTION f() RETURNS INT LANGUAGE SQL RETURN 1",
        "SELECT * FROM information_schema.df_settings WHERE value LIKE 'root:%'",
        "COPY app.s TO '/tmp/out.csv'",
        "CREATE EXTERNAL TABLE app.x STORED AS CSV LOCATION '/etc/passwd'",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '/tmp/out.csv'",
        "WITH x AS (SELECT 1) INSERT INTO app.s SELECT 5",
        "SET datafusion.execution.batch_size = 1",
        "EXPLAIN INSERT INTO app.s VALUES (7)",
    ],
)
def test_sql_reaches_no_file_and_changes_nothing_behind_the_statements(root: Client, sql: str) -> None:
    root.run("CREATE SHARED TABLE app.s (id INT PRIMARY KEY)")
    with contextlib.suppress(KalamError):
        assert "root:" not in str(root.rows(sql))
    assert root.rows("SELECT * FROM app.s") == []

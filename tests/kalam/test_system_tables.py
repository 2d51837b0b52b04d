"""What the server says of itself: system tables, SHOW and DESCRIBE, settings, CLUSTER SNAPSHOT."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kalam_jupyter.engine import Clock, Engine
from kalam_jupyter.kalam import Kalam
from tests.kalam.conftest import CONFIG, START_MS, Client


def test_a_cluster_snapshot_is_a_checkpoint(tmp_path: Any, root: Client) -> None:
    assert root.json("CLUSTER SNAPSHOT") == [["snapshot", "meta", ""]]  # in memory
    assert root.json("CLUSTER CLEAR") == [["clear", "meta", 0]]
    for sql in ("CLUSTER STEPDOWN", "CLUSTER STEP-DOWN"):
        assert root.json(sql)[0][:3] == ["stepdown", "meta", True]
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


def test_show_and_describe(items: Client, user: Callable[..., Client]) -> None:
    rows = user("alice").rows("DESCRIBE TABLE shop.items")
    assert [(r[0], r[3], r[4], r[5]) for r in rows][:3] == [
        ("id", "INT", False, True),
        ("name", "TEXT", False, False),
        ("price", "DECIMAL(10, 2)", True, False),
    ]
    assert [r[0] for r in rows][-2:] == ["_seq", "_deleted"]
    assert items.rows("DESCRIBE TABLE items", namespace="shop") == rows
    own = items.rows("DESCRIBE TABLE system.jobs")
    assert [(r[0], r[1], r[3]) for r in own][13:15] == [
        ("cpu_used", 14, "BIGINT"),
        ("created_at", 15, "TIMESTAMP"),
    ]
    assert "System tables require" in user("bob").error("DESCRIBE TABLE system.jobs").message
    assert [r[0] for r in items.rows("SHOW TABLES IN shop")] == ["shop:items"]
    assert {"default", "dba", "shop"} <= {r[0] for r in items.rows("SHOW NAMESPACES")}
    assert items.rows("SELECT table_name FROM information_schema.tables WHERE table_schema = 'shop'") == [
        ("items",)
    ]
    assert items.rows("DESCRIBE shop.items")[0][0] == "id"


def test_the_query_engine_tells_of_views_and_system_tables_to_those_who_may_read_them(
    items: Client, user: Callable[..., Client]
) -> None:
    items.run("CREATE VIEW shop.cheap AS SELECT id, price FROM shop.items WHERE price < 1")
    schemas = "SELECT table_schema FROM information_schema.tables WHERE table_name IN ('cheap', 'jobs')"
    assert sorted(items.rows(schemas)) == [("shop",), ("system",)]
    assert items.rows("DESCRIBE shop.cheap")[0][0] == "id"
    assert items.rows("SHOW COLUMNS FROM system.jobs")[0][3] == "job_id"
    for name in ("shop.cheap", "system.jobs"):
        assert items.rows(f"EXPLAIN SELECT * FROM {name}")[0][0] == "logical_plan"
    items.run("ALTER TABLE shop.items SET ACCESS LEVEL PRIVATE")
    assert user("alice").rows(schemas) == []


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

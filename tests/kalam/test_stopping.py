"""Queries that are ended: by their time, by their client, by the memory they may use."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from kalam_jupyter.engine import Engine
from kalam_jupyter.kalam import Kalam, KalamError, Stop, rewrite, stopping

from .conftest import CONFIG, Client

ENDLESS = "SELECT sum(value) FROM generate_series(1, 1000000000000)"


@pytest.mark.parametrize(
    "sql", [ENDLESS, "INSERT INTO app.t SELECT sum(value) FROM generate_series(1, 1000000000000)"]
)
def test_a_query_ends_when_its_time_is_up(root: Client, sql: str) -> None:
    root.run("CREATE TABLE app.t (id BIGINT PRIMARY KEY) WITH (TYPE='USER')")
    with pytest.raises(KalamError, match=r"Query timeout: it took longer than 0\.05 seconds"):
        root.run(sql, stop=Stop(0.05))
    assert root.rows("SELECT id FROM app.t") == []


def test_everybody_is_told_of_a_timeout(root: Client, user: object) -> None:
    root.run("CREATE USER ann WITH PASSWORD 'x' ROLE user")
    ann = Client(root.kalam, root.kalam.session("ann"))
    with pytest.raises(KalamError, match="Query timeout"):
        ann.run(ENDLESS, stop=Stop(0.05))


def test_a_query_ends_with_its_client(root: Client) -> None:
    stop = Stop()
    threading.Timer(0.05, stop.cancel).start()
    with pytest.raises(KalamError, match="the client is gone"):
        root.run(ENDLESS, stop=stop)


def test_nothing_more_is_started_for_a_client_that_is_gone(root: Client) -> None:
    stop = Stop()
    stop.cancel()
    with pytest.raises(KalamError, match="the client is gone"):
        root.run("CREATE NAMESPACE other", stop=stop)
    assert root.rows("SELECT name FROM system.namespaces WHERE name = 'other'") == []


@pytest.fixture
def numbers(root: Client) -> Iterator[Client]:
    root.run("CREATE SHARED TABLE app.n (id INT PRIMARY KEY)")
    root.run(f"INSERT INTO app.n VALUES {', '.join(f'({i})' for i in range(1200))}")
    yield root
    for run in list(stopping._left):  # a thread of the query engine that ends while Python does ends it badly
        run._thread.join(60)


def test_queries_that_are_slow_to_end_are_in_nobodys_way(numbers: Client) -> None:
    slow = "SELECT count(*) FROM app.n a JOIN app.n b ON a.id < b.id JOIN app.n c ON b.id < c.id"
    for _ in range(3):
        with pytest.raises(KalamError, match="Query timeout"):
            numbers.run(slow, stop=Stop(0.05))
    pairs = "SELECT count(*) AS n FROM app.n a JOIN app.n b ON a.id = b.id"
    assert numbers.rows(pairs, stop=Stop(30)) == [(1200,)]
    assert stopping._left  # those above are at it still


def test_only_so_many_are_left_behind(numbers: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "MOST_LEFT", 0)
    with pytest.raises(KalamError, match="Resources exhausted: 0 ended queries still run"):
        numbers.run("SELECT count(*) FROM app.n a, app.n b", stop=Stop(30))
    assert numbers.rows("SELECT count(*) AS n FROM app.n a JOIN (SELECT 1 AS id) b ON a.id = b.id") == [(1,)]


def test_results_are_the_same_whichever_way_a_query_runs(root: Client) -> None:
    root.run("CREATE TABLE app.t (id INT PRIMARY KEY, name TEXT, d DECIMAL(6,2)) WITH (TYPE='USER')")
    root.run("INSERT INTO app.t VALUES (1, 'a', 1.5), (2, 'b', NULL)")
    for sql in (
        "SELECT a.id, a.name, a.d FROM app.t a JOIN app.t b ON a.id = b.id ORDER BY a.id",
        "SELECT a.id, a.d FROM app.t a, app.t b WHERE a.id > 99",
    ):
        plain, stopped = root.one(sql), root.one(sql, stop=Stop(30))
        assert plain.schema == stopped.schema
        assert plain.rows() == stopped.rows()


def test_a_query_may_not_take_all_memory(engine: Engine) -> None:
    kalam = Kalam(engine, CONFIG.with_(query_memory=1 << 20))
    root = Client(kalam, kalam.session("root"))
    assert (
        "Resources exhausted"
        in root.error("SELECT array_agg(value) FROM generate_series(1, 10000000)").message
    )
    kalam.close()


@pytest.mark.parametrize(
    ("sql", "references"),
    [
        ("SELECT a, b, count(*) FROM t WHERE x IN (1, 2) GROUP BY a, b ORDER BY a, b", ["t"]),
        ("SELECT coalesce(a, b) FROM ns.t LIMIT 5", ["ns.t"]),
        ("SELECT 1, 2", []),
        ("SELECT * FROM t, u AS v, (SELECT 1, 2) x", ["t", "u"]),
        ("SELECT * FROM kalam.ns.t JOIN u ON t.a = u.a, v WHERE a IN (b, c)", ["ns.t", "u", "v"]),
        ("SELECT (SELECT max(a) FROM t), x FROM t UNION SELECT y, z FROM u", ["t", "t", "u"]),
        ("SELECT * FROM t WHERE a IN (SELECT a FROM t)", ["t", "t"]),
        ("WITH RECURSIVE r AS (SELECT 1) SELECT * FROM r", None),
        ("SELECT * FROM range(1, 5)", None),
        ("SELECT * FROM t, anything(5)", None),
        ("SELECT repeat('x', 1000000000)", None),
    ],
)
def test_what_bounds_the_work_of_a_query(sql: str, references: list[str] | None) -> None:
    found = rewrite.prepare(sql).references
    assert (None if found is None else [".".join(filter(None, name)) for name in found]) == references

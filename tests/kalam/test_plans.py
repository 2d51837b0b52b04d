"""Plans that are kept: they answer as new ones do, of what is there now, to those who may see it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from kalam_jupyter.engine import Clock
from kalam_jupyter.kalam import plans
from kalam_jupyter.kalam.rewrite import CHANGING
from tests.kalam.conftest import Client

QUERIES = [
    "SELECT 1 AS one, 'a' || 'b' AS two",
    "SELECT c.name, o.n FROM app.c c JOIN (SELECT v, COUNT(*) AS n FROM app.o GROUP BY v) o ON c.v = o.v",
    "SELECT c.id, o.id FROM app.c c LEFT JOIN app.o o ON c.id = o.v AND o.id > 3 ORDER BY 1, 2",
    "SELECT c.id, o.id FROM app.c c FULL JOIN app.o o ON c.id = o.id WHERE o.v IS NULL OR c.v = 2",
    "SELECT * FROM app.c WHERE v IN (SELECT v FROM app.o WHERE id < 4)",
    "SELECT * FROM app.c WHERE NOT EXISTS (SELECT 1 FROM app.o WHERE o.v = c.id)",
    "SELECT id, (SELECT max(o.id) FROM app.o o WHERE o.v = c.v) AS last FROM app.c c",
    "SELECT id, row_number() OVER (PARTITION BY v ORDER BY id DESC) AS n FROM app.c",
    "SELECT DISTINCT v FROM app.c ORDER BY v DESC LIMIT 2 OFFSET 1",
    "SELECT v, count(DISTINCT name), sum(id) FROM app.c GROUP BY ROLLUP (v) HAVING count(*) > 1 ORDER BY v",
    "SELECT v FROM app.c UNION SELECT v FROM app.o EXCEPT SELECT 1",
    "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT * FROM n",
    "SELECT * FROM app.seen s JOIN app.c c ON c.id = s.number",
    "SELECT CASE WHEN v = 1 THEN CURRENT_USER ELSE CURRENT_ROLE() END AS who FROM app.c",
    "SELECT doc ->> 'k' AS k, count(*) FROM app.j GROUP BY doc ->> 'k'",
    "SELECT * FROM app.c ORDER BY v * 2 DESC, id LIMIT 3",
    "SELECT *, _seq > 0 AS numbered FROM app.c WHERE _deleted = true OR id * 2 > 2",
]
JOIN = QUERIES[1]


@pytest.fixture
def tables(root: Client) -> Client:
    root.run("CREATE SHARED TABLE app.c (id INT PRIMARY KEY, name TEXT, v INT)")
    root.run("CREATE SHARED TABLE app.o (id INT PRIMARY KEY, v INT)")
    root.run("CREATE SHARED TABLE app.j (id INT PRIMARY KEY, doc JSON)")
    root.run("INSERT INTO app.c VALUES (1, 'one', 1), (2, NULL, 2), (3, 'three', 1), (4, 'four', NULL)")
    root.run("INSERT INTO app.o VALUES (1, 1), (2, 1), (3, 2), (4, NULL), (5, 7)")
    root.run("""INSERT INTO app.j VALUES (1, '{"k": "x"}'), (2, '{"k": "y"}'), (3, '{"k": "x"}')""")
    root.run("DELETE FROM app.c WHERE id = 4")
    root.run("CREATE VIEW app.seen (number, title) AS SELECT id, name FROM app.c WHERE v = 1")
    return root


@pytest.mark.parametrize("sql", QUERIES)
def test_a_kept_plan_answers_as_a_new_one(tables: Client, sql: str) -> None:
    new = tables.kalam.queries.collect(tables.session, sql)
    first, again = (tables.one(sql).table for _ in range(2))
    ordered = [(name, "ascending") for name in new.column_names]
    assert first is not None
    assert again is not None
    assert again.equals(first, check_metadata=True)
    assert again.schema.equals(new.schema, check_metadata=True)
    if len(set(new.column_names)) == new.num_columns:
        assert again.sort_by(ordered) == new.sort_by(ordered)


def test_a_kept_plan_shows_what_is_there_now(tables: Client) -> None:
    sql = "SELECT s.number FROM app.seen s JOIN app.o o ON o.id = s.number ORDER BY 1"
    assert tables.rows(sql) == tables.rows(sql) == [(1,), (3,)]
    tables.run("UPDATE app.c SET v = 1 WHERE id = 2")
    assert tables.rows(sql) == [(1,), (2,), (3,)]
    tables.run("DELETE FROM app.o WHERE id = 1")
    assert tables.rows(sql) == [(2,), (3,)]
    tables.run("CREATE OR REPLACE VIEW app.seen (number) AS SELECT id FROM app.c WHERE v = 1 AND id > 2")
    assert tables.rows(sql) == [(3,)]
    tables.run("DROP TABLE app.o")
    assert "table 'kalam.app.o' not found" in tables.error(sql).message
    tables.run("CREATE SHARED TABLE app.o (id INT PRIMARY KEY, v INT)")
    assert tables.rows(sql) == []


def test_a_query_in_a_transaction_that_is_undone_leaves_nothing_to_see(tables: Client) -> None:
    sql = "SELECT count(*) AS n FROM app.o WHERE v > 0"
    assert tables.rows(sql) == [(4,)]
    tables.error(f"BEGIN; INSERT INTO app.o VALUES (9, 9); {sql}; INSERT INTO app.o VALUES (9, 9); COMMIT")
    assert tables.rows(sql) == [(4,)]


def test_a_kept_plan_shows_nobody_what_only_others_may_see(root: Client, user: Callable[..., Client]) -> None:
    root.run("CREATE USER TABLE app.notes (id INT PRIMARY KEY, body TEXT)")
    root.run("CREATE SHARED TABLE app.shown (id INT PRIMARY KEY, v INT) WITH (ACCESS_LEVEL='public')")
    root.run("INSERT INTO app.shown VALUES (1, 1)")
    alice, bob = user("alice"), user("bob")
    alice.run("INSERT INTO app.notes VALUES (1, 'of alice')")
    own = "SELECT n.body, CURRENT_USER AS me FROM app.notes n JOIN app.shown o ON o.id = n.id"
    length = "SELECT length(body) AS n FROM app.notes"
    shared = "SELECT sum(v) AS s FROM app.shown"
    for _ in range(2):
        assert alice.rows(own) == [("of alice", "alice")]
        assert bob.rows(own) == []
        assert root.rows(own) == []
        assert alice.rows(length) == root.rows(f"EXECUTE AS USER 'alice' ({length})") == [(8,)]
        assert alice.rows(shared) == bob.rows(shared) == [(1,)]
        assert "not allowed on SHARED tables" in root.error(f"EXECUTE AS USER 'alice' ({shared})").message
    root.run("ALTER TABLE app.shown SET ACCESS LEVEL private")
    assert "Access denied" in bob.error(shared).message
    assert root.rows(shared) == [(1,)]


def test_what_changes_by_itself_is_not_kept(tables: Client, clock: Clock) -> None:
    sql = "SELECT routine_name FROM information_schema.routines WHERE is_deterministic = false"
    assert {name for (name,) in tables.rows(sql)} <= CHANGING
    tables.run("CREATE STREAM TABLE app.s (id INT, v INT) WITH (TTL_SECONDS = 60)")
    tables.run("INSERT INTO app.s VALUES (1, 1)")
    count = "SELECT sum(v) AS n FROM app.s"
    assert tables.rows(count) == [(1,)]
    clock.advance(61_000)
    assert tables.rows(count) == [(None,)]
    once = 'SELECT "random"() AS r FROM app.c WHERE id = 1'
    assert tables.rows(once) != tables.rows(once)


def test_one_plan_is_run_by_many_at_once(tables: Client) -> None:
    expected = sorted(tables.rows(JOIN), key=repr)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: sorted(tables.rows(JOIN), key=repr), range(40)))
    assert found == [expected] * 40


def test_plans_that_are_kept_are_few_and_small(tables: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tables.kalam.queries.plans
    for i in range(plans.KEPT_PLANS + 5):
        tables.rows(f"SELECT sum(v) + {i} AS n FROM app.c")
    assert len(kept) == plans.KEPT_PLANS
    monkeypatch.setattr(plans, "KEPT_BYTES", 1)
    tables.rows("SELECT sum(v) AS n FROM app.c")
    assert len(kept) == 0

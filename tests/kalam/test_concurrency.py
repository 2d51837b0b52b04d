"""Many at once: nothing is lost, nothing is seen twice, nobody waits for a slow reader."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.kalam.conftest import Client


def test_writers_and_readers_at_once(root: Client) -> None:
    root.run("CREATE SHARED TABLE app.t (id INT PRIMARY KEY, n INT); CREATE TOPIC app.ev")
    root.run("ALTER TOPIC app.ev ADD SOURCE app.t ON INSERT")
    live = root.kalam.subscribe(root.session, "SELECT * FROM app.t WHERE n >= 0", {})

    def write(k: int) -> None:
        for i in range(20):
            root.run("INSERT INTO app.t VALUES ($1, $2)", k * 100 + i, i)
            root.run("UPDATE app.t SET n = n + 1 WHERE id = $1", k * 100 + i)

    def read(_: int) -> int:
        counts = [root.rows("SELECT count(*), sum(n + 0) FROM app.t")[0][0] for _ in range(10)]
        assert counts == sorted(counts)
        return counts[-1]

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda k: write(k) if k < 4 else read(k), range(6)))
    assert root.rows("SELECT count(*), sum(n) FROM app.t") == [(80, 4 * sum(range(1, 21)))]
    changes = live.poll()
    assert sum(c.change_type == "insert" for c in changes) == 80
    assert [c.seq for c in changes] == sorted({c.seq for c in changes})
    found = [
        m
        for _ in range(4)
        for m in root.kalam.topics.consume("app.ev", "g", start="earliest", limit=30).messages
    ]
    assert [m.offset for m in found] == list(range(80))


def test_a_duplicate_key_race_has_one_winner(root: Client) -> None:
    root.run("CREATE SHARED TABLE app.t (id INT PRIMARY KEY)")

    def attempt(_: int) -> bool:
        try:
            root.run("INSERT INTO app.t VALUES (1)")
        except Exception as error:
            return "Primary key violation" not in str(error)
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(16))) == 1


def test_a_thousand_subscribers_share_one_encoding(root: Client) -> None:
    root.run(
        "CREATE SHARED TABLE app.t (id INT PRIMARY KEY, n INT); CREATE SHARED TABLE app.other (id INT "
        "PRIMARY KEY)"
    )
    queries = [root.kalam.subscribe(root.session, "SELECT * FROM app.t WHERE n > 0", {}) for _ in range(1000)]
    for i in range(5):
        root.run("INSERT INTO app.t VALUES ($1, 1)", i)
    root.run("INSERT INTO app.other VALUES (1)")
    assert root.rows("SELECT id FROM app.other") == [(1,)]
    first = queries[0].poll()
    assert len(first) == 5
    for query in queries[1:]:
        assert all(a is b for a, b in zip(first, query.poll(), strict=True))

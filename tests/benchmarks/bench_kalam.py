"""KalamDB's published workloads on our dialect, in process and durable, beside the medians it published.

``python -m tests.benchmarks.bench_kalam [--json]``

The published figures include loopback HTTP, about 0.1 to 0.2 ms a request, and no fsync; these are the
other way round: a write waits for the disk.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count

from kalam_jupyter.engine import Engine
from kalam_jupyter.kalam import Kalam, KalamConfig

#: Milliseconds, median, of the reference (server 0.4.3-rc.4, Apple M1 Pro, no fsync on commit).
PUBLISHED = {
    "create_table": 0.383,
    "drop_table": 4.588,
    "single_insert": 0.268,
    "bulk_insert": 0.975,
    "transaction_multi_insert": 3.062,
    "select_all": 0.775,
    "select_by_filter": 0.388,
    "select_count": 0.602,
    "select_order_by_limit": 0.809,
    "single_update": 0.873,
    "single_delete": 1.253,
    "concurrent_insert": 1.258,
    "concurrent_select": 1.202,
    "point_lookup": 0.381,
    "aggregate_query": 27.564,
    "multi_table_join": 3.063,
    "bulk_delete": 66.936,
    "sequential_crud": 2.007,
    "alter_table": 1.115,
    "subscribe_initial_load": 6.312,
    "subscribe_change_latency": 51.701,
}


def workloads(kalam: Kalam) -> Iterator[tuple[str, Callable[[], object]]]:
    """Each workload's name and one iteration of it."""
    session = kalam.session("root")
    number = count(1)

    def run(sql: str) -> object:
        return kalam.execute(session, sql)

    def rows(n: int, first: int = 0) -> str:
        return ", ".join(f"({first + i}, 'name {i}', {i % 7})" for i in range(n))

    run("CREATE NAMESPACE b")
    for name in ("writes", "small", "big", "orders", "del"):
        run(f"CREATE SHARED TABLE b.{name} (id BIGINT PRIMARY KEY, name TEXT, v INT)")
    run(f"INSERT INTO b.small VALUES {rows(200)}")
    run(f"INSERT INTO b.orders VALUES {rows(1000)}")
    for first in range(0, 10_000, 1000):
        run(f"INSERT INTO b.big VALUES {rows(1000, first)}")
    created: list[str] = []

    def create() -> None:
        created.append(f"b.t{next(number)}")
        run(f"CREATE TABLE {created[-1]} (id BIGINT PRIMARY KEY, name TEXT, v INT)")

    def insert(n: int = 1) -> object:
        first = next(number) * 1000
        return run(f"INSERT INTO b.writes VALUES {rows(n, first)}")

    def transaction() -> object:
        first = next(number) * 1000
        inner = "; ".join(f"INSERT INTO b.writes VALUES ({first + i}, 'x', 1)" for i in range(50))
        return run(f"BEGIN; {inner}; COMMIT")

    def crud() -> None:
        key = next(number) * 1000
        run(f"INSERT INTO b.writes VALUES ({key}, 'x', 1)")
        run(f"UPDATE b.writes SET v = 2 WHERE id = {key}")
        run(f"SELECT * FROM b.writes WHERE id = {key}")
        run(f"DELETE FROM b.writes WHERE id = {key}")

    def alter() -> None:
        run("ALTER TABLE b.del ADD COLUMN extra INT")
        run("ALTER TABLE b.del DROP COLUMN extra")

    def bulk_delete() -> object:
        first = next(number) * 1000
        run(f"INSERT INTO b.writes VALUES {rows(100, first)}")
        return run(f"DELETE FROM b.writes WHERE id >= {first} AND id < {first + 100}")

    def delete() -> object:
        key = next(number) * 1000
        run(f"INSERT INTO b.del VALUES ({key}, 'x', 1)")
        return run(f"DELETE FROM b.del WHERE id = {key}")

    def load() -> None:
        live = kalam.subscribe(session, "SELECT * FROM b.orders", {"batch_size": 1000})
        live.initial()
        live.close()

    follower = kalam.subscribe(session, "SELECT * FROM b.writes WHERE v >= 0", {"last_rows": 0})

    def change() -> None:
        insert()
        for item in follower.poll():
            item.encode("s")

    pool = ThreadPoolExecutor(10)
    yield "create_table", create
    yield "drop_table", lambda: run(f"DROP TABLE {created.pop()}")
    yield "single_insert", insert
    yield "bulk_insert", lambda: insert(50)
    yield "transaction_multi_insert", transaction
    yield "select_all", lambda: run("SELECT * FROM b.small")
    yield "select_by_filter", lambda: run("SELECT * FROM b.small WHERE v = 3")
    yield "select_count", lambda: run("SELECT COUNT(*) FROM b.small")
    yield "select_order_by_limit", lambda: run("SELECT * FROM b.small ORDER BY v LIMIT 10")
    yield "single_update", lambda: run(f"UPDATE b.small SET v = {next(number)} WHERE id = 5")
    yield "single_delete", delete
    yield "concurrent_insert", lambda: list(pool.map(lambda _: insert(), range(10)))
    yield "concurrent_select", lambda: list(pool.map(lambda _: run("SELECT * FROM b.small"), range(10)))
    yield "point_lookup", lambda: run("SELECT * FROM b.big WHERE id = 4711")
    yield "aggregate_query", lambda: run("SELECT v, COUNT(*), SUM(id), AVG(id) FROM b.big GROUP BY v")
    yield (
        "multi_table_join",
        lambda: run(
            "SELECT s.name, o.n FROM b.small s "
            "JOIN (SELECT v, COUNT(*) n FROM b.orders GROUP BY v) o ON s.v = o.v"
        ),
    )
    yield "bulk_delete", bulk_delete
    yield "sequential_crud", crud
    yield "alter_table", alter
    yield "subscribe_initial_load", load
    yield "subscribe_change_latency", change


def measure(function: Callable[[], object], repeat: int = 60) -> float:
    """Median milliseconds of one iteration."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1000


def main() -> int:
    """Print each workload: ours, theirs, and theirs over ours."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, Engine.open(directory) as engine:
        kalam = Kalam(engine, KalamConfig(bcrypt_cost=4))
        found = {name: measure(function) for name, function in workloads(kalam)}
        kalam.close()
    if options.json:
        print(json.dumps(found))
        return 0
    print(f"{'workload':28} {'ours ms':>9} {'published':>10} {'times as fast':>14}")
    for name, ours in found.items():
        print(f"{name:28} {ours:9.3f} {PUBLISHED[name]:10.3f} {PUBLISHED[name] / ours:14.1f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

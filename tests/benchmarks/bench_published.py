"""The 37 workloads of KalamDB's published benchmark, against ``kalam serve``, durable, beside its medians.

``python -m tests.benchmarks.bench_published [--json] [workload ...]``

Theirs: server 0.4.3-rc.4, Apple M1 Pro with 10 cores, writes without fsync. Ours: the real server process
and this client on the machine at hand; a write is answered when it is on the disk. The first lines tell
what the machine itself takes: a commit of one row, and a round trip to a route that does nothing. A single
write cannot be quicker than the two together.

What is behind, and why: `create_user` is a bcrypt hash at cost 12, as the contract has it: a quarter of a
second of a core, which nobody can make in 1.2 ms (theirs must be of a lower cost). `single_insert`,
`create_table`, `alter_table` and `drop_user` wait for one commit to the disk, which theirs do not, and
take 0.1 to 0.3 ms of Python besides; `concurrent_insert` and `concurrent_publishers` take ten times 0.07 and
0.1 ms of it on the one event loop. A host may be 1.6 times slower for a while (the first lines tell): what is
within that of 1 then changes sides.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path

from tests.benchmarks.bench_subscribers import Crowd
from tests.benchmarks.wire import (
    PASSWORD,
    Audience,
    Http,
    Server,
    Ws,
    at_once,
    kalam_serve,
    many_files,
    request,
    sql,
)

CONCURRENCY = 10
Run = Callable[[], object]


@dataclass(frozen=True)
class Workload:
    """One line of the table: the published median in ms, what one iteration of ours does, and how often.

    Attributes
    ----------
    prepare : callable or None
        Called before each iteration, which is not measured.
    setup, teardown : callable or None
        Called before the first and after the last.
    """

    name: str
    published: float
    run: Run
    repeat: int = 100
    prepare: Run | None = None
    setup: Run | None = None
    teardown: Run | None = None


def rows(n: int, first: int = 0) -> str:
    """Return the VALUES of n rows of the common table."""
    return ", ".join(f"({first + i}, 'name {i}', {i % 7})" for i in range(n))


class Bench:
    """The workloads over one server."""

    def __init__(self, server: Server) -> None:
        self.server, self.port = server, server.port
        self.http = Http(server.port)
        self.number = count(1)
        self.run("CREATE NAMESPACE b")
        for name in (
            "writes",
            "small",
            "big",
            "customers",
            "orders",
            "altered",
            "payload",
            "feed",
            "published",
        ):
            self.run(f"CREATE SHARED TABLE b.{name} (id BIGINT PRIMARY KEY, name TEXT, v INT)")
        self.run("CREATE TABLE b.mine (id BIGINT PRIMARY KEY, name TEXT, v INT) WITH (TYPE='USER')")
        columns = ", ".join(f"c{i} TEXT" for i in range(19))
        self.run(f"CREATE SHARED TABLE b.wide (id BIGINT PRIMARY KEY, {columns})")
        self.run(f"INSERT INTO b.small VALUES {rows(200)}")
        self.run(f"INSERT INTO b.customers VALUES {rows(200)}")
        self.run(f"INSERT INTO b.orders VALUES {rows(1000)}")
        self.run(f"INSERT INTO b.mine VALUES {rows(1000)}")
        for first in range(0, 10_000, 1000):
            self.run(f"INSERT INTO b.big VALUES {rows(1000, first)}")
        self.run("CREATE TOPIC b.topic")
        self.run("ALTER TOPIC b.topic ADD SOURCE b.published ON INSERT")
        for i in range(5):
            self.run(f"CREATE NAMESPACE n{i}")
            self.run(f"CREATE SHARED TABLE n{i}.t (id BIGINT PRIMARY KEY, name TEXT, v INT)")
            self.run(f"INSERT INTO n{i}.t VALUES {rows(50)}")

    def run(self, text: str) -> bytes:
        """Run a statement."""
        return self.http.send(sql(text))

    @cached_property
    def connections(self) -> list[Http]:
        """The concurrent connections."""
        return [Http(self.port) for _ in range(CONCURRENCY)]

    def all(self, texts: Iterator[str] | list[str]) -> None:
        """Run statements over the concurrent connections."""
        at_once(self.connections, [sql(text) for text in texts])

    def key(self) -> int:
        """Return a key with a thousand unused ones behind it."""
        return next(self.number) * 1000

    def insert(self, n: int = 1) -> str:
        """Return an INSERT of new rows."""
        return f"INSERT INTO b.writes VALUES {rows(n, self.key())}"

    # ---- workloads

    def ddl(self) -> Iterator[Workload]:
        """CREATE, DROP and ALTER TABLE, users."""
        tables: list[str] = []
        users: list[str] = []

        def create() -> None:
            tables.append(f"b.t{next(self.number)}")
            self.run(f"CREATE SHARED TABLE {tables[-1]} (id BIGINT PRIMARY KEY, name TEXT, v INT)")

        def alter() -> None:
            self.run("ALTER TABLE b.altered ADD COLUMN extra INT")
            self.run("ALTER TABLE b.altered DROP COLUMN extra")

        def user() -> None:
            users.append(f"u{next(self.number)}")
            self.run(f"CREATE USER '{users[-1]}' WITH PASSWORD 'Secret123!' ROLE user")

        yield Workload("create_table", 0.383, create)
        yield Workload("drop_table", 4.588, lambda: self.run(f"DROP TABLE {tables.pop()}"))
        yield Workload("alter_table", 1.115, alter)
        yield Workload("create_user", 1.207, user, repeat=15)
        yield Workload("drop_user", 0.257, lambda: self.run(f"DROP USER '{users.pop()}'"), repeat=15)

    def writes(self) -> Iterator[Workload]:
        """INSERT, UPDATE, DELETE, transactions."""

        def transaction() -> None:
            first = self.key()
            inner = "; ".join(f"INSERT INTO b.writes VALUES ({first + i}, 'x', 1)" for i in range(50))
            self.run(f"BEGIN; {inner}; COMMIT")

        def payload() -> None:
            self.run(f"INSERT INTO b.payload VALUES ({self.key()}, '{'x' * 4096}', 1)")

        def wide() -> None:
            values = ", ".join(f"'value {i}'" for i in range(19))
            self.run(f"INSERT INTO b.wide VALUES ({self.key()}, {values})")

        def crud() -> None:
            key = self.key()
            self.run(f"INSERT INTO b.writes VALUES ({key}, 'x', 1)")
            self.run(f"UPDATE b.writes SET v = 2 WHERE id = {key}")
            self.run(f"SELECT * FROM b.writes WHERE id = {key}")
            self.run(f"DELETE FROM b.writes WHERE id = {key}")

        doomed: list[int] = []

        def some(n: int) -> Run:
            def prepare() -> None:
                doomed.append(self.key())
                self.run(f"INSERT INTO b.writes VALUES {rows(n, doomed[-1])}")

            return prepare

        def bulk_delete() -> None:
            first = doomed.pop()
            self.run(f"DELETE FROM b.writes WHERE id >= {first} AND id < {first + 100}")

        yield Workload("single_insert", 0.268, lambda: self.run(self.insert()))
        yield Workload("bulk_insert", 0.975, lambda: self.run(self.insert(50)))
        yield Workload("transaction_multi_insert", 3.062, transaction)
        yield Workload(
            "single_update",
            0.873,
            lambda: self.run(f"UPDATE b.small SET v = {next(self.number)} WHERE id = 5"),
        )
        yield Workload(
            "single_delete",
            1.253,
            lambda: self.run(f"DELETE FROM b.writes WHERE id = {doomed.pop()}"),
            prepare=some(1),
        )
        yield Workload("large_payload_insert", 1.639, payload)
        yield Workload("wide_column_insert", 0.879, wide)
        yield Workload("bulk_delete", 66.936, bulk_delete, repeat=30, prepare=some(100))
        yield Workload("sequential_crud", 2.007, crud)

    def reads(self) -> Iterator[Workload]:
        """SELECT."""

        def select(text: str) -> Run:
            return lambda: self.run(text)

        yield Workload("select_all", 0.775, select("SELECT * FROM b.customers"))
        yield Workload("select_by_filter", 0.388, select("SELECT * FROM b.customers WHERE v = 3"))
        yield Workload("select_count", 0.602, select("SELECT COUNT(*) FROM b.customers"))
        yield Workload(
            "select_order_by_limit", 0.809, select("SELECT * FROM b.customers ORDER BY v LIMIT 10")
        )
        yield Workload("point_lookup", 0.381, select("SELECT * FROM b.big WHERE id = 4711"))
        yield Workload(
            "aggregate_query", 27.564, select("SELECT v, SUM(id), AVG(id), COUNT(*) FROM b.big GROUP BY v")
        )
        yield Workload(
            "multi_table_join",
            3.063,
            select(
                "SELECT c.name, o.n FROM b.customers c "
                "JOIN (SELECT v, COUNT(*) AS n FROM b.orders GROUP BY v) o ON c.v = o.v"
            ),
        )

    def concurrent(self) -> Iterator[Workload]:
        """Ten at a time, and a thousand."""

        def update() -> None:
            self.all([f"UPDATE b.small SET v = {next(self.number)} WHERE id = {i}" for i in range(10)])

        def mixed() -> None:
            key = self.key()
            self.all([f"INSERT INTO b.writes VALUES ({key + i}, 'x', 1)" for i in range(4)])
            self.all(
                [f"INSERT INTO b.writes VALUES ({key + i}, 'x', 1)" for i in range(4, 8)]
                + [f"UPDATE b.writes SET v = 2 WHERE id = {key + i}" for i in range(2)]
                + [f"DELETE FROM b.writes WHERE id = {key + i}" for i in range(2, 4)]
            )

        def both() -> None:
            self.all(
                [self.insert() if i % 2 else f"SELECT * FROM b.writes WHERE id = {i}" for i in range(10)]
            )

        wide = "SELECT * FROM b.orders LIMIT 1000"
        consume = request(
            "POST",
            "/v1/api/topics/consume",
            {"topic_id": "b.topic", "group_id": "g", "start": "Earliest", "limit": 10},
        )
        crowd: list[Http] = []

        def gather() -> None:
            crowd.extend(Http(self.port) for _ in range(1000))

        def disperse() -> None:
            for connection in crowd:
                connection.close()

        def thousand() -> None:
            at_once(crowd, [sql(f"SELECT * FROM b.big WHERE id = {i}") for i in range(1000)])

        def storm() -> None:
            with_login = request("POST", "/v1/api/auth/login", {"user": "root", "password": PASSWORD})
            connections = [Http(self.port) for _ in range(CONCURRENCY)]
            at_once(connections, [with_login] * CONCURRENCY)
            at_once(connections, [sql("SELECT 1")] * CONCURRENCY)
            for connection in connections:
                connection.close()

        yield Workload("concurrent_insert", 1.258, lambda: self.all([self.insert() for _ in range(10)]))
        yield Workload("concurrent_select", 1.202, lambda: self.all(["SELECT * FROM b.customers"] * 10))
        yield Workload("concurrent_update", 3.151, update)
        yield Workload("concurrent_mixed_dml", 3.179, mixed)
        yield Workload(
            "namespace_isolation", 1.821, lambda: self.all([f"SELECT * FROM n{i % 5}.t" for i in range(10)])
        )
        yield Workload("mixed_read_write", 2.099, both)
        yield Workload("wide_fanout_query", 5.864, lambda: self.all([wide] * 10), repeat=30)
        yield Workload(
            "concurrent_publishers",
            1.431,
            lambda: self.all([f"INSERT INTO b.published VALUES ({self.key()}, 'x', 1)" for _ in range(10)]),
        )
        yield Workload(
            "concurrent_consumers",
            0.619,
            lambda: at_once(self.connections, [consume] * CONCURRENCY),
            repeat=50,
        )
        yield Workload("sql_1k_concurrent", 152.112, thousand, repeat=5, setup=gather, teardown=disperse)
        yield Workload("connection_storm", 272.512, storm, repeat=5)

    def live(self) -> Iterator[Workload]:
        """Live queries."""
        ws = Ws(self.port)
        follower = Ws(self.port)
        follower.subscribe("f", "SELECT * FROM b.feed", last_rows=0)

        def load() -> None:
            name = f"l{next(self.number)}"
            ws.subscribe(name, "SELECT * FROM b.mine", batch_size=1000)
            ws.send({"type": "unsubscribe", "subscription_id": name})

        def change() -> None:
            self.http.start(sql(f"INSERT INTO b.feed VALUES ({self.key()}, 'x', 1)"))
            follower.until(b'"change_type"')
            self.http.answer()

        def reconnect() -> None:
            again = Ws(self.port)
            again.subscribe("r", "SELECT * FROM b.mine", last_rows=0)
            again.close()

        yield Workload("subscribe_initial_load", 6.312, load)
        yield Workload("subscribe_change_latency", 51.701, change)
        yield Workload("reconnect_subscribe", 10.492, reconnect, repeat=50)
        ws.close()
        follower.close()
        audience = Audience()

        def assemble() -> None:
            for i in range(CONCURRENCY):
                one = Ws(self.port)
                one.subscribe(f"s{i}", "SELECT * FROM b.feed", last_rows=0)
                audience.add(one)

        def subscribers() -> None:
            for _ in range(5):
                self.all([f"INSERT INTO b.feed VALUES ({self.key()}, 'x', 1)" for _ in range(10)])
            audience.take(50 * CONCURRENCY)

        yield Workload(
            "concurrent_subscribers",
            1555.796,
            subscribers,
            repeat=10,
            setup=assemble,
            teardown=audience.close,
        )

    def scale(self, most: int) -> Iterator[Workload]:
        """So many subscribers, who all hear of an INSERT; `bench_subscribers` has the steps up to there."""
        crowd = Crowd(
            self.server,
            "SELECT * FROM b.feed",
            lambda: self.run(f"INSERT INTO b.feed VALUES ({self.key()}, 'x', 1)"),
        )
        yield Workload(
            "subscriber_scale",
            2855.095,
            crowd.tell,
            repeat=3,
            setup=lambda: crowd.grow(most),
            teardown=crowd.disperse,
        )

    def flushed(self) -> Iterator[Workload]:
        """200,000 rows in 20 Parquet segments."""

        def fill() -> None:
            self.run("CREATE SHARED TABLE b.flushed (id BIGINT PRIMARY KEY, name TEXT, v INT)")
            for segment in range(20):
                self.run(f"INSERT INTO b.flushed VALUES {rows(10_000, segment * 10_000)}")
                job = self.http.sql("STORAGE FLUSH TABLE b.flushed")["message"].rsplit(" ", 1)[1]
                done = f"SELECT status FROM system.jobs WHERE job_id = '{job}'"
                while self.http.sql(done)["rows"] not in ([["completed"]], [["failed"]]):
                    time.sleep(0.01)

        text = "SELECT v, COUNT(*), SUM(id) FROM b.flushed GROUP BY v"
        yield Workload("flushed_parquet_query", 183.704, lambda: self.run(text), repeat=10, setup=fill)

    def workloads(self, most: int) -> Iterator[Workload]:
        """All of them."""
        for group in (self.ddl, self.writes, self.reads, self.concurrent, self.live, self.flushed):
            yield from group()
        yield from self.scale(most)


@dataclass(frozen=True)
class Measured:
    """Milliseconds: median and 99th percentile."""

    median: float
    p99: float


def measure(run: Run, repeat: int, prepare: Run | None = None) -> Measured:
    """Time iterations, after one to warm up."""
    times = []
    for i in range(repeat + 1):
        if prepare is not None:
            prepare()
        begin = time.perf_counter()
        run()
        if i:
            times.append((time.perf_counter() - begin) * 1000)
    times.sort()
    return Measured(statistics.median(times), times[min(len(times) - 1, int(len(times) * 0.99))])


def machine(bench: Bench, data: Path) -> dict[str, Measured]:
    """What nothing can be quicker than: a commit as the engine's log makes it, and a round trip."""
    log = sqlite3.connect(data / "probe.sqlite", isolation_level=None)
    for pragma in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=FULL"):
        log.execute(f"PRAGMA {pragma}")
    log.execute("CREATE TABLE entry (position INTEGER PRIMARY KEY, data BLOB)")
    number = count()
    health = request("GET", "/v1/api/healthcheck")
    return {
        "(commit of one row to the disk)": measure(
            lambda: log.execute("INSERT INTO entry VALUES (?, ?)", (next(number), b"x" * 100)), 200
        ),
        "(round trip that does nothing)": measure(lambda: bench.http.send(health), 200),
    }


def main() -> int:
    """Print each workload: ours, theirs, and theirs over ours."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--subscribers", type=int, default=100_000, help="of subscriber_scale")
    parser.add_argument("only", nargs="*", metavar="workload")
    options = parser.parse_args()
    many_files()
    found = []
    with tempfile.TemporaryDirectory() as directory, kalam_serve(f"{directory}/data") as server:
        bench = Bench(server)
        if not options.json:
            print(
                f"{os.cpu_count()} cores; {'ours ms':>37} {'p99':>9} {'published':>10} {'times as fast':>14}"
            )
        floors = machine(bench, Path(directory))
        for name, took in floors.items():
            if not options.json:
                print(f"{name:36} {took.median:9.3f} {took.p99:9.3f}", flush=True)
        for work in bench.workloads(options.subscribers):
            if options.only and work.name not in options.only:
                continue
            if work.setup is not None:
                work.setup()
            took = measure(work.run, work.repeat, work.prepare)
            if work.teardown is not None:
                work.teardown()
            ratio = work.published / took.median
            found.append((work.name, took.median, took.p99, work.published, ratio))
            if not options.json:
                print(
                    f"{work.name:36} {took.median:9.3f} {took.p99:9.3f} {work.published:10.3f} {ratio:14.2f}",
                    flush=True,
                )
    if options.json:
        floor = {name: took.median for name, took in floors.items()}
        names = ("name", "median", "p99", "published", "ratio")
        print(json.dumps({**floor, "workloads": [dict(zip(names, f, strict=True)) for f in found]}))
    else:
        print(f"ahead in {sum(f[4] >= 1 for f in found)} of {len(found)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Live queries by the thousand: opening them, what an idle one costs, telling all of an INSERT, coming back.

``python -m tests.benchmarks subscribers [--most=100000] [--json]``

The server is ``kalam serve``, durable, in a process of its own. A connection holds 100 subscriptions, the
most that the contract allows. Published: 2,855 ms for "progressive live-query subscriber scale and
insert fanout verification up to 100.0K", on ten cores.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

from tests.benchmarks.report import Report
from tests.benchmarks.wire import Audience, Http, Server, Ws, kalam_serve, many_files, sql

PER_CONNECTION = 100
STEPS = (100, 1_000, 10_000, 100_000)
RETURNING = 1_000


@dataclass(frozen=True)
class Step:
    """What it took to come from one number of subscribers to the next, and to tell all of an INSERT.

    Attributes
    ----------
    opening, told : float
        Seconds. `opening` is for `opened` subscriptions, their connections included.
    opening_cpu, told_cpu : float
        Seconds of the server's processor time.
    memory : float
        Bytes of the server for each new subscription, its share of the connection included.
    """

    subscribers: int
    opened: int
    opening: float
    opening_cpu: float
    memory: float
    told: float
    told_cpu: float


def subscribe(port: int, name: Callable[[int], str], text: str, size: int, **options: int) -> Ws:
    """Open a connection and ask for `size` live queries on it, without waiting for an answer."""
    ws = Ws(port)
    wanted = [{"id": name(i), "sql": text, **({"options": options} if options else {})} for i in range(size)]
    ws.send(*({"type": "subscribe", "subscription": w} for w in wanted))
    return ws


def progressively(server: Server, text: str, insert: Callable[[], object], most: int) -> Iterator[Step]:
    """Have ever more subscribers of `text`, who all hear of `insert`; what each step took."""
    audience, have = Audience(), 0
    for size in [s for s in STEPS if s <= most]:
        memory, cpu, begin = server.memory, server.cpu, time.perf_counter()
        for first in range(have, size, PER_CONNECTION):
            audience.add(
                subscribe(server.port, lambda i, n=first: f"s{n + i}", text, PER_CONNECTION)  # type: ignore[misc]
            )
        audience.take(size - have, b"subscription_ack")
        opening, opening_cpu = time.perf_counter() - begin, server.cpu - cpu
        each = (server.memory - memory) / (size - have)
        cpu, begin = server.cpu, time.perf_counter()
        writing = threading.Thread(target=insert)
        writing.start()
        audience.take(size)
        told, told_cpu = time.perf_counter() - begin, server.cpu - cpu
        writing.join()
        yield Step(size, size - have, opening, opening_cpu, each, told, told_cpu)
        have = size
    audience.close()


def scale(report: Report, server: Server, most: int) -> None:
    """Ever more subscribers of one query."""
    http, key = Http(server.port), count(1)
    http.send(sql("CREATE NAMESPACE b"))
    http.send(sql("CREATE SHARED TABLE b.feed (id BIGINT PRIMARY KEY, name TEXT, v INT)"))

    def insert() -> None:
        http.send(sql(f"INSERT INTO b.feed VALUES ({next(key)}, 'x', 1)"))

    total = 0.0
    for step in progressively(server, "SELECT * FROM b.feed", insert, most):
        rate = step.opened / step.opening
        goal = rate > 10_000 if step.opened >= 9_000 else None
        note = f"connections included; server {step.opening_cpu / step.opened * 1e6:.0f} us CPU each"
        who = f"{step.subscribers:,} subscribers"
        report.add(f"{who}: opened", rate, "/s", "> 10,000" if goal is not None else "", goal, note)
        report.add(f"{who}: memory of each", step.memory / 1024, "KiB", note="of those opened now")
        cpu = f"server {step.told_cpu:.2f} s CPU"
        report.add(f"{who}: all told of an INSERT", step.told * 1000, "ms", note=cpu)
        total += step.told
    report.add("all steps told, as in the published benchmark", total * 1000, "ms", "< 2,855", total < 2.855)
    http.close()


def returning(report: Report, directory: str) -> None:
    """A thousand clients come back at once after the server was killed, and go on where they were."""
    text = "SELECT * FROM b.back"
    with kalam_serve(directory) as server:
        http = Http(server.port)
        http.send(sql("CREATE NAMESPACE IF NOT EXISTS b"))
        http.send(sql("CREATE SHARED TABLE b.back (id BIGINT PRIMARY KEY, name TEXT)"))
        http.send(sql("INSERT INTO b.back VALUES (1, 'seen')"))
        seen = int(http.sql("SELECT _seq FROM b.back")["rows"][0][0])
        http.send(sql("INSERT INTO b.back VALUES (2, 'missed'), (3, 'missed')"))
        server.process.kill()
    with kalam_serve(directory) as server:
        begin = time.perf_counter()
        audience = Audience()
        for i in range(RETURNING):
            ws = subscribe(server.port, lambda _, n=i: f"r{n}", text, 1, **{"from": seen})  # type: ignore[misc]
            audience.add(ws)
        audience.take(RETURNING * 2, b'"name":"missed"')
        took = time.perf_counter() - begin
        report.add(f"{RETURNING:,} clients are back after a crash", took * 1000, "ms", note="resumed")
        begin = time.perf_counter()
        Http(server.port).send(sql("INSERT INTO b.back VALUES (4, 'new')"))
        audience.take(RETURNING)
        report.add("and told of the next INSERT", (time.perf_counter() - begin) * 1000, "ms")
        audience.close()


def main() -> int:
    """Run both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--most", type=int, default=100_000, help="subscribers")
    options = parser.parse_args()
    many_files()
    report = Report("subscribers")
    with tempfile.TemporaryDirectory() as directory:
        with kalam_serve(f"{directory}/scale") as server:
            scale(report, server, options.most)
        returning(report, f"{directory}/returning")
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())

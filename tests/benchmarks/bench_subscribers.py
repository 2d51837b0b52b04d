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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

from tests.benchmarks.report import Report
from tests.benchmarks.wire import Audience, Http, Server, Ws, kalam_serve, many_files, sql

PER_CONNECTION = 100
STEPS = (100, 1_000, 10_000, 100_000)
RETURNING = 1_000


@dataclass(frozen=True)
class Used:
    """What something took: seconds, seconds of the server's processor time, bytes the server grew by."""

    seconds: float
    cpu: float
    memory: int


@contextmanager
def used(server: Server) -> Iterator[list[Used]]:
    """Measure what is done inside; the list has it afterwards."""
    found: list[Used] = []
    memory, cpu, begin = server.memory, server.cpu, time.perf_counter()
    yield found
    found.append(Used(time.perf_counter() - begin, server.cpu - cpu, server.memory - memory))


def subscribe(port: int, names: Sequence[str], text: str, **options: int) -> Ws:
    """Open a connection and ask for live queries on it, without waiting for an answer."""
    ws = Ws(port)
    wanted = [{"id": name, "sql": text, **({"options": options} if options else {})} for name in names]
    ws.send(*({"type": "subscribe", "subscription": w} for w in wanted))
    return ws


class Crowd:
    """Ever more subscribers of one live query.

    Parameters
    ----------
    insert : callable
        Changes what they follow, once.
    """

    def __init__(self, server: Server, text: str, insert: Callable[[], object]) -> None:
        self._server, self._text, self._insert = server, text, insert
        self._audience, self._have = Audience(), 0

    def grow(self, size: int) -> None:
        """Have so many in all."""
        for first in range(self._have, size, PER_CONNECTION):
            names = [f"s{first + i}" for i in range(PER_CONNECTION)]
            self._audience.add(subscribe(self._server.port, names, self._text))
        self._audience.take(size - self._have, b"subscription_ack")
        self._have = size

    def tell(self) -> None:
        """Insert, and wait until all have heard of it."""
        writing = threading.Thread(target=self._insert)
        writing.start()
        self._audience.take(self._have)
        writing.join()

    def disperse(self) -> None:
        """Close all connections."""
        self._audience.close()


def scale(report: Report, server: Server, most: int) -> None:
    """Ever more subscribers of one query."""
    http, key = Http(server.port), count(1)
    http.send(sql("CREATE NAMESPACE b"))
    http.send(sql("CREATE SHARED TABLE b.feed (id BIGINT PRIMARY KEY, name TEXT, v INT)"))

    def insert() -> None:
        http.send(sql(f"INSERT INTO b.feed VALUES ({next(key)}, 'x', 1)"))

    crowd, have, total = Crowd(server, "SELECT * FROM b.feed", insert), 0, 0.0
    for size in [s for s in STEPS if s <= most]:
        new, have, who = size - have, size, f"{size:,} subscribers"
        with used(server) as opening:
            crowd.grow(size)
        with used(server) as telling:
            crowd.tell()
        (opened,), (told,) = opening, telling
        rate = new / opened.seconds
        many = new >= 9_000
        note = f"connections included; server {opened.cpu / new * 1e6:.0f} us CPU each"
        report.add(f"{who}: opened", rate, "/s", "> 10,000" * many, rate > 10_000 if many else None, note)
        report.add(f"{who}: memory of each", opened.memory / new / 1024, "KiB", note="of those opened now")
        note = f"server {told.cpu:.2f} s CPU"
        report.add(f"{who}: all told of an INSERT", told.seconds * 1000, "ms", note=note)
        total += told.seconds
    report.add("all steps told, as in the published benchmark", total * 1000, "ms", "< 2,855", total < 2.855)
    crowd.disperse()
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
            audience.add(subscribe(server.port, [f"r{i}"], text, **{"from": seen}))
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

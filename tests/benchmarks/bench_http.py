"""Both APIs over real sockets, durability on: latency to a subscriber, requests a second, fan-out, uploads.

``python -m tests.benchmarks.bench_http [--json]``

The server is a process of its own; the clients share the machine with it. They write bytes and count
answers, so that little of what is measured is the client.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

import psutil
from tornado.websocket import websocket_connect

from tests.benchmarks.report import Report
from tests.benchmarks.wire import PASSWORD, TOKEN, Audience, Http2, Ws

SECONDS = 3.0
SUBSCRIBERS = 1000
FAN_OUT_ROWS = 80
IDLE_QUERIES = 1000
LIMITS = {"ksql.max.push.queries": str(2 * IDLE_QUERIES)}


class Http:
    """A keep-alive HTTP/1.1 connection that knows just enough to count answers."""

    @classmethod
    async def open(cls, port: int) -> Http:
        self = cls()
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port, limit=2**24)
        return self

    @staticmethod
    def request(method: str, path: str, body: bytes = b"", kind: str = "application/json") -> bytes:
        return (
            f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n"
            f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body

    async def head(self) -> bytes:
        return await self.reader.readuntil(b"\r\n\r\n")

    async def send(self, request: bytes) -> bytes:
        self.writer.write(request)
        head = (await self.head()).lower()
        if b"content-length: " in head:
            body = await self.reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
        else:
            body = b""
            while size := int(await self.reader.readline(), 16):
                body += (await self.reader.readexactly(size + 2))[:-2]
            await self.reader.readline()
        if not head.startswith(b"http/1.1 200"):
            raise RuntimeError(f"{head.decode()}{body.decode()}")
        return body

    async def sql(self, text: str) -> bytes:
        return await self.send(self.request("POST", "/v1/api/sql", json.dumps({"sql": text}).encode()))

    async def ksql(self, text: str) -> bytes:
        return await self.send(self.request("POST", "/ksql", json.dumps({"ksql": text}).encode()))


async def rate(port: int, clients: int, request: Callable[[int], bytes]) -> float:
    """Return requests a second that `clients` connections get answered."""
    connections = [await Http.open(port) for _ in range(clients)]
    done, end = 0, time.perf_counter() + SECONDS

    async def work(connection: Http) -> None:
        nonlocal done
        while time.perf_counter() < end:
            done += 1
            await connection.send(request(done))

    begin = time.perf_counter()
    await asyncio.gather(*map(work, connections))
    seconds = time.perf_counter() - begin
    for connection in connections:
        connection.writer.close()
    return done / seconds


def sql_request(text: str) -> bytes:
    return Http.request("POST", "/v1/api/sql", json.dumps({"sql": text}).encode())


async def subscriber(port: int, name: str, sql: str) -> object:
    socket = await websocket_connect(f"ws://127.0.0.1:{port}/v1/ws")
    await socket.write_message(
        json.dumps({"type": "authenticate", "method": "jwt", "token": await token(port)})
    )
    await socket.read_message()
    await socket.write_message(
        json.dumps({"type": "subscribe", "subscription": {"id": name, "sql": sql, "options": {}}})
    )
    while b"initial_data_batch" not in (await socket.read_message() or "").encode():
        pass
    return socket


_tokens: dict[int, str] = {}


async def token(port: int) -> str:
    if port not in _tokens:
        http = await Http.open(port)
        body = json.dumps({"user": "root", "password": PASSWORD}).encode()
        answer = await http.send(Http.request("POST", "/v1/api/auth/login", body))
        _tokens[port] = json.loads(answer)["access_token"]
    return _tokens[port]


async def kalam(report: Report, port: int) -> None:
    http = await Http.open(port)
    await http.sql("CREATE NAMESPACE b")
    await http.sql("CREATE TABLE b.t (id BIGINT PRIMARY KEY, v TEXT) WITH (TYPE='SHARED')")
    await http.sql("CREATE TABLE b.f (id BIGINT PRIMARY KEY, v TEXT) WITH (TYPE='SHARED')")
    await http.sql("CREATE TABLE b.d (id BIGINT PRIMARY KEY, f FILE) WITH (TYPE='SHARED')")

    socket = await subscriber(port, "s", "SELECT * FROM b.t")
    latencies = []
    for i in range(1000):
        begin = time.perf_counter()
        writing = asyncio.ensure_future(http.sql(f"INSERT INTO b.t VALUES ({i}, 'x')"))
        await socket.read_message()
        latencies.append((time.perf_counter() - begin) * 1000)
        await writing
    socket.close()
    cuts = statistics.quantiles(latencies, n=100)
    report.add("INSERT over HTTP to live subscriber, p50", cuts[49], "ms", "< 2", cuts[49] < 2)
    report.add("INSERT over HTTP to live subscriber, p99", cuts[98], "ms", "< 8", cuts[98] < 8)

    found = await rate(port, 32, lambda i: sql_request(f"INSERT INTO b.t VALUES ({i + 10_000}, 'x')"))
    report.add("INSERT, 32 clients, durable", found, "rows/s")
    found = await rate(port, 8, lambda i: sql_request(f"SELECT * FROM b.t WHERE id = {i % 1000}"))
    report.add("SELECT by key, 8 clients", found, "requests/s")
    await fan_out(report, port, http)
    await uploads(report, http)


async def fan_out(report: Report, port: int, http: Http) -> None:
    """Many subscribers of one query; each INSERT is a message to every one.

    In a process of its own, which only counts bytes: the server is what is measured.
    """
    begin = time.perf_counter()
    command = [sys.executable, "-m", "tests.benchmarks.bench_http", "--audience", str(port)]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    await process.stdout.readline()
    opened = time.perf_counter() - begin
    report.add(f"open {SUBSCRIBERS:,} WebSocket subscriptions, one after the other", opened, "s")
    rows = count(1)
    writers = [await Http.open(port) for _ in range(4)]

    async def write(writer: Http, n: int) -> None:
        for _ in range(n):
            await writer.sql(f"INSERT INTO b.f VALUES ({next(rows)}, 'x')")

    for clients in (1, 4):
        begin = time.perf_counter()
        await asyncio.gather(*(write(w, FAN_OUT_ROWS // clients) for w in writers[:clients]))
        await process.stdout.readline()
        found = SUBSCRIBERS * FAN_OUT_ROWS / (time.perf_counter() - begin)
        report.add(
            f"fan-out to {SUBSCRIBERS:,} subscribers, {clients} writing",
            found,
            "messages/s",
            "> 40,000",
            found > 40_000,
        )
    await process.wait()


def listen(port: int) -> None:
    """Be the audience: say when everybody has subscribed, and when everybody has heard each half."""
    sockets = []
    for i in range(SUBSCRIBERS):
        sockets.append(Ws(port))
        sockets[-1].subscribe(f"s{i}", "SELECT * FROM b.f", last_rows=0)
    print("ready", flush=True)
    audience = Audience(sockets)
    for _ in range(2):
        audience.take(SUBSCRIBERS * FAN_OUT_ROWS)
        print("heard", flush=True)


async def uploads(report: Report, http: Http) -> None:
    size, count = 8 * 1024 * 1024, 8
    data = os.urandom(size)
    begin = time.perf_counter()
    for i in range(count):
        body = (
            b'--B\r\nContent-Disposition: form-data; name="sql"\r\n\r\n'
            + f"INSERT INTO b.d VALUES ({i}, FILE('f'))".encode()
            + b'\r\n--B\r\nContent-Disposition: form-data; name="file:f"; filename="a.bin"\r\n\r\n'
            + data
            + b"\r\n--B--\r\n"
        )
        await http.send(Http.request("POST", "/v1/api/sql", body, "multipart/form-data; boundary=B"))
    found = size * count / 1e6 / (time.perf_counter() - begin)
    report.add("upload, 8 MiB files", found, "MB/s", note="sha-256 and storing included")


async def ksql(report: Report, port: int) -> None:
    http = await Http.open(port)
    await http.ksql(
        "CREATE STREAM S (K INT KEY, V INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);"
        "CREATE TABLE T AS SELECT K, COUNT(*) AS N FROM S GROUP BY K;"
    )
    found = await rate(port, 8, lambda _: Http.request("GET", "/info"))
    report.add("GET /info, 8 clients", found, "requests/s")
    found = await inserts(port, 30_000)
    report.add("/inserts-stream", found, "rows/s", note="each row acknowledged when durable")
    pull = [
        Http.request("POST", "/query-stream", json.dumps({"sql": f"SELECT * FROM T WHERE K = {k};"}).encode())
        for k in range(100)
    ]
    found = await rate(port, 8, lambda i: pull[i % 100])
    report.add("pull query by key, 8 clients", found, "requests/s")
    for clients, rows in ((1, 30_000), (100, 1_000)):
        report.add(
            f"push query to {clients} client{'s' * (clients > 1)}",
            await push(port, clients, rows),
            "rows/s",
            note="rows of all clients, from an INSERT to the client",
        )
    await http2(report, port)


async def http2(report: Report, port: int) -> None:
    """The same over HTTP/2: 8 requests in flight on one connection; a push query, a DATA frame a row."""
    connection = Http2(port)

    def measured(method: str, path: str, body: Callable[[int], object]) -> float:
        for i in range(8):
            connection.start(method, path, body(i))
        done, begin = 0, time.perf_counter()
        while time.perf_counter() < begin + SECONDS:
            connection.take(answers=1)
            connection.start(method, path, body(done))
            done += 1
        seconds = time.perf_counter() - begin
        connection.take(answers=8)
        return done / seconds

    found = measured("GET", "/info", lambda _: None)
    report.add("GET /info, HTTP/2, 8 in flight", found, "requests/s")
    pulls = [{"sql": f"SELECT * FROM T WHERE K = {k};"} for k in range(100)]
    found = measured("POST", "/query-stream", lambda i: pulls[i % 100])
    report.add("pull query by key, HTTP/2, 8 in flight", found, "requests/s")
    rows = 30_000
    connection.start("POST", "/query-stream", {"sql": f"SELECT * FROM S EMIT CHANGES LIMIT {rows};"})
    connection.take(pieces=1)
    begin = time.perf_counter()
    await asyncio.gather(inserts(port, rows), asyncio.to_thread(connection.take, answers=1))
    found = rows / (time.perf_counter() - begin)
    report.add("push query to 1 client, HTTP/2", found, "rows/s", note="from an INSERT to the client")
    connection.close()


async def idle(report: Report, port: int, pid: int) -> None:
    """Push queries that wait: what they cost."""
    http = await Http.open(port)
    await http.ksql(
        "CREATE STREAM S (K INT KEY, V INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);"
    )
    request = Http.request(
        "POST", "/query-stream", json.dumps({"sql": "SELECT * FROM S EMIT CHANGES;"}).encode()
    )
    process, connections = psutil.Process(pid), []
    before, begin = process.memory_info().rss, time.perf_counter()
    for _ in range(IDLE_QUERIES):
        connection = await Http.open(port)
        connection.writer.write(request)
        await connection.reader.readuntil(b"\n\r\n")
        connections.append(connection)
    report.add(f"open {IDLE_QUERIES:,} push queries, one after the other", time.perf_counter() - begin, "s")
    found = (process.memory_info().rss - before) / IDLE_QUERIES / 1024
    report.add("memory of an idle push query", found, "KiB", note="socket and query")
    used = sum(process.cpu_times()[:2])
    await asyncio.sleep(5)
    found = (sum(process.cpu_times()[:2]) - used) * 1000
    report.add(f"CPU of {IDLE_QUERIES:,} idle push queries in 5 s", found, "ms")
    for connection in connections:
        connection.writer.close()


async def inserts(port: int, rows: int) -> float:
    """Return rows a second that one /inserts-stream takes and acknowledges."""
    lines = "".join(f'{{"K": {i % 100}, "V": {i}}}\n' for i in range(rows))
    begin = time.perf_counter()
    http = await Http.open(port)
    body = ('{"target": "S"}\n' + lines).encode()
    answer = await http.send(Http.request("POST", "/inserts-stream", body))
    assert answer.count(b'"ok"') == rows
    return rows / (time.perf_counter() - begin)


async def push(port: int, clients: int, rows: int) -> float:
    """Return rows a second that reach `clients` push queries while one client inserts."""
    body = json.dumps({"sql": f"SELECT * FROM S EMIT CHANGES LIMIT {rows};"}).encode()
    connections = [await Http.open(port) for _ in range(clients)]
    for connection in connections:
        connection.writer.write(Http.request("POST", "/query-stream", body))
        await connection.head()
        await connection.reader.readuntil(b"\n")

    async def take(connection: Http) -> None:
        await connection.reader.readuntil(b"\r\n0\r\n\r\n")

    begin = time.perf_counter()
    await asyncio.gather(inserts(port, rows), *map(take, connections))
    return clients * rows / (time.perf_counter() - begin)


async def serve(data: str) -> None:
    """Be the server, with the limits of the reference's own suites, until killed."""
    from kalam_jupyter.kalam import KalamConfig
    from kalam_jupyter.node import Node
    from kalam_server.context import Context
    from kalam_server.identity import Gate
    from kalam_server.listener import Listener
    from kalam_server.service import Service

    config = KalamConfig(
        root_password=PASSWORD,
        bcrypt_cost=4,
        max_subscriptions_per_user=10_000,
        ws_client_timeout=300,  # the audience is silent while it grows
        max_auth_requests_per_ip_per_sec=0,
    )
    service = Service(lambda: Node.open(data, kalam=config, ksql=LIMITS))
    listener = Listener(Context(service, Gate(lambda: (TOKEN,)), root="kalam"))
    listener.listen(0)
    await service.run(lambda node: node)
    print(listener.port, flush=True)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await listener.close()
    await service.close()


@contextmanager
def server(data: str) -> Iterator[tuple[int, int]]:
    """Run the server as a process of its own; give its port and the process's id."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_http", "--serve", data]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline()), process.pid
    finally:
        process.terminate()
        process.wait(30)


async def run(report: Report) -> None:
    for measure in (kalam, ksql):
        with tempfile.TemporaryDirectory() as data, server(data) as (port, _):
            await measure(report, port)
    with tempfile.TemporaryDirectory() as data, server(data) as (port, pid):
        await idle(report, port, pid)


def main() -> int:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 8192), most))  # 1,000 sockets, and the server's
    if "--audience" in sys.argv:
        listen(int(sys.argv[-1]))
        return 0
    if "--serve" in sys.argv:
        asyncio.run(serve(sys.argv[-1]))
        return 0
    report = Report("HTTP")
    asyncio.run(run(report))
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())

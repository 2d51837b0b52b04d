"""HTTP/1.1 on the dedicated ports, byte by byte; and the quick way of SQL beside the ordinary one."""

import json
import socket
import time

import httpx
import pytest

from kalam_server.http1 import acceptor
from tests.server.running import TOKEN, running


@pytest.fixture(scope="module")
def server():
    with running("kalam") as server:
        execute(
            server, "CREATE NAMESPACE app", "CREATE SHARED TABLE app.t (id BIGINT PRIMARY KEY, v TEXT, n INT)"
        )
        yield server


def execute(server, *statements):
    kalam = server.node.kalam
    for statement in statements:
        kalam.execute(kalam.session("root"), statement)


def request(sql, *headers, body=None):
    body = json.dumps({"sql": sql}).encode() if body is None else body
    lines = [
        "POST /v1/api/sql HTTP/1.1",
        "Host: 127.0.0.1",
        f"Authorization: Bearer {TOKEN}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Wire:
    """A socket, and the answers that came over it."""

    def __init__(self, server):
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        self.file = self.socket.makefile("rb")

    def send(self, *data):
        self.socket.sendall(b"".join(data))

    def answer(self):
        """Status, headers and body of the next answer."""
        status = int(self.file.readline().split()[1])
        headers = {}
        while line := self.file.readline().strip():
            name, _, value = line.decode().partition(": ")
            headers[name.lower()] = value
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self.file.readline(), 16):
                body += self.file.read(size)
                self.file.readline()
            self.file.readline()
        else:
            body = self.file.read(int(headers.get("content-length", 0)))
        return status, headers, body

    def ended(self):
        """Whether the server closed the connection, with nothing more to say."""
        return self.file.read(1) == b""

    def close(self):
        self.file.close()
        self.socket.close()


@pytest.fixture
def wire(server):
    wire = Wire(server)
    yield wire
    wire.close()


class TestConnections:
    def test_pipelined_requests_are_answered_in_order(self, wire):
        # quick, ordinary, quick, another route, and in pieces that end anywhere
        ordinary = request("SELECT 2 + 0 AS v")
        health = b"GET /v1/api/healthcheck HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        data = b"".join(
            [
                request("INSERT INTO app.t VALUES (100, 'a', 1)"),
                ordinary,
                request("SELECT v FROM app.t WHERE id = 100"),
                health,
                request("DELETE FROM app.t WHERE id = 100"),
            ]
        )
        for i in range(0, len(data), 97):
            wire.send(data[i : i + 97])
        bodies = [json.loads(wire.answer()[2]) for _ in range(5)]
        assert bodies[0]["results"][0]["message"] == "Inserted 1 row(s)"
        assert bodies[1]["results"][0]["rows"] == [["2"]]
        assert bodies[2]["results"][0]["rows"] == [["a"]]
        assert bodies[3]["status"] == "healthy"
        assert bodies[4]["results"][0]["message"] == "Deleted 1 row(s)"

    def test_heads_that_repeat_are_read_as_ever(self, wire):
        good = request("SELECT id FROM app.t WHERE id = 123456789 OR id = 5")
        quick, short = request("SELECT id FROM app.t WHERE id = 7"), request("SELECT")
        stranger = quick.replace(TOKEN.encode(), TOKEN[::-1].encode())
        for data, status in [
            (quick, 200),
            (good, 200),
            (short, 400),
            (quick + good, 200),
            (None, 200),
            (stranger, 401),
            (quick.replace(b"application/json", b"application/text"), 400),
            (quick, 200),
            (quick[:60], None),
            (quick[60:-9], None),
            (quick[-9:], 200),
            (quick.replace(b"Host: 127.0.0.1", b"Host: evil.example"), 403),
        ]:
            wire.send(data or b"")
            assert status is None or wire.answer()[0] == status, data
        assert wire.ended()

    def test_a_repeated_head_with_a_wrong_length(self, wire):
        quick = request("SELECT id FROM app.t WHERE id = 7")
        wire.send(quick)
        assert wire.answer()[0] == 200
        wire.send(quick.replace(b"Content-Length: 44", b"Content-Length: 4x"))
        assert wire.answer()[0] == 400
        assert wire.ended()

    def test_a_chunked_body(self, wire):
        body = json.dumps({"sql": "SELECT 1 AS v"}).encode()
        head = request("").partition(b"Content-Length")[0] + b"Transfer-Encoding: chunked\r\n\r\n"
        wire.send(head, b"5\r\n", body[:5], b"\r\n")
        wire.send(b"%x\r\n" % len(body[5:]), body[5:], b"\r\n0\r\n\r\n")
        assert json.loads(wire.answer()[2])["results"][0]["row_count"] == 1

    def test_blanks_around_a_headers_value_are_none_of_it(self, wire):
        wire.send(
            request("SELECT 1 + 0", "X-Blank: \t a \t ", "X-Empty:").replace(b"/json\r", b"/json \r", 1)
        )
        assert wire.answer()[0] == 200

    def test_a_client_that_waits_before_it_sends_the_body(self, wire):
        head, _, body = request("SELECT 1", "Expect: 100-continue").partition(b"\r\n\r\n")
        wire.send(head, b"\r\n\r\n")
        assert wire.answer()[0] == 100
        wire.send(body)
        assert wire.answer()[0] == 200

    def test_an_upgrade_nobody_knows_is_an_ordinary_request(self, wire):
        upgrade = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
        wire.send(request("SELECT 1", *upgrade), request("SELECT 2"))
        assert [wire.answer()[0] for _ in range(2)] == [200, 200]

    @pytest.mark.parametrize(
        ("version", "connection", "ends"),
        [("1.0", None, True), ("1.0", "keep-alive", False), ("1.1", None, False), ("1.1", "close", True)],
    )
    def test_connections_last_as_long_as_was_agreed(self, wire, version, connection, ends):
        headers = () if connection is None else (f"Connection: {connection}",)
        for sql in ("SELECT 1 + 0", "SELECT * FROM app.t WHERE id = 1"):  # ordinary, quick
            wire.send(request(sql, *headers).replace(b"HTTP/1.1", f"HTTP/{version}".encode(), 1))
            assert wire.answer()[0] == 200
            if ends:
                assert wire.ended()
                return

    @pytest.mark.parametrize(
        "data",
        [
            b"nonsense\r\n\r\n",
            b"GET /health HTTP/1.1\r\n\r\n",
            b"GET /health HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
            b"POST /health HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"GET /health HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        ],
        ids=["garbage", "no host", "length", "two lengths", "head too large"],
    )
    def test_what_cannot_be_understood_ends_the_connection(self, wire, data):
        wire.send(data)
        assert wire.answer()[0] == 400
        assert wire.ended()

    def test_a_head_that_does_not_end_ends_the_connection(self, server, wire, monkeypatch):
        monkeypatch.setattr(acceptor, "HEAD_SECONDS", -1.0)
        installed = server.listener._http1._acceptor
        wire.send(request("SELECT 1 AS x"))
        assert wire.answer()[0] == 200
        server.loop.call_soon_threadsafe(installed.close_idle, 3600.0)
        wire.send(request("SELECT 2 AS x"))
        assert wire.answer()[0] == 200
        wire.send(b"GET /health HTTP/1.1\r\nHost: a\r\n")
        while not any(connection.head_since for connection in installed.connections):
            time.sleep(0.001)
        server.loop.call_soon_threadsafe(installed.close_idle, 3600.0)
        assert wire.ended()

    def test_a_body_larger_than_any_limit(self, server, wire):
        head = request("", body=b"").replace(b"Content-Length: 0", b"Content-Length: 200000000")
        wire.send(head)
        status, _, body = wire.answer()
        assert (status, json.loads(body)["error"]) == (413, "BODY_TOO_LARGE")


class TestQuickStatements:
    @pytest.mark.parametrize(
        "body",
        [
            {"sql": "INSERT INTO app.t VALUES (1, 'a', 1), (2, 'b', NULL)"},
            {"sql": "INSERT INTO t (id) VALUES ($1)", "params": [3], "namespace_id": "app"},
            {"sql": "INSERT INTO app.t VALUES (1, 'again', 1)"},
            {"sql": "INSERT INTO app.t VALUES (9, 'too many', 1, 2)"},
            {"sql": "INSERT INTO app.t VALUES (9, 'text', 'text')"},
            {"sql": "INSERT INTO app.nope VALUES (1)"},
            {"sql": "INSERT INTO system.users VALUES (1)"},
            {"sql": "UPDATE app.t SET v = 'c' WHERE id = 1"},
            {"sql": "UPDATE app.t SET id = 5 WHERE id = 1"},
            {"sql": "UPDATE app.t SET v = $2 WHERE id = $1", "params": [2]},
            {"sql": "SELECT * FROM app.t WHERE id = 1"},
            {"sql": "SELECT id, v FROM app.t WHERE n IS NULL ORDER BY id DESC LIMIT 1"},
            {"sql": "SELECT nope FROM app.t"},
            {"sql": "DELETE FROM app.t WHERE id = 2"},
            {"sql": "DELETE FROM app.t"},
            {"sql": "SELECT FROM WHERE"},
            {"sql": "INSERT INTO app.t VALUES (1"},
            {"sql": ""},
            {"sql": 1},
            {"sql": "SELECT 1", "params": "x"},
        ],
        ids=lambda body: str(body["sql"])[:40],
    )
    def test_answers_are_those_of_the_ordinary_way(self, body):
        """A forwarded request is never taken by the quick way."""
        found = []
        for headers in ({}, {"X-Forwarded-For": "127.0.0.1"}):
            with running("kalam") as server:
                execute(server, "CREATE NAMESPACE app")
                execute(server, "CREATE SHARED TABLE app.t (id BIGINT PRIMARY KEY, v TEXT, n INT)")
                if not str(body["sql"]).startswith("INSERT INTO app.t VALUES (1, 'a'"):
                    execute(server, "INSERT INTO app.t VALUES (1, 'a', 1), (2, 'b', NULL)")
                headers = {"Authorization": f"Bearer {TOKEN}", **headers}
                answer = httpx.post(f"{server.url}/v1/api/sql", json=body, headers=headers)
                rows = server.node.kalam.execute(
                    server.node.kalam.session("root"), "SELECT id, v, n FROM app.t ORDER BY id"
                )
                given = answer.json()
                assert given.pop("took") >= 0
                _without_sequences(given)
                kept = ("content-type", "x-content-type-options")
                found.append(
                    (
                        answer.status_code,
                        given,
                        [answer.headers.get(name) for name in kept],
                        rows[0].table.to_pylist(),
                    )
                )
        assert found[0] == found[1]

    def test_strangers_and_foreign_pages_are_refused(self, server):
        url, body = f"{server.url}/v1/api/sql", {"sql": "SELECT * FROM app.t WHERE id = 1"}
        assert httpx.post(url, json=body).status_code == 401
        assert httpx.post(url, json=body, headers={"Authorization": "Bearer nonsense"}).status_code == 401
        known = {"Authorization": f"Bearer {TOKEN}"}
        assert (
            httpx.post(url, json=body, headers={**known, "Origin": "https://evil.example"}).status_code == 403
        )
        assert httpx.post(url, json=body, headers={**known, "Host": "evil.example"}).status_code == 403

    def test_ordinary_users_have_their_own_rows_and_rates(self):
        from tests.server.running import CONFIG

        with running("kalam", config=CONFIG.with_(max_queries_per_sec=3)) as server:
            execute(
                server,
                "CREATE NAMESPACE app",
                "CREATE TABLE app.mine (id BIGINT PRIMARY KEY) WITH (TYPE='USER')",
            )
            execute(server, "CREATE USER 'ann' WITH PASSWORD 'AnnPass123!' ROLE user")
            execute(server, "INSERT INTO app.mine VALUES (7)")
            token = server.node.kalam.auth.issue("ann").access_token
            with httpx.Client(headers={"Authorization": f"Bearer {token}"}) as client:
                url = f"{server.url}/v1/api/sql"
                answer = client.post(url, json={"sql": "SELECT * FROM app.mine WHERE id = 7"})
                assert answer.json()["results"][0]["row_count"] == 0
                statuses = [
                    client.post(url, json={"sql": "SELECT * FROM app.mine"}).status_code for _ in range(20)
                ]
            assert statuses[:2] == [200, 200]
            assert 429 in statuses


class TestQuickMessages:
    @pytest.fixture(scope="class")
    @classmethod
    def consumed(cls):
        with running("kalam") as server:
            execute(
                server,
                "CREATE NAMESPACE app",
                "CREATE SHARED TABLE app.t (id BIGINT PRIMARY KEY, v TEXT)",
                "CREATE TOPIC app.ev",
                "ALTER TOPIC app.ev ADD SOURCE app.t ON INSERT",
                "INSERT INTO app.t VALUES (1, 'a'), (2, 'b'), (3, NULL)",
                f"INSERT INTO app.t VALUES (4, '{'x' * 300_000}')",
            )
            yield server

    @pytest.mark.parametrize(
        "rest",
        [
            {"start": "Earliest"},
            {"start": "Earliest", "limit": 2},
            {"start": {"Offset": 1}, "limit": 1},
            {"start": "Latest"},
            {"limit": 0},
            {"partition_id": 1},
            {"topic_id": "app.nope"},
            {"start": "Middle"},
            {"group_id": ""},
        ],
        ids=str,
    )
    def test_answers_are_those_of_the_ordinary_way(self, consumed, rest):
        """A forwarded request is never taken by the quick way."""
        found = []
        for way, headers in (("quick", {}), ("ordinary", {"X-Forwarded-For": "127.0.0.1"})):
            known = {"Authorization": f"Bearer {TOKEN}", **headers}
            body = {"topic_id": "app.ev", "group_id": f"{way} {rest}", **rest}
            for _ in range(2):  # the second time the group has its cursor, and its claims
                answer = httpx.post(f"{consumed.url}/v1/api/topics/consume", json=body, headers=known)
                kept = ("content-type", "x-content-type-options")
                found.append((answer.status_code, answer.text, [answer.headers.get(name) for name in kept]))
        assert found[:2] == found[2:]

    def test_strangers_and_ordinary_users_are_refused(self, consumed):
        execute(consumed, "CREATE USER 'ann' WITH PASSWORD 'AnnPass123!' ROLE user")
        url, body = f"{consumed.url}/v1/api/topics/consume", {"topic_id": "app.ev", "group_id": "g"}
        token = consumed.node.kalam.auth.issue("ann").access_token
        for _ in range(2):  # unknown, then known
            refused = httpx.post(url, json=body, headers={"Authorization": f"Bearer {token}"})
            assert refused.status_code == 403
        assert httpx.post(url, json=body).status_code == 401


def _without_sequences(value):
    """Row sequences are made of the time."""
    for result in value.get("results", []):
        names = [c["name"] for c in result.get("schema", [])]
        if "_seq" in names:
            for row in result["rows"]:
                row[names.index("_seq")] = None

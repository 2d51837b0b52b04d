"""Live queries over a real WebSocket: the session of the contract, frame by frame."""

import gzip
import json
import socket
import threading

import httpx
import msgspec
import pytest
import websocket

from kalam_server.kalam_handlers import ws_feed
from tests.server.running import CONFIG, TOKEN, running


@pytest.fixture(scope="module")
def server():
    with running("kalam", config=CONFIG.with_(max_messages_per_sec=50, ws_client_timeout=60)) as server:
        execute(
            server,
            "CREATE NAMESPACE app; CREATE TABLE app.todo (id BIGINT PRIMARY KEY, title TEXT, done BOOLEAN) "
            "WITH (TYPE='USER')",
        )
        yield server


def execute(server, sql, user="root"):
    kalam = server.node.kalam
    return kalam.execute(kalam.session(user), sql)


class Client:
    """A client of the protocol."""

    def __init__(self, server, query="", token=None, **options):
        header = [] if token is None else [f"Authorization: Bearer {token}"]
        self.socket = websocket.create_connection(
            f"ws://127.0.0.1:{server.port}/v1/ws{query}",
            timeout=20,
            header=header,
            suppress_origin=True,
            **options,
        )

    def send(self, **message):
        self.socket.send(json.dumps(message))

    def receive(self):
        frame = self.socket.recv()
        return json.loads(gzip.decompress(frame) if isinstance(frame, bytes) else frame)

    def subscribe(self, sql, id_="s", **options):
        self.send(type="subscribe", subscription={"id": id_, "sql": sql, "options": options})
        return self.receive(), self.receive()

    def closed(self):
        """Close code and reason, after whatever came before."""
        while True:
            opcode, data = self.socket.recv_data()
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                return int.from_bytes(data[:2]), data[2:].decode()


@pytest.fixture
def token(server):
    return server.node.kalam.auth.issue("root").access_token


@pytest.fixture
def client(server, token):
    client = Client(server, "?compress=false", token)
    assert client.receive()["type"] == "auth_success"
    yield client
    client.socket.close()


@pytest.fixture(autouse=True)
def empty(server):
    execute(server, "DELETE FROM app.todo WHERE id >= 0")


PROTOCOL = {"serialization": "json", "compression": "gzip"}


class TestAuthentication:
    @pytest.mark.parametrize("protocol", [{"protocol": PROTOCOL}, {}])
    def test_in_band(self, server, token, protocol):
        client = Client(server)
        client.send(type="authenticate", method="jwt", token=token, **protocol)
        expected = {"type": "auth_success", "user": "root", "role": "system", "protocol": PROTOCOL}
        assert client.receive() == expected
        client.send(type="authenticate", method="jwt", token="ignored now")
        assert client.receive() == expected

    def test_messages_may_follow_the_upgrade_at_once(self, server, token):
        wanted = {"id": "s", "sql": "SELECT id FROM app.todo", "options": {}}
        message = json.dumps({"type": "subscribe", "subscription": wanted})
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as sock:
            sock.sendall(
                b"GET /v1/ws?compress=false HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                b"Authorization: Bearer %b\r\n\r\n"
                % token.encode()
                + websocket.ABNF.create_frame(message, websocket.ABNF.OPCODE_TEXT).format()
            )
            received = b""
            while b"initial_data_batch" not in received:
                data = sock.recv(65536)
                assert data
                received += data
        assert b"AUTH_REQUIRED" not in received

    def test_on_the_upgrade(self, server, token):
        assert Client(server, token=token).receive()["user"] == "root"
        assert Client(server, token=TOKEN).receive()["user"] == "root"

    def test_a_bad_token_closes(self, server):
        for client in (Client(server), Client(server, token="a.b.c")):
            client.send(type="authenticate", method="jwt", token="a.b.c")
            assert client.receive() == {"type": "auth_error", "message": "Invalid credentials"}
            assert client.closed() == (1008, "Authentication failed")

    def test_nothing_before_it(self, server):
        client = Client(server)
        client.send(type="ping")
        client.send(type="subscribe", subscription={"id": "x", "sql": "SELECT * FROM app.todo"})
        error = client.receive()
        assert (error["subscription_id"], error["code"]) == ("subscribe", "AUTH_REQUIRED")

    def test_silence_is_ended(self):
        with running(
            "kalam", config=CONFIG.with_(ws_auth_timeout=0.05, ws_heartbeat_interval=0.05)
        ) as server:
            client = Client(server)
            assert client.receive()["type"] == "auth_error"
            assert client.closed() == (1008, "Authentication timeout")

    def test_a_foreign_origin_is_refused(self, server):
        with pytest.raises(websocket.WebSocketBadStatusException) as refused:
            websocket.create_connection(
                f"ws://127.0.0.1:{server.port}/v1/ws", timeout=20, origin="https://evil.example"
            )
        assert refused.value.status_code == 403


class TestSubscriptions:
    def test_a_session(self, server, client):
        execute(server, "INSERT INTO app.todo VALUES (1, 'a', false), (2, 'b', false), (3, 'c', false)")
        ack, first = client.subscribe("SELECT * FROM app.todo WHERE done = false", batch_size=2)
        assert ack["type"] == "subscription_ack"
        assert ack["total_rows"] == 0
        assert ack["batch_control"] == first["batch_control"]
        assert [c["name"] for c in ack["schema"]] == ["id", "title", "done", "_seq", "_deleted"]
        assert [r["id"] for r in first["rows"]] == ["1", "2"]
        control = first["batch_control"]
        assert (control["has_more"], control["status"], control["batch_num"]) == (True, "loading", 0)
        client.send(type="next_batch", subscription_id="s", last_seq_id=control["last_seq_id"])
        second = client.receive()
        assert [r["id"] for r in second["rows"]] == ["3"]
        assert second["batch_control"]["status"] == "ready"
        execute(server, "INSERT INTO app.todo VALUES (4, 'd', false)")
        change = client.receive()
        assert (change["type"], change["change_type"], change["subscription_id"]) == ("change", "insert", "s")
        assert change["rows"][0]["title"] == "d"
        execute(server, "UPDATE app.todo SET title = 'd2' WHERE id = 4")
        change = client.receive()
        assert change["rows"][0]["title"] == "d2"
        assert change["old_values"][0]["title"] == "d"
        execute(server, "DELETE FROM app.todo WHERE id = 1")
        change = client.receive()
        assert (change["change_type"], "rows" in change) == ("delete", False)
        client.send(type="unsubscribe", subscription_id="s")

    def test_without_options_only_changes_come(self, server, client):
        execute(server, "INSERT INTO app.todo VALUES (1, 'a', false)")
        client.send(type="subscribe", subscription={"id": "s", "sql": "SELECT id FROM app.todo"})
        ack = client.receive()
        assert ack["batch_control"]["last_seq_id"] is None
        execute(server, "INSERT INTO app.todo VALUES (2, 'b', false)")
        assert client.receive()["rows"][0]["id"] == "2"

    def test_many_changes_that_are_not_for_a_query_do_not_hide_the_one_behind_them(
        self, server, client, monkeypatch
    ):
        monkeypatch.setattr(ws_feed, "BATCH", 3)
        client.subscribe("SELECT id FROM app.todo WHERE id > 100")
        held, free = threading.Event(), threading.Event()
        server.loop.call_soon_threadsafe(lambda: (held.set(), free.wait(20)))
        assert held.wait(20)
        for i in [*range(8), 101]:
            execute(server, f"INSERT INTO app.todo VALUES ({i}, 'a', false)")
        free.set()
        assert client.receive()["rows"][0]["id"] == "101"

    def test_resuming_skips_what_was_seen(self, server, client):
        execute(server, "INSERT INTO app.todo VALUES (1, 'a', false)")
        _, first = client.subscribe("SELECT id FROM app.todo")
        execute(server, "INSERT INTO app.todo VALUES (2, 'b', false)")
        client.receive()
        _, resumed = client.subscribe(
            "SELECT id FROM app.todo", "again", **{"from": first["batch_control"]["last_seq_id"]}
        )
        assert [r["id"] for r in resumed["rows"]] == ["2"]

    def test_other_users_see_nothing(self, server, token):
        execute(server, "CREATE USER 'bob' WITH PASSWORD 'BobPass123!' ROLE user")
        bob = Client(server, "?compress=false", server.node.kalam.auth.issue("bob").access_token)
        bob.receive()
        bob.subscribe("SELECT id FROM app.todo")
        execute(server, "INSERT INTO app.todo VALUES (1, 'roots', false)")
        execute(server, "INSERT INTO app.todo VALUES (9, 'bobs', false)", "bob")
        assert bob.receive()["rows"][0]["id"] == "9"

    @pytest.mark.parametrize(
        ("sql", "code"),
        [
            ("SELECT id FROM app.nope", "NOT_FOUND"),
            ("DELETE FROM app.todo", "INVALID_SQL"),
            ("SELECT id FROM app.todo ORDER BY id LIMIT", "INVALID_SQL"),
        ],
    )
    def test_errors_leave_the_connection_open(self, client, sql, code):
        client.send(type="subscribe", subscription={"id": "s", "sql": sql, "options": {}})
        error = client.receive()
        assert (error["type"], error["subscription_id"], error["code"]) == ("error", "s", code)
        client.subscribe("SELECT id FROM app.todo")

    def test_a_blank_id(self, client):
        client.send(type="subscribe", subscription={"id": " ", "sql": "SELECT id FROM app.todo"})
        assert client.receive()["code"] == "INVALID_SUBSCRIPTION_ID"

    def test_the_users_limit(self, client):
        for i in range(10):
            client.subscribe("SELECT id FROM app.todo", f"s{i}")
        client.send(type="subscribe", subscription={"id": "one more", "sql": "SELECT id FROM app.todo"})
        assert client.receive()["code"] == "SUBSCRIPTION_LIMIT_EXCEEDED"
        client.send(type="unsubscribe", subscription_id="s3")
        client.subscribe("SELECT id FROM app.todo", "one more")

    def test_next_batch_of_nothing(self, client):
        client.send(type="next_batch", subscription_id="nope", last_seq_id=1)
        error = client.receive()
        assert (error["code"], error["message"]) == (
            "BATCH_FETCH_FAILED",
            "Not found: Subscription not found: nope",
        )

    def test_a_disconnect_ends_subscriptions(self, server, token):
        client = Client(server, "?compress=false", token)
        client.receive()
        client.subscribe("SELECT id FROM app.todo", "leaving")
        assert any(q.id == "leaving" for q in server.node.kalam.live.all())
        client.socket.close()
        other = Client(server, "?compress=false", token)
        other.receive()
        for _ in range(200):
            if not any(q.id == "leaving" for q in server.node.kalam.live.all()):
                break
            other.subscribe("SELECT id FROM app.todo")  # a round trip gives the server time to notice
        assert not any(q.id == "leaving" for q in server.node.kalam.live.all())
        other.socket.close()


class TestFraming:
    def test_large_frames_are_compressed(self, server, token):
        execute(server, f"INSERT INTO app.todo VALUES (1, '{'x' * 2000}', false)")
        for query, compressed in (("", True), ("?compress=false", False)):
            client = Client(server, query, token)
            client.receive()
            client.send(
                type="subscribe", subscription={"id": "s", "sql": "SELECT * FROM app.todo", "options": {}}
            )
            client.receive()
            frame = client.socket.recv()
            assert isinstance(frame, bytes) is compressed
            client.socket.close()

    def test_messagepack(self, server, token):
        client = Client(server, "?serialization=msgpack&compress=false", token)
        assert client.receive()["protocol"]["serialization"] == "msgpack"
        message = {
            "type": "subscribe",
            "subscription": {"id": "s", "sql": "SELECT id FROM app.todo", "options": {}},
        }
        client.socket.send_binary(msgspec.msgpack.encode(message))
        ack = msgspec.msgpack.decode(client.socket.recv())
        assert ack["type"] == "subscription_ack"
        client.socket.close()

    def test_binary_on_a_json_connection(self, client):
        client.socket.send_binary(b"\x80")
        error = client.receive()
        assert (error["subscription_id"], error["code"]) == ("protocol", "UNSUPPORTED_DATA")

    @pytest.mark.parametrize(
        "text",
        [
            "nonsense",
            "{}",
            '{"type":"nope"}',
            '{"type":"subscribe","subscription":{"id":"s","sql":"x","options":{"batch_size":"1"}}}',
        ],
    )
    def test_malformed_messages_close(self, server, token, text):
        client = Client(server, token=token)
        client.receive()
        client.socket.send(text)
        code, reason = client.closed()
        assert code == 1011
        assert reason.startswith("Invalid message: ")

    def test_too_many_messages(self, client):
        for _ in range(80):
            client.send(type="ping")
        assert client.receive()["code"] == "RATE_LIMIT_EXCEEDED"

    def test_too_large_messages(self, client):
        client.socket.send("x" * (1024 * 1024 + 1))
        error = client.receive()
        assert (error["code"], error["subscription_id"]) == ("MESSAGE_TOO_LARGE", "protocol")


class TestAcrossDialects:
    def test_a_stream_of_ksqldb_is_followed(self, server, client):
        server.node.ksql.execute(
            "CREATE STREAM followed (k INT KEY, v INT) "
            "WITH (kafka_topic='followed', value_format='JSON', partitions=1);"
        )
        for name in ("one", "two"):
            client.subscribe("SELECT * FROM ksql.followed", name)
        for value in (1, 2):
            server.node.ksql.execute(f"INSERT INTO followed VALUES (1, {value});")
            changes = [client.receive() for _ in range(2)]
            assert {c["subscription_id"] for c in changes} == {"one", "two"}
            assert [c["rows"][0]["v"] for c in changes] == [value, value]


class TestManySubscribers:
    @pytest.fixture
    def crowded(self):
        config = CONFIG.with_(
            max_subscriptions_per_user=10_000, max_subscriptions_per_connection=1_000, ws_client_timeout=120
        )
        with running("kalam", config=config) as server:
            execute(server, "CREATE NAMESPACE app")
            for name in ("feed", "other"):
                execute(server, f"CREATE SHARED TABLE app.{name} (id BIGINT PRIMARY KEY, v TEXT)")
            yield server

    def test_a_thousand_subscribers_on_one_table_while_another_is_queried(self, crowded):
        token = crowded.node.kalam.auth.issue("root").access_token
        clients = [Client(crowded, "?compress=false", token) for _ in range(10)]
        for client in clients:
            client.receive()
            for i in range(100):
                subscription = {"id": f"s{i}", "sql": "SELECT * FROM app.feed"}
                client.send(type="subscribe", subscription=subscription)
            for _ in range(100):
                assert client.receive()["type"] == "subscription_ack"
        url, known = f"{crowded.url}/v1/api/sql", {"Authorization": f"Bearer {TOKEN}"}
        with httpx.Client(headers=known) as http:
            for i in range(5):
                assert (
                    http.post(url, json={"sql": f"INSERT INTO app.feed VALUES ({i}, 'x')"}).status_code == 200
                )
                http.post(url, json={"sql": f"INSERT INTO app.other VALUES ({i}, 'y')"})
                found = http.post(url, json={"sql": "SELECT count(*) FROM app.other"}).json()
                assert found["results"][0]["rows"] == [[str(i + 1)]]
        for client in clients:
            seen = {f"s{i}": [] for i in range(100)}
            for _ in range(500):
                change = client.receive()
                seen[change["subscription_id"]].append(change["rows"][0]["id"])
            assert all(ids == ["0", "1", "2", "3", "4"] for ids in seen.values())
            client.socket.close()

    def test_a_client_that_does_not_read_holds_up_nobody_and_loses_nothing(self, crowded):
        token = crowded.node.kalam.auth.issue("root").access_token
        slow, quick = (Client(crowded, "?compress=false", token) for _ in range(2))
        for client in (slow, quick):
            client.receive()
            client.subscribe("SELECT * FROM app.feed", last_rows=0)
        payload = "x" * 20_000
        for first in range(0, 800, 20):  # 16 MB: more than sockets take
            values = ", ".join(f"({i}, '{payload}')" for i in range(first, first + 20))
            execute(crowded, f"INSERT INTO app.feed VALUES {values}")
            assert [quick.receive()["rows"][0]["id"] for _ in range(20)] == [
                str(i) for i in range(first, first + 20)
            ]
        (waiting,) = [q for q in crowded.node.kalam.live.all() if q.lag]
        assert waiting.delivered < 800  # the rest is on the table's history, not in a buffer of the client's
        assert [slow.receive()["rows"][0]["id"] for _ in range(800)] == [str(i) for i in range(800)]
        for client in (slow, quick):
            client.socket.close()

    @pytest.mark.parametrize("packed", [False, True], ids=["json", "msgpack"])
    def test_large_changes_are_compressed_for_each_subscriber(self, crowded, packed):
        token = crowded.node.kalam.auth.issue("root").access_token
        query = "?serialization=msgpack" if packed else ""
        encode, decode = (msgspec.msgpack.encode, msgspec.msgpack.decode) if packed else (None, json.loads)
        client = Client(crowded, query, token)
        client.receive()
        names = ["a", "b" * 100, "é"]
        for name in names:
            subscription = {"id": name, "sql": "SELECT * FROM app.feed"}
            message = {"type": "subscribe", "subscription": subscription}
            client.socket.send_binary(encode(message)) if packed else client.send(**message)
            client.socket.recv()
        execute(crowded, f"INSERT INTO app.feed VALUES (1, '{'abc' * 1000}')")
        frames = [client.socket.recv() for _ in names]
        assert all(len(frame) < 600 for frame in frames)
        changes = [decode(gzip.decompress(frame)) for frame in frames]
        assert sorted(c["subscription_id"] for c in changes) == sorted(names)
        assert {c["rows"][0]["v"] for c in changes} == {"abc" * 1000}
        client.socket.close()

"""What KalamDB's SDKs do, in their order and with their frames (shared research: clients, section 4)."""

import gzip
import json

import httpx
import pytest
import websocket

from kalam_jupyter.kalam import KalamConfig
from kalam_jupyter.node import Node
from tests.server.running import CONFIG, ROOT_PASSWORD, running

PROTOCOL = {"serialization": "json", "compression": "gzip"}
DATA_TYPES = {
    *("Boolean", "Int", "BigInt", "Double", "Float", "Text", "Timestamp", "Date", "DateTime", "Time", "Json"),
    *("Bytes", "Uuid", "SmallInt", "File"),
}


class Sdk:
    """The TypeScript client: logs in, sends statements, keeps one socket with all subscriptions."""

    def __init__(self, url, user="root", password=ROOT_PASSWORD):
        self.url = url
        self.http = httpx.Client(base_url=url, timeout=20)
        self.login(user, password)
        self.socket = None
        self.subscriptions = {}
        self.seqs = {}
        self.waiting = []

    def login(self, user, password):
        answer = self.http.post("/v1/api/auth/login", json={"user": user, "password": password})
        assert answer.status_code == 200, answer.text
        self.tokens = answer.json()
        self.http.headers["Authorization"] = f"Bearer {self.tokens['access_token']}"

    def refresh(self):
        headers = {"Authorization": f"Bearer {self.tokens['refresh_token']}"}
        answer = self.http.post("/v1/api/auth/refresh", headers=headers)
        assert answer.status_code == 200, answer.text
        self.tokens = answer.json()

    def query(self, sql, params=None, namespace=None):
        body = {"sql": sql}
        if params is not None:
            body["params"] = params
        if namespace is not None:
            body["namespace_id"] = namespace
        answer = self.http.post("/v1/api/sql", json=body)
        found = answer.json()
        assert (answer.status_code == 200) == (found["status"] == "success"), answer.text
        assert answer.status_code == 200, answer.text
        for result in found["results"]:
            assert isinstance(result["row_count"], int)
            for i, column in enumerate(result.get("schema", [])):
                assert column["index"] == i
                type_ = column["data_type"]
                assert type_ in DATA_TYPES or set(type_) <= {"Embedding", "Decimal"}
        return found["results"]

    def rows(self, sql, params=None):
        (result,) = self.query(sql, params)
        names = [c["name"] for c in result["schema"]]
        return [dict(zip(names, row, strict=True)) for row in result["rows"]]

    # ---- the socket

    def connect(self):
        self.socket = websocket.create_connection(
            self.url.replace("http", "ws") + "/v1/ws", timeout=20, suppress_origin=True
        )
        self.send(type="authenticate", method="jwt", token=self.tokens["access_token"], protocol=PROTOCOL)
        frame = self.socket.recv()
        assert isinstance(frame, str), "auth_success must be a text frame"
        success = json.loads(frame)
        assert success["type"] == "auth_success"
        assert set(success) == {"type", "user", "role", "protocol"}

    def drop(self):
        """The connection breaks."""
        self.socket.sock.close()

    def reconnect(self):
        """Authenticate again, and subscribe to everything from the last sequence seen."""
        self.connect()
        for id_, (sql, options) in list(self.subscriptions.items()):
            resumed = dict(options)
            if id_ in self.seqs:
                resumed["from"] = self.seqs[id_]
            self._subscribe(id_, sql, resumed)

    def send(self, **message):
        self.socket.send(json.dumps(message))

    def receive(self, id_=None):
        """The next message, of a subscription if one is named; others wait for their turn."""
        for i, message in enumerate(self.waiting):
            if id_ is None or message["subscription_id"] == id_:
                return self.waiting.pop(i)
        while True:
            frame = self.socket.recv()
            message = json.loads(gzip.decompress(frame) if isinstance(frame, bytes) else frame)
            self._see(message)
            if id_ is None or message.get("subscription_id") == id_:
                return message
            self.waiting.append(message)

    def _see(self, message):
        id_ = message.get("subscription_id")
        last = message.get("batch_control", {}).get("last_seq_id")
        found = [int(row["_seq"]) for row in message.get("rows", []) + message.get("old_values", [])]
        for seq in [*found, *([last] if last is not None else [])]:
            self.seqs[id_] = max(self.seqs.get(id_, 0), seq)

    def subscribe(self, id_, sql, **options):
        self.subscriptions[id_] = (sql, options)
        return self._subscribe(id_, sql, options)

    def _subscribe(self, id_, sql, options):
        self.send(type="subscribe", subscription={"id": id_, "sql": sql, "options": options})
        ack, batch = self.receive(id_), self.receive(id_)
        assert (ack["type"], batch["type"]) == ("subscription_ack", "initial_data_batch")
        assert ack["batch_control"] == batch["batch_control"]
        assert set(ack["batch_control"]) == {"batch_num", "has_more", "status", "last_seq_id"}
        return batch

    def unsubscribe(self, id_):
        del self.subscriptions[id_]
        self.send(type="unsubscribe", subscription_id=id_)


@pytest.fixture(scope="module")
def server():
    with running("kalam", config=CONFIG.with_(max_subscriptions_per_user=100)) as server:
        yield server


@pytest.fixture
def sdk(server, request):
    sdk = Sdk(server.url)
    namespace = "n" + str(abs(hash(request.node.name)))
    sdk.ns = namespace
    sdk.query(f"CREATE NAMESPACE {namespace}")
    sdk.query(
        f"CREATE TABLE {namespace}.msgs (id BIGINT PRIMARY KEY DEFAULT SNOWFLAKE_ID(), body TEXT, "
        "n INT, at TIMESTAMP DEFAULT NOW()) WITH (TYPE='USER')"
    )
    sdk.table = f"{namespace}.msgs"
    yield sdk
    sdk.http.close()
    if sdk.socket is not None:
        sdk.socket.close()


def ids(message):
    return [row["id"] for row in message["rows"]]


class TestLifecycle:
    def test_login_refresh_and_the_new_token_work(self, sdk):
        assert set(sdk.tokens) == {
            *("user", "admin_ui_access", "expires_at", "access_token", "refresh_token", "refresh_expires_at")
        }
        assert set(sdk.tokens["user"]) == {"id", "role", "email", "created_at", "updated_at"}
        sdk.refresh()
        sdk.http.headers["Authorization"] = f"Bearer {sdk.tokens['access_token']}"
        assert sdk.rows("SELECT 1 AS one") == [{"one": "1"}]

    def test_setup_status_login(self):
        with running("kalam", config=CONFIG.with_(root_password=None)) as server, httpx.Client() as http:
            base = server.url + "/v1/api/auth"
            refused = http.post(f"{base}/login", json={"user": "root", "password": ""})
            assert (refused.status_code, refused.json()["error"]) == (428, "setup_required")
            assert http.get(f"{base}/status").json()["needs_setup"] is True
            body = {"user": "admin", "password": "AdminPass1!", "root_password": ROOT_PASSWORD}
            done = http.post(f"{base}/setup", json=body)
            assert (done.status_code, done.json()["user"]["role"]) == (200, "dba")
            assert http.get(f"{base}/status").json()["needs_setup"] is False
            assert http.post(f"{base}/setup", json=body).status_code == 409
            assert Sdk(server.url, "admin", "AdminPass1!").tokens["admin_ui_access"] is True

    def test_helpers_quote_names_and_write_keys_as_text(self, sdk):
        sdk.query(f'INSERT INTO "{sdk.ns}"."msgs" ("id", "body", "n") VALUES (200, \'it\'\'s\', 7)')
        sdk.query(f"UPDATE {sdk.table} SET body = 'new' WHERE id = 200")
        assert sdk.rows(f"SELECT id, body, n FROM {sdk.table}") == [{"id": "200", "body": "new", "n": 7}]
        (result,) = sdk.query(f'DELETE FROM "{sdk.ns}"."msgs" WHERE id = \'200\'')
        assert result["message"] == "Deleted 1 row(s)"

    def test_parallel_queries(self, sdk, server):
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(8) as pool:
            done = list(
                pool.map(
                    lambda i: sdk.query(f"INSERT INTO {sdk.table} (id, n) VALUES ($1, $2)", [i, i]), range(40)
                )
            )
        assert all(results[0]["row_count"] == 1 for results in done)
        assert sdk.rows(f"SELECT count(*) AS n, sum(n) AS s FROM {sdk.table}") == [{"n": "40", "s": "780"}]

    def test_a_namespace_of_the_request(self, sdk):
        sdk.query("INSERT INTO msgs (id, body) VALUES (1, 'x')", namespace=sdk.ns)
        assert sdk.query("SELECT id FROM msgs", namespace=sdk.ns)[0]["rows"] == [["1"]]

    def test_an_upload_is_read_back_where_the_sdks_look(self, sdk):
        sdk.query(f"CREATE TABLE {sdk.ns}.docs (id INT PRIMARY KEY, f FILE) WITH (TYPE='USER')")
        answer = sdk.http.post(
            "/v1/api/sql",
            data={"sql": f'INSERT INTO {sdk.ns}.docs (id, f) VALUES ($1, FILE("up"))', "params": "[1]"},
            files={"file:up": ("Contract v2.pdf", b"%PDF-1.7", "application/pdf")},
        )
        assert answer.json()["results"] == [
            {"row_count": 1, "message": "Inserted 1 row(s)", "as_user": "root"}
        ]
        reference = json.loads(sdk.rows(f"SELECT f FROM {sdk.ns}.docs")[0]["f"])
        assert set(reference) == {"id", "sub", "name", "size", "mime", "sha256"}
        url = f"/api/v1/files/{sdk.ns}/docs/{reference['sub']}/{reference['id']}"
        assert sdk.http.get(url).content == b"%PDF-1.7"
        stored = f"/v1/files/{sdk.ns}/docs/{reference['sub']}/{reference['id']}-contract-v2.pdf"
        for method in ("GET", "HEAD"):
            answer = sdk.http.request(method, stored)
            assert answer.headers["content-type"] == "application/pdf"
            assert answer.headers["content-length"] == "8"
            name = stored.rsplit("/", 1)[1]
            assert answer.headers["content-disposition"] == f'inline; filename="{name}"'


class TestSubscriptions:
    def test_several_on_one_socket_each_get_their_own(self, sdk):
        sdk.connect()
        sdk.query(f"INSERT INTO {sdk.table} (id, n) VALUES (1, 1), (2, 2)")
        assert ids(sdk.subscribe("all", f"SELECT * FROM {sdk.table}")) == ["1", "2"]
        assert ids(sdk.subscribe("big", f"SELECT id, n FROM {sdk.table} WHERE n > 1")) == ["2"]
        assert ids(sdk.subscribe("none", f"SELECT * FROM {sdk.table}", last_rows=0)) == []
        sdk.query(f"INSERT INTO {sdk.table} (id, n) VALUES (3, 3)")
        for id_ in ("all", "big", "none"):
            assert ids(sdk.receive(id_)) == ["3"]
        sdk.unsubscribe("big")
        sdk.query(f"INSERT INTO {sdk.table} (id, n) VALUES (4, 4)")
        assert ids(sdk.receive("all")) == ["4"]
        assert ids(sdk.receive("none")) == ["4"]
        assert ids(sdk.subscribe("big", f"SELECT id, n FROM {sdk.table} WHERE n > 3")) == ["4"]
        assert sdk.waiting == []

    def test_the_same_id_again_replaces_the_subscription(self, sdk):
        sdk.connect()
        sdk.subscribe("s", f"SELECT * FROM {sdk.table} WHERE n = 1")
        sdk.subscribe("s", f"SELECT * FROM {sdk.table} WHERE n = 2")
        sdk.query(f"INSERT INTO {sdk.table} (id, n) VALUES (1, 1), (2, 2)")
        assert ids(sdk.receive("s")) == ["2"]
        live = sdk.rows("SELECT subscription_id FROM system.live WHERE subscription_id = 's'")
        assert len(live) == 1
        sdk.send(type="subscribe", subscription={"id": "s", "sql": "SELECT * FROM nowhere", "options": {}})
        assert sdk.receive("s")["type"] == "error"
        sdk.query(f"INSERT INTO {sdk.table} (id, n) VALUES (22, 2)")
        assert ids(sdk.receive("s")) == ["22"]

    def test_an_error_comes_instead_of_the_ack(self, sdk):
        sdk.connect()
        for sql, code in (
            ("SELECT * FROM missing.msgs", "NOT_FOUND"),
            (f"SELECT count(*) FROM {sdk.table} GROUP BY n", "INVALID_SQL"),
            (f"SELECT * FROM {sdk.table} WHERE nothing = 1", "SUBSCRIPTION_FAILED"),
        ):
            sdk.send(type="subscribe", subscription={"id": "bad", "sql": sql, "options": {}})
            error = sdk.receive("bad")
            assert set(error) == {"type", "subscription_id", "code", "message"}
            assert (error["type"], error["code"]) == ("error", code)

    def test_paging_as_native_clients_do(self, sdk):
        sdk.connect()
        for first in range(0, 2500, 500):
            values = ", ".join(f"({i}, {i})" for i in range(first, first + 500))
            sdk.query(f"INSERT INTO {sdk.table} (id, n) VALUES {values}")
        batch = sdk.subscribe("p", f"SELECT id, n FROM {sdk.table}", batch_size=1000)
        found, numbers = ids(batch), [0]
        while batch["batch_control"]["has_more"]:
            sdk.send(
                type="next_batch",
                subscription_id="p",
                last_seq_id=batch["batch_control"]["last_seq_id"],
            )
            batch = sdk.receive("p")
            numbers.append(batch["batch_control"]["batch_num"])
            found += ids(batch)
        assert found == [str(i) for i in range(2500)]
        assert numbers == [0, 1, 2]
        assert batch["batch_control"]["status"] == "ready"


class TestReconnect:
    def test_only_what_is_newer_comes_and_all_of_it(self, sdk):
        sdk.connect()
        sdk.query(f"INSERT INTO {sdk.table} (id, n) VALUES (1, 1)")
        sdk.subscribe("a", f"SELECT * FROM {sdk.table}", batch_size=100)
        sdk.subscribe("b", f"SELECT id FROM {sdk.table} WHERE n > 1", last_rows=0)
        sdk.query(f"INSERT INTO {sdk.table} (id, n) VALUES (2, 2)")
        sdk.receive("a"), sdk.receive("b")
        before = dict(sdk.seqs)
        sdk.drop()
        sdk.query(f"INSERT INTO {sdk.table} (id, n) VALUES (3, 3)")
        sdk.query(f"UPDATE {sdk.table} SET n = 9 WHERE id = 1")
        sdk.connect()
        for id_, expected in (("a", ["3", "1"]), ("b", ["3", "1"])):
            sql, options = sdk.subscriptions[id_]
            batch = sdk._subscribe(id_, sql, {**options, "from": before[id_]})
            assert ids(batch) == expected
            assert all(int(row["_seq"]) > before[id_] for row in batch["rows"])
        sdk.query(f"INSERT INTO {sdk.table} (id, n) VALUES (4, 4)")
        assert ids(sdk.receive("a")) == ids(sdk.receive("b")) == ["4"]
        assert sdk.waiting == []

    def test_again_and_again_nothing_is_lost_or_repeated(self, sdk):
        sdk.connect()
        found = ids(sdk.subscribe("s", f"SELECT id FROM {sdk.table}"))
        n = 0
        for _ in range(8):
            sdk.drop()
            for _ in range(3):
                n += 1
                sdk.query(f"INSERT INTO {sdk.table} (id) VALUES ({n})")
            sdk.connect()
            sql, options = sdk.subscriptions["s"]
            found += ids(sdk._subscribe("s", sql, {**options, "from": sdk.seqs.get("s", 0)}))
            n += 1
            sdk.query(f"INSERT INTO {sdk.table} (id) VALUES ({n})")
            found += ids(sdk.receive("s"))
        assert found == [str(i) for i in range(1, n + 1)]

    def test_nothing_new_is_an_empty_batch(self, sdk):
        sdk.connect()
        sdk.query(f"INSERT INTO {sdk.table} (id) VALUES (1)")
        sdk.subscribe("s", f"SELECT * FROM {sdk.table}")
        sdk.drop()
        sdk.connect()
        batch = sdk._subscribe("s", f"SELECT * FROM {sdk.table}", {"from": sdk.seqs["s"]})
        assert batch["rows"] == []
        assert batch["batch_control"] == {
            "batch_num": 0,
            "has_more": False,
            "status": "ready",
            "last_seq_id": None,
        }

    def test_a_broken_connection_frees_its_subscriptions(self, sdk, server):
        sdk.connect()
        for i in range(5):
            sdk.subscribe(f"s{i}", f"SELECT * FROM {sdk.table}")
        sdk.drop()
        live = server.node.kalam.live
        while any(q.table == sdk.table for q in live.all()):
            pass
        sdk.reconnect()
        assert len(sdk.rows(f"SELECT live_id FROM system.live WHERE namespace_id = '{sdk.ns}'")) == 5

    def test_over_a_restart_of_the_server(self, tmp_path, monkeypatch):
        config = CONFIG.with_(jwt_secret=None)
        open_node = Node.open
        monkeypatch.setattr(Node, "open", lambda **given: open_node(tmp_path / "data", **given))
        with running("kalam", config=config) as server:
            sdk = Sdk(server.url)
            sdk.query("CREATE NAMESPACE app")
            sdk.query("CREATE TABLE app.msgs (id INT PRIMARY KEY, body TEXT) WITH (TYPE='USER')")
            sdk.connect()
            sdk.query("INSERT INTO app.msgs VALUES (1, 'a'), (2, 'b')")
            assert ids(sdk.subscribe("s", "SELECT * FROM app.msgs")) == [1, 2]
        opcode, data = sdk.socket.recv_data()
        assert opcode == websocket.ABNF.OPCODE_CLOSE
        assert (int.from_bytes(data[:2]), data[2:]) == (1001, b"Server shutting down")
        with running("kalam", config=config) as server:
            sdk.url = server.url
            sdk.http.base_url = server.url
            assert sdk.rows("SELECT id FROM app.msgs") == [{"id": 1}, {"id": 2}], "the token is still good"
            sdk.query("INSERT INTO app.msgs VALUES (3, 'c')")
            sdk.query("DELETE FROM app.msgs WHERE id = 1")
            before = sdk.seqs["s"]
            sdk.connect()
            batch = sdk._subscribe("s", "SELECT * FROM app.msgs", {"from": before})
            assert ids(batch) == [3]
            gone = sdk.receive("s")
            assert (gone["change_type"], gone["old_values"][0]["id"]) == ("delete", 1)
            assert int(gone["old_values"][0]["_seq"]) > before
        sdk.http.close()


def test_an_open_socket_outlives_its_token(server):
    """Checked at the start only; statements over HTTP with the same token are refused."""
    import time

    import jwt

    from tests.server.running import JWT_SECRET

    sdk = Sdk(server.url)
    claims = jwt.decode(sdk.tokens["access_token"], JWT_SECRET, algorithms=["HS256"])
    now = int(time.time())
    # within the leeway of 60 s now, expired a few seconds later for all who ask again
    token = jwt.encode({**claims, "exp": now - 56}, JWT_SECRET, algorithm="HS256")
    sdk.tokens["access_token"] = token
    sdk.connect()
    sdk.query("CREATE NAMESPACE IF NOT EXISTS outlive; CREATE USER TABLE outlive.t (id INT PRIMARY KEY)")
    while server.node.kalam.auth.known(token, "127.0.0.1") is not None:
        pass
    refused = sdk.http.post(
        "/v1/api/sql", json={"sql": "SELECT 1"}, headers={"Authorization": f"Bearer {token}"}
    )
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "TOKEN_EXPIRED")
    assert sdk.subscribe("s", "SELECT * FROM outlive.t")["rows"] == []
    sdk.http.close()
    sdk.socket.close()


def test_the_development_profile_lifts_what_the_suites_lift():
    profile = KalamConfig.development()
    assert (profile.max_subscriptions_per_user, profile.ws_auth_timeout) == (200_000, 10)

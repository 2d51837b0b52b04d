"""KalamDB's HTTP API over a real socket: envelopes, logins, limits, topics."""

import base64
import json
import socket

import httpx
import jwt
import pytest

from tests.server.running import CONFIG, JWT_SECRET, ROOT_PASSWORD, TOKEN, running


@pytest.fixture(scope="module")
def server():
    with running("kalam") as server:
        kalam = server.node.kalam
        kalam.execute(kalam.session("root"), "CREATE USER 'alice' WITH PASSWORD 'AlicePass1!' ROLE user")
        yield server


@pytest.fixture
def client(server):
    with httpx.Client(base_url=server.url, timeout=20) as client:
        yield client


def login(client, user="root", password=ROOT_PASSWORD):
    return client.post("/v1/api/auth/login", json={"user": user, "password": password})


@pytest.fixture
def root(server):
    with httpx.Client(base_url=server.url, timeout=20) as client:
        token = login(client).json()["access_token"]
        client.cookies.clear()
        client.headers["Authorization"] = f"Bearer {token}"
        yield client


@pytest.fixture
def alice(server):
    with httpx.Client(base_url=server.url, timeout=20) as client:
        token = login(client, "alice", "AlicePass1!").json()["access_token"]
        client.cookies.clear()
        client.headers["Authorization"] = f"Bearer {token}"
        yield client


def sql(client, text, params=None, **more):
    return client.post("/v1/api/sql", json={"sql": text, "params": params, **more}).json()


class TestSql:
    def test_rows(self, root):
        sql(root, "CREATE NAMESPACE IF NOT EXISTS app")
        sql(root, "CREATE TABLE app.todo (id BIGINT PRIMARY KEY, title TEXT NOT NULL) WITH (TYPE='USER')")
        inserted = sql(root, "INSERT INTO app.todo (id, title) VALUES ($1, $2)", [1, "milk"])
        assert inserted["results"] == [{"row_count": 1, "message": "Inserted 1 row(s)", "as_user": "root"}]
        assert "error" not in inserted
        found = sql(root, "SELECT id, title FROM app.todo")
        assert list(found) == ["status", "results", "took", "error"]
        assert found["error"] is None
        assert found["results"][0]["rows"] == [["1", "milk"]]
        assert found["results"][0]["schema"][0] == {
            "name": "id",
            "data_type": "BigInt",
            "index": 0,
            "flags": ["nn", "pk", "uq"],
        }

    def test_a_default_limit_applies_to_other_clients(self, root):
        sql(
            root,
            "CREATE NAMESPACE IF NOT EXISTS lim; CREATE TABLE lim.t (id INT PRIMARY KEY) WITH (TYPE='USER')",
        )
        sql(root, "INSERT INTO lim.t VALUES " + ",".join(f"({i})" for i in range(80)))
        assert sql(root, "SELECT id FROM lim.t")["results"][0]["row_count"] == 50

    def test_an_admin_reads_the_whole_error(self, root):
        answer = root.post("/v1/api/sql", json={"sql": "SELECT * FROM app.nope"})
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert error["code"] == "SQL_EXECUTION_ERROR"
        assert error["message"].startswith("Statement 1 failed: Table not found:")
        assert error["details"] == "SELECT * FROM app.nope"

    def test_others_do_not(self, alice):
        body = alice.post("/v1/api/sql", json={"sql": "SELECT * FROM app.nope"}).json()
        assert body["error"] == {"code": "SQL_EXECUTION_ERROR", "message": "SQL statement failed"}
        assert list(body) == ["status", "results", "took", "error"]

    @pytest.mark.parametrize(
        "content", ["", "nonsense", "[]", "{}", '{"sql":1}', '{"sql":"SELECT 1","params":{}}', '{"sql":null}']
    )
    def test_malformed_json(self, root, content):
        headers = {"Content-Type": "application/json"}
        answer = root.post("/v1/api/sql", content=content, headers=headers)
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert (error["code"], error["message"][:22]) == ("INVALID_INPUT", "Invalid JSON payload: ")

    def test_json_must_be_declared(self, root):
        answer = root.post(
            "/v1/api/sql", content='{"sql":"SELECT 1"}', headers={"Content-Type": "text/plain"}
        )
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "INVALID_INPUT")

    def test_empty_sql(self, root):
        answer = root.post("/v1/api/sql", json={"sql": " ; -- nothing"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "EMPTY_SQL")

    def test_multipart_without_files(self, root):
        files = {"sql": (None, "SELECT $1 AS x"), "params": (None, "[5]")}
        answer = root.post("/v1/api/sql", files=files)
        assert answer.json()["results"][0]["rows"] == [["5"]]

    @pytest.mark.parametrize("size", [10, 2_000_000])
    @pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=x"])
    def test_compressed_bodies_are_not_supported(self, root, client, kind, size):
        body, headers = b"\x1f\x8b" + bytes(size), {"Content-Type": kind, "Content-Encoding": "gzip"}
        answer = root.post("/v1/api/sql", content=body, headers=headers)
        error = {
            "code": "INVALID_INPUT",
            "message": "Content-Encoding 'gzip' is not supported: send the body as it is",
        }
        assert (answer.status_code, answer.json()["error"]) == (415, error)
        assert client.post("/v1/api/sql", content=body, headers=headers).status_code == 401
        plain = root.post("/v1/api/sql", json={"sql": "SELECT 1"}, headers={"Content-Encoding": "identity"})
        assert plain.status_code == 200

    def test_users_rows_are_their_own(self, root, alice):
        sql(
            root,
            "CREATE NAMESPACE IF NOT EXISTS own; CREATE TABLE own.t (id INT PRIMARY KEY) WITH (TYPE='USER')",
        )
        sql(root, "INSERT INTO own.t VALUES (1)")
        assert sql(alice, "SELECT * FROM own.t")["results"][0]["rows"] == []
        sql(alice, "INSERT INTO own.t VALUES (2)")
        assert sql(root, "SELECT id FROM own.t")["results"][0]["rows"] == [[1]]

    def test_the_servers_token_is_the_local_user(self, client):
        answer = client.post(
            "/v1/api/sql", json={"sql": "SELECT CURRENT_USER()"}, headers={"Authorization": f"Bearer {TOKEN}"}
        )
        assert answer.json()["results"][0]["as_user"] == "root"

    def test_expired_tokens_are_told_apart(self, root, server):
        claims = {
            "sub": "root",
            "iss": "kalamdb",
            "iat": 1,
            "exp": 2,
            "role": "system",
            "token_type": "access",
        }
        token = jwt.encode(claims, JWT_SECRET, algorithm="HS256")
        answer = httpx.post(
            f"{server.url}/v1/api/sql", json={"sql": "SELECT 1"}, headers={"Authorization": f"Bearer {token}"}
        )
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "TOKEN_EXPIRED")

    @pytest.mark.parametrize(
        ("header", "code"),
        [
            (None, "MISSING_AUTHORIZATION"),
            ("Basic cm9vdDpSb290UGFzczEyMyE=", "INVALID_CREDENTIALS"),
            ("Token abc", "INVALID_CREDENTIALS"),
            ("Digest abc", "INVALID_CREDENTIALS"),
            ("Bearer", "INVALID_CREDENTIALS"),
            ("Bearer abc", "INVALID_CREDENTIALS"),
            ("Bearer a.b.c", "INVALID_CREDENTIALS"),
        ],
    )
    @pytest.mark.parametrize("path", ["/v1/api/sql", "/v1/api/topics/consume", "/v1/api/topics/ack"])
    def test_what_is_no_token_is_told_in_the_sql_envelope(self, client, path, header, code):
        headers = {} if header is None else {"Authorization": header}
        body = client.post(path, content=b"no json", headers=headers)
        message = "Authentication required" if header is None else "Invalid credentials"
        assert body.status_code == 401
        assert isinstance(body.json().pop("took"), float)
        assert {k: v for k, v in body.json().items() if k != "took"} == {
            "status": "error",
            "results": [],
            "error": {"code": code, "message": message},
        }

    def test_the_scheme_is_written_as_the_contract_does(self, client):
        token = login(client).json()["access_token"]
        for scheme, status in (("Bearer", 200), ("bearer", 401), ("BEARER", 401)):
            headers = {"Authorization": f"{scheme} {token}"}
            assert client.post("/v1/api/sql", json={"sql": "SELECT 1"}, headers=headers).status_code == status
            assert client.get("/v1/api/auth/me", headers=headers).status_code == 200

    def test_a_refresh_token_opens_nothing(self, client):
        token = login(client).json()["refresh_token"]
        headers = {"Authorization": f"Bearer {token}"}
        answer = client.post("/v1/api/sql", json={"sql": "SELECT 1"}, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "INVALID_CREDENTIALS")


class TestFiles:
    def test_an_upload_comes_back(self, root, alice):
        sql(root, "CREATE NAMESPACE IF NOT EXISTS doc")
        sql(root, "CREATE TABLE doc.t (id INT PRIMARY KEY, f FILE) WITH (TYPE='USER')")
        files = {
            "sql": (None, 'INSERT INTO doc.t (id, f) VALUES (1, FILE("contract"))'),
            "file:contract": ("Contract v2.html", b"<script>alert(1)</script>", "text/html"),
        }
        inserted = root.post("/v1/api/sql", files=files).json()
        assert inserted["results"][0]["message"] == "Inserted 1 row(s)"
        reference = json.loads(sql(root, "SELECT f FROM doc.t")["results"][0]["rows"][0][0])
        assert reference["size"] == 25
        name = f"{reference['id']}-contract-v2.html"
        for prefix, file_id in (("", name), ("/api", reference["id"])):
            answer = root.get(f"{prefix}/v1/files/doc/t/{reference['sub']}/{file_id}")
            assert answer.content == b"<script>alert(1)</script>"
            assert answer.headers["content-type"].startswith("text/html")
            assert "sandbox" in answer.headers["content-security-policy"]
        assert alice.get(f"/v1/files/doc/t/{reference['sub']}/{name}").status_code == 404
        assert httpx.get(f"{root.base_url}/v1/files/doc/t/{reference['sub']}/{name}").status_code == 401
        assert root.get("/v1/files/doc/t/..%2Fx/y").status_code == 400
        assert root.get("/v1/files/doc/nope/f0001/1").json() == {"error": "Table 'doc:nope' not found"}

    def test_placeholders_need_multipart(self, root):
        answer = sql(root, "INSERT INTO doc.t (id, f) VALUES (1, FILE('x'))")
        assert answer["error"]["code"] == "INVALID_INPUT"

    def test_exports_are_for_their_owner(self, alice):
        assert alice.get("/v1/exports/root/1").json()["error"]["code"] == "PERMISSION_DENIED"


class TestAuth:
    def test_login_gives_tokens_and_cookies(self, client):
        answer = login(client)
        assert set(answer.json()) == {
            "user",
            "admin_ui_access",
            "expires_at",
            "access_token",
            "refresh_token",
            "refresh_expires_at",
        }
        cookies = answer.headers.get_list("set-cookie")
        assert len(cookies) == 2
        for cookie in cookies:
            assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Path=/" in cookie
            assert "Secure" not in cookie  # plain http here

    def test_username_is_an_alias(self, client):
        body = {"username": "root", "password": ROOT_PASSWORD}
        assert client.post("/v1/api/auth/login", json=body).status_code == 200

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"user": "root"},
            {"user": "root", "password": "x", "extra": 1},
            {"user": 1, "password": "x"},
            {"user": "u" * 129, "password": "x"},
            {"user": "root", "password": "p" * 257},
        ],
    )
    def test_a_bad_body_is_refused_in_plain_text(self, client, body):
        answer = client.post("/v1/api/auth/login", json=body)
        assert answer.status_code == 400
        assert answer.headers["content-type"].startswith("text/plain")

    def test_a_body_above_the_frameworks_limit(self, client):
        body = {"user": "root", "password": "x" * 2 * 1024 * 1024}
        answer = client.post("/v1/api/auth/login", json=body)
        assert answer.status_code == 413
        assert answer.text.startswith("JSON payload (2097")

    def test_a_wrong_password(self, client):
        answer = login(client, "nobody", "wrong")
        assert (answer.status_code, answer.json()) == (
            401,
            {"error": "unauthorized", "message": "Invalid credentials"},
        )

    def test_me_and_refresh_by_cookie_and_by_bearer(self, client):
        tokens = login(client).json()
        assert client.get("/v1/api/auth/me").json()["user"]["id"] == "root"
        assert client.post("/v1/api/auth/refresh").status_code == 200
        client.cookies.clear()
        assert client.get("/v1/api/auth/me").json()["message"] == "No auth token found"
        assert client.post("/v1/api/auth/refresh").json()["message"] == "No refresh token found"
        headers = {"Authorization": f"bearer {tokens['access_token']}"}
        assert client.get("/v1/api/auth/me", headers=headers).status_code == 200
        refused = client.post("/v1/api/auth/refresh", headers=headers)
        assert refused.json()["message"] == "Refresh endpoint requires a refresh token"
        headers = {"Authorization": f"Bearer {tokens['refresh_token']}"}
        assert client.post("/v1/api/auth/refresh", headers=headers).status_code == 200

    def test_logout_clears_the_cookies(self, client):
        login(client)
        answer = client.post("/v1/api/auth/logout")
        assert answer.json() == {"message": "Logged out successfully"}
        assert not client.cookies
        rest = "; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; SameSite=Strict"
        assert answer.headers.get_list("set-cookie") == [f"kalamdb_auth={rest}", f"kalamdb_refresh={rest}"]

    def test_first_setup(self):
        with running("kalam", config=CONFIG.with_(root_password=None)) as server:
            client = httpx.Client(base_url=server.url, timeout=20)
            assert client.get("/v1/api/auth/status").json()["needs_setup"] is True
            assert login(client, "root", "").status_code == 428
            body = {"user": "admin", "password": "AdminPass1!", "root_password": "short"}
            weak = client.post("/v1/api/auth/setup", json=body)
            assert (weak.status_code, weak.json()["error"]) == (400, "weak_password")
            done = client.post("/v1/api/auth/setup", json={**body, "root_password": "RootPass123!"})
            assert done.json()["user"]["role"] == "dba"
            assert client.get("/v1/api/auth/status").json()["needs_setup"] is False
            assert client.post("/v1/api/auth/setup", json=body).json()["error"] == "already_configured"
            far = client.get("/v1/api/auth/status", headers={"X-Forwarded-For": "203.0.113.9"})
            assert far.status_code == 403

    def test_logins_are_limited(self):
        with running("kalam", config=CONFIG.with_(max_auth_requests_per_ip_per_sec=2)) as server:
            client = httpx.Client(base_url=server.url, timeout=20)
            answers = [client.post("/v1/api/auth/refresh").status_code for _ in range(3)]
            assert answers == [401, 401, 429]


class TestGuard:
    def test_large_bodies_are_refused(self):
        with running("kalam", config=CONFIG.with_(max_body_size=100)) as server:
            answer = httpx.post(f"{server.url}/v1/api/sql", content=b"x" * 101)
            assert answer.status_code == 413
            assert answer.json() == {
                "error": "BODY_TOO_LARGE",
                "message": "Request body exceeds maximum allowed size",
                "size_bytes": 101,
                "max_bytes": 100,
            }

    def test_far_addresses_are_limited(self):
        with running("kalam", config=CONFIG.with_(max_requests_per_ip_per_sec=1)) as server:
            far = {"X-Forwarded-For": "203.0.113.9"}
            statuses = [httpx.get(f"{server.url}/v1/api/auth/me", headers=far) for _ in range(3)]
            assert [a.status_code for a in statuses] == [401, 429, 429]
            assert statuses[1].headers["retry-after"] == "1"
            near = [httpx.get(f"{server.url}/v1/api/auth/me").status_code for _ in range(5)]
            assert near == [401] * 5

    def test_the_audit_log_says_where_callers_are(self):
        ways = [("Bearer", TOKEN), ("Bearer", None)]
        with running("kalam", config=CONFIG) as server:
            client = httpx.Client(base_url=server.url, timeout=20)
            told = login(client).json()["access_token"]
            client.cookies.clear()
            for i, (scheme, token) in enumerate(ways):
                client.headers["Authorization"] = f"{scheme} {token or told}"
                for j, far in enumerate(({}, {"X-Forwarded-For": "203.0.113.9"}, {})):
                    done = client.post("/v1/api/sql", json={"sql": f"CREATE NAMESPACE n{i}{j}"}, headers=far)
                    assert done.status_code == 200
            kalam = server.node.kalam
            kalam.execute(kalam.session("root"), "CREATE NAMESPACE inside")
            (found,) = kalam.execute(
                kalam.session("root"),
                "SELECT ip_address FROM system.audit_log WHERE action = 'CREATE_NAMESPACE' ORDER BY target",
            )
        near, far = "127.0.0.1", "203.0.113.9"
        assert [a for (a,) in found.rows()] == [None, near, far, near, near, far, near]

    def test_statements_are_limited_per_user(self):
        with running("kalam", config=CONFIG.with_(max_queries_per_sec=2)) as server:
            client = httpx.Client(base_url=server.url, timeout=20)
            client.headers["Authorization"] = f"Bearer {login(client).json()['access_token']}"
            codes = [client.post("/v1/api/sql", json={"sql": "SELECT 1"}).status_code for _ in range(8)]
            assert codes[:2] == [200, 200]
            assert 429 in codes


class TestHealth:
    @pytest.mark.parametrize("known", [False, True])
    def test_a_client_that_goes_away_ends_its_query(self, known):
        endless = json.dumps({"sql": "SELECT sum(value) FROM generate_series(1, 1000000000000)"}).encode()
        head = (
            "POST /v1/api/sql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {TOKEN}\r\nContent-Length: {len(endless)}\r\n\r\n"
        )
        headers = {"Authorization": f"Bearer {TOKEN}"}
        with (
            running("kalam", config=CONFIG.with_(query_timeout=0), workers=1) as server,
            httpx.Client(base_url=server.url, timeout=20, headers=headers) as client,
        ):
            if known:
                sql(client, "SELECT 1")
            with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
                connection.sendall(head.encode() + endless)
            assert sql(client, "USE default; SELECT 1")["results"][1]["rows"] == [["1"]]

    def test_a_transaction_is_named_by_its_request(self, root):
        body = {"sql": "BEGIN; BEGIN; COMMIT"}
        for headers, owner in (({}, "sql-req-"), ({"X-Request-ID": "mine"}, "sql-req-mine'")):
            refused = root.post("/v1/api/sql", json=body, headers=headers).json()["error"]["message"]
            assert f"request owner '{owner}" in refused
            assert "embedded" not in refused

    def test_health(self, client):
        for path in ("/health", "/v1/api/healthcheck"):
            body = client.get(path).json()
            assert (body["status"], body["api_version"]) == ("healthy", "v1")
        far = client.get("/health", headers={"X-Forwarded-For": "203.0.113.9"})
        assert far.status_code == 403
        assert far.json() == {"error": "Access denied. Health endpoint is localhost-only."}

    def test_cluster_health(self, client):
        body = client.get("/v1/api/cluster/health").json()
        assert body["is_cluster_mode"] is True
        assert len(body["nodes"]) == 1
        assert set(body["nodes"][0]) >= {"role", "status", "api_addr", "uptime_human", "replication_lag"}

    def test_pages_of_allowed_origins_may_read_answers(self):
        config = CONFIG.with_(cors_allowed_origins=("https://app.example",))
        with running("kalam", config=config) as server:
            url = f"{server.url}/v1/api/sql"
            asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
            preflight = httpx.options(url, headers=asked)
            assert preflight.is_success
            assert preflight.headers["access-control-allow-origin"] == "https://app.example"
            assert "POST" in preflight.headers["access-control-allow-methods"]
            assert preflight.headers["access-control-max-age"] == "3600"
            refused = httpx.post(url, json={"sql": "SELECT 1"}, headers={"Origin": "https://app.example"})
            assert refused.status_code == 401
            assert refused.headers["access-control-allow-origin"] == "https://app.example"
            assert "access-control-allow-credentials" not in refused.headers
            assert httpx.post(url, headers={"Origin": "https://evil.example"}).status_code == 403

    def test_unknown_paths_are_empty_404s(self, client):
        answer = client.get("/healthz")
        assert (answer.status_code, answer.content) == (404, b"")

    def test_a_method_that_a_route_has_not_is_told_those_it_has(self, client):
        for path, methods in (("/v1/api/sql", "POST, OPTIONS"), ("/health", "GET, OPTIONS")):
            answer = client.delete(path)
            assert (answer.status_code, answer.headers["allow"], answer.content) == (405, methods, b"")


class TestTopics:
    @pytest.fixture(scope="class")
    @classmethod
    def topic(cls, server):
        with httpx.Client(base_url=server.url, timeout=20) as client:
            client.headers["Authorization"] = f"Bearer {TOKEN}"
            sql(client, "CREATE NAMESPACE IF NOT EXISTS tp")
            sql(client, "CREATE TABLE tp.orders (id INT PRIMARY KEY, note TEXT) WITH (TYPE='SHARED')")
            sql(client, "CREATE TOPIC tp.events; ALTER TOPIC tp.events ADD SOURCE tp.orders ON INSERT")
            sql(client, "INSERT INTO tp.orders VALUES (1, 'a')")
            sql(client, "INSERT INTO tp.orders VALUES (2, 'b')")
        return "tp.events"

    def consume(self, client, **body):
        return client.post("/v1/api/topics/consume", json=body)

    def test_consume_and_acknowledge(self, root, topic):
        answer = self.consume(root, topic_id=topic, group_id="g1", start="Earliest", limit=1).json()
        assert (answer["next_offset"], answer["has_more"]) == (1, True)
        (message,) = answer["messages"]
        assert message["op"] == "Insert"
        assert message["key"] == "1"
        assert "user" not in message
        assert json.loads(base64.b64decode(message["payload"]))["note"] == "a"
        again = self.consume(root, topic_id=topic, group_id="g1", start={"Offset": 0}, limit=10).json()
        assert [m["offset"] for m in again["messages"]] == [1]
        acked = root.post("/v1/api/topics/ack", json={"topic_id": topic, "group_id": "g1", "upto_offset": 1})
        assert acked.json() == {"success": True, "acknowledged_offset": 1}

    def test_a_consumer_may_wait_for_the_first_message(self, root, topic, server):
        import threading

        found = []

        def consume():
            with httpx.Client(base_url=server.url, timeout=30, headers=root.headers) as client:
                body = {"topic_id": topic, "group_id": "g2", "start": "Latest", "timeout_seconds": 20}
                found.append(client.post("/v1/api/topics/consume", json=body).json())

        assert self.consume(root, topic_id=topic, group_id="g2", start="Latest").json()["messages"] == []
        thread = threading.Thread(target=consume)
        thread.start()
        sql(root, "INSERT INTO tp.orders VALUES (3, 'c')")
        thread.join(30)
        assert [m["key"] for m in found[0]["messages"]] == ["3"]

    def test_ordinary_users_may_not(self, alice, topic):
        answer = self.consume(alice, topic_id=topic, group_id="g")
        assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")

    def test_unknown_topics(self, root):
        answer = self.consume(root, topic_id="tp.nope", group_id="g")
        assert (answer.status_code, answer.json()) == (
            404,
            {"error": "Topic 'tp.nope' does not exist", "code": "NOT_FOUND"},
        )

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"topic_id": "t"},
            {"topic_id": "", "group_id": "g"},
            {"topic_id": "t", "group_id": "g", "start": 5},
            {"topic_id": "t", "group_id": "g", "start": "Middle"},
            {"topic_id": "t", "group_id": "g", "limit": -1},
        ],
    )
    def test_bad_requests_are_plain_text(self, root, body):
        answer = self.consume(root, **body)
        assert answer.status_code == 400
        assert answer.headers["content-type"].startswith("text/plain")

    def test_without_a_token(self, client):
        answer = self.consume(client, topic_id="t", group_id="g")
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "MISSING_AUTHORIZATION")

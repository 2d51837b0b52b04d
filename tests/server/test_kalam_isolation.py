"""Nobody sees another user's data: every kind of statement and every route, with two users.

Alice's rows, files, messages and exports hold a secret word. Bob sends every kind of statement there is,
and calls every route; the word may appear in no answer, and afterwards everything of Alice's is as it was.
A statement or a route without a case here fails the test.
"""

import base64
import json

import httpx
import orjson
import pytest
import websocket

from kalam_jupyter.kalam.execute import HANDLERS
from kalam_jupyter.kalam.statements import nodes, parse_statement
from kalam_server.routes import KALAM_ROUTES, KSQL_ROUTES
from tests.server.running import CONFIG, running

SECRET = "s3cr3t"
ENCODED = [
    SECRET,
    base64.b64encode(SECRET.encode()).decode().rstrip("=")[:-1],
    json.dumps(list(SECRET.encode()))[1:-1].replace(" ", ""),
]
SCHEMA = """
CREATE NAMESPACE app;
CREATE USER TABLE app.notes (id INT PRIMARY KEY, body TEXT, f FILE, e EMBEDDING(2), n INT);
CREATE STREAM TABLE app.events (id INT, body TEXT) WITH (TTL_SECONDS = 3600);
CREATE SHARED TABLE app.closed (id INT PRIMARY KEY, body TEXT) WITH (ACCESS_LEVEL = 'PRIVATE');
INSERT INTO app.closed VALUES (1, 's3cr3t');
CREATE VIEW app.seen AS SELECT id, body FROM app.notes;
CREATE VIEW app.peek AS SELECT id, body FROM app.closed;
CREATE TOPIC app.changes;
ALTER TOPIC app.changes ADD SOURCE app.notes ON INSERT;
ALTER TABLE app.notes CREATE INDEX e
"""
#: What bob tries. Destructive ones name alice's keys, or act on everything.
STATEMENTS: dict[type, list[str]] = {
    nodes.Select: [
        "SELECT * FROM app.notes",
        "SELECT * FROM app.events",
        "SELECT * FROM app.seen",
        "SELECT * FROM app.peek",
        "SELECT * FROM app.closed",
        "SELECT body FROM app.notes WHERE _deleted = true OR _deleted = false",
        "SELECT string_agg(body, ',') AS b, count(*) FROM app.notes",
        "SELECT * FROM vector_search('app.notes', 'e', '[1, 0]', 5)",
        "SELECT a.body FROM app.notes a JOIN app.events b ON a.id = b.id",
        "WITH x AS (SELECT body FROM app.notes) SELECT * FROM x UNION ALL SELECT body FROM app.events",
        "SELECT * FROM app.notes WHERE 1 / (n - 1) = 0",
        "SELECT CAST(body AS INT) FROM app.notes",
        "SELECT arrow_cast(body, 'Int8') FROM app.notes",
        "SELECT * FROM system.users",
        "SELECT * FROM system.live",
        "SELECT * FROM system.jobs",
        "SELECT * FROM system.audit_log",
        "SELECT * FROM system.manifest",
        "SELECT * FROM kalam.app.closed",
        "SELECT * FROM information_schema.tables",
        "SELECT * FROM information_schema.views",
        "SELECT * FROM information_schema.columns",
        'SELECT * FROM "kalam:app.notes"',
        "SELECT * FROM ksql.anything",
        "VALUES ((SELECT body FROM app.notes LIMIT 1))",
    ],
    nodes.EngineCommand: [
        "EXPLAIN ANALYZE SELECT * FROM app.notes",
        "SET x = 1",
        "SHOW ALL",
        "DESCRIBE app.notes",
    ],
    nodes.Insert: [
        "INSERT INTO app.notes (id, body) VALUES (1, 'bob')",
        "INSERT INTO app.notes (id, body) SELECT 2, string_agg(body, ',') FROM app.notes",
        "INSERT INTO app.events (id, body) SELECT 1, body FROM app.closed",
        "INSERT INTO app.closed VALUES (2, 'bob')",
    ],
    nodes.Update: [
        "UPDATE app.notes SET body = 'bob' WHERE id = 1",
        "UPDATE app.notes SET body = (SELECT max(body) FROM app.closed) WHERE id > 0",
        "UPDATE app.closed SET body = 'bob' WHERE id = 1",
    ],
    nodes.Delete: [
        "DELETE FROM app.notes WHERE id > 0",
        "DELETE FROM app.events WHERE true",
        "DELETE FROM app.closed WHERE id = 1",
    ],
    nodes.ExecuteAs: [
        "EXECUTE AS USER 'alice' (SELECT * FROM app.notes)",
        "EXECUTE AS USER alice (DELETE FROM app.notes WHERE id = 1)",
        "EXECUTE AS USER 'bob' (SELECT * FROM app.notes)",
    ],
    nodes.Begin: ["BEGIN; SELECT * FROM app.notes; DELETE FROM app.notes WHERE id = 1; COMMIT"],
    nodes.Commit: ["BEGIN; UPDATE app.notes SET n = 0 WHERE id = 1; COMMIT"],
    nodes.Rollback: ["BEGIN; INSERT INTO app.notes (id) SELECT id FROM app.closed; ROLLBACK"],
    nodes.CreateNamespace: ["CREATE NAMESPACE mine"],
    nodes.DropNamespace: ["DROP NAMESPACE app CASCADE"],
    nodes.AlterNamespace: ["ALTER NAMESPACE app SET OPTIONS (a = 'b')"],
    nodes.UseNamespace: ["USE app; SELECT * FROM notes"],
    nodes.CreateTable: ["CREATE USER TABLE IF NOT EXISTS app.notes (id INT PRIMARY KEY)"],
    nodes.DropTable: ["DROP TABLE app.notes"],
    nodes.CreateView: [
        "CREATE OR REPLACE VIEW app.seen AS SELECT 1",
        "CREATE VIEW app.v AS SELECT * FROM app.closed",
    ],
    nodes.DropView: ["DROP VIEW app.seen"],
    nodes.AddColumn: ["ALTER TABLE app.closed ADD COLUMN x INT"],
    nodes.DropColumn: ["ALTER TABLE app.closed DROP COLUMN body"],
    nodes.ModifyColumn: ["ALTER TABLE app.closed MODIFY COLUMN body INT"],
    nodes.SetNullable: ["ALTER TABLE app.closed ALTER COLUMN body SET NOT NULL"],
    nodes.SetDefault: ["ALTER TABLE app.closed ALTER COLUMN body SET DEFAULT 'bob'"],
    nodes.RenameColumn: ["ALTER TABLE app.closed RENAME COLUMN body TO x"],
    nodes.SetAccessLevel: ["ALTER TABLE app.closed SET ACCESS LEVEL PUBLIC"],
    nodes.AlterIndex: ["ALTER TABLE app.closed CREATE INDEX body"],
    nodes.Show: ["SHOW NAMESPACES", "SHOW TABLES", "SHOW STORAGES", "SHOW MANIFEST", "SHOW EXPORT"],
    nodes.ShowStats: ["SHOW STATS FOR TABLE app.notes"],
    nodes.DescribeTable: ["DESCRIBE TABLE app.notes HISTORY"],
    nodes.CreateUser: ["CREATE USER carl WITH PASSWORD 'x' ROLE dba"],
    nodes.AlterUser: ["ALTER USER alice SET PASSWORD 'x'", "ALTER USER bob SET ROLE dba"],
    nodes.DropUser: ["DROP USER alice"],
    nodes.CreateStorage: ["CREATE STORAGE mine TYPE filesystem PATH '/tmp'"],
    nodes.AlterStorage: ["ALTER STORAGE local SET NAME 'x'"],
    nodes.DropStorage: ["DROP STORAGE local"],
    nodes.CheckStorage: ["STORAGE CHECK local EXTENDED"],
    nodes.Maintain: ["STORAGE FLUSH TABLE app.notes", "STORAGE COMPACT ALL IN app"],
    nodes.KillJob: ["KILL JOB 'UE-1'"],
    nodes.KillLiveQuery: ["KILL LIVE QUERY 'alice-1-s'"],
    nodes.Backup: ["BACKUP DATABASE TO 'stolen'"],
    nodes.Restore: ["RESTORE DATABASE FROM 'stolen'"],
    nodes.ExportUserData: ["EXPORT USER DATA"],
    nodes.Cluster: ["CLUSTER SNAPSHOT"],
    nodes.CreateTopic: ["CREATE TOPIC app.mine"],
    nodes.DropTopic: ["DROP TOPIC app.changes"],
    nodes.ClearTopic: ["CLEAR TOPIC app.changes"],
    nodes.AddSource: ["ALTER TOPIC app.changes ADD SOURCE app.notes ON DELETE"],
    nodes.Consume: [
        "CONSUME FROM app.changes FROM EARLIEST",
        "CONSUME FROM app.changes GROUP 'g' FROM EARLIEST",
    ],
    nodes.Ack: ["ACK app.changes GROUP 'g' UPTO OFFSET 1"],
    nodes.SubscribeTo: ["SUBSCRIBE TO app.notes", "SUBSCRIBE TO SELECT * FROM app.closed"],
    nodes.Refused: ["DELETE FROM app.notes"],
}


class World:
    """The server, alice's data in it, and the two users' clients."""

    def __init__(self, server):
        self.server, self.kalam = server, server.node.kalam
        self.run("root", SCHEMA)
        self.clients = {}
        for name in ("alice", "bob"):
            self.run("root", f"CREATE USER {name} WITH PASSWORD 'x' ROLE user")
            token = self.kalam.auth.issue(name).access_token
            headers = {"Authorization": f"Bearer {token}"}
            self.clients[name] = httpx.Client(base_url=server.url, headers=headers, timeout=20)
            self.clients[name].token = token
        sql = f"INSERT INTO app.notes VALUES (1, '{SECRET}', FILE('x'), '[1, 0]', 1)"
        self.clients["alice"].post(
            "/v1/api/sql", data={"sql": sql}, files={"file:x": (f"{SECRET}.txt", SECRET.encode())}
        )
        self.run("alice", f"INSERT INTO app.events VALUES (1, '{SECRET}'); EXPORT USER DATA")
        self.run("root", "STORAGE FLUSH TABLE app.notes; BACKUP DATABASE TO 'kept'")
        self.kalam.jobs.drain()
        self.file = orjson.loads(self.rows("alice", "SELECT f FROM app.notes")[0][0])
        self.export = self.rows("alice", "SHOW EXPORT")[0][4].rsplit("/", 1)[1]
        self.before = self.state()

    def run(self, user, sql):
        return self.kalam.execute(self.kalam.session(user), sql)

    def rows(self, user, sql):
        return [tuple(row) for row in self.run(user, sql)[0].rows()]

    def state(self):
        """Everything of alice's, and what she shares with nobody."""
        found = [self.rows("alice", f"SELECT * FROM app.{t}") for t in ("notes", "events")]
        found += [self.rows("alice", "SHOW EXPORT"), self.rows("root", "SELECT * FROM app.closed")]
        found.append(self.rows("root", "SELECT * FROM system.schemas WHERE namespace_id = 'app'"))
        messages = self.rows("root", "CONSUME FROM app.changes FROM EARLIEST")
        found.append([m for m in messages if "alice" in m])
        sql = "SELECT user_id, role, password_hash FROM system.users WHERE user_id IN ('alice', 'bob')"
        found.append(self.rows("root", sql))
        stored = self.kalam.read_file(
            self.kalam.session("alice"), "app", "notes", self.file["sub"], self.file["id"]
        )
        return [*found, stored]


@pytest.fixture(scope="module")
def world():
    with running("kalam", config=CONFIG) as server:
        world = World(server)
        yield world
        for client in world.clients.values():
            client.close()


def assert_nothing_seen(text, what):
    plain = text.replace(" ", "")
    for form in ENCODED:
        assert form not in plain, what


def test_every_kind_of_statement_has_a_case():
    kinds = {*HANDLERS, nodes.ExecuteAs, nodes.Begin, nodes.Commit, nodes.Rollback}
    assert set(STATEMENTS) == kinds
    for kind, texts in STATEMENTS.items():
        single = [t for t in texts if ";" not in t]
        assert all(isinstance(parse_statement(t), kind) for t in single if kind is not nodes.Refused)


@pytest.mark.parametrize("kind", STATEMENTS, ids=lambda k: k.__name__)
def test_statements(world, kind):
    bob = world.clients["bob"]
    for sql in STATEMENTS[kind]:
        answer = bob.post("/v1/api/sql", json={"sql": sql})
        assert answer.status_code in (200, 400, 403), sql
        assert_nothing_seen(answer.text, sql)
    world.kalam.jobs.drain()
    assert world.state() == world.before


@pytest.mark.parametrize("role", ["service", "dba"])
def test_reads_of_higher_roles_show_their_own_rows_too(world, role):
    """No role reads another's rows of USER and STREAM tables without EXECUTE AS USER."""
    world.run("root", f"CREATE USER {role}1 WITH PASSWORD 'x' ROLE {role}")
    headers = {"Authorization": f"Bearer {world.kalam.auth.issue(f'{role}1').access_token}"}
    for sql in STATEMENTS[nodes.Select]:
        if any(t in sql for t in ("closed", "peek", "system.", "information_schema")):
            continue  # shared with these roles
        answer = httpx.post(f"{world.server.url}/v1/api/sql", json={"sql": sql}, headers=headers)
        assert_nothing_seen(answer.text, sql)


# ---- routes


def file_urls(world):
    file, sub = world.file, world.file["sub"]
    name = f"{file['id']}-{SECRET}.txt"
    for stored in (file["id"], name, f"../alice/{sub}/{name}", f"..%2F..%2Falice%2F{sub}%2F{name}"):
        for query in ("", "?user_id=alice", "?user_id=..%2Falice", "?user_id=alice%2F..%2Falice"):
            yield f"files/app/notes/{sub}/{stored}{query}"
    yield f"files/app/notes/..%2Falice%2F{sub}/{name}"
    yield f"files/app/closed/{sub}/{name}"


def get_files(prefix):
    def calls(world):
        for url in file_urls(world):
            yield "GET", f"{prefix}/{url}", {}
            yield "HEAD", f"{prefix}/{url}", {}

    return calls


def get_exports(world):
    for user in ("alice", "bob", "bob%2F..%2Falice", ".."):
        for export in (world.export, f"..%2Falice%2F{world.export}", f"{world.export}.zip"):
            yield "GET", f"/v1/exports/{user}/{export}", {}


def upload(world):
    for sql in (
        "INSERT INTO app.notes (id, f) VALUES (70, FILE('x'))",
        "INSERT INTO app.closed VALUES (7, FILE('x'))",
    ):
        yield "POST", "/v1/api/sql", {"data": {"sql": sql}, "files": {"file:x": ("b.txt", b"bob")}}
    for sql in ("SELECT * FROM app.notes WHERE id = $1", "SELECT * FROM app.closed WHERE id = $1"):
        yield "POST", "/v1/api/sql", {"json": {"sql": sql, "params": [1]}}
        accept = {"Accept": "application/vnd.apache.arrow.stream"}
        yield "POST", "/v1/api/sql", {"json": {"sql": sql, "params": [1]}, "headers": accept}


def topics(path, **extra):
    body = {"topic_id": "app.changes", "group_id": "g", "start": "Earliest", **extra}
    return lambda world: [("POST", path, {"json": body})]


def plain(method, path, **options):
    return lambda world: [(method, path, options)]


ROUTES = {
    r"/v1/api/sql": upload,
    r"/v1/api/auth/login": plain("POST", "/v1/api/auth/login", json={"user": "alice", "password": "y"}),
    r"/v1/api/auth/refresh": plain("POST", "/v1/api/auth/refresh"),
    r"/v1/api/auth/logout": plain("POST", "/v1/api/auth/logout"),
    r"/v1/api/auth/me": plain("GET", "/v1/api/auth/me?user=alice"),
    r"/v1/api/auth/setup": plain(
        "POST",
        "/v1/api/auth/setup",
        json={"user": "x", "password": "Secret-12", "root_password": "Secret-12"},
    ),
    r"/v1/api/auth/status": plain("GET", "/v1/api/auth/status"),
    r"/v1/api/topics/consume": topics("/v1/api/topics/consume"),
    r"/v1/api/topics/ack": topics("/v1/api/topics/ack", upto_offset=5),
    r"/v1/api/healthcheck": plain("GET", "/v1/api/healthcheck"),
    r"/v1/api/cluster/health": plain("GET", "/v1/api/cluster/health"),
    r"/health": plain("GET", "/health"),
    r"/v1/files/([^/]+)/([^/]+)/([^/]+)/([^/]+)": get_files("/v1"),
    r"/api/v1/files/([^/]+)/([^/]+)/([^/]+)/([^/]+)": get_files("/api/v1"),
    r"/v1/exports/([^/]+)/([^/]+)": get_exports,
    r"/v1/ws": plain("GET", "/v1/ws"),
    r"/v1/openapi\.json": plain("GET", "/v1/openapi.json"),
}


def test_every_route_has_a_case():
    assert set(ROUTES) == {entry.pattern for entry in KALAM_ROUTES}


@pytest.mark.parametrize("pattern", ROUTES)
def test_routes(world, pattern):
    bob = world.clients["bob"]
    for method, path, options in ROUTES[pattern](world):
        answer = bob.request(method, path, **options)
        assert answer.status_code < 500, (path, answer.text)
        assert_nothing_seen(answer.text, path)
        assert SECRET not in str(answer.headers.get("content-disposition"))
        assert SECRET.encode() not in answer.content
    assert world.clients["alice"].get(f"/v1/exports/alice/{world.export}").status_code == 200
    assert world.state() == world.before


def test_ordinary_users_are_kept_out_of_ksqldbs_api(world):
    """It shows topics of all users: the role service is asked for, on every route that says anything."""
    open_routes = []
    for entry in KSQL_ROUTES:
        path = entry.pattern.removesuffix("/?").replace(r"([^/]+)", "x").replace("(?:ready|live)", "ready")
        path = path.replace("(?:subjects|schemas|config|mode)(?:/.*)?", "subjects")
        for method in ("GET", "POST"):
            if method in entry.handler.public or not _has(entry.handler, method):
                open_routes += [path] if method in entry.handler.public else []
                continue
            answer = world.clients["bob"].request(
                method, path, json={"ksql": "PRINT 'app.changes' FROM BEGINNING;"}
            )
            assert answer.status_code in (400, 401, 403, 404, 405), (path, answer.status_code)
            assert_nothing_seen(answer.text, path)
    for path in open_routes:
        assert_nothing_seen(world.clients["bob"].get(path).text, path)


def _has(handler, method):
    from tornado.web import RequestHandler

    return getattr(handler, method.lower(), None) is not getattr(RequestHandler, method.lower())


LIVE = [
    "SELECT * FROM app.notes",
    "SELECT * FROM app.events",
    "SELECT id, body FROM app.notes WHERE id > 0",
    "SELECT * FROM app.closed",
    "SELECT * FROM app.peek",
    "SELECT * FROM system.live",
    "SELECT * FROM system.users",
    "SELECT * FROM ksql.anything",
]


def test_live_queries_show_no_change_of_others(world):
    url = world.server.url.replace("http", "ws") + "/v1/ws?compress=false"
    socket = websocket.create_connection(
        url,
        timeout=20,
        header=[f"Authorization: Bearer {world.clients['bob'].token}"],
        suppress_origin=True,
    )
    frames = [socket.recv()]
    for i, sql in enumerate(LIVE):
        for options in ({}, {"from": 0}, None):
            id_ = f"{i}-{options}"
            body = {"id": id_, "sql": sql, **({} if options is None else {"options": options})}
            socket.send(json.dumps({"type": "subscribe", "subscription": body}))
            socket.send(json.dumps({"type": "unsubscribe", "subscription_id": id_}))
    for id_, sql in (("notes", LIVE[0]), ("events", LIVE[1])):
        socket.send(json.dumps({"type": "subscribe", "subscription": {"id": id_, "sql": sql, "options": {}}}))
        while json.loads(frames[-1])["type"] != "initial_data_batch" or f'"{id_}"' not in frames[-1]:
            frames.append(socket.recv())
    world.run("alice", f"INSERT INTO app.notes (id, body) VALUES (50, '{SECRET}')")
    world.run("alice", f"INSERT INTO app.events VALUES (50, '{SECRET}')")
    world.run(
        "alice", f"UPDATE app.notes SET body = '{SECRET}2' WHERE id = 50; DELETE FROM app.notes WHERE id = 50"
    )
    world.run("bob", "INSERT INTO app.notes (id, body) VALUES (50, 'last')")
    world.run("bob", "INSERT INTO app.events VALUES (50, 'last')")
    for _ in range(2):  # the two tables' changes come in any order; anything before them is seen too
        frames.append(socket.recv())
        while '"last"' not in frames[-1]:
            frames.append(socket.recv())
    socket.close()
    for frame in frames:
        assert_nothing_seen(frame, frame)

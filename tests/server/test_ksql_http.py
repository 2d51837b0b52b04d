"""ksqlDB's API over a real socket: shapes to the byte, errors, negotiation, life cycle."""

import asyncio
import http.client
import json
import socket
import threading

import httpx
import pytest

from kalam_server.http2 import PREFACE
from tests.server.running import TOKEN, running

ROWS = "application/vnd.ksql.v1+json"
DELIMITED = "application/vnd.ksqlapi.delimited.v1"
EARLIEST = {"auto.offset.reset": "earliest"}


@pytest.fixture(scope="module")
def server():
    with running(open_ksql=True) as server:
        server.node.ksql.execute(
            "CREATE STREAM S (ID INT KEY, NOTE STRING) "
            "WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);"
            "INSERT INTO S VALUES (1, 'a'); INSERT INTO S VALUES (2, NULL);"
            "SET 'auto.offset.reset'='earliest';"
            "CREATE TABLE T AS SELECT NOTE, COUNT(*) AS N FROM S GROUP BY NOTE;"
        )
        yield server


@pytest.fixture
def client(server):
    with httpx.Client(base_url=server.url, timeout=20) as client:
        client.headers.pop("accept")
        yield client


def post(client, path, body, accept=None):
    headers = {"Accept": accept} if accept else {}
    return client.post(path, content=json.dumps(body), headers=headers)


def query(sql):
    return {"ksql": sql, "streamsProperties": EARLIEST, "sessionVariables": {}, "requestProperties": {}}


class TestStatements:
    def test_one_entity_for_each_statement_that_has_one(self, client):
        answer = post(client, "/ksql", {"ksql": "LIST STREAMS; LIST TABLES;"})
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        assert [e["@type"] for e in answer.json()] == ["streams", "tables"]
        assert post(client, "/ksql", {"ksql": "SET 'auto.offset.reset'='earliest';"}).json() == []
        assert post(client, "/ksql", {}).json() == []
        assert post(client, "/ksql", {"ksql": None, "streamsProperties": None}).json() == []

    def test_queries_belong_elsewhere(self, client):
        answer = post(client, "/ksql", {"ksql": "SELECT * FROM S;"})
        assert answer.status_code == 400
        body = answer.json()
        assert body["message"] == (
            "The following statement types should be issued to the websocket endpoint '/query':\n"
            "\t* PRINT\n\t* SELECT"
        )
        assert (body["@type"], body["error_code"], body["entities"]) == ("statement_error", 40002, [])

    def test_a_syntax_error_fails_the_whole_request(self, client):
        answer = post(client, "/ksql", {"ksql": "CREATE STREAM Z AS SELECT * FROM S; SLECTT;"})
        assert (answer.status_code, answer.json()["error_code"]) == (400, 40001)
        streams = post(client, "/ksql", {"ksql": "LIST STREAMS;"}).json()[0]["streams"]
        assert "Z" not in [s["name"] for s in streams]

    @pytest.mark.parametrize(
        "body", ["", "nonsense", "[1]", '"text"', '{"ksql": 1}', '{"ksql": ";", "sessionVariables": 3}']
    )
    def test_malformed_bodies_are_never_a_server_error(self, client, body):
        for path in (
            "/ksql",
            "/query",
            "/query-stream",
            "/close-query",
            "/inserts-stream",
            "/ksql/terminate",
        ):
            if path == "/ksql/terminate" and body in (
                "",
                '{"ksql": 1}',
                '{"ksql": ";", "sessionVariables": 3}',
            ):
                continue  # an empty object is a fine request there
            answer = client.post(path, content=body)
            if answer.status_code == 200:
                assert (path, body) == ("/ksql", "")
                continue
            assert answer.status_code == 400, (path, body)
            assert set(answer.json()) >= {"@type", "error_code", "message"}

    def test_the_content_type_is_never_looked_at(self, client):
        for kind in (
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
            DELIMITED,
            ROWS,
        ):
            answer = client.post("/ksql", content='{"ksql":"LIST TYPES;"}', headers={"Content-Type": kind})
            assert (kind, answer.status_code) == (kind, 200)

    def test_commands_leave_a_status(self, client):
        post(client, "/ksql", {"ksql": "CREATE TYPE ADDR AS STRUCT<ZIP STRING>;"})
        statuses = client.get("/status").json()["commandStatuses"]
        assert statuses["type/ADDR/create"] == "SUCCESS"
        one = client.get("/status/TYPE/ADDR/create").json()
        assert set(one) == {"status", "message", "queryId"}
        unknown = client.get("/status/stream/%60NOPE%60/create")
        assert (unknown.status_code, unknown.json()["error_code"]) == (404, 40400)

    def test_properties_are_known_or_not(self, client):
        assert client.get("/is_valid_property/auto.offset.reset").json() is True
        refused = client.get("/is_valid_property/no'such'thing")
        assert refused.status_code == 400
        assert refused.json()["message"].startswith("Not recognizable as ksql")


class TestQueryStream:
    def test_delimited(self, client):
        answer = post(
            client, "/query-stream", {"sql": "SELECT * FROM S EMIT CHANGES LIMIT 2;", "properties": EARLIEST}
        )
        assert answer.headers["content-type"] == DELIMITED
        head, *rows = answer.text.split("\n")
        meta = json.loads(head)
        assert meta["columnNames"] == ["ID", "NOTE"]
        assert meta["columnTypes"] == ["INTEGER", "STRING"]
        assert meta["queryId"].startswith("transient_S_")
        assert rows == ['[1,"a"]', "[2,null]", ""]

    def test_json_array(self, client):
        body = {"sql": "SELECT * FROM S EMIT CHANGES LIMIT 2;", "properties": EARLIEST}
        answer = post(client, "/query-stream", body, "application/json")
        assert answer.headers["content-type"] == "application/json"
        assert "\n" not in answer.text
        meta, *rows = answer.json()
        assert set(meta) == {"queryId", "columnNames", "columnTypes"}
        assert rows == [[1, "a"], [2, None]]

    def test_row_objects_of_a_push_query(self, client):
        body = {"sql": "SELECT * FROM S EMIT CHANGES LIMIT 2;", "properties": EARLIEST}
        answer = post(client, "/query-stream", body, ROWS)
        assert answer.headers["content-type"] == ROWS
        head, *rest = answer.text.split(",\n")
        assert json.loads(head[1:])["header"]["schema"] == "`ID` INTEGER, `NOTE` STRING"
        assert rest == [
            '{"row":{"columns":[1,"a"]}}',
            '{"row":{"columns":[2,null]}}',
            '{"finalMessage":"Limit Reached"}]',
        ]
        assert len(json.loads(answer.text)) == 4

    def test_row_objects_of_a_table_pull_query(self, client):
        answer = post(client, "/query-stream", {"sql": "SELECT * FROM T WHERE NOTE='a';"}, ROWS)
        head, row = answer.text.split(",\n")
        header = json.loads(head[1:])["header"]
        assert header["schema"] == "`NOTE` STRING KEY, `N` BIGINT"
        assert row == '{"row":{"columns":["a",1]}}]'
        empty = post(client, "/query-stream", {"sql": "SELECT * FROM T WHERE NOTE='nope';"}, ROWS)
        assert [list(e) for e in empty.json()] == [["header"]]
        assert empty.text.endswith("}}]")

    def test_row_objects_of_a_stream_pull_query(self, client):
        answer = post(client, "/query-stream", {"sql": "SELECT * FROM S;"}, ROWS)
        *_, last = answer.json()
        assert last == {"finalMessage": "Query Completed"}
        assert len(answer.json()) == 4

    @pytest.mark.parametrize("body", [{}, {"sql": None}])
    def test_sql_is_required(self, client, body):
        answer = post(client, "/query-stream", body)
        assert answer.json()["message"].startswith(
            "Invalid JSON in request: Missing required creator property 'sql'"
        )

    def test_one_statement_only(self, client):
        answer = post(client, "/query-stream", {"sql": "SELECT * FROM S; SELECT * FROM S;"})
        assert answer.json()["message"] == "Expected exactly one KSQL statement; found 2 instead"

    def test_print_is_delimited_only(self, client):
        sql = "PRINT 's' FROM BEGINNING LIMIT 1;"
        assert post(client, "/query-stream", {"sql": sql}, "application/json").status_code == 406
        text = post(client, "/query-stream", {"sql": sql}).text
        assert text.startswith("rowtime: ")
        assert text.endswith(", partition: 0\n")


class TestQuery:
    @pytest.mark.parametrize(
        ("accept", "kind"),
        [
            (None, ROWS),
            ("application/json", ROWS),
            (ROWS, ROWS),
            ("*/*", DELIMITED),
            ("application/*", DELIMITED),
            (DELIMITED, DELIMITED),
        ],
    )
    def test_negotiation(self, client, accept, kind):
        answer = post(client, "/query", query("SELECT * FROM S EMIT CHANGES LIMIT 1;"), accept)
        assert answer.headers["content-type"] == kind

    def test_ksql_must_be_there(self, client):
        for body in ({}, {"ksql": ""}, {"ksql": None}):
            answer = post(client, "/query", body)
            assert answer.json() == {
                "@type": "generic_error",
                "error_code": 40000,
                "message": '"ksql" field must be populated',
            }

    def test_variables_and_properties_act(self, client):
        body = {
            "ksql": "SELECT ID FROM S WHERE NOTE='${n}' EMIT CHANGES LIMIT 1;",
            "streamsProperties": EARLIEST,
            "sessionVariables": {"n": "a"},
        }
        assert post(client, "/query", body).json()[1] == {"row": {"columns": [1]}}

    def test_values_of_every_type(self, client):
        sql = (
            "SELECT 9223372036854775807, 1.5E0, 1E10, CAST(3 AS DOUBLE), CAST(1.2 AS DECIMAL(4,2)), "
            "'q\"\\n', "
            "TRUE, NULL IS NULL, FROM_UNIXTIME(1714557600000), PARSE_DATE('2024-05-01','yyyy-MM-dd'), "
            "PARSE_TIME('10:20:00','HH:mm:ss'), PARSE_TIME('10:20:30','HH:mm:ss'), ARRAY[1,2], MAP('k':=1), "
            "STRUCT(F1:=1, F2:='x'), TO_BYTES('AAEC','base64') FROM S EMIT CHANGES LIMIT 1;"
        )
        answer = post(client, "/query-stream", {"sql": sql, "properties": EARLIEST})
        assert answer.status_code == 200, answer.text
        assert answer.text.split("\n")[1] == (
            '[9223372036854775807,1.5,1.0E10,3.0,1.20,"q\\"\\\\n",true,true,"2024-05-01T10:00:00.000",'
            '"2024-05-01","10:20","10:20:30",[1,2],{"k":1},{"F1":1,"F2":"x"},"AAEC"]'
        )


class TestPushLifeCycle:
    def test_rows_are_flushed_one_by_one(self, server):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        body = json.dumps({"sql": "SELECT * FROM S EMIT CHANGES;", "properties": EARLIEST})
        connection.request("POST", "/query-stream", body)
        chunks = _chunks(connection.sock)
        head = next(chunks)
        assert head.startswith(b'{"queryId"') and head.endswith(b"\n")
        assert [next(chunks), next(chunks)] == [b'[1,"a"]\n', b"[2,null]\n"]
        connection.close()

    def test_closing_ends_the_answer_normally(self, client, server):
        body = {"sql": "SELECT * FROM S EMIT CHANGES;"}
        with client.stream("POST", "/query-stream", content=json.dumps(body)) as answer:
            lines = answer.iter_lines()
            query_id = json.loads(next(lines))["queryId"]
            closed = httpx.post(f"{server.url}/close-query", json={"queryId": query_id})
            assert (closed.status_code, closed.content) == (200, b"")
            assert list(lines) == []
        again = httpx.post(f"{server.url}/close-query", json={"queryId": query_id})
        assert (again.status_code, again.json()["message"]) == (400, f"No query with id {query_id}")

    def test_a_disconnect_ends_the_query(self, server):
        ksql = server.node.ksql
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        connection.request("POST", "/query-stream", json.dumps({"sql": "SELECT * FROM S EMIT CHANGES;"}))
        query_id = json.loads(next(_chunks(connection.sock)))["queryId"]
        ended = threading.Event()
        running_query = ksql.find_transient(query_id)
        before = running_query.on_close

        def closed(query):
            before(query)
            ended.set()

        running_query.on_close = closed
        connection.sock.shutdown(socket.SHUT_RDWR)
        connection.close()
        assert ended.wait(20)
        assert ksql.find_transient(query_id) is None

    def test_a_topic_that_is_dropped_ends_it_with_an_error_row(self, client, server):
        server.node.ksql.execute(
            "CREATE STREAM GONE (A INT) WITH (KAFKA_TOPIC='gone', VALUE_FORMAT='JSON', PARTITIONS=1);"
        )
        body = json.dumps({"sql": "SELECT * FROM GONE EMIT CHANGES;"})
        with client.stream("POST", "/query-stream", content=body, headers={"Accept": ROWS}) as answer:
            lines = answer.iter_lines()
            next(lines)
            server.node.ksql.execute("DROP STREAM GONE DELETE TOPIC;")
            last = next(lines)
        element = json.loads(last.removesuffix("]"))
        assert element["errorMessage"]["error_code"] == 50000


def _chunks(sock):
    """Chunks of a chunked response, as they were sent."""
    data = sock.makefile("rb")
    while data.readline() not in (b"\r\n", b""):
        pass
    while size := int(data.readline(), 16):
        yield data.read(size)
        data.readline()


class TestInsertsStream:
    @pytest.fixture
    def target(self, server):
        server.node.ksql.execute(
            "CREATE STREAM IF NOT EXISTS INS (K INT KEY, V STRING, D DECIMAL(30,20)) "
            "WITH (KAFKA_TOPIC='ins', VALUE_FORMAT='JSON', PARTITIONS=1);"
        )
        return "INS"

    def body(self, *lines):
        return "\n".join(json.dumps(line) if isinstance(line, dict) else line for line in lines)

    def test_each_row_is_acknowledged(self, client, target):
        answer = client.post(
            "/inserts-stream", content=self.body({"target": target}, {"K": 1, "V": "x"}, {"k": 2})
        )
        assert answer.status_code == 200
        assert [json.loads(line) for line in answer.text.splitlines()] == [
            {"status": "ok", "seq": 0},
            {"status": "ok", "seq": 1},
        ]

    def test_as_an_array(self, client, target):
        headers = {"Accept": "application/json"}
        answer = client.post(
            "/inserts-stream", content=self.body({"target": target}, {"K": 1}), headers=headers
        )
        assert answer.json() == [{"status": "ok", "seq": 0}]
        nothing = client.post("/inserts-stream", content=self.body({"target": target}), headers=headers)
        assert nothing.json() == []

    def test_a_bad_row_ends_it_with_an_error(self, client, target):
        content = self.body({"target": target}, {"K": 1}, {"V": "no key"}, {"K": 3})
        lines = [
            json.loads(line) for line in client.post("/inserts-stream", content=content).text.splitlines()
        ]
        assert lines[0] == {"status": "ok", "seq": 0}
        assert lines[1] == {
            "@type": "InsertError",
            "error_code": 40000,
            "message": "Key field must be specified: K",
            "status": "error",
            "seq": 1,
        }
        assert len(lines) == 2

    def test_nothing_is_left_of_a_request_that_was_answered_before_its_end(self, client, server, target):
        async def running():
            return [t for t in asyncio.all_tasks() if "_execute" in t.get_coro().__qualname__]

        for lines in ([{"target": target}, {"V": "no key"}], [{"target": "NOPE"}], ["nonsense"]):
            client.post("/inserts-stream", content=iter([self.body(*lines, "").encode(), b"{}\n"]))
        assert asyncio.run_coroutine_threadsafe(running(), server.loop).result(20) == []

    def test_rows_that_are_no_json(self, client, target):
        lines = client.post(
            "/inserts-stream", content=self.body({"target": target}, "nonsense")
        ).text.splitlines()
        assert json.loads(lines[-1])["message"] == "Invalid JSON in inserts stream"

    def test_unknown_targets_are_refused_before_anything(self, client):
        answer = client.post("/inserts-stream", content=self.body({"target": "NOPE"}, {"K": 1}))
        assert (answer.status_code, answer.json()["error_code"]) == (400, 40001)
        assert "Cannot insert values into an unknown stream/table" in answer.json()["message"]

    def test_decimals_stay_exact(self, client, server, target):
        content = '{"target":"INS"}\n{"K":77,"D":1234567890.12345678901234567890}'
        assert '"ok"' in client.post("/inserts-stream", content=content).text
        rows = server.node.ksql.query("SELECT D FROM INS WHERE K=77;").table().column("D").to_pylist()
        assert str(rows[-1]) == "1234567890.12345678901234567890"

    def test_acknowledgements_come_while_the_request_is_open(self, server, target):
        sock = socket.create_connection(("127.0.0.1", server.port), timeout=20)

        def send(text):
            data = text.encode()
            sock.sendall(b"%x\r\n%s\r\n" % (len(data), data))

        sock.sendall(
            b"POST /inserts-stream HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        send('{"target":"INS"}\n')
        reader = sock.makefile("rb")
        assert reader.readline().startswith(b"HTTP/1.1 200")
        head = list(iter(reader.readline, b"\r\n"))
        assert not any(line.lower().startswith(b"connection: close") for line in head)
        for i in range(3):
            send(json.dumps({"K": i}) + "\n")
            size = int(reader.readline(), 16)
            assert json.loads(reader.read(size)) == {"status": "ok", "seq": i}
            reader.readline()
        sock.sendall(b"0\r\n\r\n")
        assert (reader.readline(), reader.readline()) == (b"0\r\n", b"\r\n")
        sock.sendall(b"GET /chc/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert reader.readline().startswith(b"HTTP/1.1 200")
        sock.close()


class TestSmallRoutes:
    def test_the_root_points_to_info(self, client):
        answer = client.get("/")
        assert (answer.status_code, answer.headers["location"], answer.content) == (307, "/info", b"")

    def test_info(self, client):
        info = client.get("/info").json()["KsqlServerInfo"]
        assert info["ksqlServiceId"] == "default_"
        assert info["serverStatus"] == "RUNNING"
        assert len(info["version"].split(".")) == 3

    def test_health(self, client):
        answer = client.get("/healthcheck").json()
        assert answer["isHealthy"] is True
        assert answer["serverState"] == "READY"

    def test_a_trailing_slash_does_not_matter(self, client):
        assert client.get("/info/").status_code == 200

    @pytest.mark.parametrize(
        ("method", "path", "accept"),
        [
            ("GET", "/nope", None),
            ("GET", "/ksql", None),
            ("DELETE", "/query", None),
            ("GET", "/info", "text/html"),
        ],
    )
    def test_what_is_not_there_is_not_found(self, client, method, path, accept):
        answer = client.request(method, path, headers={"Accept": accept} if accept else {})
        assert (answer.status_code, answer.text) == (404, "Not Found")

    def test_cluster_routes_are_switched_off(self, client):
        for method, path in (("GET", "/clusterStatus"), ("POST", "/heartbeat"), ("POST", "/lag")):
            answer = client.request(method, path, content="{}")
            assert (answer.status_code, answer.content) == (404, b"")

    def test_cluster_routes_answer_where_nodes_watch_each_other(self):
        config = {"ksql.heartbeat.enable": "true", "ksql.lag.reporting.enable": "true"}
        with running(open_ksql=True, ksql=config) as server, httpx.Client(base_url=server.url) as client:
            server.node.ksql.execute(
                "CREATE STREAM S (ID INT KEY, V INT) WITH (kafka_topic='s', format='JSON', partitions=2);"
                "CREATE TABLE T AS SELECT ID, COUNT(*) AS N FROM S GROUP BY ID;"
            )
            beat = {"hostInfo": "other:8088", "timestamp": 1_700_000_000_000}
            lags = {"stateStoreLags": {"app#store": {"lagByPartition": {}, "size": 0}}, "updateTimeMs": 5}
            told = {"ksqlHost": "other:8088", "hostStoreLags": lags}
            for path, message in (("/heartbeat", beat), ("/lag", told)):
                assert post(client, path, message).json() == {"isOk": True}
                assert post(client, path, {"hostInfo": 5}).json()["error_code"] == 40000
            hosts = client.get("/clusterStatus").json()["clusterStatus"]
            assert hosts["other:8088"]["hostStoreLags"] == lags
            mine = hosts[f"127.0.0.1:{server.port}"]
            assert (hosts["other:8088"]["hostAlive"], mine["hostAlive"]) == (True, True)
            assert mine["activeStandbyPerQuery"]["CTAS_T_1"] == {
                "activeStores": ["Aggregate-Aggregate-Materialize"],
                "activePartitions": [{"topic": "s", "partition": p} for p in (0, 1)],
                "standByStores": [],
                "standByPartitions": [],
            }
            (store,) = mine["hostStoreLags"]["stateStoreLags"].values()
            assert (store["size"], store["lagByPartition"]["0"]["offsetLag"]) == (2, 0)

    def test_absolute_form_targets(self, server):
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as sock:
            target = f"http://127.0.0.1:{server.port}/info"
            sock.sendall(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
            assert sock.makefile("rb").readline().startswith(b"HTTP/1.1 200")

    def test_http2_serves_the_same_routes(self, server):
        with httpx.Client(http1=False, http2=True, base_url=server.url, timeout=20) as client:
            assert client.get("/info").http_version == "HTTP/2"
            answer = client.post(
                "/query-stream",
                json={"sql": "SELECT * FROM S EMIT CHANGES LIMIT 1;", "properties": EARLIEST},
                headers={"Accept": DELIMITED},
            )
            assert answer.text.splitlines()[1] == '[1,"a"]'
        assert PREFACE.startswith(b"PRI")


class TestOpenListener:
    def test_foreign_hosts_and_origins_are_refused(self, client):
        assert client.get("/info", headers={"Host": "rebound.example"}).status_code == 403
        assert client.get("/info", headers={"Origin": "https://evil.example"}).status_code == 403
        assert client.get("/info", headers={"Origin": "http://localhost:3000"}).status_code == 403

    def test_only_on_loopback(self):
        from kalam_server.context import Context
        from kalam_server.identity import Gate
        from kalam_server.listener import Listener, OpenAddressError
        from kalam_server.service import Service

        listener = Listener(Context(Service(lambda: None), Gate(lambda: ())), open_ksql=True)
        with pytest.raises(OpenAddressError):
            listener.listen(0, "0.0.0.0")

    def test_kalam_is_not_opened_with_it(self, client):
        answer = client.post("/v1/api/sql", json={"sql": "SELECT 1"})
        assert answer.status_code == 401


class TestClosedListener:
    @pytest.fixture(scope="class")
    @classmethod
    def closed(cls):
        with running() as server:
            yield server

    def test_it_takes_the_token_in_any_form(self, closed):
        assert httpx.get(f"{closed.url}/info").status_code == 401
        assert httpx.get(f"{closed.url}/info", auth=("any", TOKEN)).status_code == 200
        assert (
            httpx.get(f"{closed.url}/info", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
        )
        assert httpx.get(f"{closed.url}/info", auth=("any", "wrong")).status_code == 401

    def test_the_end_of_the_server_ends_streams(self):
        with running() as server:
            server.node.ksql.execute(
                "CREATE STREAM S (A INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);"
            )
            client = httpx.Client(auth=("x", TOKEN), timeout=20)
            stream = client.stream(
                "POST", f"{server.url}/query-stream", json={"sql": "SELECT * FROM S EMIT CHANGES;"}
            )
            answer = stream.__enter__()
            lines = answer.iter_lines()
            next(lines)
        with pytest.raises((httpx.RemoteProtocolError, StopIteration, httpx.ReadError)):
            next(lines)

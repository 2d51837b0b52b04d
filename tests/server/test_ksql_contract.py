"""The HTTP contract where clients rarely look: PRINT, the older form of /query, waiting, ending, CORS."""

import http.client
import json
import threading
from dataclasses import replace

import httpx
import pytest

from tests.server.running import CONFIG, running
from tests.server.test_ksql_http import DELIMITED, EARLIEST, ROWS, TOKEN, _chunks

SETUP = (
    "CREATE STREAM S (ID INT KEY, NOTE STRING) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);"
    "INSERT INTO S VALUES (1, 'a'); INSERT INTO S VALUES (2, NULL); INSERT INTO S VALUES (3, 'c');"
)


@pytest.fixture(scope="module")
def server():
    with running(open_ksql=True) as server:
        server.node.ksql.execute(SETUP)
        yield server


@pytest.fixture
def client(server):
    with httpx.Client(base_url=server.url, timeout=20) as client:
        client.headers.pop("accept")
        yield client


def error(answer):
    body = answer.json()
    return answer.status_code, body["@type"], body["error_code"], body["message"]


class TestPrint:
    def query(self, client, text, accept=None):
        return client.post("/query", json={"ksql": text}, headers={"Accept": accept} if accept else {})

    @pytest.mark.parametrize("accept", [None, "application/json", ROWS])
    def test_formats_come_before_records(self, client, accept):
        answer = self.query(client, "PRINT s FROM BEGINNING LIMIT 2;", accept)
        assert answer.headers["content-type"] == "application/json"
        lines = answer.text.split("\n")
        assert lines[:2] == ["Key format: KAFKA_INT or KAFKA_STRING", "Value format: JSON or KAFKA_STRING"]
        assert [line.partition(", ")[2] for line in lines[2:]] == [
            'key: 1, value: {"NOTE":"a"}, partition: 0',
            'key: 2, value: {"NOTE":null}, partition: 0',
            "",
        ]

    def test_delimited_has_records_only(self, client):
        for answer in (
            self.query(client, "PRINT 's' FROM BEGINNING LIMIT 1;", DELIMITED),
            client.post("/query-stream", json={"sql": "PRINT s FROM BEGINNING LIMIT 1;"}),
        ):
            assert answer.headers["content-type"] == DELIMITED
            assert answer.text.startswith("rowtime: ") and answer.text.count("\n") == 1

    def test_an_interval_shows_every_nth_record(self, client):
        text = self.query(client, "PRINT s FROM BEGINNING INTERVAL 2 LIMIT 2;", DELIMITED).text
        assert [line.split(", ")[1] for line in text.splitlines()] == ["key: 1", "key: 3"]

    def test_row_shapes_are_not_acceptable_on_query_stream(self, client):
        for accept in ("application/json", ROWS, "application/vnd.ksql.v1+protobuf"):
            answer = client.post("/query-stream", json={"sql": "PRINT s;"}, headers={"Accept": accept})
            assert (answer.status_code, answer.content) == (406, b"")
            assert "content-type" not in answer.headers

    def test_unknown_topics(self, client):
        text = "Could not find topic 'S', or the KSQL user does not have permissions to list the topic. "
        hint = "Topic names are case-sensitive.\nDid you mean:\n\tprint s;"
        assert error(self.query(client, "PRINT 'S';")) == (400, "generic_error", 40000, text + hint)
        assert error(client.post("/query-stream", json={"sql": "PRINT 'S';"})) == (
            *(400, "statement_error", 40001),
            "Topic does not exist: S\nStatement: PRINT 'S';",
        )

    def test_over_http2_only_delimited(self, server):
        with httpx.Client(http1=False, http2=True, base_url=server.url) as client:
            body = {"ksql": "PRINT s FROM BEGINNING LIMIT 1;"}
            assert client.post("/query", json=body, headers={"Accept": ROWS}).status_code == 405
            assert client.post("/query", json=body, headers={"Accept": DELIMITED}).status_code == 200


class TestQueryErrors:
    def test_statements_that_are_no_queries(self, client):
        assert error(client.post("/query", json={"ksql": "LIST STREAMS;"})) == (
            *(400, "generic_error", 40000),
            "Statement type `Show` not supported for this resource",
        )
        assert error(client.post("/query-stream", json={"sql": "LIST STREAMS;"})) == (
            *(400, "statement_error", 40001),
            "Neither a query nor a print statement\nStatement: LIST STREAMS;",
        )

    def test_http10_cannot_stream(self, server):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        connection._http_vsn, connection._http_vsn_str = 10, "HTTP/1.0"
        connection.request("POST", "/query-stream", json.dumps({"sql": "SELECT * FROM S;"}))
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())["error_code"]) == (400, 40000)
        connection.close()


class TestLegacyQuery:
    def body(self, text, **more):
        off = {"ksql.endpoint.migrate.query": "false", **EARLIEST, **more}
        return {"ksql": text, "streamsProperties": off}

    def test_the_array_ends_with_a_line(self, client):
        answer = client.post("/query", json=self.body("SELECT * FROM S EMIT CHANGES LIMIT 2;"))
        assert answer.headers["content-type"] == "application/json"
        assert answer.text.endswith('{"row":{"columns":[2,null]}},\n{"finalMessage":"Limit Reached"}]\n')

    def test_http2_is_refused(self, server):
        with httpx.Client(http1=False, http2=True, base_url=server.url) as client:
            answer = client.post("/query", json=self.body("SELECT * FROM S EMIT CHANGES;"))
            assert answer.status_code == 405
            assert answer.json()["message"] == "The /query endpoint is not available using HTTP2"

    def test_an_idle_push_query_writes_empty_lines(self):
        with running(open_ksql=True, ksql={"query.stream.disconnect.check": "20"}) as server:
            server.node.ksql.execute(SETUP)
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
            body = self.body("SELECT * FROM S EMIT CHANGES;", **{"auto.offset.reset": "latest"})
            connection.request("POST", "/query", json.dumps(body))
            chunks = _chunks(connection.sock)
            assert next(chunks).startswith(b'[{"header"')
            assert [next(chunks), next(chunks)] == [b"\n", b"\n"]
            connection.close()


class TestCommandSequence:
    def test_what_has_been_applied_is_not_waited_for(self, client):
        for number in (-1, 0, None, "0"):
            body = {"ksql": "LIST STREAMS;", "commandSequenceNumber": number}
            assert client.post("/ksql", json=body).status_code == 200

    def test_a_number_has_to_be_one(self, client):
        answer = client.post("/ksql", json={"ksql": "LIST STREAMS;", "commandSequenceNumber": "soon"})
        assert error(answer)[:3] == (400, "generic_error", 40000)

    @pytest.mark.parametrize(("path", "text"), [("/ksql", "LIST STREAMS;"), ("/query", "SELECT * FROM S;")])
    def test_a_command_that_does_not_come_times_out(self, path, text):
        with running(open_ksql=True, ksql={"ksql.server.command.response.timeout.ms": "30"}) as server:
            server.node.ksql.execute(SETUP)
            answer = httpx.post(f"{server.url}{path}", json={"ksql": text, "commandSequenceNumber": 99})
            assert error(answer) == (
                *(503, "generic_error", 50301),
                "Timed out while waiting for a previous command to execute. command sequence number: 99",
            )

    def test_a_request_goes_on_when_the_command_has_come(self, client, server):
        ksql = server.node.ksql
        found, waiting = [], threading.Event()
        body = {"ksql": "LIST TYPES;", "commandSequenceNumber": ksql.next_sequence}
        thread = threading.Thread(target=lambda: found.append(client.post("/ksql", json=body)))

        class Watched(set):
            def add(self, callback):
                super().add(callback)
                waiting.set()

        ksql.on_command = Watched()
        thread.start()
        assert waiting.wait(20)
        ksql.execute("CREATE TYPE LATE AS STRUCT<A INT>;")
        thread.join(20)
        assert "LATE" in found[0].json()[0]["types"]
        assert not ksql.on_command


class TestTerminate:
    def test_the_cluster_ends_and_says_so(self):
        with running(open_ksql=True) as server, httpx.Client(base_url=server.url, timeout=20) as client:
            ksql = server.node.ksql
            ksql.execute(
                SETUP + "CREATE STREAM SINK1 AS SELECT * FROM S; CREATE STREAM SINK2 AS SELECT * FROM S;"
            )
            refused = client.post("/ksql/terminate", json={"deleteTopicList": ["["]})
            assert error(refused) == (400, "generic_error", 40000, "Invalid pattern: [")
            (entity,) = client.post(
                "/ksql/terminate", json={"deleteTopicList": ["SINK1", "s", "INK2"]}
            ).json()
            assert entity == {
                "@type": "currentStatus",
                "statementText": "TERMINATE CLUSTER;",
                "commandId": "cluster/TerminateCluster/terminate",
                "commandStatus": {
                    "status": "QUEUED",
                    "message": "Statement written to command topic",
                    "queryId": None,
                },
                "commandSequenceNumber": 3,
                "warnings": [],
            }
            assert {"s", "SINK2"} <= set(server.node.engine.topics())
            assert "SINK1" not in server.node.engine.topics()
            for method, path in (
                ("GET", "/info"),
                ("POST", "/ksql"),
                ("GET", "/healthcheck"),
                ("POST", "/query"),
            ):
                assert error(client.request(method, path, content="{}")) == (
                    *(503, "generic_error", 50304),
                    "The server is shut down",
                )
            assert client.get("/chc/live").json() == {}
            assert client.post("/v1/api/sql", json={"sql": "SELECT 1"}).status_code == 401

    def test_push_queries_end_with_it(self):
        with running(open_ksql=True) as server, httpx.Client(base_url=server.url, timeout=20) as client:
            server.node.ksql.execute(SETUP)
            body = json.dumps({"sql": "SELECT * FROM S EMIT CHANGES;"})
            with client.stream("POST", "/query-stream", content=body) as answer:
                lines = answer.iter_lines()
                assert next(lines).startswith('{"queryId"')
                httpx.post(f"{server.url}/ksql/terminate", json={})
                assert list(lines) == []


class TestProperties:
    def test_what_clients_may_never_override_is_told_apart(self, client):
        answer = client.get("/is_valid_property/ksql.service.id")
        assert error(answer) == (
            *(400, "generic_error", 40000),
            "One or more properties overrides set locally are prohibited by the KSQL server denylist "
            "(use UNSET to reset their default value): [ksql.service.id]",
        )


class TestCors:
    ORIGIN = "https://app.example"

    @pytest.fixture(scope="class")
    @classmethod
    def shared(cls):
        with running(config=replace(CONFIG, cors_allowed_origins=(cls.ORIGIN,))) as server:
            yield server

    def test_pages_of_listed_origins_may_read_answers(self, shared):
        for auth, status in ((("x", TOKEN), 200), (None, 401)):
            answer = httpx.get(f"{shared.url}/info", headers={"Origin": self.ORIGIN}, auth=auth)
            assert answer.status_code == status
            assert answer.headers["access-control-allow-origin"] == self.ORIGIN
            assert answer.headers["access-control-allow-credentials"] == "true"
            assert answer.headers["vary"] == "Origin"

    def test_preflights_need_no_credentials(self, shared):
        headers = {"Origin": self.ORIGIN, "Access-Control-Request-Method": "POST"}
        answer = httpx.options(f"{shared.url}/ksql", headers=headers)
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["access-control-allow-methods"] == "GET,POST,HEAD"
        assert "Authorization" in answer.headers["access-control-allow-headers"].split(",")
        assert answer.headers["access-control-allow-origin"] == self.ORIGIN

    def test_others_are_refused(self, shared):
        headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        for answer in (
            httpx.options(f"{shared.url}/ksql", headers=headers),
            httpx.get(f"{shared.url}/info", headers=headers, auth=("x", TOKEN)),
        ):
            assert answer.status_code == 403
            assert "access-control-allow-origin" not in answer.headers

    def test_a_plain_options_request_is_no_route(self, shared):
        assert httpx.options(f"{shared.url}/ksql").status_code == 404


def test_wrong_passwords_are_asked_for_again():
    with running() as server:
        refused = httpx.get(f"{server.url}/info", auth=("me", "wrong"))
        assert refused.headers["www-authenticate"] == 'Basic realm="ksqlDB"'
        assert error(refused) == (401, "generic_error", 40100, "Unauthorized")
        assert "www-authenticate" not in httpx.get(f"{server.url}/info").headers

"""What Confluent's Java client and `ksql` CLI do on the wire, replayed frame by frame.

Neither installs from a package index without a JVM, so their requests are made here: the Java client's over
one HTTP/2 connection with prior knowledge, many streams at once, bodies that stay open; the CLI's over
HTTP/1.1. Answers are read as strictly as they read them.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import h2.connection
import h2.events
import pytest

from tests.clients.conftest import Server
from tests.server.entity_shapes import check_entity

EARLIEST = {"auto.offset.reset": "earliest"}
ROWS = "application/vnd.ksql.v1+json"


class JavaClient:
    """One connection of the Java client: everything is HTTP/2, also ``/info``; no Accept, no Content-Type."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._h2 = h2.connection.H2Connection()
        self._h2.initiate_connection()
        self._port = port
        self.status: dict[int, int] = {}
        self.frames: dict[int, list[bytes]] = defaultdict(list)
        self.ended: set[int] = set()
        self._flush()

    def _flush(self) -> None:
        self._socket.sendall(self._h2.data_to_send())

    def open(self, path: str, *, method: str = "POST", accept: str | None = None) -> int:
        """Send the head of a request; its body stays open."""
        stream = self._h2.get_next_available_stream_id()
        head = [(":method", method), (":path", path), (":scheme", "http")]
        head += [(":authority", f"localhost:{self._port}"), ("user-agent", "ksqlDB Java Client v8.5.0-0")]
        if accept is not None:
            head.append(("accept", accept))
        self._h2.send_headers(stream, head)
        self._flush()
        return stream

    def write(self, stream: int, text: str, *, end: bool = False) -> None:
        self._h2.send_data(stream, text.encode(), end_stream=end)
        self._flush()

    def end(self, stream: int) -> None:
        self._h2.end_stream(stream)
        self._flush()

    def send(self, path: str, body: dict[str, Any], **kwargs: Any) -> int:
        stream = self.open(path, **kwargs)
        self.write(stream, json.dumps(body), end=True)
        return stream

    def reset(self, stream: int) -> None:
        self._h2.reset_stream(stream)
        self._flush()

    def _receive(self) -> None:
        data = self._socket.recv(65536)
        assert data, "the server closed the connection"
        for event in self._h2.receive_data(data):
            match event:
                case h2.events.ResponseReceived(stream_id=stream):
                    self.status[stream] = int(dict(event.headers)[b":status"])
                case h2.events.DataReceived(stream_id=stream, data=found):
                    if found:
                        self.frames[stream].append(found)
                    self._h2.acknowledge_received_data(event.flow_controlled_length, stream)
                case h2.events.StreamEnded(stream_id=stream):
                    self.ended.add(stream)
        self._flush()

    def head_of(self, stream: int) -> int:
        while stream not in self.status:
            self._receive()
        return self.status[stream]

    def lines_of(self, stream: int) -> Iterator[str]:
        """Complete lines as they come; at the end what is left, if anything."""
        text, at = b"", 0
        while True:
            while at < len(self.frames[stream]):
                text, at = text + self.frames[stream][at], at + 1
                *lines, text = text.split(b"\n")
                yield from (line.decode() for line in lines)
            if stream in self.ended:
                if text:
                    yield text.decode()
                return
            self._receive()

    def answer(self, stream: int) -> Any:
        """The whole body, as JSON unless it is empty."""
        while stream not in self.ended:
            self._receive()
        body = b"".join(self.frames[stream])
        return json.loads(body) if body else None

    def statement(self, text: str) -> dict[str, Any]:
        """`executeStatement`: an array of exactly one entity."""
        stream = self.send("/ksql", {"ksql": text, "streamsProperties": {}, "sessionVariables": {}})
        entities = self.answer(stream)
        assert self.head_of(stream) == 200, entities
        (entity,) = entities
        check_entity(entity)
        found: dict[str, Any] = entity
        return found

    def close(self) -> None:
        self._socket.close()


def element(line: str) -> dict[str, Any]:
    """A line of a streamed answer, as the Java client takes it: one bracket or comma off either end."""
    assert line, "an empty line ends the Java client"
    found: dict[str, Any] = json.loads(line.removeprefix("[").removesuffix("]").removesuffix(","))
    known = {"header", "row", "finalMessage", "continuationToken", "errorMessage"}
    assert len(found) == 1 and found.keys() <= known
    return found


@pytest.fixture
def java(open_server: Server) -> Iterator[JavaClient]:
    client = JavaClient(int(open_server.port))
    yield client
    client.close()


def test_java_reads_the_servers_version_over_http2(java: JavaClient) -> None:
    info = java.answer(java.send("/info", {}, method="GET"))["KsqlServerInfo"]
    assert info.keys() == {"version", "kafkaClusterId", "ksqlServiceId", "serverStatus"}


def test_java_statements_inserts_and_queries_share_a_connection(java: JavaClient) -> None:
    created = java.statement(
        "CREATE STREAM JAVA_S (ID INT KEY, NOTE STRING, N DECIMAL(6, 2)) "
        "WITH (KAFKA_TOPIC='java_s', VALUE_FORMAT='JSON', PARTITIONS=1);"
    )
    assert created["commandStatus"]["status"] == "SUCCESS"
    body = {"sql": "SELECT * FROM JAVA_S EMIT CHANGES;", "properties": {}}
    body |= {"sessionVariables": {}, "requestProperties": {}}
    push = java.send("/query-stream", body, accept=ROWS)
    lines = java.lines_of(push)
    header = element(next(lines))["header"]
    assert java.head_of(push) == 200
    assert header["schema"] == "`ID` INTEGER, `NOTE` STRING, `N` DECIMAL(6, 2)"

    # streamInserts: rows go in while acknowledgements come out; the head comes before the first row.
    inserts = java.open("/inserts-stream")
    java.write(inserts, json.dumps({"target": "JAVA_S"}) + "\n")
    assert java.head_of(inserts) == 200
    acknowledgements = java.lines_of(inserts)
    for i in range(3):
        java.write(inserts, json.dumps({"ID": i, "NOTE": f"ü{i}", "N": 1.5}) + "\n")
        assert json.loads(next(acknowledgements)) == {"status": "ok", "seq": i}
        # The push query answers on its own stream of the same connection, statements on theirs.
        assert element(next(lines)) == {"row": {"columns": [i, f"ü{i}", 1.5]}}
        assert java.statement("LIST STREAMS;")["@type"] == "streams"
    java.end(inserts)
    assert list(acknowledgements) == []
    assert all(frame.count(b"\n") == 1 and frame.endswith(b"\n") for frame in java.frames[push])

    closing = java.send("/close-query", {"queryId": header["queryId"]})
    assert (java.answer(closing), java.head_of(closing)) == (None, 200)
    assert [element(line) for line in lines] in ([], [{"finalMessage": "Query Completed"}])
    again = java.send("/close-query", {"queryId": header["queryId"]})
    refused = java.answer(again)
    assert (java.head_of(again), refused["error_code"]) == (400, 40000)
    java.statement("DROP STREAM JAVA_S DELETE TOPIC;")


def test_java_reads_errors_as_json(java: JavaClient) -> None:
    for path, body in (
        ("/ksql", {"ksql": "SLECT;"}),
        ("/query-stream", {"sql": "SELECT * FROM NOBODY EMIT CHANGES;"}),
        ("/query-stream", {}),
        ("/close-query", {"queryId": "nobody"}),
        ("/inserts-stream", {"target": "NOBODY"}),
    ):
        stream = java.send(path, body)
        error = java.answer(stream)
        assert java.head_of(stream) == 400
        assert isinstance(error["message"], str) and isinstance(error["error_code"], int)


def test_java_batches_pull_and_push_results(java: JavaClient) -> None:
    java.statement(
        "CREATE STREAM JAVA_B (ID INT KEY, V INT) "
        "WITH (KAFKA_TOPIC='java_b', VALUE_FORMAT='JSON', PARTITIONS=1);"
    )
    java.statement("CREATE TABLE JAVA_T AS SELECT ID, COUNT(*) AS N FROM JAVA_B GROUP BY ID;")
    for i in range(2):  # insertInto: a request and one acknowledgement for each row
        insert = java.open("/inserts-stream")
        java.write(insert, '{"target":"JAVA_B"}\n' + json.dumps({"ID": i, "V": i}) + "\n", end=True)
        assert [json.loads(line) for line in java.lines_of(insert)] == [{"status": "ok", "seq": 0}]
    expected = {
        "SELECT * FROM JAVA_T WHERE ID = 1;": [[1, 1]],
        "SELECT ID, V FROM JAVA_B EMIT CHANGES LIMIT 2;": [[0, 0], [1, 1]],
        "SELECT V FROM JAVA_B;": [[0], [1]],
    }
    streams = {
        text: java.send("/query-stream", {"sql": text, "properties": EARLIEST}, accept=ROWS)
        for text in expected
    }
    for text, stream in streams.items():
        header, *elements = [element(line) for line in java.lines_of(stream)]
        assert re.match(r"`(ID|V)` INTEGER", header["header"]["schema"])
        assert [e["row"]["columns"] for e in elements if "row" in e] == expected[text]
        assert all(e.keys() <= {"row", "finalMessage"} for e in elements)
    for text in ("DROP TABLE JAVA_T DELETE TOPIC;", "DROP STREAM JAVA_B DELETE TOPIC;"):
        java.statement(text)


def test_java_cancels_by_reset(java: JavaClient) -> None:
    java.statement(
        "CREATE STREAM JAVA_C (ID INT) WITH (KAFKA_TOPIC='java_c', VALUE_FORMAT='JSON', PARTITIONS=1);"
    )
    push = java.send("/query-stream", {"sql": "SELECT * FROM JAVA_C EMIT CHANGES;"}, accept=ROWS)
    query_id = element(next(java.lines_of(push)))["header"]["queryId"]
    java.reset(push)
    while query_id in [q["id"] for q in java.statement("LIST QUERIES;")["queries"]]:
        pass
    java.statement("DROP STREAM JAVA_C DELETE TOPIC;")


class Cli:
    """The requests of the CLI: HTTP/1.1, ``Accept: application/json``, the last sequence number along."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.sequence, self.properties = -1, dict[str, str]()

    def request(self, method: str, path: str, body: Any = None) -> http.client.HTTPResponse:
        text = None if body is None else json.dumps(body).encode()
        self._connection.putrequest(method, path, skip_accept_encoding=True)
        self._connection.putheader("Accept", "application/json")
        if text is not None:
            self._connection.putheader("Content-Length", str(len(text)))
        self._connection.endheaders(text)
        return self._connection.getresponse()

    def body(self, text: str) -> dict[str, Any]:
        return {
            "ksql": text,
            "streamsProperties": self.properties,
            "requestProperties": {},
            "sessionVariables": {},
            "commandSequenceNumber": self.sequence,
        }

    def statements(self, text: str) -> list[dict[str, Any]]:
        answer = self.request("POST", "/ksql", self.body(text))
        entities: list[dict[str, Any]] = json.loads(answer.read())
        assert answer.status == 200, entities
        for entity in entities:
            check_entity(entity)
            self.sequence = max(self.sequence, entity.get("commandSequenceNumber", -1))
        return entities

    def set(self, name: str, value: str) -> None:
        answer = self.request("GET", f"/is_valid_property/{name}")
        assert (answer.status, json.loads(answer.read())) == (200, True)
        self.properties[name] = value

    def lines(self, text: str) -> list[str]:
        answer = self.request("POST", "/query", self.body(text))
        assert answer.status == 200
        return answer.read().decode().split("\n")


def test_a_session_of_the_cli(open_server: Server) -> None:
    cli = Cli(int(open_server.port))
    info = json.loads(cli.request("GET", "/info").read())["KsqlServerInfo"]
    assert re.match(r"v?\d+\.\d+\..+", info["version"])
    assert not info["ksqlServiceId"].startswith("pksqlc-")
    created, listed = cli.statements(
        "CREATE STREAM CLI_S (ID INT KEY, NOTE STRING) "
        "WITH (KAFKA_TOPIC='cli_s', VALUE_FORMAT='JSON', PARTITIONS=1);\nLIST STREAMS;"
    )
    assert cli.sequence == created["commandSequenceNumber"]
    assert "CLI_S" in [s["name"] for s in listed["streams"]]
    assert cli.statements("INSERT INTO CLI_S VALUES (1, 'a');\nINSERT INTO CLI_S VALUES (2, NULL);") == []
    cli.set("auto.offset.reset", "earliest")
    refused = cli.request("GET", "/is_valid_property/no.such.property")
    assert refused.status == 400 and "no.such.property" in json.loads(refused.read())["message"]
    first, *rows, last = cli.lines("SELECT * FROM CLI_S EMIT CHANGES LIMIT 2;")
    assert element(first)["header"]["schema"] == "`ID` INTEGER, `NOTE` STRING"
    assert [element(row) for row in rows] == [
        {"row": {"columns": [1, "a"]}},
        {"row": {"columns": [2, None]}},
    ]
    assert element(last) == {"finalMessage": "Limit Reached"}
    printed = cli.lines("PRINT cli_s FROM BEGINNING LIMIT 2;")
    assert [line.split(":")[0] for line in printed] == [
        "Key format",
        "Value format",
        "rowtime",
        "rowtime",
        "",
    ]
    error = cli.request("POST", "/ksql", cli.body("DESCRIBE NOBODY;"))
    assert json.loads(error.read())["message"].startswith("Could not find STREAM/TABLE 'NOBODY'")
    cli.statements("DROP STREAM CLI_S DELETE TOPIC;")

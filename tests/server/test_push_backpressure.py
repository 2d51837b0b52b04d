"""A push query to a client that does not read: it is held back, and nobody else is."""

import http.client
import json
import socket
import threading
from contextlib import closing, contextmanager

import h2.connection
import h2.events
import pytest

from tests.server.running import running

ROWS, NOTE = 2_000, "x" * 8_000
#: Far more than the socket buffers of both sides hold.
ALL = [json.dumps([i, NOTE], separators=(",", ":")) for i in range(ROWS)]
ENDLESS = "SELECT * FROM S EMIT CHANGES;"
LIMITED = f"SELECT * FROM S EMIT CHANGES LIMIT {ROWS};"


def connect(port):
    """A socket whose own buffer is the same on every machine."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 256 * 1024)
    sock.settimeout(20)
    sock.connect(("127.0.0.1", port))
    return sock


class Http1:
    """A push query over HTTP/1.1; reads only when asked to."""

    def __init__(self, port, sql):
        self._connection = http.client.HTTPConnection("127.0.0.1", port)
        self._connection.sock = connect(port)
        self._connection.request("POST", "/query-stream", json.dumps({"sql": sql}))
        self._answer = self._connection.getresponse()
        self.query_id = json.loads(self._answer.readline())["queryId"]

    def rest(self):
        """All lines to the end of the answer."""
        return self._answer.read().decode().splitlines()

    def close(self):
        self._answer.close()
        self._connection.close()


class Http2:
    """As `Http1`; gives window back for what it read only."""

    def __init__(self, port, sql):
        self._sock, self._h2, self._ended = connect(port), h2.connection.H2Connection(), False
        self._h2.initiate_connection()
        head = [
            (":method", "POST"),
            (":path", "/query-stream"),
            (":scheme", "http"),
            (":authority", "127.0.0.1"),
        ]
        self._h2.send_headers(1, head)
        self._h2.send_data(1, json.dumps({"sql": sql}).encode(), end_stream=True)
        self._sock.sendall(self._h2.data_to_send())
        first = b""
        while not first.endswith(b"\n"):
            first += self._read()
        self.query_id = json.loads(first)["queryId"]

    def _read(self):
        got = b""
        for event in self._h2.receive_data(self._sock.recv(65536)):
            if isinstance(event, h2.events.DataReceived):
                got += event.data
                self._h2.acknowledge_received_data(event.flow_controlled_length, 1)
            self._ended = self._ended or isinstance(event, h2.events.StreamEnded)
        self._sock.sendall(self._h2.data_to_send())
        return got

    def rest(self):
        """All lines to the end of the answer."""
        parts = []
        while not self._ended:
            parts.append(self._read())
        return b"".join(parts).decode().splitlines()

    def close(self):
        self._sock.close()


@contextmanager
def held_back(client, sql):
    """A push query whose client does not read: (client, query, rows that were polled at a time).

    All rows are in the stream, and another client has got them.
    """
    with running(open_ksql=True) as server:
        ksql = server.node.ksql
        ksql.execute(
            "CREATE STREAM S (ID INT KEY, NOTE STRING) "
            "WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);"
        )
        with closing(client(server.port, sql)) as silent, closing(client(server.port, LIMITED)) as other:
            query = ksql.find_transient(silent.query_id)
            poll, taken = query.poll, []

            def counted(limit):
                rows = poll(limit)
                taken.append(len(rows))
                return rows

            query.poll = counted
            ksql.insert_target("S").insert([{"ID": i, "NOTE": NOTE} for i in range(ROWS)])
            assert other.rest() == ALL
            yield silent, query, taken


@pytest.mark.parametrize("client", [Http1, Http2])
def test_who_does_not_read_holds_back_only_the_own_query_and_misses_nothing(client):
    with held_back(client, LIMITED) as (silent, _, taken):
        assert 0 < sum(taken) < ROWS / 2
        assert silent.rest() == ALL
        assert sum(taken) == ROWS


@pytest.mark.parametrize("client", [Http1, Http2])
def test_a_query_that_is_held_back_ends_with_its_client(client):
    with held_back(client, ENDLESS) as (silent, query, taken):
        ended, before = threading.Event(), query.on_close

        def closed(query):
            before(query)
            ended.set()

        query.on_close = closed
        silent.close()
        assert ended.wait(20)
        assert sum(taken) < ROWS

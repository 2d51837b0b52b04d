"""WebSockets under Jupyter Server, and ksqlDB's /ws/query."""

import asyncio
import errno
import json
import socket

import pytest
import websocket
from tornado.httpclient import HTTPClientError

from kalam_server import listener
from tests.server.running import TOKEN, running


async def read(socket):
    return json.loads(await socket.read_message())


class TestUnderJupyter:
    async def test_a_live_query_with_jupyters_token(self, jp_ws_fetch, call):
        setup = "CREATE NAMESPACE app; CREATE TABLE app.t (id INT PRIMARY KEY) WITH (TYPE='USER')"
        await call("POST", "v1", "api", "sql", body={"sql": setup})
        socket = await jp_ws_fetch("v1", "ws", params={"compress": "false"})
        assert (await read(socket))["type"] == "auth_success"
        subscription = {"id": "s", "sql": "SELECT id FROM app.t", "options": {}}
        await socket.write_message(json.dumps({"type": "subscribe", "subscription": subscription}))
        assert (await read(socket))["type"] == "subscription_ack"
        assert (await read(socket))["rows"] == []
        await call("POST", "v1", "api", "sql", body={"sql": "INSERT INTO app.t VALUES (1)"})
        assert (await read(socket))["rows"][0]["id"] == 1
        socket.close()

    async def test_strangers_authenticate_in_band(self, jp_ws_fetch, login):
        bearer = (await login())["Authorization"].removeprefix("Bearer ")
        socket = await jp_ws_fetch("v1", "ws", headers={"Authorization": ""})
        await socket.write_message(json.dumps({"type": "authenticate", "method": "jwt", "token": bearer}))
        assert (await read(socket))["user"] == "root"
        socket.close()

    async def test_foreign_origins_are_refused(self, jp_ws_fetch):
        headers = {"Authorization": "", "Origin": "https://evil.example"}
        with pytest.raises(HTTPClientError) as refused:
            await jp_ws_fetch("v1", "ws", headers=headers)
        assert refused.value.code == 403

    async def test_a_query_over_websocket_needs_a_credential(self, jp_ws_fetch, call):
        request = json.dumps({"ksql": "SELECT * FROM NOPE;"})
        with pytest.raises(HTTPClientError) as refused:
            await jp_ws_fetch("ws", "query", params={"request": request}, headers={"Authorization": ""})
        assert refused.value.code == 401
        socket = await jp_ws_fetch("ws", "query", params={"request": request})
        assert "NOPE does not exist" in (await read(socket))["error"]


class TestQuerySocket:
    @pytest.fixture(scope="class")
    @staticmethod
    def server():
        with running() as server:
            server.node.ksql.execute(
                "CREATE STREAM S (ID INT KEY, V STRING) "
                "WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);"
                "INSERT INTO S VALUES (1, 'a'); INSERT INTO S VALUES (2, 'b');"
            )
            yield server

    def frames(self, server, **parameters):
        from urllib.parse import urlencode

        url = f"ws://127.0.0.1:{server.port}/ws/query?{urlencode({'token': TOKEN, **parameters})}"
        socket = websocket.create_connection(url, timeout=20, suppress_origin=True)
        texts = []
        while True:
            opcode, data = socket.recv_data()
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                socket.close()
                return texts, (int.from_bytes(data[:2]), data[2:].decode())
            texts.append(json.loads(data))

    def test_rows_then_done(self, server):
        request = {
            "ksql": "SELECT * FROM S EMIT CHANGES LIMIT 2;",
            "streamsProperties": {"auto.offset.reset": "earliest"},
        }
        frames, closed = self.frames(server, request=json.dumps(request))
        assert frames == [
            [
                {"name": "ID", "schema": {"type": "INTEGER", "fields": None, "memberSchema": None}},
                {"name": "V", "schema": {"type": "STRING", "fields": None, "memberSchema": None}},
            ],
            {"row": {"columns": [1, "a"]}},
            {"row": {"columns": [2, "b"]}},
            {"error": "done"},
        ]
        assert closed == (1000, "done")

    @pytest.mark.parametrize(
        ("parameters", "message"),
        [
            ({}, "missing request parameter"),
            ({"version": "2", "request": "{}"}, "Received invalid api version: 2"),
            ({"request": "nonsense"}, "Error parsing request"),
            ({"request": '{"ksql":"SLECT"}'}, "Error parsing query: line 1:1"),
        ],
    )
    def test_failures_are_frames(self, server, parameters, message):
        frames, (code, reason) = self.frames(server, **parameters)
        assert frames[-1]["error"].startswith(message)
        assert code == 1003
        assert reason.startswith(message)

    def test_print_sends_lines(self, server):
        frames, _ = self.frames(server, request=json.dumps({"ksql": "PRINT 's' FROM BEGINNING LIMIT 1;"}))
        assert frames[0].startswith("rowtime: ") or frames[0].startswith("Key format")


class Exhausted(socket.socket):
    """A listening socket that has no descriptor for the first connection it is asked for."""

    asked = 0

    def accept(self):
        self.asked += 1
        if self.asked == 1:
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


def test_where_descriptors_run_out_connections_wait(monkeypatch, caplog):
    monkeypatch.setattr(listener, "PATIENCE_SECONDS", 0.01)

    async def accepted(sock):
        found = asyncio.get_running_loop().create_future()
        server = listener.PatientServer(lambda request: None)
        monkeypatch.setattr(server, "_handle_connection", lambda *connection: found.set_result(connection))
        server.add_sockets([sock])
        with socket.create_connection(sock.getsockname()) as client:
            connection, address = await asyncio.wait_for(found, 20)
            connection.close()
            assert address == client.getsockname()
        server.stop()

    with Exhausted() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        sock.setblocking(False)
        asyncio.run(accepted(sock))
        assert sock.asked in (2, 3)  # the last finds that there is no more
    assert [record.message for record in caplog.records] == [
        "connections have to wait: [Errno 24] Too many open files"
    ]

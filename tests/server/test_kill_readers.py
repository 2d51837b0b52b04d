"""``kill -9`` of the server while a consumer group reads a topic and a live query is followed.

An acknowledged offset is never handed out again, everything else is at least once. The live query goes on
behind the last row it has seen, with nothing lost and nothing repeated.
"""

import gzip
import json
import os
import random
import signal
import threading

import httpx
import pytest
import websocket

from tests.server.test_kill import SEED, Server

TOPIC, GROUP = "app.ev", "readers"


class Follower(threading.Thread):
    """A live query over one connection: it ends with the connection."""

    def __init__(self, server, replica):
        super().__init__(daemon=True)
        self.replica = replica
        self.socket = websocket.create_connection(
            f"ws://{server.http.base_url.host}:{server.http.base_url.port}/v1/ws",
            timeout=60,
            header=[f"Authorization: {server.http.headers['Authorization']}"],
            suppress_origin=True,
        )
        assert json.loads(self.socket.recv())["type"] == "auth_success"
        options = {} if replica.seq is None else {"from": replica.seq}
        subscription = {"id": "s", "sql": "SELECT id, v FROM app.t", "options": options}
        self.socket.send(json.dumps({"type": "subscribe", "subscription": subscription}))
        self.start()

    def run(self):
        try:
            while data := self.socket.recv():
                self.replica.apply(json.loads(gzip.decompress(data) if isinstance(data, bytes) else data))
        except (OSError, websocket.WebSocketException):
            pass  # the server was killed
        finally:
            self.socket.close()


class Replica:
    """What the live query has told so far."""

    def __init__(self):
        self.rows, self.seq, self.repeated = {}, None, []
        self._changed = threading.Condition()
        self._seen = set()

    def apply(self, message):
        with self._changed:
            for row in message.get("rows", ()):
                self._saw(row)
                self.rows.setdefault(row["id"], {}).update(row)
            if message.get("change_type") == "delete":
                for row in message["old_values"]:
                    self._saw(row)
                    self.rows.pop(row["id"], None)
            self._changed.notify_all()

    def _saw(self, row):
        seq = int(row["_seq"])
        if seq in self._seen:
            self.repeated.append(row)
        self._seen.add(seq)
        self.seq = max(self.seq or 0, seq)

    def wait_for(self, id_):
        with self._changed:
            assert self._changed.wait_for(lambda: id_ in self.rows, 20)


class Group:
    """A consumer group: what it was given, and how far it is acknowledged."""

    def __init__(self):
        self.keys, self.offsets = set(), set()
        self.acknowledged = self.asked = -1
        self.first = True

    def consume(self, server):
        body = {"topic_id": TOPIC, "group_id": GROUP, "start": "Earliest", "limit": 3}
        messages = server.http.post("/v1/api/topics/consume", json=body).json()["messages"]
        if messages and self.first:
            assert self.acknowledged < messages[0]["offset"] <= self.asked + 1
            self.first = False
        self.keys |= {int(m["key"]) for m in messages}
        self.offsets |= {m["offset"] for m in messages}
        return messages

    def acknowledge(self, server, offset):
        self.asked = offset
        body = {"topic_id": TOPIC, "group_id": GROUP, "upto_offset": offset}
        assert server.http.post("/v1/api/topics/ack", json=body).json()["success"]
        self.acknowledged = offset


def write(server, n):
    """One row more, one changed, one gone."""
    server.run(f"INSERT INTO app.t VALUES ({n}, 'new')")
    server.run(f"UPDATE app.t SET v = 'changed' WHERE id = {n - 1}")
    server.run(f"DELETE FROM app.t WHERE id = {n - 2}")


@pytest.mark.crash
@pytest.mark.timeout(300)
@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_readers_of_a_killed_server_go_on_where_they_were(tmp_path):
    print(f"KALAM_CRASH_SEED={SEED}")  # shown when the test fails
    chance, group, replica, n = random.Random(SEED), Group(), Replica(), 0
    unanswered = set()
    server = Server(tmp_path)
    server.run(
        "CREATE NAMESPACE app; CREATE SHARED TABLE app.t (id INT PRIMARY KEY, v TEXT); "
        "CREATE TOPIC app.ev; ALTER TOPIC app.ev ADD SOURCE app.t ON INSERT"
    )
    for _ in range(2):
        follower = Follower(server, replica)
        timer = server.kill_after(0.2 + chance.random() / 2)
        try:
            while True:
                n += 1
                write(server, n)
                if messages := group.consume(server):
                    group.acknowledge(server, messages[-1 if chance.random() < 0.7 else 0]["offset"])
        except httpx.TransportError:
            assert server.process.wait(20) == -signal.SIGKILL
            unanswered.add(n)
        finally:
            timer.cancel()
        follower.join(60)
        server.end()
        server = Server(tmp_path)
        group.first = True

    follower = Follower(server, replica)
    write(server, n + 1)
    replica.wait_for(n + 1)
    server.run(f"INSERT INTO app.t VALUES ({n + 2}, 'last')")
    replica.wait_for(n + 2)
    assert replica.repeated == []
    there = {(i, v) for i, v in server.run("SELECT id, v FROM app.t")}
    assert {(i, row["v"]) for i, row in replica.rows.items()} == there
    while group.consume(server):
        pass
    assert group.offsets == set(range(len(group.keys)))
    assert group.keys >= {*range(1, n + 3)} - unanswered
    server.end()
    follower.join(60)

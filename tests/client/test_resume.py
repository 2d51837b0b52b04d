"""A live query whose connection breaks goes on behind the last row it saw."""

import contextlib
import socket
import threading

import pytest

from kalam_jupyter.client import ClientError, ConnectionLostError, connect
from tests.server.running import ROOT_PASSWORD, running


class Cable:
    """Forwards connections to a port, until it is cut."""

    def __init__(self, port):
        self._target, self._open = port, []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.connected = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._target))
            self._open += [near, far]
            self.connected += 1
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._copy, args=(one, other), daemon=True).start()

    @staticmethod
    def _copy(one, other):
        try:
            while data := one.recv(65536):
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def cut(self):
        """Break all connections; new ones are made as before."""
        for end in self._open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._open = []

    def close(self):
        self._listener.close()
        self.cut()


@pytest.fixture
def server():
    with running("kalam") as server:
        kalam = server.node.kalam
        kalam.execute(
            kalam.session("root"),
            "CREATE NAMESPACE app; "
            "CREATE TABLE app.t (id INT PRIMARY KEY, v TEXT) WITH (TYPE='SHARED'); "
            "INSERT INTO app.t VALUES (1, 'a'), (2, 'b')",
        )
        yield server


@pytest.fixture
def cable(server):
    cable = Cable(server.port)
    yield cable
    cable.close()


@pytest.fixture
def connection(cable):
    url = f"http://127.0.0.1:{cable.port}"
    with connect(url, user="root", password=ROOT_PASSWORD) as connection:
        yield connection


def take(stream, count):
    """The next rows with their kinds."""
    found = []
    while len(found) < count:
        assert stream.wait(20), found
        changes = stream.poll()
        if changes is None:
            assert stream.error is None, stream.error
            continue
        rows = changes.batch.select(["id", "v"]).to_pylist()
        found += [(kind, row["id"], row["v"]) for kind, row in zip(changes.kinds.tolist(), rows, strict=True)]
    return found


def execute(server, sql):
    kalam = server.node.kalam
    kalam.execute(kalam.session("root"), sql)


def test_nothing_is_lost_or_repeated(server, cable, connection):
    with connection.live("SELECT id, v FROM app.t") as stream:
        assert take(stream, 2) == [(0, 1, "a"), (0, 2, "b")]
        for round_ in range(3):
            cable.cut()
            execute(
                server,
                f"INSERT INTO app.t VALUES ({10 + round_}, 'new'); UPDATE app.t SET v='{round_}' WHERE id=1",
            )
            assert sorted(take(stream, 2), key=lambda r: r[1]) == [
                (1, 1, str(round_)),
                (1, 10 + round_, "new"),
            ]
            assert stream.interruption == ""
        execute(server, "INSERT INTO app.t VALUES (99, 'live')")
        assert take(stream, 1) == [(0, 99, "live")]


def test_an_empty_answer_is_asked_for_again(server, cable, connection):
    with connection.live("SELECT id, v FROM app.t WHERE id > 100") as stream:
        cable.cut()
        execute(server, "INSERT INTO app.t VALUES (101, 'first')")
        assert [row[1:] for row in take(stream, 1)] == [(101, "first")]


def test_a_query_without_its_past_cannot_be_resumed_before_its_first_row(cable, connection):
    with connection.live("SELECT id, v FROM app.t", initial=False) as stream:
        cable.cut()
        while not stream.finished:
            assert stream.wait(20)
        assert stream.error is not None


def test_the_interruption_shows_until_it_is_over_and_a_close_ends_it(cable, connection):
    with connection.live("SELECT id, v FROM app.t") as stream:
        take(stream, 2)
        cable.close()
        while not stream.interruption:
            assert not stream.finished
        assert f"http://127.0.0.1:{cable.port}" in stream.interruption
        stream.close()
        assert stream.finished and stream.error is None


def test_what_the_server_refuses_is_not_tried_again(server, cable, connection):
    with connection.live("SELECT id, v FROM app.t") as stream:
        take(stream, 2)
        execute(server, "DROP TABLE app.t")
        cable.cut()
        while not stream.finished:
            stream.wait(20)
            stream.poll()
        assert isinstance(stream.error, ClientError)


def test_a_push_query_says_which_connection_was_lost():
    with running("ksql", open_ksql=True) as server:
        cable = Cable(server.port)
        url = f"http://127.0.0.1:{cable.port}"
        with connect(url) as connection:
            connection.ksql("CREATE STREAM S (A INT) WITH (KAFKA_TOPIC='s', FORMAT='JSON', PARTITIONS=1);")
            stream = connection.push("SELECT * FROM S EMIT CHANGES;")
            cable.close()
            while not stream.finished:
                stream.wait(20)
                stream.poll()
            assert isinstance(stream.error, ConnectionLostError)
            assert stream.error.message.startswith(f"the connection to {url} was lost")
            assert "IncompleteRead" not in stream.error.message

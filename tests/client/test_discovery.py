"""Where `connect` finds its engine, and what a wrong address says."""

import os
import socket

import pytest

from kalam_jupyter.client import ClientError, ConnectionLostError, connect
from tests.server.running import ROOT_PASSWORD, TOKEN, running


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for name in [n for n in os.environ if n.startswith(("KALAM_", "JPY_"))]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def server():
    with running() as server:
        yield server


def test_without_anything_it_is_embedded():
    with connect() as connection:
        assert connection.target == "embedded"
        assert connection.node is not None


def test_an_embedded_engine_takes_a_users_name_and_password():
    with connect(":memory:") as root:
        root.kalam(
            "CREATE NAMESPACE diary; CREATE USER 'ada' WITH PASSWORD 'lovelace' ROLE user;"
            "CREATE TABLE diary.notes (id INT PRIMARY KEY, text TEXT) WITH (TYPE='USER');"
            "INSERT INTO diary.notes VALUES (1, 'of root');"
        )
        with connect(":memory:", user="ada", password="lovelace") as ada:
            assert ada.node is root.node
            with pytest.raises(ClientError, match="role 'user'"):
                ada.ksql("LIST STREAMS;")
            ada.kalam("INSERT INTO diary.notes VALUES (1, 'of ada')")
            assert ada.table("diary.notes").column("text").to_pylist() == ["of ada"]
            with ada.live("SELECT text FROM diary.notes") as live:
                root.kalam("UPDATE diary.notes SET text = 'still of root' WHERE id = 1")
                ada.kalam("UPDATE diary.notes SET text = 'again of ada' WHERE id = 1")
                changes = [live.poll(), live.poll()]
                assert [c.batch.to_pylist() for c in changes if c] == [
                    [{"text": "of ada"}],
                    [{"text": "again of ada"}],
                ]
        for user, password in (("ada", "byron"), ("grace", "hopper"), ("ada", None)):
            with pytest.raises(ClientError) as refused:
                connect(":memory:", user=user, password=password)
            assert refused.value.status == 401
        assert root.table("diary.notes").column("text").to_pylist() == ["still of root"]
        ada = connect(":memory:", user="ada", password="lovelace")
        root.kalam("DROP USER 'ada'")
        with pytest.raises(ClientError, match="does not exist"):
            ada.table("diary.notes")
        root.node.close()


def test_connections_of_one_process_share_the_embedded_engine():
    with connect(":memory:") as one, connect("embedded") as other:
        assert one.node is other.node


def test_a_directory_is_opened_once_in_a_process(tmp_path):
    with connect(f"embedded:{tmp_path}/data") as one, connect(f"embedded:{tmp_path}/./data") as other:
        assert one.node is other.node
        one.node.close()
    with connect(f"embedded:{tmp_path}/data") as again:
        assert again.node is not None
        again.node.close()


@pytest.mark.parametrize(
    ("url", "token"), [("KALAM_JUPYTER_URL", "KALAM_JUPYTER_TOKEN"), ("KALAM_URL", "KALAM_TOKEN")]
)
def test_the_environment_comes_first(server, monkeypatch, url, token):
    monkeypatch.setenv(url, server.url)
    monkeypatch.setenv(token, TOKEN)
    with connect() as connection:
        assert connection.target == server.url
        assert connection.ksql("LIST TYPES;")[0].kind == "entity"


def test_a_named_target_beats_the_environment(server, monkeypatch):
    monkeypatch.setenv("KALAM_URL", server.url)
    with connect(":memory:") as connection:
        assert connection.target == "embedded"


def test_user_and_password_log_in(server):
    with connect(server.url, user="root", password=ROOT_PASSWORD) as connection:
        assert connection.kalam("SELECT CURRENT_USER() AS u")[0].table.to_pylist() == [{"u": "root"}]
        assert connection.ksql("LIST TYPES;")
    with pytest.raises(ClientError, match="Invalid credentials"):
        connect(server.url, user="root", password="wrong")


def test_a_user_of_low_role_gets_kalam_alone(server):
    kalam = server.node.kalam
    kalam.execute(kalam.session("root"), "CREATE USER 'low' WITH PASSWORD 'LowPass123!' ROLE user")
    with connect(server.url, token=kalam.auth.issue("low").access_token) as connection:
        assert connection.kalam("SELECT 1 AS x")[0].row_count == 1
        with pytest.raises(ClientError, match="does not speak ksqlDB"):
            connection.ksql("LIST STREAMS;")


def test_credentials_in_the_url_are_used_and_not_shown(server):
    url = server.url.replace("http://", f"http://me:{TOKEN}@")
    with connect(url) as connection:
        assert TOKEN not in connection.target
        assert connection.ksql("LIST TYPES;")


def test_a_wrong_token_is_refused(server):
    with pytest.raises(ClientError) as refused:
        connect(server.url, token="wrong")
    assert refused.value.status == 401


def test_nobody_there():
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        with pytest.raises(ConnectionLostError, match="cannot reach"):
            connect(f"http://127.0.0.1:{port}")


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("localhost:8088", r"give a URL \(http://localhost:8088\)"),
        ("nonsense", r"give a URL \(http://\.\.\)"),
        (f"embedded:{__file__}", "cannot open embedded:.*: File exists"),
    ],
)
def test_a_target_that_is_none_is_refused_with_what_would_be_one(target, said):
    with pytest.raises(ClientError, match=said):
        connect(target)

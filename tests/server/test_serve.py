"""`kalam serve` as a process: what it prints, what it serves, how it ends."""

import os
import re
import signal
import subprocess
import sys

import httpx
import pytest

from kalam_jupyter.client import ClientError, connect
from kalam_server.cli import main


@pytest.fixture
def serve(tmp_path):
    """Start `kalam serve` on free ports; return the process and what it printed."""
    processes = []

    def serve(*arguments, env=None):
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "kalam_server.cli",
                "serve",
                "--kalam-port=0",
                "--ksql-port=0",
                *arguments,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "KALAMDB_ROOT_PASSWORD": "RootPass123!", **(env or {})},
        )
        processes.append(process)
        printed = ""
        while "Ctrl+C" not in printed:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            printed += line
        return process, dict(re.findall(r"^(KalamDB|ksqlDB|token)\s+(?:API\s+)?(\S+)", printed, re.MULTILINE))

    yield serve
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait(20)
        process.stdout.close()
        process.stderr.close()


def end(process, number=signal.SIGTERM):
    process.send_signal(number)
    assert process.wait(30) == 0, process.stderr.read()
    assert process.stderr.read() == ""


def test_data_outlives_the_process(serve, tmp_path):
    data = str(tmp_path / "data")
    process, printed = serve("--data", data)
    with connect(printed["ksqlDB"], token=printed["token"]) as connection:
        connection.ksql(
            "CREATE STREAM S (K INT KEY, V STRING) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);"
            "INSERT INTO S VALUES (1, 'kept');"
        )
        connection.kalam("CREATE NAMESPACE app; CREATE TABLE app.t (id INT PRIMARY KEY) WITH (TYPE='USER')")
        connection.kalam("INSERT INTO app.t VALUES (7)")
        stream = connection.push("SELECT * FROM S EMIT CHANGES;")
        end(process)
        assert stream.wait(20)
    process, printed = serve("--data", data)
    with connect(printed["KalamDB"], user="root", password="RootPass123!") as connection:
        assert connection.frame("s")["V"].tolist() == ["kept"]
        assert connection.frame("app.t")["id"].tolist() == [7]
    end(process, signal.SIGINT)


def test_the_token_is_asked_for_and_not_printed_when_given(serve):
    _, printed = serve("--token-env", "MY_TOKEN", env={"MY_TOKEN": "given"})
    assert "token" not in printed
    assert httpx.get(f"{printed['ksqlDB']}/info").status_code == 401
    assert httpx.get(f"{printed['ksqlDB']}/info", auth=("me", "given")).status_code == 200


def test_without_authentication_ksql_is_open_and_kalam_is_not(serve):
    _, printed = serve("--ksql-auth", "none")
    assert httpx.get(f"{printed['ksqlDB']}/info").status_code == 200
    assert httpx.get(f"{printed['ksqlDB']}/info", headers={"Host": "evil.example"}).status_code == 403
    answer = httpx.post(f"{printed['KalamDB']}/v1/api/sql", json={"sql": "SELECT 1"})
    assert answer.status_code == 401


def test_a_second_process_finds_the_first(serve, tmp_path, monkeypatch):
    data = str(tmp_path / "data")
    _, printed = serve("--data", data)
    monkeypatch.setenv("KALAM_TOKEN", printed["token"])
    with connect(f"embedded:{data}") as connection:
        assert connection.target == printed["KalamDB"]
        assert connection.kalam("SELECT 1 AS one")[0].row_count == 1
    monkeypatch.delenv("KALAM_TOKEN")
    with pytest.raises(ClientError, match="Unauthorized"):
        connect(f"embedded:{data}")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--host", "0.0.0.0", "--ksql-auth", "none"], "for loopback"),
        (["--token-env", "NOT_SET_ANYWHERE"], "NOT_SET_ANYWHERE is not set"),
        (["--tls-key", "key.pem"], "needs --tls-cert"),
    ],
)
def test_what_cannot_work_is_said_in_one_line(arguments, text, capsys):
    assert main(["serve", "--kalam-port=0", "--ksql-port=0", *arguments]) == 1
    error = capsys.readouterr().err
    assert text in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments", [["serve", "--data", "x", "--memory"], ["serve", "--ksql-port", "70000"], []]
)
def test_nonsense_is_refused_with_usage(arguments, capsys):
    with pytest.raises(SystemExit):
        main(arguments)
    assert "usage:" in capsys.readouterr().err

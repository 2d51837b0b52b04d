"""Files over HTTP: uploads that go to disk as they come, ranges of downloads, what a crash leaves."""

import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from kalam_server.kalam_handlers.files import RangeError, requested_range
from tests.server.running import CONFIG, ROOT_PASSWORD, TOKEN, running

MIB = 1024 * 1024
BOUNDARY = "a7f3"
INSERT = "INSERT INTO doc.t (id, f) VALUES ({}, FILE('f'))"


def head(statement, name="f.bin"):
    return (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="sql"\r\n\r\n{statement}\r\n'
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file:f"; filename="{name}"\r\n\r\n'
    ).encode()


END = f"\r\n--{BOUNDARY}--\r\n".encode()
MULTIPART = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def chunked(statement, pieces):
    """A body whose length is not declared."""
    yield head(statement)
    yield from pieces
    yield END


def make_table(client):
    text = (
        "CREATE NAMESPACE IF NOT EXISTS doc; "
        "CREATE TABLE IF NOT EXISTS doc.t (id INT PRIMARY KEY, f FILE) WITH (TYPE='SHARED')"
    )
    assert client.post("/v1/api/sql", json={"sql": text}).status_code == 200


def reference(client, number):
    body = {"sql": f"SELECT f FROM doc.t WHERE id = {number}"}
    return json.loads(client.post("/v1/api/sql", json=body).json()["results"][0]["rows"][0][0])


def local(url):
    return httpx.Client(base_url=url, timeout=60, headers={"Authorization": f"Bearer {TOKEN}"})


@pytest.fixture(scope="module")
def server():
    with running("kalam", config=CONFIG.with_(max_file_size=MIB, max_files_per_request=3)) as server:
        with local(server.url) as client:
            make_table(client)
        yield server


@pytest.fixture
def client(server):
    with local(server.url) as client:
        yield client


def incoming(server):
    """Temporary files of uploads that are under way."""
    return list((server.node.kalam.storages.base / "incoming").glob("*"))


@pytest.fixture
def process(tmp_path):
    """Start `kalam serve` on a directory; return process and URL."""
    processes = []

    def start():
        arguments = [
            "serve",
            "--kalam-port=0",
            "--ksql-port=0",
            "--token-env=T",
            f"--data={tmp_path / 'data'}",
        ]
        process = subprocess.Popen(
            [sys.executable, "-m", "kalam_server.cli", *arguments],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "T": TOKEN, "KALAMDB_ROOT_PASSWORD": ROOT_PASSWORD},
        )
        processes.append(process)
        printed = ""
        while "Ctrl+C" not in printed:
            line = process.stdout.readline()
            assert line
            printed += line
        return process, re.search(r"^KalamDB API\s+(\S+)", printed, re.MULTILINE)[1]

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait(20)
        process.stdout.close()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak of memory from /proc")
def test_20_mib_are_never_whole_in_memory(process):
    server, url = process()

    def peak():
        status = Path(f"/proc/{server.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024

    piece = os.urandom(64 * 1024)
    with local(url) as client:
        make_table(client)
        for number, count in ((1, 32), (2, 320)):
            before = peak()
            answer = client.post(
                "/v1/api/sql", content=chunked(INSERT.format(number), [piece] * count), headers=MULTIPART
            )
            assert answer.status_code == 200, answer.text
        found = reference(client, 2)
        assert found["size"] == 20 * MIB
        assert found["sha256"] == hashlib.sha256(piece * 320).hexdigest()
        with client.stream("GET", f"/v1/files/doc/t/{found['sub']}/{found['id']}") as answer:
            digest = hashlib.sha256()
            for part in answer.iter_bytes():
                digest.update(part)
        assert digest.hexdigest() == found["sha256"]
    assert peak() - before < 10 * MIB


def test_a_crash_during_an_upload_leaves_nothing(process, tmp_path):
    server, url = process()
    with local(url) as client:
        make_table(client)
    address = url.removeprefix("http://").partition(":")
    with socket.create_connection((address[0], int(address[2]))) as sock:
        body = head(INSERT.format(1)) + b"x" * 3 * MIB
        request = (
            f"POST /v1/api/sql HTTP/1.1\r\nHost: {address[0]}\r\nAuthorization: Bearer {TOKEN}\r\n"
            f"Content-Type: {MULTIPART['Content-Type']}\r\nContent-Length: {len(body) + 1000}\r\n\r\n"
        )
        sock.sendall(request.encode() + body)
        folder = tmp_path / "data" / "storage" / "incoming"
        files = psutil.Process(server.pid)
        while not any("upload-" in f.path for f in files.open_files()):
            assert server.poll() is None
        assert list(folder.iterdir())
        server.send_signal(signal.SIGKILL)
        server.wait(20)
    assert list(folder.iterdir()), "the process left it behind"
    _, url = process()
    with local(url) as client:
        body = {"sql": "SELECT COUNT(*) FROM doc.t"}
        assert client.post("/v1/api/sql", json=body).json()["results"][0]["rows"] == [["0"]]
    assert [p for p in (tmp_path / "data" / "storage").rglob("*") if p.is_file()] == []


class TestRefusals:
    def test_a_file_too_large_is_refused_while_it_comes(self, client, server):
        pieces = [b"x" * 64 * 1024] * 40
        answer = client.post("/v1/api/sql", content=chunked(INSERT.format(9), pieces), headers=MULTIPART)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "FILE_TOO_LARGE")
        assert incoming(server) == []

    def test_a_body_without_end_is_refused(self, client, server):
        pieces = [b"x" * 64 * 1024] * (10 * 16 + 32)
        ignored = [head("SELECT 1").replace(b"file:f", b"other"), *pieces, END]
        answer = client.post("/v1/api/sql", content=iter(ignored), headers=MULTIPART)
        assert (answer.status_code, answer.json()["error"]) == (413, "BODY_TOO_LARGE")
        assert incoming(server) == []

    def test_who_may_not_call_leaves_no_byte(self, server):
        pieces = [b"x" * 64 * 1024] * 12
        answer = httpx.post(
            f"{server.url}/v1/api/sql", content=chunked(INSERT.format(9), pieces), headers=MULTIPART
        )
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "MISSING_AUTHORIZATION")
        assert incoming(server) == []

    def test_too_many_files(self, client, server):
        files = [("sql", (None, "SELECT 1"))] + [(f"file:f{i}", ("a", b"x")) for i in range(4)]
        answer = client.post("/v1/api/sql", files=files)
        assert answer.json()["error"] == {
            "code": "TOO_MANY_FILES",
            "message": "Too many files: maximum 3 allowed",
        }
        assert incoming(server) == []

    @pytest.mark.parametrize(
        ("headers", "body", "code"),
        [
            ({"Content-Type": "multipart/form-data"}, b"x", "INVALID_INPUT"),
            (MULTIPART, b"x", "INVALID_INPUT"),
            (MULTIPART, head("SELECT 1") + b"cut off", "INVALID_INPUT"),
            (MULTIPART, f"--{BOUNDARY}--\r\n".encode(), "EMPTY_SQL"),
            (MULTIPART, head("?").replace(b"?", b"\xff") + END, "INVALID_INPUT"),
            (MULTIPART, head(" ") + END, "EMPTY_SQL"),
        ],
    )
    def test_what_is_no_multipart_body(self, client, headers, body, code):
        answer = client.post("/v1/api/sql", content=body, headers=headers)
        assert answer.status_code == 400
        assert code in answer.json()["error"]["code"]

    def test_text_parts_have_a_limit(self, client):
        answer = client.post("/v1/api/sql", files={"sql": (None, "x" * (2 * MIB + 1))})
        assert answer.json()["error"]["message"].startswith("Part 'sql' is larger than allowed")

    def test_a_client_that_goes_away_leaves_nothing(self, client, server):
        with socket.create_connection(("127.0.0.1", server.port)) as sock:
            body = head(INSERT.format(8)) + b"x" * 600 * 1024
            request = (
                f"POST /v1/api/sql HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n"
                f"Content-Type: {MULTIPART['Content-Type']}\r\nContent-Length: {len(body) + 1000}\r\n\r\n"
            )
            sock.sendall(request.encode() + body)
            while not incoming(server):
                client.get("/health")
        while incoming(server):
            client.get("/health")


class TestRanges:
    @pytest.fixture
    def stored(self, client):
        data = bytes(range(256)) * 4
        client.post("/v1/api/sql", json={"sql": "DELETE FROM doc.t WHERE id = 1"})
        files = {"sql": (None, INSERT.format(1)), "file:f": ("ä é.bin", data)}
        assert client.post("/v1/api/sql", files=files).status_code == 200
        found = reference(client, 1)
        assert found["name"] == "ä é.bin"
        return f"/v1/files/doc/t/{found['sub']}/{found['id']}", data

    @pytest.mark.parametrize(
        ("asked", "status", "start", "end"),
        [
            (None, 200, 0, 1024),
            ("bytes=0-0", 206, 0, 1),
            ("bytes=1000-", 206, 1000, 1024),
            ("bytes=-24", 206, 1000, 1024),
            ("bytes=-5000", 206, 0, 1024),
            ("bytes=10-99999", 206, 10, 1024),
            ("bytes=9-3", 200, 0, 1024),
            ("bytes=0-1,5-6", 200, 0, 1024),
            ("lines=1-2", 200, 0, 1024),
        ],
    )
    def test_part_of_a_file(self, client, stored, asked, status, start, end):
        path, data = stored
        answer = client.get(path, headers={"Range": asked} if asked else {})
        assert answer.status_code == status
        assert answer.content == data[start:end]
        assert answer.headers["content-length"] == str(end - start)
        assert answer.headers["accept-ranges"] == "bytes"
        if status == 206:
            assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/1024"

    @pytest.mark.parametrize("asked", ["bytes=1024-", "bytes=5000-6000", "bytes=-0"])
    def test_behind_the_end(self, client, stored, asked):
        answer = client.get(stored[0], headers={"Range": asked})
        assert answer.status_code == 416
        assert answer.headers["content-range"] == "bytes */1024"
        assert answer.json()["code"] == "RANGE_NOT_SATISFIABLE"

    def test_a_range_of_another_version_is_not_sent(self, client, stored):
        path, _ = stored
        tag = client.get(path).headers["etag"]
        for condition, status in ((tag, 206), ('"other"', 200)):
            answer = client.get(path, headers={"Range": "bytes=0-9", "If-Range": condition})
            assert answer.status_code == status

    def test_an_empty_file(self, client):
        client.post("/v1/api/sql", json={"sql": "DELETE FROM doc.t WHERE id = 2"})
        files = {"sql": (None, INSERT.format(2)), "file:f": ("empty.txt", b"")}
        assert client.post("/v1/api/sql", files=files).status_code == 200
        found = reference(client, 2)
        answer = client.get(f"/v1/files/doc/t/{found['sub']}/{found['id']}")
        assert (answer.status_code, answer.content) == (200, b"")


def test_ranges_of_an_empty_file():
    assert requested_range(None, 0) is None
    with pytest.raises(RangeError):
        requested_range("bytes=0-", 0)

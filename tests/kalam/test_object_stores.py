"""Storages in buckets: S3, GCS and Azure, each against an emulator on this machine.

S3 is moto's server, a dependency of the tests. The others are tested where their emulators are on the PATH:
``gcp-storage-emulator`` (PyPI) and ``azurite-blob`` (npm: azurite).
"""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from pyarrow import fs

from tests.kalam.conftest import Client
from tests.kalam.test_storage import Given, finish_jobs, upload

BUCKET = "kalam-test"
#: The account every Azurite has, as its documentation says.
AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@dataclass(frozen=True)
class Options:
    """Of CREATE STORAGE."""

    kind: str
    credentials: dict[str, Any]
    config: dict[str, Any]
    bucket: str = BUCKET
    more: str = ""

    def statement(self, name: str) -> str:
        secrets, config = orjson.dumps(self.credentials).decode(), orjson.dumps(self.config).decode()
        return (
            f"CREATE STORAGE {name} TYPE {self.kind} BUCKET '{self.bucket}' {self.more} "
            f"CREDENTIALS '{secrets}' CONFIG '{config}'"
        )


@contextmanager
def s3() -> Iterator[Options]:
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    secrets = {"access_key_id": "k", "secret_access_key": "s"}
    fs.S3FileSystem(
        access_key="k",
        secret_key="s",
        region="us-east-1",
        scheme="http",
        endpoint_override=f"{host}:{port}",
        allow_bucket_creation=True,
    ).create_dir(BUCKET)
    yield Options("s3", secrets, {"endpoint": f"http://{host}:{port}"}, more="REGION 'us-east-1'")
    server.stop()


@contextmanager
def emulator(ready: str, *command: str) -> Iterator[str]:
    """Run an emulator until the block ends; yield the line that says it is ready."""
    program = shutil.which(command[0])
    if program is None:
        pytest.skip(f"{command[0]} is not installed")
    process = subprocess.Popen(
        [program, *command[1:]], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert process.stdout is not None
        line = next((line for line in process.stdout if ready in line), None)
        assert line is not None, f"{command[0]} did not start"
        yield line
    finally:
        process.kill()
        process.communicate()


@contextmanager
def gcs() -> Iterator[Options]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ("start", "--host=127.0.0.1", f"--port={port}", "--in-memory", f"--default-bucket={BUCKET}")
    with emulator("started", "gcp-storage-emulator", *command):
        yield Options("gcs", {"anonymous": True}, {"endpoint": f"http://127.0.0.1:{port}"})


@contextmanager
def azure() -> Iterator[Options]:
    command = ("--blobHost", "127.0.0.1", "--blobPort", "0", "--inMemoryPersistence")
    more = ("--skipApiVersionCheck", "--disableTelemetry")
    with emulator("successfully listens", "azurite-blob", *command, *more) as line:
        endpoint = line.split()[-1]
        authority = endpoint.removeprefix("http://")
        fs.AzureFileSystem(
            account_name="devstoreaccount1",
            account_key=AZURITE_KEY,
            blob_storage_authority=authority,
            dfs_storage_authority=authority,
            blob_storage_scheme="http",
            dfs_storage_scheme="http",
        ).create_dir(BUCKET)
        secrets = {"account_name": "devstoreaccount1", "account_key": AZURITE_KEY}
        yield Options("azure", secrets, {"endpoint": endpoint})


@pytest.fixture(params=[s3, gcs, azure], ids=lambda f: f.__name__)
def options(request: pytest.FixtureRequest) -> Iterator[Options]:
    with request.param() as options:
        yield options


def test_segments_and_files_live_in_a_bucket(root: Client, options: Options) -> None:
    assert root.say(options.statement("cloud")) == "Storage 'cloud' created successfully"
    assert root.rows("STORAGE CHECK cloud")[0][1] == "healthy"
    assert root.json("SELECT credentials FROM system.storages WHERE storage_id = 'cloud'") == [["***"]]
    root.run("CREATE USER TABLE app.u (id INT PRIMARY KEY, doc FILE) WITH (STORAGE_ID = 'cloud')")
    reference = upload(
        root, "INSERT INTO app.u (id, doc) VALUES (1, FILE('f'))", f=Given("a b.txt", b"hello")
    )
    found = root.kalam.read_file(root.session, "app", "u", reference["sub"], reference["id"])
    assert found == (f"{reference['id']}-a-b.txt", b"hello")
    root.run("STORAGE FLUSH TABLE app.u")
    assert finish_jobs(root)[-1][:2] == ("flush", "completed")
    root.run("UPDATE app.u SET doc = NULL WHERE id = 1; STORAGE FLUSH TABLE app.u")
    finish_jobs(root)
    root.run("STORAGE COMPACT TABLE app.u")
    assert "2 segment(s) into 1" in finish_jobs(root)[-1][2]
    root.run("DROP TABLE app.u")
    assert finish_jobs(root)[-1][1] == "completed"
    assert root.say("DROP STORAGE cloud") == "Storage 'cloud' dropped successfully"


FAR = "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (Options("s3", {"access_key_id": "k", "secret_access_key": "s"}, {"endpoint": FAR}), "check failed"),
        (Options("s3", {}, {}, bucket=""), "BUCKET is missing"),
        (Options("gcs", {"private_key": "x"}, {}), "GOOGLE_APPLICATION_CREDENTIALS"),
        (Options("azure", {}, {}), "CREDENTIALS need 'account_name'"),
    ],
)
def test_what_cannot_be_reached_is_no_storage(root: Client, options: Options, text: str) -> None:
    assert text in root.error(options.statement("far")).message
    assert root.rows("SELECT storage_id FROM system.storages") == [("local",)]

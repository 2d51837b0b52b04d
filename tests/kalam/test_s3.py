"""An S3 storage, against moto's server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pyarrow import fs

from tests.kalam.conftest import Client
from tests.kalam.test_storage import Given, finish_jobs, upload

moto_server = pytest.importorskip("moto.server")


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    files = fs.S3FileSystem(
        access_key="k",
        secret_key="s",
        region="us-east-1",
        scheme="http",
        endpoint_override=f"{host}:{port}",
        allow_bucket_creation=True,
    )
    files.create_dir("kalam-test")
    yield f"http://{host}:{port}"
    server.stop()


def test_segments_and_files_live_in_a_bucket(root: Client, endpoint: str) -> None:
    config = f'{{"endpoint":"{endpoint}"}}'
    secrets = '{"access_key_id":"k","secret_access_key":"s"}'
    sql = (
        f"CREATE STORAGE cloud TYPE s3 BUCKET 'kalam-test' REGION 'us-east-1' CREDENTIALS '{secrets}' "
        f"CONFIG '{config}'"
    )
    assert root.say(sql) == "Storage 'cloud' created successfully"
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


def test_unreachable_bucket_is_no_storage(root: Client) -> None:
    error = root.error(
        "CREATE STORAGE far TYPE s3 BUCKET 'b' REGION 'us-east-1' "
        """CREDENTIALS '{"access_key_id":"k","secret_access_key":"s"}' CONFIG '{"endpoint":"http://127.0.0.1:9"}'"""
    )
    assert "connectivity check failed" in error.message

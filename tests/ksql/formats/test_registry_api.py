"""The registry's REST API, and the client that speaks it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from kalam_jupyter.engine import Engine
from kalam_jupyter.ksql.errors import KsqlError
from kalam_jupyter.ksql.formats.registry_api import answer
from kalam_jupyter.ksql.formats.schema_registry import (
    EmbeddedRegistry,
    Reference,
    RegisteredSchema,
    RemoteRegistry,
    SchemaNotFoundError,
)


@pytest.fixture
def registry() -> Iterator[EmbeddedRegistry]:
    with Engine.open() as engine:
        yield EmbeddedRegistry(engine)


def post(registry: EmbeddedRegistry, path: str, **data: object) -> tuple[int, object]:
    return answer(registry, "POST", path, json.dumps(data).encode())


def test_schemas_are_registered_and_found(registry: EmbeddedRegistry) -> None:
    assert post(registry, "/subjects/a%2Fb-value/versions", schema='"int"') == (200, {"id": 1})
    answer(registry, "PUT", "/config/a%2Fb-value", b'{"compatibility": "NONE"}')
    assert post(
        registry, "/subjects/a%2Fb-value/versions", schema='{"type": "object"}', schemaType="JSON"
    ) == (
        200,
        {"id": 2},
    )
    assert answer(registry, "GET", "/subjects") == (200, ["a/b-value"])
    assert answer(registry, "GET", "/subjects/a%2Fb-value/versions") == (200, [1, 2])
    assert answer(registry, "GET", "/subjects/a%2Fb-value/versions/latest") == (
        200,
        {"subject": "a/b-value", "version": 2, "id": 2, "schema": '{"type": "object"}', "schemaType": "JSON"},
    )
    assert answer(registry, "GET", "/subjects/a%2Fb-value/versions/1/schema") == (200, "int")
    assert answer(registry, "GET", "/schemas/ids/1") == (200, {"schema": '"int"'})
    assert answer(registry, "GET", "/schemas/ids/1/versions") == (
        200,
        [{"subject": "a/b-value", "version": 1}],
    )
    assert post(registry, "/subjects/a%2Fb-value", schema='"int"') == (
        200,
        {"subject": "a/b-value", "version": 1, "id": 1, "schema": '"int"'},
    )
    assert answer(registry, "DELETE", "/subjects/a%2Fb-value") == (200, [1, 2])
    assert answer(registry, "GET", "/subjects") == (200, [])


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/subjects/no/versions", b"", 404, 40401),
        ("GET", "/subjects/yes/versions/9", b"", 404, 40402),
        ("GET", "/subjects/yes/versions/x", b"", 422, 42202),
        ("GET", "/schemas/ids/9", b"", 404, 40403),
        ("POST", "/subjects/yes/versions", b"{}", 422, 42201),
        ("POST", "/subjects/yes/versions", b'{"schema": "{"}', 422, 42201),
        ("POST", "/subjects/yes/versions", b'{"schema": "message", "schemaType": "PROTOBUF"}', 422, 42201),
        ("POST", "/subjects/yes/versions", b'{"schema": "x", "schemaType": "XML"}', 422, 42201),
        ("POST", "/subjects/yes/versions", b"[", 400, 40000),
        ("POST", "/subjects/yes", b'{"schema": "\\"long\\""}', 404, 40403),
        ("DELETE", "/subjects/no", b"", 404, 40401),
        ("PUT", "/config", b'{"compatibility": "SOME"}', 422, 42203),
        ("PUT", "/subjects", b"", 405, 405),
        ("GET", "/nowhere", b"", 404, 404),
    ],
)
def test_refusals_have_the_registrys_codes(
    registry: EmbeddedRegistry, method: str, path: str, body: bytes, status: int, code: int
) -> None:
    registry.register("yes", RegisteredSchema("AVRO", '"int"'))
    found, data = answer(registry, method, path, body)
    assert (found, data["error_code"]) == (status, code)
    assert data["message"]


def test_compatibility_is_told(registry: EmbeddedRegistry) -> None:
    assert answer(registry, "PUT", "/config/s", b'{"compatibility": "none"}') == (
        200,
        {"compatibility": "NONE"},
    )
    assert answer(registry, "GET", "/config/s") == (200, {"compatibilityLevel": "NONE"})
    assert answer(registry, "GET", "/config") == (200, {"compatibilityLevel": "BACKWARD"})


@pytest.fixture
def server(registry: EmbeddedRegistry) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, data = answer(registry, self.command, self.path, body)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(data).encode())

        do_GET = do_POST = do_DELETE = _answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}/"
        http.shutdown()
        thread.join()


def test_the_client_of_a_remote_registry_speaks_this_api(registry: EmbeddedRegistry, server: str) -> None:
    remote = RemoteRegistry(server)
    event = 'syntax = "proto3"; message Event { int64 t = 1; }'
    assert remote.register("event", RegisteredSchema("PROTOBUF", event)) == 1
    text = 'syntax = "proto3"; import "event.proto"; message M { Event e = 1; }'
    schema = RegisteredSchema("PROTOBUF", text, (Reference("event.proto", "event", 1),))
    assert remote.register("a/b", schema) == 2
    assert remote.schema(2) == schema
    assert remote.version("a/b").schema == schema
    assert remote.version("a/b", 1).id == 2
    assert remote.subjects() == ["a/b", "event"]
    assert remote.versions("a/b") == [1]
    assert remote.delete_subject("a/b") == [1]
    with pytest.raises(SchemaNotFoundError):
        remote.version("a/b")
    with pytest.raises(KsqlError, match="Invalid schema"):
        remote.register("x", RegisteredSchema("PROTOBUF", "message"))


def test_a_registry_that_does_not_answer_is_named() -> None:
    with pytest.raises(KsqlError, match=r"Schema Registry at http://127\.0\.0\.1:9 cannot be reached"):
        RemoteRegistry("http://127.0.0.1:9/").subjects()

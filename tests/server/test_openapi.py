"""`/v1/openapi.json`: it says what the routes are, and the server keeps to what it says."""

import json
import re

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from openapi_spec_validator import validate
from schemathesis import checks

from kalam_server.ksql_handlers.schemas import SUB_ROUTES
from kalam_server.negotiate import ARROW, DELIMITED
from kalam_server.openapi import document, methods
from kalam_server.routes import KALAM_ROUTES, KSQL_ROOT, KSQL_ROUTES
from tests.server.running import CONFIG, TOKEN, running


@schemathesis.serializer(DELIMITED, ARROW)
def as_it_is(context, value):
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


ROUTES = KALAM_ROUTES + KSQL_ROUTES + KSQL_ROOT
SCHEMA = schemathesis.openapi.from_dict(document())
KEPT = [
    checks.not_a_server_error,
    *(
        checks.CHECKS.get_one(name)
        for name in (
            "status_code_conformance",
            "content_type_conformance",
            "response_headers_conformance",
            "response_schema_conformance",
        )
    ),
]


@pytest.fixture(scope="module")
def server():
    """A server with an answer to more than errors."""
    with running("ksql", config=CONFIG) as server:
        kalam = server.node.kalam
        root = kalam.session("root")
        kalam.execute(
            root,
            "CREATE NAMESPACE app; CREATE TABLE app.t (id INT PRIMARY KEY, f FILE) WITH (TYPE='SHARED'); "
            "CREATE TOPIC app.events; ALTER TOPIC app.events ADD SOURCE app.t ON INSERT; "
            "INSERT INTO app.t (id) VALUES (1)",
        )
        yield server


@pytest.fixture
def stream(server):
    """The stream of the examples: `/ksql/terminate` may have ended it."""
    reopen(server)
    server.node.ksql.execute(
        "CREATE STREAM IF NOT EXISTS S (K INT KEY, V STRING) "
        "WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);"
    )


def reopen(server):
    """Answer again, whatever `/ksql/terminate` did: a server stays shut then until it is started anew."""
    server.node.ksql.server_state = "READY"


def routes_of(path):
    """The routes that answer a path of the document."""
    sample = re.sub(r"\{\w+\}", "1", path)
    return [entry for entry in ROUTES if re.fullmatch(entry.pattern, sample)]


def test_the_document_is_valid():
    validate(document())


def test_every_route_is_described_and_every_description_has_a_route():
    described = document()["paths"]
    found = {path: routes_of(path) for path in described}
    assert [path for path, entries in found.items() if not entries] == []
    assert {entry.pattern for entries in found.values() for entry in entries} == {e.pattern for e in ROUTES}
    for path, entries in found.items():
        if entries[0].handler not in SUB_ROUTES:
            assert set(described[path]) == set(methods(entries[0].handler)), path


def test_what_is_open_is_said_to_be(server):
    """Without credentials, exactly the operations described as open answer anything but 401."""
    for path, operations in document()["paths"].items():
        for method, operation in operations.items():
            url = server.url + re.sub(r"\{\w+\}", "f0001", path)
            answer = httpx.request(method.upper(), url, json={} if method in ("post", "put") else None)
            assert (answer.status_code == 401) == bool(operation["security"]), (method, path, answer.text)


def test_the_description_is_open_and_knows_where_it_is(server):
    answer = httpx.get(f"{server.url}/v1/openapi.json")
    assert answer.json() == {**document(), "servers": [{"url": "/"}]}


def test_the_examples_are_answered(server, stream):
    """Schemathesis sends them too; here it is seen that they succeed."""
    refused = []
    with httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        for path, operations in sorted(document()["paths"].items(), key=lambda p: "terminate" in p[0]):
            body = operations.get("post", {}).get("requestBody", {"content": {}})
            for media_type, described in body["content"].items():
                if "example" in described:
                    given = described["example"]
                    content = given.encode() if isinstance(given, str) else json.dumps(given)
                    reopen(server)
                    answer = client.post(path, content=content, headers={"Content-Type": media_type})
                    if answer.status_code != 200:
                        refused.append((path, answer.status_code))
    # Nobody is called alice here, the server is set up, and no query has that id.
    assert set(refused) == {("/v1/api/auth/login", 401), ("/v1/api/auth/setup", 409), ("/close-query", 400)}


@SCHEMA.parametrize()
@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_the_server_keeps_to_its_description(case, server, stream):
    reopen(server)
    answer = case.call(
        base_url=server.url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=20, allow_redirects=False
    )
    case.validate_response(answer, checks=KEPT)

"""Statements about connectors, against a server that answers like Kafka Connect."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import pytest

from kalam_jupyter.engine import Engine
from kalam_jupyter.ksql import Ksql, KsqlError

CREATE = (
    "CREATE SOURCE CONNECTOR {} orders WITH "
    "('connector.class'='org.x.JdbcSource', 'tasks.max'=2, 'password'='p');"
)
PLUGINS = [
    {"class": "org.x.JdbcSource", "type": "source", "version": "1.0"},
    {"class": "org.x.FileSink", "type": "sink", "version": "2.1"},
]


class Cluster:
    """A Connect cluster in memory: what its REST API says, and every request that came."""

    def __init__(self) -> None:
        self.connectors: dict[str, dict[str, Any]] = {}
        self.states: dict[str, str] = {}
        self.topics: dict[str, list[str]] = {}
        self.requests: list[tuple[str, str]] = []
        self.asked, self.may_answer = threading.Event(), threading.Event()
        self.may_answer.set()

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        self.requests.append((method, path))
        self.asked.set()
        self.may_answer.wait(10)
        if path == "/connector-plugins":
            return 200, PLUGINS
        if re.fullmatch("/connector-plugins/[^/]+/config/validate", path):
            errors = [] if body.get("tasks.max", "1").isdigit() else ["must be a number"]
            return 200, {"configs": [{"value": {"name": "tasks.max", "errors": errors}}]}
        if path == "/connectors":
            return (200, list(self.connectors)) if method == "GET" else self.create(body)
        name, _, what = path.removeprefix("/connectors/").partition("/")
        if name not in self.connectors:
            return 404, {"error_code": 404, "message": f"Connector {name} not found"}
        if method == "DELETE":
            del self.connectors[name]
            return 204, None
        state = self.states.get(name, "RUNNING")
        tasks = [{"id": i, "state": s, "worker_id": "w:1"} for i, s in enumerate((state, "RUNNING"))]
        status = {"name": name, "connector": {"state": "RUNNING", "worker_id": "w:1"}, "tasks": tasks}
        found = {"status": status, "topics": {name: {"topics": self.topics.get(name, [])}}}
        return 200, found.get(what, self.connectors[name])

    def create(self, body: Any) -> tuple[int, Any]:
        config = body["config"]
        if config.get("tasks.max") == "99":
            return 409, {"error_code": 409, "message": "Rebalance in progress"}
        tasks = [{"connector": body["name"], "task": i} for i in range(2)]
        kind = next((p["type"] for p in PLUGINS if p["class"] == config["connector.class"]), "source")
        self.connectors[body["name"]] = {**body, "tasks": tasks, "type": kind}
        return 201, self.connectors[body["name"]]


@pytest.fixture
def cluster() -> Iterator[tuple[Cluster, str]]:
    cluster = Cluster()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            status, found = cluster.answer(self.command, unquote(self.path), body)
            data = b"" if found is None else json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Nothing to the terminal."""

    for method in ("GET", "POST", "PUT", "DELETE"):
        setattr(Handler, f"do_{method}", Handler.answer)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield cluster, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def ksql(cluster: tuple[Cluster, str]) -> Iterator[Ksql]:
    with Engine.open() as engine:
        ksql = Ksql(engine, {"ksql.connect.url": cluster[1]})
        engine.start()
        yield ksql


def test_a_connector_is_created_with_its_settings_as_text(ksql: Ksql, cluster: tuple[Cluster, str]) -> None:
    (made,) = ksql.execute(CREATE.format(""))
    assert made["@type"] == "connector_info"
    assert made["info"]["config"] == {
        "connector.class": "org.x.JdbcSource",
        "tasks.max": "2",
        "password": "p",
        "name": "orders",
    }
    assert (made["info"]["type"], len(made["info"]["tasks"])) == ("source", 2)
    assert cluster[0].requests.count(("POST", "/connectors")) == 1


def test_one_that_exists_is_not_created_again(ksql: Ksql) -> None:
    ksql.execute(CREATE.format(""))
    with pytest.raises(KsqlError) as refused:
        ksql.execute(CREATE.format(""))
    assert (refused.value.error_code, refused.value.message) == (40900, "Connector orders already exists")
    assert "'p'" not in (refused.value.statement_text or "")
    (warning,) = ksql.execute(CREATE.format("IF NOT EXISTS"))
    assert (warning["@type"], warning["message"]) == ("warning_entity", "Connector orders already exists")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "CREATE SOURCE CONNECTOR c WITH ('connector.class'='org.x.JdbcSource', 'tasks.max'='many');",
            "Validation error: tasks.max - must be a number",
        ),
        ("CREATE SOURCE CONNECTOR c WITH ('a'='b');", "Validation error: connector.class - Missing"),
        (
            "CREATE SOURCE CONNECTOR c WITH ('connector.class'='FileSink');",
            "FileSink is a SINK connector. Please use CREATE SINK CONNECTOR statement instead.",
        ),
    ],
)
def test_a_mistake_is_found_before_anything_is_done(
    ksql: Ksql, cluster: tuple[Cluster, str], text: str, message: str
) -> None:
    with pytest.raises(KsqlError) as refused:
        ksql.execute(f"CREATE TYPE t AS STRUCT<a INT>; {text}")
    assert refused.value.message.startswith(message)
    assert ksql.metastore.types == {} and cluster[0].connectors == {}


def test_connectors_are_listed_by_kind_with_their_state(ksql: Ksql, cluster: tuple[Cluster, str]) -> None:
    ksql.execute(CREATE.format(""))
    ksql.execute("CREATE SINK CONNECTOR IF NOT EXISTS out WITH ('connector.class'='org.x.FileSink');")
    cluster[0].states["out"] = "FAILED"
    listed = ksql.execute("SHOW CONNECTORS;")[0]
    assert (listed["@type"], listed["warnings"]) == ("connector_list", [])
    assert listed["connectors"] == [
        {
            "name": "orders",
            "type": "source",
            "className": "org.x.JdbcSource",
            "state": "RUNNING (2/2 tasks RUNNING)",
        },
        {
            "name": "out",
            "type": "sink",
            "className": "org.x.FileSink",
            "state": "WARNING (1/2 tasks RUNNING)",
        },
    ]
    for kind, name in (("SOURCE", "orders"), ("SINK", "out")):
        (found,) = ksql.execute(f"LIST {kind} CONNECTORS;")
        assert [c["name"] for c in found["connectors"]] == [name]


def test_plugins_are_listed(ksql: Ksql) -> None:
    (found,) = ksql.execute("SHOW CONNECTOR PLUGINS;")
    assert found["@type"] == "connector_plugins_list"
    assert found["connectorsPlugins"][1] == {"className": "org.x.FileSink", "type": "sink", "version": "2.1"}


def test_one_is_described_with_the_streams_on_its_topics(ksql: Ksql, cluster: tuple[Cluster, str]) -> None:
    ksql.execute(
        "CREATE STREAM s (v INT) WITH (KAFKA_TOPIC='s', FORMAT='JSON', PARTITIONS=1);" + CREATE.format("")
    )
    cluster[0].topics["orders"] = ["z", "s"]
    (found,) = ksql.execute("DESCRIBE CONNECTOR orders;")
    assert (found["@type"], found["connectorClass"]) == ("connector_description", "org.x.JdbcSource")
    assert found["topics"] == ["s", "z"]
    assert [x["name"] for x in found["sources"]] == ["S"]
    assert found["status"]["connector"] == {"state": "RUNNING", "worker_id": "w:1", "trace": None}
    assert found["status"]["tasks"][1] == {"id": 1, "state": "RUNNING", "worker_id": "w:1", "trace": None}


def test_one_is_dropped(ksql: Ksql, cluster: tuple[Cluster, str]) -> None:
    ksql.execute(CREATE.format(""))
    (found,) = ksql.execute("DROP CONNECTOR orders;")
    assert (found["@type"], found["connectorName"]) == ("drop_connector", "orders")
    assert cluster[0].connectors == {}
    (warning,) = ksql.execute("DROP CONNECTOR IF EXISTS orders;")
    assert warning["message"] == "Connector 'orders' does not exist."


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("DROP CONNECTOR x;", 40400, "Failed to drop connector: Connector x not found"),
        ("DESCRIBE CONNECTOR x;", 40400, "Failed to query connector status: Connector x not found"),
        (
            "CREATE SOURCE CONNECTOR x WITH ('connector.class'='org.x.JdbcSource', 'tasks.max'=99);",
            40900,
            "Failed to create connector: Rebalance in progress",
        ),
    ],
)
def test_what_connect_refuses_is_told_with_its_status(ksql: Ksql, text: str, code: int, message: str) -> None:
    with pytest.raises(KsqlError) as refused:
        ksql.execute(text)
    assert (refused.value.error_code, refused.value.message) == (code, message)


@pytest.mark.parametrize(
    "text",
    [
        CREATE.format(""),
        "SHOW CONNECTORS;",
        "SHOW CONNECTOR PLUGINS;",
        "DESCRIBE CONNECTOR c;",
        "DROP CONNECTOR IF EXISTS c;",
    ],
)
def test_without_a_cluster_the_setting_is_named(text: str) -> None:
    with Engine.open() as engine:
        ksql = Ksql(engine)
        with pytest.raises(KsqlError, match=r"Set ksql\.connect\.url"):
            ksql.execute(text)


def test_a_cluster_that_does_not_answer_is_told(cluster: tuple[Cluster, str]) -> None:
    with Engine.open() as engine:
        ksql = Ksql(engine, {"ksql.connect.url": "http://127.0.0.1:1"})
        with pytest.raises(
            KsqlError, match=r"Failed to list connectors: .* \(ksql.connect.url\) cannot be reached"
        ):
            ksql.execute("SHOW CONNECTORS;")


@pytest.mark.parametrize("text", ["SHOW CONNECTORS;", CREATE.format("") + "SHOW STREAMS;"])
def test_other_statements_run_while_connect_is_asked(
    ksql: Ksql, cluster: tuple[Cluster, str], text: str
) -> None:
    cluster[0].may_answer.clear()
    answers: list[dict[str, Any]] = []
    asking = threading.Thread(target=lambda: answers.extend(ksql.execute(text)))
    asking.start()
    assert cluster[0].asked.wait(10)
    ksql.execute("CREATE STREAM s (v INT) WITH (kafka_topic='s', value_format='JSON', partitions=1);")
    assert ksql.query("SELECT * FROM s;").table().num_rows == 0
    assert not answers
    cluster[0].may_answer.set()
    asking.join(10)
    shown = {a["@type"]: a for a in answers}
    assert shown.keys() <= {"connector_list", "connector_info", "streams"}
    for s in shown.get("streams", {"streams": [{"name": "S"}]})["streams"]:
        assert s["name"] == "S"

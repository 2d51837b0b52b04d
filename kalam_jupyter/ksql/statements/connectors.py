"""Statements about connectors: Kafka Connect runs them, at ``ksql.connect.url``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kalam_jupyter.ksql.connect import ConnectClient
from kalam_jupyter.ksql.errors import StatementError
from kalam_jupyter.ksql.lang import ast
from kalam_jupyter.ksql.statements.descriptions import source_description
from kalam_jupyter.ksql.statements.entities import Entity, entity
from kalam_jupyter.ksql.statements.run import Run


def client(run: Run) -> ConnectClient:
    """Return the Connect cluster of this server; StatementError where none is configured."""
    url = run.ksql.server_properties.get("ksql.connect.url")
    if not url:
        raise StatementError(
            "Connectors run in Kafka Connect, and this server knows none. Set ksql.connect.url in its "
            "configuration to the address of a Connect cluster; without one, feed a stream with INSERT INTO "
            "or from a DataFrame."
        )
    timeout_ms = int(run.config["ksql.connect.request.timeout.ms"])
    return ConnectClient(str(url), timeout_ms, run.others_run)


def create_connector(run: Run, s: ast.CreateConnector, text: str) -> Entity | None:
    """CREATE SOURCE CONNECTOR, CREATE SINK CONNECTOR."""
    connect = client(run)
    config = {name: _text(value) for name, value in s.properties.items} | {"name": s.name}
    if s.name in connect.names():
        message = f"Connector {s.name} already exists"
        if s.if_not_exists:
            return entity("warning_entity", text, message=message)
        raise StatementError(message, error_code=40900)
    if run.dry:
        _validate(connect, s, config)
        return None
    info = connect.create(s.name, config)
    return entity("connector_info", text, info=info | {"type": _type(info)})


def _validate(connect: ConnectClient, s: ast.CreateConnector, config: Mapping[str, str]) -> None:
    plugin = config.get("connector.class")
    if plugin is None:
        raise StatementError("Validation error: connector.class - Missing required configuration.")
    known = {p["class"]: str(p.get("type", "")).upper() for p in connect.plugins()}
    found = {c: kind for c, kind in known.items() if plugin in (c, c.rpartition(".")[2])}
    wrong = next((kind for kind in found.values() if kind not in ("", s.kind)), None)
    if wrong is not None:
        raise StatementError(
            f"{plugin} is a {wrong} connector. Please use CREATE {wrong} CONNECTOR statement instead."
        )
    faults = connect.faults(plugin, config)
    if faults:
        raise StatementError("Validation error: " + "\n".join(faults))


def _text(value: ast.Expression) -> str:
    assert isinstance(value, ast.Literal), "the parser admits literals only"
    found = value.value
    return str(found).lower() if isinstance(found, bool) else str(found)


def drop_connector(run: Run, s: ast.DropConnector, text: str) -> Entity | None:
    """DROP CONNECTOR."""
    connect = client(run)
    if run.dry:
        return None
    try:
        connect.delete(s.name)
    except StatementError as error:
        if s.if_exists and error.error_code == 40400:
            return entity("warning_entity", text, message=f"Connector '{s.name}' does not exist.")
        raise
    return entity("drop_connector", text, connectorName=s.name)


def list_connectors(run: Run, s: ast.Show, text: str) -> Entity | None:
    """SHOW CONNECTORS, SHOW SOURCE CONNECTORS, SHOW SINK CONNECTORS."""
    connect = client(run)
    if run.dry:
        return None
    listed, warnings = [], []
    for name in connect.names():
        try:
            info, status = connect.info(name), connect.status(name)
        except StatementError as error:
            if s.connector_kind is None:
                listed.append({"name": name})
            warnings.append({"message": error.message})
            continue
        kind = _type(info)
        if s.connector_kind in (None, kind.upper()):
            plugin = info["config"].get("connector.class")
            listed.append({"name": name, "type": kind, "className": plugin, "state": _state(status)})
    return entity("connector_list", text, connectors=listed) | {"warnings": warnings}


def list_plugins(run: Run, s: ast.Show, text: str) -> Entity | None:
    """SHOW CONNECTOR PLUGINS."""
    connect = client(run)
    if run.dry:
        return None
    plugins = [
        {"className": p["class"], "type": p.get("type"), "version": p.get("version")}
        for p in connect.plugins()
    ]
    return entity("connector_plugins_list", text, connectorsPlugins=plugins)


def describe_connector(run: Run, s: ast.DescribeConnector, text: str) -> Entity | None:
    """DESCRIBE CONNECTOR: its state, its topics, and the streams and tables on them."""
    connect = client(run)
    if run.dry:
        return None
    status, info, topics = connect.status(s.name), connect.info(s.name), connect.topics(s.name)
    sources = [x for _, x in sorted(run.metastore.sources.items()) if x.topic in topics]
    return entity(
        "connector_description",
        text,
        connectorClass=info["config"].get("connector.class"),
        status={
            "name": s.name,
            "connector": _part(status["connector"]),
            "tasks": [{"id": task["id"], **_part(task)} for task in status.get("tasks") or ()],
            "type": _type(info),
        },
        sources=[source_description(run, x, extended=False) for x in sources],
        topics=topics,
    )


def _part(status: Mapping[str, Any]) -> dict[str, Any]:
    return {name: status.get(name) for name in ("state", "worker_id", "trace")}


def _type(info: Mapping[str, Any]) -> str:
    kind = str(info.get("type") or "unknown").lower()
    return kind if kind in ("source", "sink") else "unknown"


def _state(status: Mapping[str, Any]) -> str:
    state: str = status["connector"]["state"]
    tasks = status.get("tasks") or ()
    running = sum(task["state"] == "RUNNING" for task in tasks)
    if state != "RUNNING":
        return state
    if running < len(tasks):
        state = "WARNING" if running else "FAILED"
    return f"{state} ({running}/{len(tasks)} tasks RUNNING)"

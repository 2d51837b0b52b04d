"""The entities of ``POST /ksql``: statement results as JSON objects with exactly the reference's members."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kalam_jupyter.engine.types import Array, Column, DataType, Decimal, Map, Struct
from kalam_jupyter.ksql.metastore import Source

Entity = dict[str, Any]


def entity(kind: str, text: str, **members: Any) -> Entity:
    """Return an entity of type `kind` for the statement `text`."""
    return {"@type": kind, "statementText": text, **members, "warnings": []}


def command(text: str, command_id: str, message: str, sequence: int, query_id: str | None = None) -> Entity:
    """Return the result of a command that succeeded."""
    return entity(
        "currentStatus",
        text,
        commandId=command_id,
        commandStatus={"status": "SUCCESS", "message": message, "queryId": query_id},
        commandSequenceNumber=sequence,
    )


def terminating(sequence: int) -> Entity:
    """Return the result of ending the cluster: nobody is left to say how the command went."""
    status = {"status": "QUEUED", "message": "Statement written to command topic", "queryId": None}
    return entity(
        "currentStatus",
        "TERMINATE CLUSTER;",
        commandId="cluster/TerminateCluster/terminate",
        commandStatus=status,
        commandSequenceNumber=sequence,
    )


def schema_of(type_: DataType) -> Entity:
    """Return a type as a schema object; a MAP reports its value type only."""
    fields, member, name, extra = None, None, str(type_), {}
    match type_:
        case Array(element):
            name, member = "ARRAY", schema_of(element)
        case Map(_, value):
            name, member = "MAP", schema_of(value)
        case Struct(items):
            name = "STRUCT"
            fields = [{"name": n, "schema": schema_of(t)} for n, t in items]
        case Decimal(precision, scale):
            name = "DECIMAL"
            extra = {"parameters": {"precision": precision, "scale": scale}}
    return {"type": name, "fields": fields, "memberSchema": member, **extra}


def field_of(column: Column, headers: Mapping[str, str | None] = {}) -> Entity:
    """Return a column as a field object."""
    found: Entity = {"name": column.name, "schema": schema_of(column.type)}
    if column.key:
        found["type"] = "KEY"
    elif column.name in headers:
        found["type"] = "HEADER"
        key = headers[column.name]
        if key is not None:
            found["headerKey"] = key
    return found


def fields_of(source: Source) -> list[Entity]:
    """Return all columns of a source as field objects."""
    headers = dict(source.headers)
    return [field_of(c, headers) for c in source.schema]


def listed_source(source: Source) -> Entity:
    """Return a source as LIST STREAMS and LIST TABLES show it."""
    return {
        "type": source.kind,
        "name": source.name,
        "topic": source.topic,
        "keyFormat": source.key_format.info.name,
        "valueFormat": source.value_format.info.name,
        "isWindowed": source.window is not None,
    }


def listed_query(query_id: str, text: str, sinks: Sequence[Source], kind: str, state: str) -> Entity:
    """Return a query as LIST QUERIES shows it; `state` is RUNNING, PAUSED or ERROR."""
    return {
        "queryString": text,
        "sinks": [s.name for s in sinks],
        "sinkKafkaTopics": [s.topic for s in sinks],
        "id": query_id,
        "statusCount": {state: 1},
        "queryType": kind,
        "state": "ERROR" if state == "ERROR" else "RUNNING",
    }

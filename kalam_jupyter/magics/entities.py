"""ksqlDB's answers to LIST, DESCRIBE, EXPLAIN and the like, as tables and lines people can read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kalam_jupyter.client.described import type_text

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Answer:
    """What there is to show of one entity.

    Attributes
    ----------
    rows : list of dict or None
        A table, column by column name.
    title : str
        One line above it.
    text : str
        Preformatted text below it (a topology, statistics).
    warnings : list of str
    """

    rows: Rows | None = None
    title: str = ""
    text: str = ""
    warnings: list[str] = field(default_factory=list)


def answer(entity: Mapping[str, Any]) -> Answer:
    """Return what to show of an entity of ``POST /ksql``; an unknown type is shown member by member."""
    make: Callable[[Any], Answer] = _ANSWERS.get(entity.get("@type", ""), _unknown)
    made = make(entity)
    warnings = [w.get("message", "") for w in entity.get("warnings") or []]
    return Answer(made.rows, made.title, made.text, warnings)


def field_rows(fields: Sequence[Mapping[str, Any]]) -> Rows:
    """Return one row for each column of a source."""
    rows = []
    for column in fields:
        role = column.get("type") or ""
        if role == "HEADER" and column.get("headerKey"):
            role = f"HEADER('{column['headerKey']}')"
        rows.append({"Column": column["name"], "Type": type_text(column["schema"]), "Role": role.lower()})
    return rows


def _pick(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str | Callable[[Any], Any]]) -> Rows:
    return [
        {title: (get(row) if callable(get) else row.get(get)) for title, get in columns.items()}
        for row in rows
    ]


def _listing(member: str, columns: Mapping[str, str | Callable[[Any], Any]]) -> Callable[[Any], Answer]:
    nothing = Answer(title=f"No {member}.")
    return lambda entity: Answer(_pick(entity[member], columns)) if entity[member] else nothing


def _state(query: Mapping[str, Any]) -> str:
    counts = query.get("statusCount") or {}
    return ", ".join(s if n == 1 else f"{s}:{n}" for s, n in counts.items()) or str(query.get("state") or "")


_SOURCES: dict[str, str | Callable[[Any], Any]] = {
    "Name": "name",
    "Topic": "topic",
    "Key format": "keyFormat",
    "Value format": "valueFormat",
}
_QUERIES: dict[str, str | Callable[[Any], Any]] = {
    "Query": "id",
    "Type": "queryType",
    "State": _state,
    "Writes to": lambda q: ", ".join(q.get("sinks") or []),
    "Statement": "queryString",
}


def _source(source: Mapping[str, Any]) -> Answer:
    window = f" · {source['windowType'].lower()} window" if source.get("windowType") else ""
    title = (
        f"{source['name']} · {source['type'].lower()}{window} on topic '{source['topic']}' · "
        f"key {source['keyFormat']}, value {source['valueFormat']} · {source['partitions']} partition(s)"
    )
    queries = [
        f"{verb} by {', '.join(q['id'] for q in source.get(member) or [])}"
        for member, verb in (("readQueries", "read"), ("writeQueries", "written"))
        if source.get(member)
    ]
    details = [source.get("statement") or "", source.get("statistics") or "", source.get("errorStats") or ""]
    text = "\n".join(d for d in details if d) if source.get("extended") else ""
    return Answer(field_rows(source["fields"]), " · ".join([title, *queries]), text)


def _sources(entity: Mapping[str, Any]) -> Answer:
    parts = [_source(s) for s in entity["sourceDescriptions"]]
    rows = [
        {"Source": s["name"], **row}
        for s, part in zip(entity["sourceDescriptions"], parts, strict=True)
        for row in part.rows or []
    ]
    return Answer(rows, text="\n".join(part.title for part in parts))


def _query(query: Mapping[str, Any]) -> Answer:
    flow = f"{', '.join(query.get('sources') or [])} → {', '.join(query.get('sinks') or []) or 'client'}"
    title = " · ".join(t for t in (query.get("id"), query.get("queryType"), query.get("state"), flow) if t)
    plans = [query.get("executionPlan") or "", query.get("topology") or ""]
    return Answer(field_rows(query["fields"]), title, "\n".join(p for p in plans if p))


def _queries(entity: Mapping[str, Any]) -> Answer:
    parts = [_query(q) for q in entity["queryDescriptions"]]
    return Answer(text="\n\n".join(f"{part.title}\n{part.text}" for part in parts))


def _function(entity: Mapping[str, Any]) -> Answer:
    rows = [
        {
            "Signature": f"{entity['name']}("
            + ", ".join(f"{a['name']} {a['type']}{'...' if a['isVariadic'] else ''}" for a in f["arguments"])
            + ")",
            "Returns": f["returnType"],
            "Description": f["description"],
        }
        for f in entity["functions"]
    ]
    title = (entity["name"], f"{entity['type'].lower()} function", entity["description"])
    return Answer(rows, " · ".join(part for part in title if part))


def _types(entity: Mapping[str, Any]) -> Answer:
    return Answer([{"Name": name, "Type": type_text(schema)} for name, schema in entity["types"].items()])


def _line(text: Callable[[Any], str]) -> Callable[[Any], Answer]:
    return lambda entity: Answer(title=text(entity))


def _unknown(entity: Mapping[str, Any]) -> Answer:
    shown = {k: v for k, v in entity.items() if k not in ("@type", "statementText", "warnings")}
    for member in shown.values():
        if isinstance(member, list) and member and all(isinstance(row, dict) for row in member):
            return Answer(member)
    return Answer([{"Member": name, "Value": value} for name, value in shown.items()])


_ANSWERS: dict[str, Callable[[Any], Answer]] = {
    "currentStatus": _line(lambda e: e["commandStatus"]["message"]),
    "warning_entity": _line(lambda e: e["message"]),
    "terminate_query": _line(lambda e: f"Query {e['queryId']} terminated."),
    "drop_connector": _line(lambda e: f"Connector {e['connectorName']} dropped."),
    "assert_topic": _line(
        lambda e: f"Topic {e['topicName']} {'exists' if e['exists'] else 'does not exist'}."
    ),
    "assert_schema": _line(lambda e: f"Schema {'exists' if e['exists'] else 'does not exist'}."),
    "streams": _listing("streams", _SOURCES),
    "tables": _listing("tables", {**_SOURCES, "Windowed": "isWindowed"}),
    "queries": _listing("queries", _QUERIES),
    "kafka_topics": _listing("topics", {"Topic": "name", "Partitions": lambda t: len(t["replicaInfo"])}),
    "kafka_topics_extended": _listing(
        "topics",
        {
            "Topic": "name",
            "Partitions": lambda t: len(t["replicaInfo"]),
            "Consumers": "consumerCount",
            "Consumer groups": "consumerGroupCount",
        },
    ),
    "properties": _listing("properties", {"Property": "name", "Value": "value", "Level": "level"}),
    "function_names": _listing("functions", {"Name": "name", "Type": "type", "Category": "category"}),
    "variables": _listing("variables", {"Name": "name", "Value": "value"}),
    "connector_list": _listing(
        "connectors",
        {
            "Name": "name",
            "Type": lambda c: c.get("type"),
            "Class": lambda c: c.get("className"),
            "State": lambda c: c.get("state"),
        },
    ),
    "sourceDescription": lambda e: _source(e["sourceDescription"]),
    "source_descriptions": _sources,
    "queryDescription": lambda e: _query(e["queryDescription"]),
    "query_descriptions": _queries,
    "describe_function": _function,
    "type_list": _types,
}

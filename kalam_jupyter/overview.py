"""What there is and what runs on a node: the data of JupyterLab's Streams panel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kalam_jupyter.ksql.errors import KsqlError
from kalam_jupyter.ksql.lang.format import quote

if TYPE_CHECKING:
    from kalam_jupyter.engine.topic import Topic
    from kalam_jupyter.node import Node

#: Characters of a key or a value that `peek` shows.
PEEK_LENGTH = 400


def overview(node: Node) -> dict[str, Any]:
    """Return namespaces with their relations, topics, running queries and live queries, as JSON.

    Counters only grow while a query runs, so two looks give its throughput.
    """
    return {
        "namespaces": [_ksql_namespace(node), *_kalam_namespaces(node)],
        "topics": [_topic(node.engine.topic(name)) for name in node.engine.topics()],
        "queries": _queries(node),
        "live": _live(node),
    }


def _ksql_namespace(node: Node) -> dict[str, Any]:
    relations = [
        {
            "name": source.name,
            "kind": source.kind,
            "dialect": "ksql",
            "columns": [{"name": c.name, "type": str(c.type), "key": c.key} for c in source.schema],
        }
        for _, source in sorted(node.ksql.metastore.sources.items())
    ]
    return {"name": "ksql", "relations": relations}


def _kalam_namespaces(node: Node) -> list[dict[str, Any]]:
    namespaces: dict[str, list[dict[str, Any]]] = {}
    for table in node.kalam.tables():
        columns = [{"name": c.name, "type": str(c.type), "key": c.primary_key} for c in table.columns]
        relation = {
            "name": table.name,
            "kind": table.type.upper(),
            "dialect": "kalam",
            "columns": columns,
        }
        namespaces.setdefault(table.namespace, []).append(relation)
    return [
        {"name": name, "relations": sorted(relations, key=lambda r: str(r["name"]))}
        for name, relations in sorted(namespaces.items())
    ]


def _topic(topic: Topic) -> dict[str, Any]:
    return {
        "name": topic.name,
        "partitions": topic.partitions,
        "records": topic.num_records,
    }


def _queries(node: Node) -> list[dict[str, Any]]:
    (entity,) = node.ksql.execute("LIST QUERIES;")
    found = []
    for query in entity["queries"]:
        consumed, lag = _progress(node, query["id"])
        found.append(
            {
                "id": query["id"],
                "sql": query["queryString"],
                "state": next(iter(query["statusCount"]), query["state"]),
                "sink": ", ".join(query["sinks"]),
                "records": consumed,
                "lag": lag,
            }
        )
    return found


def _progress(node: Node, query_id: str) -> tuple[int, int]:
    """Return how many records a query has consumed since it began, and how many wait for it."""
    try:
        operators = node.ksql.topology_data(query_id)["nodes"]
    except KsqlError:  # it ended meanwhile, or waits for a function that is gone
        return 0, 0
    sources = [operator for operator in operators if operator["lag"] is not None]
    return sum(s["records_in"] or 0 for s in sources), sum(s["lag"] or 0 for s in sources)


def _live(node: Node) -> list[dict[str, Any]]:
    session = node.kalam.session("root")
    (result,) = node.kalam.execute(session, "SELECT live_id, user_id, query, changes FROM system.live")
    rows = result.table.to_pylist() if result.table is not None else []
    return [
        {"id": r["live_id"], "user": r["user_id"], "sql": r["query"], "changes": int(r["changes"] or 0)}
        for r in rows
    ]


def peek(node: Node, topic_name: str, limit: int = 20) -> dict[str, Any]:
    """Return the last records of a topic, newest first, keys and values as PRINT shows them.

    Raises
    ------
    NotFoundError
        If there is no such topic.
    """
    from kalam_jupyter.ksql.formats.guess import FormatGuess

    topic = node.engine.topic(topic_name)
    records = []
    for partition in range(topic.partitions):
        start, end = topic.partition_bounds(partition)
        records += topic.read_partition(partition, max(start, end - limit), limit)
    records.sort(key=lambda r: (r.timestamp, r.offset), reverse=True)
    registry = node.ksql.schema_registry
    keys, values = FormatGuess(registry, is_key=True), FormatGuess(registry, is_key=False)
    return {
        "topic": topic_name,
        "records": [
            {
                "partition": r.partition,
                "offset": r.offset,
                "timestamp": r.timestamp,
                "key": _short(keys.show(r.key)),
                "value": _short(values.show(r.value)),
            }
            for r in records[:limit]
        ],
    }


def _short(text: str) -> str:
    return text if len(text) <= PEEK_LENGTH else text[:PEEK_LENGTH] + "…"


def stop_query(node: Node, query_id: str) -> bool:
    """End a persistent query or a push query; False if there is none of this id.

    Raises
    ------
    KsqlError
    """
    if node.ksql.close_query(query_id):
        return True
    (entity,) = node.ksql.execute("LIST QUERIES;")
    if query_id not in (q["id"] for q in entity["queries"]):
        return False
    node.ksql.execute(f"TERMINATE {quote(query_id)};")
    return True

"""DESCRIBE: streams, tables, functions."""

from __future__ import annotations

from typing import Any

from kalam_jupyter.ksql.errors import StatementError
from kalam_jupyter.ksql.lang import ast
from kalam_jupyter.ksql.metastore import Source
from kalam_jupyter.ksql.statements.entities import Entity, entity, fields_of, listed_query
from kalam_jupyter.ksql.statements.explain import group_id
from kalam_jupyter.ksql.statements.run import QueryInfo, Run


def persistent(run: Run, info: QueryInfo) -> Entity:
    """Return a persistent query as LIST QUERIES shows it."""
    sink = run.source(info.sink)
    assert sink is not None, "a sink cannot be dropped while a query writes it"
    return listed_query(info.id, info.text, [sink], "PERSISTENT", run.ksql.query_state(info.id))


def describe(run: Run, s: ast.Describe, text: str) -> Entity:
    """DESCRIBE a stream or table."""
    source = run.source(s.name)
    if source is None:
        raise StatementError(
            f"Could not find STREAM/TABLE '{s.name}' in the Metastore{run.metastore.hint(s.name)}"
        )
    return entity(
        "sourceDescription", text, sourceDescription=source_description(run, source, extended=s.extended)
    )


def describe_all(run: Run, s: ast.DescribeAll, text: str) -> Entity:
    """DESCRIBE STREAMS, DESCRIBE TABLES."""
    kind = s.what[:-1]
    found = [x for _, x in sorted(run.metastore.sources.items()) if x.kind == kind]
    descriptions = [source_description(run, x, extended=s.extended) for x in found]
    return entity("source_descriptions", text, sourceDescriptions=descriptions)


def source_description(run: Run, source: Source, *, extended: bool) -> Entity:
    """Return all that is known of a stream or table."""
    topic = run.ksql.engine.find_topic(source.topic)
    readers, writers = run.state.readers(source.name), run.state.writers(source.name)
    shown = [
        [persistent(run, q) for q in queries]
        for queries in (readers + run.state.maintainer(source.name), writers)
    ]
    records = 0 if topic is None else topic.end_sequence
    statistics = f"Statistics of the local server\ntotal-messages: {records}" if extended else ""
    return {
        "name": source.name,
        "windowType": None if source.window is None else source.window.type,
        "readQueries": shown[0],
        "writeQueries": shown[1],
        "fields": fields_of(source),
        "type": source.kind,
        "timestamp": "" if source.timestamp is None else source.timestamp.name,
        "statistics": statistics,
        "errorStats": "",
        "extended": extended,
        "keyFormat": source.key_format.info.name,
        "valueFormat": source.value_format.info.name,
        "topic": source.topic,
        "partitions": 0 if topic is None else topic.partitions,
        "replication": 0 if topic is None else int(topic.config.get("replicas", 1)),
        "statement": source.statement,
        "queryOffsetSummaries": [_offsets(run, q) for q in writers] if extended else [],
        "sourceConstraints": sorted({q.sink for q in readers if q.creates}),
        "clusterStatistics": [],
        "clusterErrorStats": [],
    }


def _offsets(run: Run, info: QueryInfo) -> Entity:
    summaries = []
    engine = run.ksql.engine
    query = run.ksql.running.get(info.id)
    positions = {} if query is None else engine.processor_positions(info.id)
    for name, position in positions.items():
        topic = engine.topic(name)
        offsets = []
        for p in range(topic.partitions):
            start, end = topic.partition_bounds(p)
            consumed = (
                min(position, end)
                if topic.partitions == 1
                else (end if position >= topic.end_sequence else start)
            )
            offsets.append(
                {"partition": p, "logStartOffset": start, "logEndOffset": end, "consumerOffset": consumed}
            )
        summaries.append({"kafkaTopic": name, "offsets": offsets})
    return {"groupId": group_id(run.config, info.id), "topicSummaries": summaries}


def describe_function(run: Run, s: ast.DescribeFunction, text: str) -> Entity:
    """DESCRIBE FUNCTION."""
    function = run.ksql.functions.find(s.name)
    if function is None:
        raise StatementError(f"Can't find any functions with the name '{s.name.upper()}'")
    overloads = []
    for overload in function.overloads:
        signature = overload.signature
        arguments = [
            {"name": p.name, "type": _type_name(p.type), "description": "", "isVariadic": p.variadic}
            for p in signature.parameters
        ]
        overloads.append(
            {
                "arguments": arguments,
                "returnType": "depends on the arguments"
                if signature.result is None
                else _type_name(signature.result),
                "description": overload.description,
                "argumentTypes": [a["type"] for a in arguments],
            }
        )
    return entity(
        "describe_function",
        text,
        name=function.name,
        description=function.description,
        author=function.author,
        version="",
        path="internal",
        functions=overloads,
        type=function.kind,
    )


def _type_name(type_: Any) -> str:
    name = str(type_)
    return {"INTEGER": "INT", "STRING": "VARCHAR"}.get(name, name)

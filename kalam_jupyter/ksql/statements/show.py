"""LIST, SHOW and DESCRIBE."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from kalam_jupyter.ksql.errors import StatementError
from kalam_jupyter.ksql.lang import ast
from kalam_jupyter.ksql.metastore import Source
from kalam_jupyter.ksql.properties import QUERY_LEVEL, find
from kalam_jupyter.ksql.statements.entities import (
    Entity,
    entity,
    fields_of,
    listed_query,
    listed_source,
    schema_of,
)
from kalam_jupyter.ksql.statements.explain import group_id, query_description
from kalam_jupyter.ksql.statements.run import QueryInfo, Run


def show(run: Run, s: ast.Show, text: str) -> Entity:
    """LIST or SHOW anything."""
    return _SHOW[s.what](run, s, text)


def _sources(run: Run, s: ast.Show, text: str) -> Entity:
    kind = s.what[:-1]
    found = [x for _, x in sorted(run.metastore.sources.items()) if x.kind == kind]
    if s.extended:
        return entity(
            "source_descriptions", text, sourceDescriptions=[_description(run, x, True) for x in found]
        )
    return entity(s.what.lower(), text, **{s.what.lower(): [listed_source(x) for x in found]})


def _topics(run: Run, s: ast.Show, text: str) -> Entity:
    topics = []
    engine = run.ksql.engine
    for name in engine.topics():
        if not s.all and run.config.matches("ksql.hidden.topics", name):
            continue
        topic = engine.topic(name)
        info: Entity = {
            "name": name,
            "replicaInfo": [int(topic.config.get("replicas", 1))] * topic.partitions,
        }
        if s.extended:
            readers = [q for q in run.ksql.running.values() if name in q.inputs]
            groups = len(readers) + len(topic.groups())
            info |= {"consumerCount": groups * topic.partitions, "consumerGroupCount": groups}
        topics.append(info)
    return entity("kafka_topics_extended" if s.extended else "kafka_topics", text, topics=topics)


def _functions(run: Run, s: ast.Show, text: str) -> Entity:
    order = {"SCALAR": 0, "TABLE": 1, "AGGREGATE": 2}
    functions = sorted(run.ksql.functions.functions(), key=lambda f: (order[f.kind], f.name))
    listed = [{"name": f.name, "type": f.kind, "category": f.category} for f in functions]
    return entity("function_names", text, functions=listed)


def _queries(run: Run, s: ast.Show, text: str) -> Entity:
    if s.extended:
        found = [query_description(run, q) for q in run.state.queries.values()]
        return entity("query_descriptions", text, queryDescriptions=found)
    listed = [
        listed_query(q.id, q.text, [_sink(run, q)], "PERSISTENT", _state(run, q))
        for q in run.state.queries.values()
    ]
    listed += [listed_query(q.id, q.text, [], "PUSH", "RUNNING") for q in run.ksql.transient_queries()]
    return entity("queries", text, queries=listed)


def _sink(run: Run, info: QueryInfo) -> Source:
    source = run.source(info.sink)
    assert source is not None, "a sink cannot be dropped while a query writes it"
    return source


def _state(run: Run, info: QueryInfo) -> str:
    return run.ksql.query_state(info.id)


def _properties(run: Run, s: ast.Show, text: str) -> Entity:
    config, session = run.config, run.session.properties
    given = {*run.ksql.server_properties, *session, *run.ksql.engine.catalogue.names("ksql.system")}
    listed, overwritten, defaults = [], [], []
    for name in sorted(config):
        known, value = find(name), config.get(name)
        if not known.listed and (name not in given or not name.startswith("ksql.")):
            continue
        if name in session:
            overwritten.append(name)
        elif _shown(known.default) == _shown(value):
            defaults.append(name)
        listed.append(
            {
                "name": name,
                "scope": "KSQL",
                "value": "[hidden]" if value is not None and _SECRET.search(name) else _shown(value),
                "editable": known.editable,
                "level": "QUERY" if name in QUERY_LEVEL else "SERVER",
            }
        )
    return entity(
        "properties", text, properties=listed, overwrittenProperties=overwritten, defaultProperties=defaults
    )


_SECRET = re.compile(r"password|secret|credential|user\.info|jaas|tokens?$", re.IGNORECASE)


def _shown(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return str(value).lower() if isinstance(value, bool) else str(value)


def _types(run: Run, s: ast.Show, text: str) -> Entity:
    types = {name: schema_of(type_) for name, type_ in sorted(run.metastore.types.items())}
    return entity("type_list", text, types=types)


def _variables(run: Run, s: ast.Show, text: str) -> Entity:
    listed = [{"name": n, "value": v} for n, v in sorted(run.session.variables.items())]
    return entity("variables", text, variables=listed)


_SHOW: dict[str, Callable[[Run, ast.Show, str], Entity]] = {
    "STREAMS": _sources,
    "TABLES": _sources,
    "TOPICS": _topics,
    "FUNCTIONS": _functions,
    "QUERIES": _queries,
    "PROPERTIES": _properties,
    "TYPES": _types,
    "VARIABLES": _variables,
    "CONNECTORS": lambda run, s, text: _no_connect(run),
    "CONNECTOR PLUGINS": lambda run, s, text: _no_connect(run),
}


def _no_connect(run: Run) -> Entity:
    raise StatementError(
        "Failed to list connectors: there is no Kafka Connect cluster. Connectors run in Kafka Connect; set "
        f"ksql.connect.url (now {run.config['ksql.connect.url']}) on a ksqlDB server that has one."
    )


def connector(run: Run, s: Any, text: str) -> Entity:
    """CREATE, DROP and DESCRIBE CONNECTOR: there is nothing that could run one."""
    raise StatementError(
        "Connectors need a Kafka Connect cluster, and there is none. Set ksql.connect.url on a ksqlDB "
        "server that has "
        "one; here, feed a stream with INSERT INTO or from a DataFrame."
    )


def describe(run: Run, s: ast.Describe, text: str) -> Entity:
    """DESCRIBE a stream or table."""
    source = run.source(s.name)
    if source is None:
        raise StatementError(
            f"Could not find STREAM/TABLE '{s.name}' in the Metastore{run.metastore.hint(s.name)}"
        )
    return entity("sourceDescription", text, sourceDescription=_description(run, source, s.extended))


def describe_all(run: Run, s: ast.DescribeAll, text: str) -> Entity:
    """DESCRIBE STREAMS, DESCRIBE TABLES."""
    kind = s.what[:-1]
    found = [x for _, x in sorted(run.metastore.sources.items()) if x.kind == kind]
    descriptions = [_description(run, x, s.extended) for x in found]
    return entity("source_descriptions", text, sourceDescriptions=descriptions)


def _description(run: Run, source: Source, extended: bool) -> Entity:
    topic = run.ksql.engine.find_topic(source.topic)
    readers, writers = run.state.readers(source.name), run.state.writers(source.name)
    shown = [
        [listed_query(q.id, q.text, [_sink(run, q)], "PERSISTENT", _state(run, q)) for q in queries]
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
    return {"groupId": group_id(run, info.id), "topicSummaries": summaries}


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

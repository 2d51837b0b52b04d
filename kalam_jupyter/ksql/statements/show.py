"""LIST and SHOW."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from kalam_jupyter.ksql.lang import ast
from kalam_jupyter.ksql.properties import QUERY_LEVEL, find
from kalam_jupyter.ksql.statements import connectors
from kalam_jupyter.ksql.statements.descriptions import persistent, source_description
from kalam_jupyter.ksql.statements.entities import (
    Entity,
    entity,
    listed_query,
    listed_source,
    schema_of,
)
from kalam_jupyter.ksql.statements.explain import query_description
from kalam_jupyter.ksql.statements.run import Run


def show(run: Run, s: ast.Show, text: str) -> Entity | None:
    """LIST or SHOW anything."""
    return _SHOW[s.what](run, s, text)


def _sources(run: Run, s: ast.Show, text: str) -> Entity:
    kind = s.what[:-1]
    found = [x for _, x in sorted(run.metastore.sources.items()) if x.kind == kind]
    if s.extended:
        return entity(
            "source_descriptions",
            text,
            sourceDescriptions=[source_description(run, x, extended=True) for x in found],
        )
    return entity(s.what.lower(), text, **{s.what.lower(): [listed_source(x) for x in found]})


def _topics(run: Run, s: ast.Show, text: str) -> Entity:
    topics = []
    engine = run.ksql.engine
    for name in engine.topics():
        if not s.all and run.config.matches("ksql.hidden.topics", name):
            continue
        topic = engine.find_topic(name)
        if topic is None:  # dropped meanwhile
            continue
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
    listed = [persistent(run, q) for q in run.state.queries.values()]
    listed += [listed_query(q.id, q.text, [], "PUSH", "RUNNING") for q in run.ksql.transient_queries()]
    return entity("queries", text, queries=listed)


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


_SHOW: dict[str, Callable[[Run, ast.Show, str], Entity | None]] = {
    "STREAMS": _sources,
    "TABLES": _sources,
    "TOPICS": _topics,
    "FUNCTIONS": _functions,
    "QUERIES": _queries,
    "PROPERTIES": _properties,
    "TYPES": _types,
    "VARIABLES": _variables,
    "CONNECTORS": connectors.list_connectors,
    "CONNECTOR PLUGINS": connectors.list_plugins,
}

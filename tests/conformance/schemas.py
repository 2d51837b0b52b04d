"""The schemas of a case's topics, in the schema registry before the first statement."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from kalam_jupyter.engine import Engine
from kalam_jupyter.ksql import Ksql, KsqlError
from kalam_jupyter.ksql.formats.schema_registry import EmbeddedRegistry, Reference, RegisteredSchema
from kalam_jupyter.ksql.lang.ast import CreateSource
from kalam_jupyter.ksql.lang.parser import parse_script

TYPES = {"AVRO": "AVRO", "JSON_SR": "JSON", "JSON": "JSON", "PROTOBUF": "PROTOBUF"}


def register_schemas(ksql: Ksql, script: str, topics: Sequence[Mapping[str, Any]]) -> None:
    """Put the schemas of a case's topics into the schema registry.

    Ids count from 1: first the schemas that CREATE statements with columns will register, then those of
    `topics`, which may also say theirs.
    """
    registry = ksql.schema_registry
    assert isinstance(registry, EmbeddedRegistry)
    given = {
        f"{t['name']}-{side}" for t in topics for side in ("key", "value") if _schema(t, side) is not None
    }
    if given and "SCHEMA_ID" in script.upper():
        for subject, schema in _declared_schemas(script):
            if subject not in given:
                registry.register(subject, schema)
    for topic in topics:
        for side in ("key", "value"):
            schema = _schema(topic, side)
            if schema is None:
                continue
            texts = topic.get(f"{side}SchemaReferences") or ()
            references = tuple(Reference(r["name"], r["name"], 1) for r in texts)
            kind = _type(topic.get(f"{side}Format") or topic.get("format"))
            registered = RegisteredSchema(kind, _text(schema), references)
            registry.register(f"{topic['name']}-{side}", registered, schema_id=topic.get(f"{side}SchemaId"))
            for r in texts:
                registry.register(r["name"], RegisteredSchema(_type(r.get("format")), _text(r["schema"])))


def _schema(topic: Mapping[str, Any], side: str) -> Any:
    return topic.get(f"{side}Schema", topic.get("schema") if side == "value" else None)


def _declared_schemas(script: str) -> list[tuple[str, RegisteredSchema]]:
    """What the CREATE statements with columns register on an engine of their own."""
    found = []
    with Engine.open() as engine:
        other = Ksql(engine)
        for parsed in parse_script(script):
            statement = parsed.ast
            if isinstance(statement, CreateSource) and statement.elements:
                topic = str(statement.properties.get("KAFKA_TOPIC"))
                if engine.find_topic(topic) is None:
                    engine.transact(lambda tx, name=topic: tx.create_topic(name))
                with contextlib.suppress(KsqlError):
                    other.execute(parsed.text)
        for subject in other.schema_registry.subjects():
            version = other.schema_registry.version(subject)
            found.append((version.id, subject, version.schema))
    return [(subject, schema) for _, subject, schema in sorted(found, key=lambda f: f[0])]


def _type(name: str | None) -> str:
    return TYPES.get((name or "AVRO").upper(), "AVRO")


def _text(schema: Any) -> str:
    return schema if isinstance(schema, str) and "{" in schema else json.dumps(schema, default=float)

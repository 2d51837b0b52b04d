"""ASSERT TOPIC and ASSERT SCHEMA."""

from __future__ import annotations

from kalam_jupyter.ksql.errors import StatementError
from kalam_jupyter.ksql.formats.schema_registry import SchemaNotFoundError, SchemaRegistry
from kalam_jupyter.ksql.lang import ast
from kalam_jupyter.ksql.lang.properties import typed_properties
from kalam_jupyter.ksql.statements.entities import Entity, entity
from kalam_jupyter.ksql.statements.run import Run

FAILED = 41700


def assert_topic(run: Run, s: ast.AssertTopic, text: str) -> Entity:
    """ASSERT [NOT EXISTS] TOPIC. Topics appear synchronously here, so there is nothing to wait for."""
    found = run.ksql.engine.find_topic(s.topic)
    if not run.dry:
        if s.exists and found is None:
            raise StatementError(f"Topic {s.topic} does not exist", error_code=FAILED)
        if not s.exists and found is not None:
            raise StatementError(f"Topic {s.topic} exists", error_code=FAILED)
        if found is not None:
            actual = {"PARTITIONS": found.partitions, "REPLICAS": int(found.config.get("replicas", 1))}
            for name, expected in typed_properties(s.properties).items():
                if name not in actual:
                    raise StatementError(f"Cannot assert unknown topic property: {name}", error_code=FAILED)
                if actual[name] != int(expected):
                    raise StatementError(
                        f"Mismatched configuration for topic {s.topic}: For config {name.lower()}, expected "
                        f"{expected} got {actual[name]}",
                        error_code=FAILED,
                    )
    return entity("assert_topic", text, topicName=s.topic, exists=s.exists)


def assert_schema(run: Run, s: ast.AssertSchema, text: str) -> Entity:
    """ASSERT [NOT EXISTS] SCHEMA: a subject, an id, or the id as a version of the subject."""
    if not run.dry and _schema_exists(run.ksql.schema_registry, s.subject, s.id) is not s.exists:
        subject = "" if s.subject is None else f" subject {s.subject}"
        number = "" if s.id is None else f" id {s.id}"
        found = "does not exist" if s.exists else "exists"
        raise StatementError(f"Schema with{subject}{number} {found}", error_code=FAILED)
    return entity("assert_schema", text, subject=s.subject, id=s.id, exists=s.exists)


def _schema_exists(registry: SchemaRegistry, subject: str | None, schema_id: int | None) -> bool:
    try:
        if subject is None:
            registry.schema(schema_id or 0)
            return True
        versions = [registry.version(subject, v) for v in registry.versions(subject)]
    except SchemaNotFoundError:
        return False
    return schema_id is None or any(v.id == schema_id for v in versions)

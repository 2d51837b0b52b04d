"""ASSERT TOPIC and ASSERT SCHEMA."""

from __future__ import annotations

import time
from collections.abc import Callable

from kalam_jupyter.ksql.errors import KsqlError, StatementError
from kalam_jupyter.ksql.formats.schema_registry import SchemaNotFoundError, SchemaRegistry
from kalam_jupyter.ksql.lang import ast
from kalam_jupyter.ksql.lang.properties import typed_properties
from kalam_jupyter.ksql.statements.entities import Entity, entity
from kalam_jupyter.ksql.statements.run import Run

FAILED = 41700
DEFAULT_TIMEOUT_MS = 1000
RETRY_MS = 100


def assert_topic(run: Run, s: ast.AssertTopic, text: str) -> Entity:
    """ASSERT [NOT EXISTS] TOPIC: the topic is there with these partitions and replicas, or is not there."""
    _retry(run, s.timeout, lambda: _topic_problem(run, s))
    return entity("assert_topic", text, topicName=s.topic, exists=s.exists)


def _topic_problem(run: Run, s: ast.AssertTopic) -> str | None:
    found = run.ksql.engine.find_topic(s.topic)
    if not s.exists:
        return None if found is None else f"Topic {s.topic} exists"
    if found is None:
        return f"Topic {s.topic} does not exist"
    actual = {"PARTITIONS": found.partitions, "REPLICAS": int(found.config.get("replicas", 1))}
    unknown = [name for name, _ in s.properties.items if name not in actual]
    if unknown:
        return f"Cannot assert unknown topic property: {unknown[0]}"
    for name, expected in typed_properties(s.properties).items():
        if actual[name] != int(expected):
            return (
                f"Mismatched configuration for topic {s.topic}: For config {name.lower()}, expected "
                f"{expected} got {actual[name]}"
            )
    return None


def assert_schema(run: Run, s: ast.AssertSchema, text: str) -> Entity:
    """ASSERT [NOT EXISTS] SCHEMA: a subject, an id, or a subject's version with an id, is registered."""
    _retry(run, s.timeout, lambda: _schema_problem(run.ksql.schema_registry, s))
    return entity("assert_schema", text, subject=s.subject, id=s.id, exists=s.exists)


def _schema_problem(registry: SchemaRegistry, s: ast.AssertSchema) -> str | None:
    if _schema_exists(registry, s.subject, s.id) == s.exists:
        return None
    subject = "" if s.subject is None else f" subject name {s.subject}"
    id_ = "" if s.id is None else f" id {s.id}"
    return f"Schema with{subject}{id_} {'does not exist' if s.exists else 'exists'}"


def _schema_exists(registry: SchemaRegistry, subject: str | None, id_: int | None) -> bool:
    try:
        if subject is None:
            assert id_ is not None
            registry.schema(id_)
            return True
        versions = registry.versions(subject)
        return bool(versions) and (
            id_ is None or any(registry.version(subject, v).id == id_ for v in versions)
        )
    except SchemaNotFoundError:
        return False


def _retry(run: Run, timeout: ast.Duration | None, problem: Callable[[], str | None]) -> None:
    """Wait until there is no problem, as long as the statement says; not while statements are validated."""
    if run.dry:
        return
    limit = DEFAULT_TIMEOUT_MS if timeout is None else timeout.ms
    end = time.monotonic() + limit / 1000
    while True:
        try:
            found = problem()
        except StatementError:
            raise
        except KsqlError as error:  # a registry that does not answer: perhaps it does before the time is up
            found = error.message
        if found is None:
            return
        left = end - time.monotonic()
        if left <= 0:
            raise StatementError(found, error_code=FAILED)
        with run.others_run():
            time.sleep(min(left, RETRY_MS / 1000))

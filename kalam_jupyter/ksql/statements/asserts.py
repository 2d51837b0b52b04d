"""ASSERT TOPIC and ASSERT SCHEMA."""

from __future__ import annotations

from kalam_jupyter.ksql.errors import StatementError
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

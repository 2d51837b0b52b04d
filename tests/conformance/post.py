"""The `post` checks of a case: what the meta store and the topics must look like (section 5)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from kalam_jupyter.ksql import Ksql
from kalam_jupyter.ksql.formats import SerdeFormat
from kalam_jupyter.ksql.formats.schema_registry import subject_name
from kalam_jupyter.ksql.lang.parser import parse_schema
from kalam_jupyter.ksql.metastore import Source
from kalam_jupyter.ksql.testing.records import parse

#: Names of internal topics start like this; an engine without them has nothing to compare.
INTERNAL = "_confluent-ksql-"


def check(ksql: Ksql, post: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is not as it must be."""
    for expected in post.get("sources") or ():
        source = ksql.state.metastore.get(expected["name"])
        if source is None:
            yield f"source {expected['name']} does not exist"
        else:
            yield from (f"source {source.name}: {wrong}" for wrong in _source(source, expected))
    topics = post.get("topics") or {}
    for pattern in [topics["blacklist"]] if topics.get("blacklist") else []:
        yield from (f"topic {t} must not exist" for t in ksql.engine.topics() if re.search(pattern, t))
    for expected in topics.get("topics") or ():
        if not expected["name"].startswith(INTERNAL):
            yield from (f"topic {expected['name']}: {wrong}" for wrong in _topic(ksql, expected))


def _source(source: Source, expected: Mapping[str, Any]) -> Iterator[str]:
    if source.kind.lower() != expected["type"].lower():
        yield f"is a {source.kind}"
    if expected.get("schema") is not None:
        wanted = [(e.name, e.type, "KEY" in (e.constraint or "")) for e in parse_schema(expected["schema"])]
        found = [(c.name, c.type, c.key) for c in source.schema]
        if found != wanted:
            shown = [f"{name} {type_}{' KEY' if key else ''}" for name, type_, key in found]
            yield f"schema is {', '.join(shown)}"
    key_format = expected.get("keyFormat")
    if key_format is not None:
        window = (source.window.type, source.window.size_ms) if source.window else (None, None)
        if window != (_upper(key_format.get("windowType")), key_format.get("windowSize")):
            yield f"window is {window}"
        if key_format.get("format") not in (None, source.key_format.info.name):
            yield f"key format is {source.key_format.info.name}"
    if expected.get("valueFormat") not in (None, source.value_format.info.name):
        yield f"value format is {source.value_format.info.name}"
    for side, serde in (("key", source.key_format), ("value", source.value_format)):
        features = expected.get(f"{side}Features")
        if features is not None and set(features) != serde.features:
            yield f"{side} features are {sorted(serde.features)}"
    if expected.get("isSource") not in (None, source.read_only):
        yield f"isSource is {source.read_only}"


def _upper(text: str | None) -> str | None:
    return None if text is None else text.upper()


def _topic(ksql: Ksql, expected: Mapping[str, Any]) -> Iterator[str]:
    name = expected["name"]
    topic = ksql.engine.find_topic(name)
    source = next((s for s in ksql.state.metastore.sources.values() if s.topic == name), None)
    if topic is None or source is None:
        yield "does not exist"
        return
    if expected.get("partitions") not in (None, topic.partitions):
        yield f"has {topic.partitions} partitions"
    for side, serde in (("key", source.key_format), ("value", source.value_format)):
        wanted = expected.get(f"{side}Format")
        if wanted is not None:
            yield from (f"{side} {wrong}" for wrong in _format(source, serde, wanted, is_key=side == "key"))
        schema = expected.get(f"{side}Schema")
        if schema is not None:
            registered = ksql.schema_registry.version(subject_name(name, is_key=side == "key")).schema
            if not _same_schema(schema, registered.text):
                yield f"{side} schema is {registered.text}"


def _same_schema(wanted: Any, text: str) -> bool:
    """Whether a schema is the one wanted: as JSON, or as text where it is none (Protobuf)."""
    if isinstance(wanted, str) and not wanted.lstrip().startswith(("{", "[", '"')):
        return wanted == text
    return bool((parse(wanted) if isinstance(wanted, str) else wanted) == parse(text))


def _format(source: Source, serde: SerdeFormat, wanted: Mapping[str, Any], *, is_key: bool) -> Iterator[str]:
    if wanted["format"] != serde.info.name:
        yield f"format is {serde.info.name}"
    if (wanted.get("properties") or {}) != dict(serde.info.properties):
        yield f"format properties are {dict(serde.info.properties)}"
    if set(wanted.get("features") or ()) != serde.features:
        yield f"features are {sorted(serde.features)}"
    info = wanted.get("windowInfo")
    if is_key and bool(info) != bool(source.window):
        yield f"window is {source.window}"

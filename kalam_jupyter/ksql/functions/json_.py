"""Functions of JSON text (function contract section 4). Numbers in the text stay exact."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from typing import Any

from kalam_jupyter.engine import types as t
from kalam_jupyter.ksql.functions.definitions import Binding
from kalam_jupyter.ksql.functions.registry import Library
from kalam_jupyter.ksql.values.errors import EvaluationError
from kalam_jupyter.ksql.values.json_text import MISSING, json_writer, node_text, parse_json, write_json

functions = Library("JSON")

_STEP = re.compile(r'\.([\w:@]+)|\[(\w+)\]|\["((?:[^"\\]|\\["\\])*)"\]')
_INDEX = re.compile(r"[0-9]+\Z")


@lru_cache(1024)
def _path(path: str) -> tuple[str, ...]:
    if not path.startswith("$"):
        raise EvaluationError(f"Invalid JSON path: {path}")
    steps, at = [], 1
    while at < len(path):
        match = _STEP.match(path, at)
        if not match:
            raise EvaluationError(f"Invalid JSON path: {path}")
        name, subscript, quoted = match.groups()
        steps.append(name or subscript or re.sub(r"\\(.)", r"\1", quoted))
        at = match.end()
    return tuple(steps)


def _step(node: Any, step: str) -> Any:
    if isinstance(node, dict):
        return node.get(step, MISSING)
    if isinstance(node, list) and _INDEX.match(step) and int(step) < len(node):
        return node[int(step)]
    return MISSING


@functions.scalar(
    "extractjsonfield(json STRING, path STRING) -> STRING",
    examples=[("EXTRACTJSONFIELD('{\"log\":{\"n\":[1,2]}}', '$.log.n[1]')", "2")],
)
def extractjsonfield(json: str, path: str) -> str | None:
    """The part of a JSON text at a path like ``$.a.b[0]["c d"]``.

    A text comes as it is, anything else as JSON. NULL if there is nothing; text that is not JSON and bad
    paths fail.
    """
    steps = _path(path)
    node = parse_json(json)
    for step in steps:
        node = _step(node, step)
        if node is MISSING:
            return None
    return None if node is MISSING else node_text(node)


@functions.scalar(
    "is_json_string(text STRING) -> BOOLEAN", nulls=True, examples=[("IS_JSON_STRING('[1]')", "true")]
)
def is_json_string(text: str | None) -> bool:
    """Whether the text is JSON; NULL and empty texts are not."""
    if not text:
        return False
    try:
        return parse_json(text) is not MISSING
    except EvaluationError:
        return False


_TOKENS: dict[t.DataType | None, type] = {
    t.INTEGER: int,
    t.BIGINT: int,
    t.DOUBLE: Decimal,
    t.STRING: str,
    t.BOOLEAN: bool,
}


def _plain(item: Any) -> Any:
    return float(item) if isinstance(item, Decimal) else item


@functions.scalar(
    "json_array_contains(json STRING, value T) -> BOOLEAN",
    nulls=True,
    specialize=True,
    examples=[("JSON_ARRAY_CONTAINS('[1, 2]', 2)", "true"), ("JSON_ARRAY_CONTAINS('[1, 2]', 1.0)", "false")],
)
def json_array_contains(binding: Binding) -> Callable[[str | None, Any], bool]:
    """Whether a JSON array has an element that equals a value of the same kind.

    Integers match INT and BIGINT, other numbers DOUBLE. Text that is no JSON array contains nothing; a NULL
    text fails.
    """
    token = _TOKENS.get(binding.types[1])

    def contains(json: str | None, value: Any) -> bool:
        if json is None:
            raise EvaluationError("JSON_ARRAY_CONTAINS of NULL")
        try:
            node = parse_json(json)
        except EvaluationError:
            return False
        if not isinstance(node, list):
            return False
        if value is None:
            return None in node
        return any(type(item) is token and _plain(item) == value for item in node)

    return contains


@functions.scalar("json_array_length(json STRING) -> INT", examples=[("JSON_ARRAY_LENGTH('[1, 2]')", "2")])
def json_array_length(json: str) -> int | None:
    """Number of elements of a JSON array; NULL for other JSON, text that is not JSON fails."""
    node = parse_json(json)
    return len(node) if isinstance(node, list) else None


@functions.scalar(
    "json_concat(jsons STRING...) -> STRING",
    nulls=True,
    examples=[("JSON_CONCAT('{\"a\": 1}', '[2]')", '[{"a":1},2]')],
)
def json_concat(*jsons: str | None) -> str | None:
    """One JSON text of several: objects are merged, anything else becomes one array.

    NULL if an argument is NULL or empty; of a repeated field the last value wins.
    """
    nodes = []
    for json in jsons:
        node = MISSING if json is None else parse_json(json)
        if node is MISSING:
            return None
        nodes.append(node)
    if len(nodes) <= 1:
        return write_json(nodes[0]) if nodes else None
    if all(isinstance(node, dict) for node in nodes):
        return write_json({k: v for node in nodes for k, v in node.items()})
    return write_json([x for node in nodes for x in (node if isinstance(node, list) else [node])])


@functions.scalar(
    "json_items(json STRING) -> ARRAY<STRING>", examples=[("JSON_ITEMS('[1, {\"a\": 2}]')", '[1, {"a":2}]')]
)
def json_items(json: str) -> list[str]:
    """Each element of a JSON array as JSON text; anything but an array fails."""
    node = parse_json(json)
    if not isinstance(node, list):
        raise EvaluationError("JSON_ITEMS takes the text of a JSON array")
    return [write_json(item) for item in node]


@functions.scalar(
    "json_keys(json STRING) -> ARRAY<STRING>", examples=[('JSON_KEYS(\'{"b": 1, "a": 2}\')', "[b, a]")]
)
def json_keys(json: str) -> list[str] | None:
    """Field names of a JSON object in document order; NULL for other JSON, text that is not JSON fails."""
    node = parse_json(json)
    return list(node) if isinstance(node, dict) else None


@functions.scalar(
    "json_records(json STRING) -> MAP<STRING, STRING>",
    examples=[('JSON_RECORDS(\'{"b": 1, "a": "x"}\')[\'a\']', "x")],
)
def json_records(json: str) -> dict[str, str] | None:
    """Fields of a JSON object, texts as they are, anything else as JSON; NULL for other JSON."""
    node = parse_json(json)
    return {k: node_text(v) for k, v in node.items()} if isinstance(node, dict) else None


@functions.scalar(
    "to_json_string(value T) -> STRING",
    nulls=True,
    specialize=True,
    examples=[("TO_JSON_STRING(STRUCT(b := 1, a := 'x'))", '{"A":"x","B":1}')],
)
def to_json_string(binding: Binding) -> Callable[[Any], str]:
    """Any value as JSON text; NULL gives ``null``.

    Fields and map keys are sorted, dates and times are ISO texts, BYTES base64.
    """
    return json_writer(binding.types[0])

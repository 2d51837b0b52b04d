"""JSON schemas of ksqlDB columns, and types of JSON schemas, both as Kafka Connect translates them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kalam_jupyter.engine import types as t

_CONNECT = "org.apache.kafka.connect.data."


def _logical(title: str, connect_type: str) -> dict[str, Any]:
    return {"type": "integer", "title": _CONNECT + title, "connect.version": 1, "connect.type": connect_type}


_SCALARS: dict[str, dict[str, Any]] = {
    "BOOLEAN": {"type": "boolean"},
    "INTEGER": {"type": "integer", "connect.type": "int32"},
    "BIGINT": {"type": "integer", "connect.type": "int64"},
    "DOUBLE": {"type": "number", "connect.type": "float64"},
    "STRING": {"type": "string"},
    "BYTES": {"type": "string", "connect.type": "bytes"},
    "DATE": _logical("Date", "int32"),
    "TIME": _logical("Time", "int32"),
    "TIMESTAMP": _logical("Timestamp", "int64"),
}

_BY_TITLE = {"Date": t.DATE, "Time": t.TIME, "Timestamp": t.TIMESTAMP}
_BY_TYPE = {"boolean": t.BOOLEAN, "integer": t.BIGINT, "number": t.DOUBLE, "string": t.STRING}
_BY_CONNECT_TYPE: dict[str, t.DataType] = {
    "int8": t.INTEGER,
    "int16": t.INTEGER,
    "int32": t.INTEGER,
    "int64": t.BIGINT,
    "float32": t.DOUBLE,
    "float64": t.DOUBLE,
    "bytes": t.BYTES,
}


def object_schema(fields: Sequence[tuple[str, t.DataType]]) -> dict[str, Any]:
    """Return the schema of an object with some fields, each of them optional."""
    properties = {
        name: {"connect.index": i, **optional_schema(type_)} for i, (name, type_) in enumerate(fields)
    }
    return {"type": "object", "properties": properties}


def optional_schema(type_: t.DataType) -> dict[str, Any]:
    """Return the schema of values of a type, or null."""
    return {"oneOf": [{"type": "null"}, value_schema(type_)]}


def value_schema(type_: t.DataType) -> dict[str, Any]:
    """Return the schema of non-null values of a type."""
    match t.storage_type(type_):
        case t.Struct(fields):
            return object_schema(fields)
        case t.Array(element):
            return {"type": "array", "items": optional_schema(element)}
        case t.Map(_, value):
            return {"type": "object", "connect.type": "map", "additionalProperties": optional_schema(value)}
        case t.Decimal(precision, scale):
            return {
                "type": "number",
                "title": f"{_CONNECT}Decimal",
                "connect.version": 1,
                "connect.type": "bytes",
                "connect.parameters": {"scale": str(scale), "connect.decimal.precision": str(precision)},
            }
        case scalar:
            return _SCALARS[str(scalar)]


def schema_type(schema: Any, root: Any = None, seen: tuple[str, ...] = ("#",)) -> t.DataType | None:
    """Return the type of the values that a JSON schema describes; None where ksqlDB has none.

    Parameters
    ----------
    schema, root
        A part of a schema, and the whole.
    seen : tuple of str
        The references that led here: what refers to itself has no type.
    """
    root = schema if root is None else root
    if not isinstance(schema, dict):
        return None
    if "$ref" in schema:
        reference = str(schema["$ref"])
        if reference in seen:
            return None
        return schema_type(_resolve(root, reference), root, (*seen, reference))
    for union in ("oneOf", "anyOf"):
        if union in schema:
            branches = [b for b in schema[union] if b != {"type": "null"} and b.get("type") != "null"]
            return schema_type(branches[0], root, seen) if len(branches) == 1 else None
    kind, connect_type = schema.get("type"), schema.get("connect.type")
    if isinstance(kind, list):
        kinds = [k for k in kind if k != "null"]
        return schema_type({**schema, "type": kinds[0]}, root, seen) if len(kinds) == 1 else None
    title = str(schema.get("title", "")).removeprefix(_CONNECT)
    if title == "Decimal" and connect_type == "bytes":
        parameters = schema.get("connect.parameters") or {}
        return t.Decimal(
            int(parameters.get("connect.decimal.precision", 64)), int(parameters.get("scale", 0))
        )
    if title in _BY_TITLE and kind == "integer":
        return _BY_TITLE[title]
    if kind == "object":
        return _object_type(schema, root, seen)
    if kind == "array":
        return _array_type(schema, root, seen)
    if "enum" in schema and kind is None:
        return t.STRING
    return _BY_CONNECT_TYPE.get(connect_type or "", _BY_TYPE.get(kind or ""))


def _object_type(schema: dict[str, Any], root: Any, seen: tuple[str, ...]) -> t.DataType | None:
    properties = schema.get("properties")
    if schema.get("connect.type") == "map" or (
        not properties and isinstance(schema.get("additionalProperties"), dict)
    ):
        value = schema_type(schema.get("additionalProperties"), root, seen)
        return None if value is None else t.Map(t.STRING, value)
    items = list((properties or {}).items())
    items.sort(key=lambda item: item[1].get("connect.index", len(items)) if isinstance(item[1], dict) else 0)
    fields = [(name, schema_type(inner, root, seen)) for name, inner in items]
    return t.Struct(tuple((name, type_) for name, type_ in fields if type_ is not None))


def _array_type(schema: dict[str, Any], root: Any, seen: tuple[str, ...]) -> t.DataType | None:
    element = schema_type(schema.get("items"), root, seen)
    if schema.get("connect.type") == "map" and isinstance(element, t.Struct) and "value" in element.index:
        return t.Map(t.STRING, element.fields[element.index["value"]][1])
    return None if element is None else t.Array(element)


def _resolve(root: Any, reference: str) -> Any:
    found = root
    for part in reference.removeprefix("#").strip("/").split("/"):
        found = found.get(part) if isinstance(found, dict) else None
    return found

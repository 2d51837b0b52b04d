"""Records of topics with schemas (AVRO, JSON_SR, PROTOBUF, PROTOBUF_NOSR) to bytes and back."""

from __future__ import annotations

import base64
import io
import json
import struct
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import fastavro
from google.protobuf.descriptor import Descriptor

from kalam_jupyter.engine import types as t
from kalam_jupyter.ksql import Ksql
from kalam_jupyter.ksql.formats.base import SerdeFormat
from kalam_jupyter.ksql.formats.proto_schema import ProtoSchema, schema_text
from kalam_jupyter.ksql.formats.schema_registry import referenced, subject_name
from kalam_jupyter.ksql.testing.messages import (
    field_of,
    message_indexes,
    read_indexes,
    read_message,
    unscaled,
    write_message,
)
from kalam_jupyter.ksql.testing.records import exact_json
from kalam_jupyter.ksql.values.numbers import from_unscaled


class RegisteredSide:
    """One side of a topic with registered schemas.

    Parameters
    ----------
    ksql : Ksql
    topic : str
    serde : SerdeFormat
    is_key : bool
    """

    def __init__(self, ksql: Ksql, topic: str, serde: SerdeFormat, *, is_key: bool) -> None:
        self._registry = ksql.schema_registry
        self._subject = subject_name(topic, is_key=is_key)
        self._serde = serde
        self._full_name = serde.info.get("fullSchemaName")

    def write(self, value: Any) -> bytes | None:
        """Write a value with the latest schema of the topic, or with that of the source."""
        if value is None:
            return None
        schema_id = self._serde.schema_id
        if schema_id is None or self._serde.info.name == "AVRO":
            schema_id = self._registry.version(self._subject).id
        schema = self._registry.schema(schema_id)
        head = struct.pack(">bI", 0, schema_id)
        if schema.type == "AVRO":
            return head + _write_avro(json.loads(schema.text), value)
        if schema.type == "JSON":
            return head + exact_json(_named_json(json.loads(schema.text), value)).encode()
        proto = ProtoSchema.of(schema.text, referenced(self._registry, schema))
        message = proto.message(self._full_name)
        assert message is not None
        return head + message_indexes(message) + write_message(proto, message, value)

    def read(self, data: bytes | None) -> Any:
        """Read a value by the schema that it was written with."""
        if data is None:
            return None
        (schema_id,) = struct.unpack_from(">I", data, 1)
        schema = self._registry.schema(schema_id)
        body = data[5:]
        if schema.type == "AVRO":
            return _read_avro(json.loads(schema.text), body)
        if schema.type == "JSON":
            return _typed_json(json.loads(schema.text), json.loads(body, parse_float=Decimal))
        proto = ProtoSchema.of(schema.text, referenced(self._registry, schema))
        indexes, at = read_indexes(body)
        return read_message(proto, proto.message_at(indexes), body[at:])


class BareMessages:
    """One side of a PROTOBUF_NOSR topic: the schema follows from the columns."""

    def __init__(self, serde: SerdeFormat, columns: Sequence[t.Column]) -> None:
        fields = [(c.name, c.type) for c in columns]
        self._schema = ProtoSchema.of(schema_text(fields, None, serde.info.get("nullableRepresentation")))

    def write(self, value: Any) -> bytes | None:
        """Write a message."""
        return None if value is None else write_message(self._schema, self._message, value)

    def read(self, data: bytes | None) -> Any:
        """Read a message."""
        return None if data is None else read_message(self._schema, self._message, data)

    @property
    def _message(self) -> Descriptor:
        found = self._schema.message(None)
        assert found is not None
        return found


# Avro


class _Names:
    """Named types of an Avro schema, as they are met."""

    def __init__(self) -> None:
        self.known: dict[str, Any] = {}

    def resolve(self, node: Any) -> Any:
        if isinstance(node, str):
            return self.known.get(node.rpartition(".")[2], node)
        if isinstance(node, dict):
            if isinstance(node.get("type"), dict | list):
                return self.resolve(node["type"])
            if node.get("type") in ("record", "enum", "fixed"):
                self.known[node["name"].rpartition(".")[2]] = node
        return node


def _write_avro(schema: Any, value: Any) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, _plain(schema), _to_avro(_Names(), schema, value))
    return out.getvalue()


def _read_avro(schema: Any, data: bytes) -> Any:
    value = fastavro.schemaless_reader(io.BytesIO(data), _plain(schema), None)
    return _from_avro(_Names(), schema, value)


def _plain(node: Any) -> Any:
    """The schema without logical types, whose values we make ourselves."""
    if isinstance(node, list):
        return [_plain(n) for n in node]
    if isinstance(node, dict):
        return {k: _plain(v) for k, v in node.items() if k != "logicalType"}
    return node


def _branch(names: _Names, node: Any, value: Any) -> Any:
    """The branch of a union that is not null, or the only type there is."""
    node = names.resolve(node)
    if isinstance(node, list):
        return None if value is None else names.resolve(next(b for b in node if b != "null"))
    return node


def _kind(node: Any) -> str:
    kind: str = node if isinstance(node, str) else node["type"]
    return kind


def _is_map(names: _Names, node: Any) -> bool:
    items = names.resolve(node["items"])
    return isinstance(items, dict) and items.get("connect.internal.type") == "MapEntry"


def _to_avro(names: _Names, node: Any, value: Any) -> Any:
    node = _branch(names, node, value)
    if node is None:
        return None
    kind = _kind(node)
    if kind == "record":
        return {
            f["name"]: f["default"]
            if field_of(value, f["name"]) is None and "default" in f
            else _to_avro(names, f["type"], field_of(value, f["name"]))
            for f in node["fields"]
        }
    if kind == "array":
        if isinstance(value, dict):
            entries = [{"key": k, "value": v} for k, v in value.items()]
            return [_to_avro(names, node["items"], e) for e in entries]
        return [_to_avro(names, node["items"], v) for v in value]
    if kind == "map":
        return {k: _to_avro(names, node["values"], v) for k, v in value.items()}
    if isinstance(node, dict) and node.get("logicalType") == "decimal":
        return unscaled(value, node["scale"])
    if kind in ("bytes", "fixed"):
        return base64.b64decode(value)
    if kind in ("float", "double"):
        return float(value)
    if kind in ("int", "long"):
        return int(value)
    return value if kind != "string" or isinstance(value, str) else exact_json(value)


def _from_avro(names: _Names, node: Any, value: Any) -> Any:
    node = _branch(names, node, value)
    if node is None:
        return None
    kind = _kind(node)
    if kind == "record":
        return {f["name"]: _from_avro(names, f["type"], value[f["name"]]) for f in node["fields"]}
    if kind == "array":
        if _is_map(names, node):
            pairs = [_from_avro(names, node["items"], v) for v in value]
            return {"null" if p["key"] is None else str(p["key"]): p["value"] for p in pairs}
        return [_from_avro(names, node["items"], v) for v in value]
    if kind == "map":
        return {k: _from_avro(names, node["values"], v) for k, v in value.items()}
    if isinstance(node, dict) and node.get("logicalType") == "decimal":
        return from_unscaled(int.from_bytes(value, "big", signed=True), node["scale"])
    return value


# JSON with a schema


def _json_node(node: Any) -> Any:
    for union in ("oneOf", "anyOf"):
        if isinstance(node, dict) and union in node:
            return next(b for b in node[union] if b.get("type") != "null")
    return node


def _named_json(node: Any, value: Any) -> Any:
    """The value with its fields under the schema's names; strangers are left out."""
    node = _json_node(node)
    if isinstance(value, dict) and node.get("type") == "object" and "properties" in node:
        return {k: _named_json(n, field_of(value, k)) for k, n in node["properties"].items()}
    if isinstance(value, list) and node.get("type") == "array":
        return [_named_json(node["items"], v) for v in value]
    if isinstance(value, dict) and node.get("type") == "object":
        return {k: _named_json(node["additionalProperties"], v) for k, v in value.items()}
    return value


def _typed_json(node: Any, value: Any) -> Any:
    """The value with DOUBLEs as floats, which the tolerance is for."""
    node = _json_node(node)
    if value is None or not isinstance(node, dict):
        return value
    if node.get("type") == "object" and "properties" in node:
        return {k: _typed_json(node["properties"].get(k), v) for k, v in value.items()}
    if node.get("type") == "object":
        return {k: _typed_json(node.get("additionalProperties"), v) for k, v in value.items()}
    if node.get("type") == "array":
        return [_typed_json(node["items"], v) for v in value]
    is_decimal = str(node.get("title", "")).endswith(".Decimal")
    return float(value) if node.get("type") == "number" and not is_decimal else value

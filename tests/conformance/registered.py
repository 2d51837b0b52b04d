"""Records of topics with schemas (AVRO, JSON_SR, PROTOBUF, PROTOBUF_NOSR) to bytes and back."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import struct
from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import fastavro
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass

from kalam_jupyter.engine import Engine
from kalam_jupyter.engine import types as t
from kalam_jupyter.ksql import Ksql, KsqlError
from kalam_jupyter.ksql.formats.base import SerdeFormat
from kalam_jupyter.ksql.formats.proto_schema import ProtoSchema, is_map, schema_text
from kalam_jupyter.ksql.formats.schema_registry import (
    EmbeddedRegistry,
    Reference,
    RegisteredSchema,
    referenced,
    subject_name,
)
from kalam_jupyter.ksql.lang.ast import CreateSource
from kalam_jupyter.ksql.lang.parser import parse_script
from kalam_jupyter.ksql.values.calendar import civil, epoch_day
from tests.conformance.loader import exact_json

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


def _field(value: Mapping[str, Any], name: str) -> Any:
    """A field by its name, in any case."""
    if name in value:
        return value[name]
    return next((v for k, v in value.items() if k.upper() == name.upper()), None)


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
        return head + _indexes(message) + write_message(proto, message, value)

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
        indexes, at = _read_indexes(body)
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
            if _field(value, f["name"]) is None and "default" in f
            else _to_avro(names, f["type"], _field(value, f["name"]))
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
        return _unscaled(value, node["scale"])
    if kind in ("bytes", "fixed"):
        return base64.b64decode(value)
    if kind in ("float", "double"):
        return float(value)
    if kind in ("int", "long"):
        return int(value)
    return value if kind != "string" or isinstance(value, str) else str(value)


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
            return {str(p["key"]): p["value"] for p in pairs}
        return [_from_avro(names, node["items"], v) for v in value]
    if kind == "map":
        return {k: _from_avro(names, node["values"], v) for k, v in value.items()}
    if isinstance(node, dict) and node.get("logicalType") == "decimal":
        return Decimal(int.from_bytes(value, "big", signed=True)).scaleb(-node["scale"])
    return value


def _unscaled(value: Any, scale: int) -> bytes:
    number = Decimal(value).quantize(Decimal(1).scaleb(-scale), rounding=ROUND_HALF_UP)
    unscaled = int(number.scaleb(scale))
    return unscaled.to_bytes(max(1, (unscaled.bit_length() + 8) // 8), "big", signed=True)


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
        return {k: _named_json(n, _field(value, k)) for k, n in node["properties"].items()}
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


# Protobuf


def _indexes(message: Descriptor) -> bytes:
    path: list[int] = []
    at: Descriptor | None = message
    while at is not None:
        outer = at.containing_type
        siblings = outer.nested_types if outer is not None else at.file.message_types_by_name.values()
        path.insert(0, [m.full_name for m in siblings].index(at.full_name))
        at = outer
    return b"\0" if path == [0] else bytes(2 * n for n in (len(path), *path))


def _read_indexes(data: bytes) -> tuple[list[int], int]:
    count = data[0] // 2
    return ([b // 2 for b in data[1 : 1 + count]], 1 + count) if count else ([0], 1)


def write_message(schema: ProtoSchema, message: Descriptor, value: Mapping[str, Any]) -> bytes:
    """Write an object as a message."""
    out = GetMessageClass(message)()
    _fill(schema, out, message, value)
    data: bytes = out.SerializeToString()
    return data


def read_message(schema: ProtoSchema, message: Descriptor, data: bytes) -> Any:
    """Read a message as an object with all its fields."""
    return _object(schema, GetMessageClass(message).FromString(data))


def _fill(schema: ProtoSchema, out: Any, message: Descriptor, value: Mapping[str, Any]) -> None:
    for field in message.fields:
        item = _field(value, field.name)
        if item is None:
            continue
        if is_map(field):
            inner = field.message_type.fields_by_name["value"]
            for k, v in item.items():
                if inner.message_type is not None:
                    _fill_message(schema, getattr(out, field.name)[k], inner, v)
                else:
                    getattr(out, field.name)[k] = _scalar(inner, v)
        elif field.is_repeated:
            for v in item:
                if field.message_type is not None:
                    _fill_message(schema, getattr(out, field.name).add(), field, v)
                else:
                    getattr(out, field.name).append(_scalar(field, v))
        elif field.message_type is not None:
            getattr(out, field.name).SetInParent()
            _fill_message(schema, getattr(out, field.name), field, item)
        else:
            setattr(out, field.name, _scalar(field, item))


def _fill_message(schema: ProtoSchema, out: Any, field: FieldDescriptor, value: Any) -> None:
    if value is None:
        return
    name = field.message_type.full_name
    if name == "google.protobuf.Timestamp":
        out.seconds, out.nanos = value // 1000, value % 1000 * 1_000_000
    elif name == "google.type.Date":
        out.year, out.month, out.day = civil(value)
    elif name == "google.type.TimeOfDay":
        seconds, ms = divmod(value, 1000)
        out.hours, out.minutes, out.seconds, out.nanos = (
            seconds // 3600,
            seconds // 60 % 60,
            seconds % 60,
            ms * 10**6,
        )
    elif name == "confluent.type.Decimal":
        type_ = schema.single_type(field)
        assert isinstance(type_, t.Decimal)
        out.value = _unscaled(value, type_.scale)
        out.precision, out.scale = type_.precision, type_.scale
    elif name.startswith("google.protobuf.") and name.endswith("Value"):
        out.value = _scalar(field.message_type.fields_by_name["value"], value)
    else:
        _fill(schema, out, field.message_type, value)


_INTEGERS = (FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64)
_UNSIGNED = (FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64)
_FLOATS = (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE)


def _scalar(field: FieldDescriptor, value: Any) -> Any:
    if value is None:
        return field.default_value
    if field.enum_type is not None:
        return field.enum_type.values_by_name[value].number
    if field.type == FieldDescriptor.TYPE_BYTES:
        return base64.b64decode(value)
    if field.cpp_type in _INTEGERS + _UNSIGNED:
        return int(value)
    return float(value) if field.cpp_type in _FLOATS else value


def _object(schema: ProtoSchema, message: Any) -> dict[str, Any]:
    found = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if is_map(field):
            inner = field.message_type.fields_by_name["value"]
            found[field.name] = {str(k): _value(schema, inner, v) for k, v in value.items()}
        elif field.is_repeated:
            found[field.name] = [_value(schema, field, v) for v in value]
        elif field.has_presence and not message.HasField(field.name):
            found[field.name] = None
        else:
            found[field.name] = _value(schema, field, value)
    return found


def _value(schema: ProtoSchema, field: FieldDescriptor, value: Any) -> Any:
    if field.enum_type is not None:
        return field.enum_type.values_by_number[value].name
    if field.message_type is None:
        return value
    name = field.message_type.full_name
    if name == "google.protobuf.Timestamp":
        return value.seconds * 1000 + value.nanos // 1_000_000
    if name == "google.type.Date":
        return epoch_day(value.year, value.month, value.day)
    if name == "google.type.TimeOfDay":
        return ((value.hours * 60 + value.minutes) * 60 + value.seconds) * 1000 + value.nanos // 1_000_000
    if name == "confluent.type.Decimal":
        type_ = schema.single_type(field)
        assert isinstance(type_, t.Decimal)
        return Decimal(int.from_bytes(value.value, "big", signed=True)).scaleb(-type_.scale)
    if name.startswith("google.protobuf.") and name.endswith("Value"):
        return value.value
    return _object(schema, value)

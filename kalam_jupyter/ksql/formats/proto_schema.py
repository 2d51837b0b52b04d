"""Protobuf schemas of ksqlDB columns, and types of Protobuf messages, as Kafka Connect translates them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from google.protobuf import (
    any_pb2,
    descriptor_pb2,
    descriptor_pool,
    duration_pb2,
    empty_pb2,
    field_mask_pb2,
    struct_pb2,
    timestamp_pb2,
    wrappers_pb2,
)
from google.protobuf.descriptor import Descriptor, FieldDescriptor, OneofDescriptor

from kalam_jupyter.engine import types as t
from kalam_jupyter.ksql.formats.proto_text import ProtoFile, parse_proto

DEFAULT_NAME = "ConnectDefault"
DATE, TIME_OF_DAY, DECIMAL = "google.type.Date", "google.type.TimeOfDay", "confluent.type.Decimal"
TIMESTAMP = "google.protobuf.Timestamp"

#: Files that schemas may import without a reference
_MODULES: dict[str, Any] = {
    m.DESCRIPTOR.name: m
    for m in (
        any_pb2,
        descriptor_pb2,
        duration_pb2,
        empty_pb2,
        field_mask_pb2,
        struct_pb2,
        timestamp_pb2,
        wrappers_pb2,
    )
}
_TEXTS = {
    "google/type/date.proto": (
        'syntax = "proto3"; package google.type; message Date '
        "{ int32 year = 1; int32 month = 2; int32 day = 3; }"
    ),
    "google/type/timeofday.proto": (
        'syntax = "proto3"; package google.type; message TimeOfDay '
        "{ int32 hours = 1; int32 minutes = 2; int32 seconds = 3; int32 nanos = 4; }"
    ),
    "confluent/type/decimal.proto": (
        'syntax = "proto3"; package confluent.type; message Decimal '
        "{ bytes value = 1; uint32 precision = 2; int32 scale = 3; }"
    ),
    "confluent/meta.proto": (
        'syntax = "proto3"; package confluent; message Meta '
        "{ string doc = 1; map<string, string> params = 2; repeated string tags = 3; }"
    ),
}

_F = FieldDescriptor
_SCALARS: dict[int, t.DataType] = {
    _F.TYPE_BOOL: t.BOOLEAN,
    _F.TYPE_INT32: t.INTEGER,
    _F.TYPE_SINT32: t.INTEGER,
    _F.TYPE_SFIXED32: t.INTEGER,
    _F.TYPE_UINT32: t.BIGINT,
    _F.TYPE_FIXED32: t.BIGINT,
    _F.TYPE_INT64: t.BIGINT,
    _F.TYPE_UINT64: t.BIGINT,
    _F.TYPE_SINT64: t.BIGINT,
    _F.TYPE_FIXED64: t.BIGINT,
    _F.TYPE_SFIXED64: t.BIGINT,
    _F.TYPE_FLOAT: t.DOUBLE,
    _F.TYPE_DOUBLE: t.DOUBLE,
    _F.TYPE_STRING: t.STRING,
    _F.TYPE_BYTES: t.BYTES,
    _F.TYPE_ENUM: t.STRING,
}
WRAPPERS: dict[str, t.DataType] = {
    "google.protobuf.BoolValue": t.BOOLEAN,
    "google.protobuf.Int32Value": t.INTEGER,
    "google.protobuf.UInt32Value": t.BIGINT,
    "google.protobuf.Int64Value": t.BIGINT,
    "google.protobuf.UInt64Value": t.BIGINT,
    "google.protobuf.FloatValue": t.DOUBLE,
    "google.protobuf.DoubleValue": t.DOUBLE,
    "google.protobuf.StringValue": t.STRING,
    "google.protobuf.BytesValue": t.BYTES,
}
_LOGICAL: dict[str, t.DataType] = {TIMESTAMP: t.TIMESTAMP, DATE: t.DATE, TIME_OF_DAY: t.TIME}


@dataclass(frozen=True)
class ProtoSchema:
    """A Protobuf schema with everything it imports.

    Attributes
    ----------
    files : mapping of str to ProtoFile
        The schema itself, under the empty name, and the files that are known by their text.
    """

    files: Mapping[str, ProtoFile]
    pool: descriptor_pool.DescriptorPool

    @classmethod
    def of(cls, text: str, references: Mapping[str, str] = {}) -> ProtoSchema:
        """Parse a schema and what it references; ValueError or TypeError if they do not fit together."""
        pool = descriptor_pool.DescriptorPool()
        files: dict[str, ProtoFile] = {}
        root = parse_proto(text, "schema.proto")
        for name in root.proto.dependency:
            _add(pool, name, references, files)
        pool.Add(root.proto)
        files[""] = root
        return cls(files, pool)

    @cached_property
    def _params(self) -> dict[tuple[str, str], dict[str, str]]:
        found = {}
        for file in self.files.values():
            prefix = f"{file.proto.package}." if file.proto.package else ""
            found.update(
                {(prefix + message, name): params for (message, name), params in file.params.items()}
            )
        return found

    def message(self, full_name: str | None) -> Descriptor | None:
        """Return a message by its full name, the first one of the file by default."""
        proto = self.files[""].proto
        if full_name is None:
            if not proto.message_type:
                return None
            package = f"{proto.package}." if proto.package else ""
            full_name = package + proto.message_type[0].name
        try:
            found: Descriptor = self.pool.FindMessageTypeByName(full_name)
        except KeyError:
            return None
        return found

    def message_at(self, indexes: Sequence[int]) -> Descriptor:
        """Return the message at a path of positions, as records name it; ValueError if there is none."""
        proto = self.files[""].proto
        name, messages = proto.package, proto.message_type
        for index in indexes:
            if index >= len(messages):
                raise ValueError(f"no message at {list(indexes)}")
            name = f"{name}.{messages[index].name}" if name else messages[index].name
            messages = messages[index].nested_type
        found: Descriptor = self.pool.FindMessageTypeByName(name)
        return found

    def message_type(self, message: Descriptor, inside: tuple[str, ...] = ()) -> t.Struct:
        """Return the type of a message's values; fields without an SQL type are left out.

        Each oneof is a struct ahead of the other fields, called after it and its number.
        """
        inside = (*inside, message.full_name)
        choices, plain = parts_of(message)
        structs = [(choice_name(o), self._struct(o.fields, inside)) for o in choices]
        return t.Struct((*structs, *self._struct(plain, inside).fields))

    def _struct(self, fields: Sequence[FieldDescriptor], inside: tuple[str, ...]) -> t.Struct:
        typed = [(f.name, self.field_type(f, inside)) for f in fields]
        return t.Struct(tuple((name, type_) for name, type_ in typed if type_ is not None))

    def field_type(self, field: FieldDescriptor, inside: tuple[str, ...] = ()) -> t.DataType | None:
        """Return the type of a field's values; None where there is none (messages inside themselves)."""
        if is_map(field):
            value = self.single_type(field.message_type.fields_by_name["value"], inside)
            return None if value is None else t.Map(t.STRING, value)
        single = self.single_type(field, inside)
        if single is None or not field.is_repeated:
            return single
        return t.Array(single)

    def single_type(self, field: FieldDescriptor, inside: tuple[str, ...] = ()) -> t.DataType | None:
        """Return the type of one value of a field, repeated or not."""
        message = field.message_type
        if message is None:
            return _SCALARS.get(field.type)
        name = message.full_name
        if name == DECIMAL:
            params = self._params.get((field.containing_type.full_name, field.name), {})
            return t.Decimal(int(params.get("precision", 64)), int(params.get("scale", 0)))
        if name in _LOGICAL or name in WRAPPERS:
            return _LOGICAL.get(name) or WRAPPERS[name]
        return None if name in inside else self.message_type(message, inside)


def _add(
    pool: descriptor_pool.DescriptorPool,
    name: str,
    references: Mapping[str, str],
    files: dict[str, ProtoFile],
) -> None:
    if name in files:
        return
    if name in _MODULES:
        proto = descriptor_pb2.FileDescriptorProto()
        _MODULES[name].DESCRIPTOR.CopyToProto(proto)
        files[name] = ProtoFile(proto)
    else:
        text = references.get(name, _TEXTS.get(name))
        if text is None:
            raise ValueError(f"unknown import '{name}'")
        files[name] = parse_proto(text, name)
    for needed in files[name].proto.dependency:
        _add(pool, needed, references, files)
    pool.Add(files[name].proto)


def parts_of(message: Descriptor) -> tuple[list[OneofDescriptor], list[FieldDescriptor]]:
    """Return the oneofs of a message, and the fields outside them.

    The oneof that an ``optional`` field is alone in is not one of the schema's.
    """
    proto = descriptor_pb2.DescriptorProto()
    message.CopyToProto(proto)
    optional = {field.name for field in proto.field if field.proto3_optional}
    choices = [o for o in message.oneofs if o.fields[0].name not in optional]
    inside = {field.name for o in choices for field in o.fields}
    return choices, [field for field in message.fields if field.name not in inside]


def choice_name(choice: OneofDescriptor) -> str:
    """Return what the struct of a oneof is called."""
    return f"{choice.name}_{choice.index}"


def is_map(field: FieldDescriptor) -> bool:
    """Whether a field is a map."""
    return field.message_type is not None and field.message_type.GetOptions().map_entry


# Columns to text

_NAMES = {
    "BOOLEAN": "bool",
    "INTEGER": "int32",
    "BIGINT": "int64",
    "DOUBLE": "double",
    "STRING": "string",
    "BYTES": "bytes",
    "DATE": DATE,
    "TIME": TIME_OF_DAY,
    "TIMESTAMP": TIMESTAMP,
}
_WRAPPER_NAMES = {
    "bool": "BoolValue",
    "int32": "Int32Value",
    "int64": "Int64Value",
    "double": "DoubleValue",
    "string": "StringValue",
    "bytes": "BytesValue",
}
_IMPORTS = {
    DECIMAL: "confluent/type/decimal.proto",
    DATE: "google/type/date.proto",
    TIME_OF_DAY: "google/type/timeofday.proto",
    TIMESTAMP: "google/protobuf/timestamp.proto",
    "google.protobuf.": "google/protobuf/wrappers.proto",
}


def schema_text(
    fields: Sequence[tuple[str, t.DataType]],
    full_name: str | None = None,
    nullable: str | None = None,
    *,
    entries: bool = False,
) -> str:
    """Return the schema of some fields.

    Parameters
    ----------
    fields : sequence of (name, type)
    full_name : str, optional
    nullable : ``optional`` or ``wrapper``, optional
        How primitives that may be null are told from defaults; by default they are not.
    entries : bool
        Write maps as lists of messages with a key and a value, which keep their order and take any key.
    """
    writer = _Writer(nullable, entries)
    package, _, name = (full_name or "").rpartition(".")
    body = writer.message(name or writer.next_name(), fields, "")
    imports = sorted({_import_of(used) for used in writer.used} - {""})
    head = ['syntax = "proto3";', *([f"package {package};"] if package else [])]
    parts = ["\n".join(head), *(["\n".join(f'import "{i}";' for i in imports)] if imports else []), body]
    return "\n\n".join(parts) + "\n"


def _import_of(name: str) -> str:
    return next((path for prefix, path in _IMPORTS.items() if name.startswith(prefix)), "")


class _Writer:
    def __init__(self, nullable: str | None, entries: bool = False) -> None:
        self._nullable = nullable
        self._entries = entries
        self._count = 0
        self.used: set[str] = set()

    def next_name(self) -> str:
        self._count += 1
        return f"{DEFAULT_NAME}{self._count}"

    def message(self, name: str, fields: Sequence[tuple[str, t.DataType]], indent: str) -> str:
        lines: list[str] = []
        nested: list[str] = []
        for number, (field, type_) in enumerate(fields, 1):
            match type_:
                case t.Array(element):
                    text, inner = self._single(element, indent)
                    text = f"repeated {text}"
                case t.Map(key, value) if self._entries:
                    entry = f"{self.next_name()}Entry"
                    inner = [self.message(entry, (("key", key), ("value", value)), f"{indent}  ")]
                    text = f"repeated {entry}"
                case t.Map(_, value):
                    text, inner = self._single(value, indent)
                    text = f"map<string, {text}>"
                case _:
                    text, inner = self._single(type_, indent, may_be_null=True)
            nested += inner
            lines.append(f"{indent}  {text} {field} = {number}{_options(type_)};")
        blocks = ["\n".join(lines), *nested]
        return f"{indent}message {name} {{\n" + "\n\n".join(b for b in blocks if b) + f"\n{indent}}}"

    def _single(self, type_: t.DataType, indent: str, *, may_be_null: bool = False) -> tuple[str, list[str]]:
        if isinstance(type_, t.Struct):
            name = self.next_name()
            return name, [self.message(name, type_.fields, f"{indent}  ")]
        if isinstance(type_, t.Decimal):
            self.used.add(DECIMAL)
            return DECIMAL, []
        name = _NAMES[str(type_)]
        if may_be_null and name in _WRAPPER_NAMES and self._nullable == "optional":
            return f"optional {name}", []
        if may_be_null and name in _WRAPPER_NAMES and self._nullable == "wrapper":
            name = f"google.protobuf.{_WRAPPER_NAMES[name]}"
        self.used.add(name)
        return name, []


def _options(type_: t.DataType) -> str:
    """The precision and scale of a decimal, or of decimals in a list or map."""
    if isinstance(type_, t.Array):
        type_ = type_.element
    if isinstance(type_, t.Map):
        type_ = type_.value
    if not isinstance(type_, t.Decimal):
        return ""
    params = f'{{value: "{type_.precision}", key: "precision"}}, {{value: "{type_.scale}", key: "scale"}}'
    return f" [(confluent.field_meta) = {{params: [{params}]}}]"

"""Whether one Protobuf schema reads what another has written: the same wire form by number, and nothing gone.

The rules are those that registries apply: messages and parts of a oneof may not go, fields may come and go by
number, types may change where the bytes stay readable.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto

from kalam_jupyter.ksql.formats.proto_schema import ProtoSchema

_F = FieldDescriptorProto
#: Types whose bytes can be read as each other's.
_GROUPS = (
    {_F.TYPE_INT32, _F.TYPE_UINT32, _F.TYPE_INT64, _F.TYPE_UINT64, _F.TYPE_BOOL, _F.TYPE_ENUM},
    {_F.TYPE_SINT32, _F.TYPE_SINT64},
    {_F.TYPE_STRING, _F.TYPE_BYTES},
    {_F.TYPE_FIXED32, _F.TYPE_SFIXED32},
    {_F.TYPE_FIXED64, _F.TYPE_SFIXED64},
)
_TEXTUAL = {_F.TYPE_STRING, _F.TYPE_BYTES, _F.TYPE_MESSAGE}


def unreadable(reader: ProtoSchema, writer: ProtoSchema) -> list[str]:
    """Return why data of `writer` cannot be read as `reader`; [] if it can."""
    return list(_messages(reader.files[""].proto.message_type, writer.files[""].proto.message_type, ""))


def _messages(reader: Any, writer: Any, at: str) -> Iterator[str]:
    known: dict[str, DescriptorProto] = {m.name: m for m in reader}
    for old in writer:
        place = f"{at}/{old.name}"
        new = known.get(old.name)
        if new is None:
            if not old.options.map_entry:
                yield f"{place}: the message is gone"
            continue
        yield from _fields(new, old, place)
        yield from _messages(new.nested_type, old.nested_type, place)


def _fields(new: DescriptorProto, old: DescriptorProto, at: str) -> Iterator[str]:
    before = {f.number: f for f in old.field}
    after = {f.number: f for f in new.field}
    for number, field in after.items():
        was = before.get(number)
        place = f"{at}/{number} {field.name}"
        if was is None:
            if field.label == _F.LABEL_REQUIRED:
                yield f"{place}: a required field was added"
        else:
            yield from _field(field, was, place)
    for number, field in before.items():
        if number not in after:
            if field.label == _F.LABEL_REQUIRED:
                yield f"{at}/{number} {field.name}: a required field is gone"
            elif _in_oneof(field):
                yield f"{at}/{number} {field.name}: a field of a oneof is gone"
    yield from _oneofs(new, old, before, at)


def _in_oneof(field: FieldDescriptorProto) -> bool:
    return field.HasField("oneof_index") and not field.proto3_optional


def _field(new: FieldDescriptorProto, old: FieldDescriptorProto, at: str) -> Iterator[str]:
    readable = new.type == old.type or any({new.type, old.type} <= group for group in _GROUPS)
    renamed = new.type == _F.TYPE_MESSAGE and _last(new.type_name) != _last(old.type_name)
    if not readable or renamed:
        yield f"{at}: the type changed from {_type(old)} to {_type(new)}"
    repeated = [f.label == _F.LABEL_REPEATED for f in (new, old)]
    if repeated[0] != repeated[1] and not {new.type, old.type} <= _TEXTUAL:
        yield f"{at}: repeated and single numbers have other bytes"
    if new.label == _F.LABEL_REQUIRED != old.label:
        yield f"{at}: the field became required"


def _oneofs(
    new: DescriptorProto, old: DescriptorProto, before: dict[int, FieldDescriptorProto], at: str
) -> Iterator[str]:
    """A oneof may take one field that stood alone: of several, one would wipe out the others."""
    for index, oneof in enumerate(new.oneof_decl):
        members = [f for f in new.field if _in_oneof(f) and f.oneof_index == index]
        moved = [f.name for f in members if f.number in before and not _in_oneof(before[f.number])]
        if len(moved) > 1:
            yield f"{at}/{oneof.name}: several fields moved into the oneof: {', '.join(moved)}"


def _type(field: FieldDescriptorProto) -> str:
    return str(field.type_name.lstrip(".") or _F.Type.Name(field.type).removeprefix("TYPE_").lower())


def _last(name: str) -> str:
    return name.rpartition(".")[2]

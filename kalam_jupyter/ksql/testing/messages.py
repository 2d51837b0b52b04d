"""Records that are Protobuf messages to bytes and back."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass

from kalam_jupyter.engine import types as t
from kalam_jupyter.ksql.formats.proto_schema import ProtoSchema, is_map
from kalam_jupyter.ksql.values.calendar import civil, epoch_day
from kalam_jupyter.ksql.values.numbers import EXACT, from_unscaled


def field_of(value: Mapping[str, Any], name: str) -> Any:
    """A field by its name, in any case."""
    if name in value:
        return value[name]
    return next((v for k, v in value.items() if k.upper() == name.upper()), None)


def unscaled(value: Any, scale: int) -> bytes:
    unscaled = int(EXACT.scaleb(Decimal(value), Decimal(scale)).to_integral_value(ROUND_HALF_UP))
    return unscaled.to_bytes(max(1, (unscaled.bit_length() + 8) // 8), "big", signed=True)


def message_indexes(message: Descriptor) -> bytes:
    path: list[int] = []
    at: Descriptor | None = message
    while at is not None:
        outer = at.containing_type
        siblings = outer.nested_types if outer is not None else at.file.message_types_by_name.values()
        path.insert(0, [m.full_name for m in siblings].index(at.full_name))
        at = outer
    return b"\0" if path == [0] else bytes(2 * n for n in (len(path), *path))


def read_indexes(data: bytes) -> tuple[list[int], int]:
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
        item = field_of(value, field.name)
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
        out.value = unscaled(value, type_.scale)
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
    found: dict[str, Any] = {}
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
        return from_unscaled(int.from_bytes(value.value, "big", signed=True), type_.scale)
    if name.startswith("google.protobuf.") and name.endswith("Value"):
        return value.value
    return _object(schema, value)

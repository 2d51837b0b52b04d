"""PROTOBUF with registered schemas, and PROTOBUF_NOSR, whose schema follows from the columns."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from kalam_jupyter.engine import types as t
from kalam_jupyter.engine.batch import Row
from kalam_jupyter.ksql.errors import KsqlError
from kalam_jupyter.ksql.formats.adapt import adapter
from kalam_jupyter.ksql.formats.base import (
    WRAP_SINGLES,
    Deserializer,
    FormatInfo,
    SerdeError,
    Serializer,
    Side,
    each,
    find_type,
    register,
)
from kalam_jupyter.ksql.formats.json_format import is_unwritable_map
from kalam_jupyter.ksql.formats.proto_schema import (
    DATE,
    DECIMAL,
    TIME_OF_DAY,
    TIMESTAMP,
    WRAPPERS,
    ProtoSchema,
    choice_name,
    is_map,
    parts_of,
    schema_text,
)
from kalam_jupyter.ksql.formats.registered import field_names, registry_of, schema_id_to_write, side_type
from kalam_jupyter.ksql.formats.schema_registry import referenced
from kalam_jupyter.ksql.formats.wire import message_indexes, prefix, read_indexes, schema_id_of
from kalam_jupyter.ksql.values.calendar import civil, epoch_day
from kalam_jupyter.ksql.values.numbers import from_unscaled, unscaled
from kalam_jupyter.ksql.values.text import map_order

Read = Callable[[Message], Any]
Write = Callable[[Message, Any], None]
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NOT_DATA = (DecodeError, ValueError, IndexError, TypeError, RecursionError)


class ProtobufFormat:
    """Protobuf messages; null primitives become defaults unless a nullable representation is set."""

    name = "PROTOBUF"
    schema_type: str | None = "PROTOBUF"
    features = frozenset({WRAP_SINGLES})
    properties = frozenset({"fullSchemaName", "nullableRepresentation", "unwrapPrimitives"})
    uses_registry = True

    def check(self, columns: Sequence[t.Column], info: FormatInfo) -> None:
        for column in columns:
            if find_type(column.type, is_unwritable_map):
                raise KsqlError("PROTOBUF format only supports MAP types with STRING keys")
            if find_type(column.type, _is_list_of_lists):
                raise KsqlError(
                    f"{self.name} has no lists and maps inside lists or as values of maps: {column.type}"
                )
        for name in field_names(columns):
            if not _NAME.fullmatch(name):
                raise KsqlError(f"Schema is not compatible with Protobuf: illegal name: {name}")

    def schema_text(self, side: Side) -> str:
        """Return the schema that the columns of `side` are written with."""
        fields = [(c.name, c.type) for c in side.columns]
        return schema_text(fields, side.info.get("fullSchemaName"), side.info.get("nullableRepresentation"))

    def schema_type_of(self, text: str, references: dict[str, str], info: FormatInfo) -> t.DataType | None:
        """Return the type of the values that a schema describes, None where ksqlDB has none."""
        try:
            schema = ProtoSchema.of(text, references)
        except _NOT_DATA as error:
            raise KsqlError(f"Not a Protobuf schema: {error}") from None
        message = schema.message(info.get("fullSchemaName"))
        return None if message is None else schema.message_type(message)

    def serializer(self, side: Side) -> Serializer:
        if not side.columns:
            return lambda rows: [None] * len(rows)
        schema, head = self._schema_to_write(side)
        message = schema.message(side.info.get("fullSchemaName"))
        if message is None:
            raise KsqlError(f"The schema has no message {side.info.get('fullSchemaName')}")
        head += message_indexes(message) if self.uses_registry else b""
        make = GetMessageClass(message)
        fill = _message_writer(schema, message, t.Struct(tuple((c.name, c.type) for c in side.columns)))
        single_key = side.is_key and len(side.columns) == 1

        def write(row: Row) -> bytes:
            out = make()
            fill(out, row)
            return head + bytes(out.SerializeToString())

        return lambda rows: [None if r is None or (single_key and r[0] is None) else write(r) for r in rows]

    def _schema_to_write(self, side: Side) -> tuple[ProtoSchema, bytes]:
        schema_id = schema_id_to_write(side)
        return _registered_schema(side, schema_id), prefix(schema_id)

    def deserializer(self, side: Side) -> Deserializer:
        if not side.columns:
            return lambda data: ([None] * len(data), [])
        target = side_type(side)

        @cache
        def reader(schema_id: int, indexes: tuple[int, ...]) -> Callable[[bytes], Row]:
            schema = _registered_schema(side, schema_id)
            return _row_reader(schema, schema.message_at(indexes), target)

        def read_row(data: bytes) -> Row:
            try:
                schema_id = schema_id_of(data)
                indexes, start = read_indexes(data)
                return reader(schema_id, indexes)(data[start:])
            except KsqlError as error:
                raise SerdeError(error.message) from None
            except SerdeError:
                raise
            except (*_NOT_DATA, KeyError) as error:
                raise SerdeError(f"Not the data of its schema: {error}") from None

        return each(read_row)

    def lossless(self, side: Side) -> bool:
        """Nulls become defaults."""
        return False


def row_messages(
    columns: Sequence[tuple[str, t.DataType]],
) -> tuple[str, Callable[[Sequence[Any]], bytes]]:
    """Return the schema of query results as Protobuf, and what writes a row.

    Maps are lists of entries (HTTP contract, section 7.5).

    Raises
    ------
    KsqlError
        If a column's name or type has no Protobuf form.
    """
    found = tuple(t.Column(name, type_) for name, type_ in columns)
    for column in found:
        if find_type(column.type, _is_nested_list):
            raise KsqlError(f"Protobuf has no lists of lists or maps: `{column.name}` {column.type}")
    for name in field_names(found):
        if not _NAME.fullmatch(name):
            raise KsqlError(f"Schema is not compatible with Protobuf: illegal name: {name}")
    text = schema_text(columns, entries=True)
    schema = ProtoSchema.of(text)
    message = schema.message(None)
    assert message is not None
    make = GetMessageClass(message)
    fill = _message_writer(schema, message, t.Struct(tuple(columns)))

    def write(row: Sequence[Any]) -> bytes:
        out = make()
        fill(out, tuple(row))
        return bytes(out.SerializeToString())

    return text, write


class ProtobufNoRegistryFormat(ProtobufFormat):
    """Protobuf without the schema registry: bare messages, fields numbered as the columns are."""

    name = "PROTOBUF_NOSR"
    uses_registry = False

    def _schema_to_write(self, side: Side) -> tuple[ProtoSchema, bytes]:
        return ProtoSchema.of(self.schema_text(side)), b""

    def deserializer(self, side: Side) -> Deserializer:
        if not side.columns:
            return lambda data: ([None] * len(data), [])
        schema = ProtoSchema.of(self.schema_text(side))
        message = schema.message(side.info.get("fullSchemaName"))
        assert message is not None
        read = _row_reader(schema, message, side_type(side))

        def read_row(data: bytes) -> Row:
            try:
                return read(data)
            except _NOT_DATA as error:
                raise SerdeError(f"Not the data of its schema: {error}") from None

        return each(read_row)


def _is_list_of_lists(type_: t.DataType) -> bool:
    inner = type_.element if isinstance(type_, t.Array) else type_.value if isinstance(type_, t.Map) else None
    return isinstance(inner, t.Array | t.Map)


def _is_nested_list(type_: t.DataType) -> bool:
    return isinstance(type_, t.Array) and isinstance(type_.element, t.Array | t.Map)


def _registered_schema(side: Side, schema_id: int) -> ProtoSchema:
    registry = registry_of(side)
    found = registry.schema(schema_id)
    return ProtoSchema.of(found.text, referenced(registry, found))


# Reading


def _row_reader(schema: ProtoSchema, message: Descriptor, target: t.DataType) -> Callable[[bytes], Row]:
    make = GetMessageClass(message)
    read = _message_reader(schema, message, ())
    adapt = adapter(schema.message_type(message), target)

    def read_row(data: bytes) -> Row:
        row = read(make.FromString(data))
        found: Row = row if adapt is None else adapt(row)
        return found

    return read_row


def _message_reader(schema: ProtoSchema, message: Descriptor, inside: tuple[str, ...]) -> Read:
    inside = (*inside, message.full_name)

    def readers(fields: Iterable[FieldDescriptor]) -> list[Read]:
        typed = (f for f in fields if schema.field_type(f, inside) is not None)
        return [_field_reader(schema, f, inside) for f in typed]

    choices, plain = parts_of(message)
    parts = [*(_choice_reader(o.name, readers(o.fields)) for o in choices), *readers(plain)]
    return lambda m: tuple([read(m) for read in parts])


def _choice_reader(name: str, members: list[Read]) -> Read:
    return lambda m: None if m.WhichOneof(name) is None else tuple([read(m) for read in members])


def _field_reader(schema: ProtoSchema, field: FieldDescriptor, inside: tuple[str, ...]) -> Read:
    name = field.name
    if is_map(field):
        item = _value_reader(schema, field.message_type.fields_by_name["value"], inside)
        return lambda m: {_map_key(k): item(v) for k, v in getattr(m, name).items()}
    value = _value_reader(schema, field, inside)
    if field.is_repeated:
        return lambda m: [value(v) for v in getattr(m, name)]
    if field.has_presence:
        return lambda m: value(getattr(m, name)) if m.HasField(name) else None
    return lambda m: value(getattr(m, name))


def _map_key(key: Any) -> str:
    return key if isinstance(key, str) else str(key).lower()


def _value_reader(schema: ProtoSchema, field: FieldDescriptor, inside: tuple[str, ...]) -> Read:
    if field.enum_type is not None:
        names = field.enum_type.values_by_number
        return lambda v: names[v].name if v in names else str(v)
    if field.message_type is None:
        return lambda v: v
    name = field.message_type.full_name
    if name in WRAPPERS:
        return lambda v: v.value
    if name == DECIMAL:
        scale = _decimal_scale(schema, field)
        return lambda v: from_unscaled(int.from_bytes(v.value, "big", signed=True), scale)
    return _LOGICAL_READERS.get(name) or _message_reader(schema, field.message_type, inside)


def _decimal_scale(schema: ProtoSchema, field: FieldDescriptor) -> int:
    type_ = schema.single_type(field)
    assert isinstance(type_, t.Decimal)
    return type_.scale


_LOGICAL_READERS: dict[str, Read] = {
    TIMESTAMP: lambda v: v.seconds * 1000 + v.nanos // 1_000_000,
    DATE: lambda v: epoch_day(v.year, v.month, v.day),
    TIME_OF_DAY: lambda v: ((v.hours * 60 + v.minutes) * 60 + v.seconds) * 1000 + v.nanos // 1_000_000,
}


# Writing


def _message_writer(schema: ProtoSchema, message: Descriptor, type_: t.Struct) -> Write:
    choices, plain = parts_of(message)
    parts = []
    for choice in choices:
        i = _index_of(type_, choice_name(choice))
        if i is not None:
            parts.append((i, _parts_writer(_field_writers(schema, choice.fields, type_.fields[i][1]))))
    return _parts_writer([*parts, *_field_writers(schema, plain, type_)])


def _index_of(struct: t.Struct, name: str) -> int | None:
    """Return where a struct has the field of a name, spelled so or in upper case."""
    folded = {field.upper(): i for field, i in struct.index.items()}
    return struct.index.get(name, folded.get(name.upper()))


def _field_writers(
    schema: ProtoSchema, fields: Iterable[FieldDescriptor], type_: t.DataType
) -> list[tuple[int, Write]]:
    if not isinstance(type_, t.Struct):
        raise KsqlError(f"{type_} cannot be written as a oneof")
    places = ((_index_of(type_, f.name), f) for f in fields)
    return [(i, _field_writer(schema, f, type_.fields[i][1])) for i, f in places if i is not None]


def _parts_writer(parts: Sequence[tuple[int, Write]]) -> Write:
    def write(out: Message, row: Row) -> None:
        for i, set_field in parts:
            if row[i] is not None:
                set_field(out, row[i])

    return write


def _field_writer(schema: ProtoSchema, field: FieldDescriptor, type_: t.DataType) -> Write:
    name = field.name
    if is_map(field):
        assert isinstance(type_, t.Map)
        return _map_writer(schema, field, type_.value)
    if field.is_repeated and isinstance(type_, t.Map):
        entry = t.Struct((("key", type_.key), ("value", type_.value)))
        write_list = _list_writer(schema, field, entry)
        return lambda out, value: write_list(out, [(k, value[k]) for k in map_order(value, 16)])
    if field.is_repeated:
        assert isinstance(type_, t.Array)
        return _list_writer(schema, field, type_.element)
    fill = _filler(schema, field, type_)
    if fill is not None:

        def write_message(out: Message, value: Any) -> None:
            part = getattr(out, name)
            part.SetInParent()
            fill(part, value)

        return write_message
    convert = _scalar_converter(field)
    return lambda out, value: setattr(out, name, convert(value))


def _list_writer(schema: ProtoSchema, field: FieldDescriptor, element: t.DataType) -> Write:
    name = field.name
    fill = _filler(schema, field, element)
    if fill is None:
        convert, default = _scalar_converter(field), _default(field)
        return lambda out, value: getattr(out, name).extend(
            [default if v is None else convert(v) for v in value]
        )

    def write(out: Message, value: list[Any]) -> None:
        items = getattr(out, name)
        for v in value:
            _fill_or_default(items.add(), v, fill)

    return write


def _fill_or_default(part: Message, value: Any, fill: Write) -> None:
    """Set an element, a NULL one to its default; that of a Date is day 0 as of all others, not no date."""
    if value is not None:
        fill(part, value)
    elif part.DESCRIPTOR.full_name == DATE:
        _write_date(part, 0)


def _map_writer(schema: ProtoSchema, field: FieldDescriptor, value_type: t.DataType) -> Write:
    name = field.name
    inner = field.message_type.fields_by_name["value"]
    fill = _filler(schema, inner, value_type)
    convert, default = _scalar_converter(inner), _default(inner)

    def write(out: Message, value: dict[Any, Any]) -> None:
        entries = getattr(out, name)
        for k, v in value.items():
            key = "" if k is None else k
            if fill is None:
                entries[key] = default if v is None else convert(v)
            else:
                entries[key].SetInParent()
                _fill_or_default(entries[key], v, fill)

    return write


def _filler(schema: ProtoSchema, field: FieldDescriptor, type_: t.DataType) -> Write | None:
    """Return what sets a message field's parts; None for scalars."""
    if field.message_type is None:
        return None
    name = field.message_type.full_name
    if name in WRAPPERS:
        return lambda out, value: setattr(out, "value", value)
    if name == DECIMAL and isinstance(type_, t.Decimal):
        return _decimal_writer(type_)
    if name in _LOGICAL_WRITERS:
        return _LOGICAL_WRITERS[name]
    if not isinstance(type_, t.Struct):
        raise KsqlError(f"{type_} cannot be written as message {name}")
    return _message_writer(schema, field.message_type, type_)


def _scalar_converter(field: FieldDescriptor) -> Callable[[Any], Any]:
    if field.enum_type is not None:
        numbers = {v.name: v.number for v in field.enum_type.values}
        return lambda v: numbers.get(v, 0)
    return lambda v: v


#: What a null element becomes; the default of a repeated field itself is the empty list
_ELEMENT_DEFAULTS: dict[int, Any] = {
    FieldDescriptor.CPPTYPE_STRING: "",
    FieldDescriptor.CPPTYPE_BOOL: False,
    FieldDescriptor.CPPTYPE_FLOAT: 0.0,
    FieldDescriptor.CPPTYPE_DOUBLE: 0.0,
}


def _default(field: FieldDescriptor) -> Any:
    if field.type == FieldDescriptor.TYPE_BYTES:
        return b""
    return _ELEMENT_DEFAULTS.get(field.cpp_type, 0)


def _decimal_writer(type_: t.Decimal) -> Write:
    def write(out: Any, value: Decimal) -> None:
        digits = unscaled(value, type_.scale)
        out.value = digits.to_bytes(max(1, (digits.bit_length() + 8) // 8), "big", signed=True)
        out.precision = type_.precision
        out.scale = type_.scale

    return write


def _write_timestamp(out: Any, value: int) -> None:
    out.seconds, rest = divmod(value, 1000)
    out.nanos = rest * 1_000_000


def _write_date(out: Any, value: int) -> None:
    out.year, out.month, out.day = civil(value)


def _write_time(out: Any, value: int) -> None:
    seconds, ms = divmod(value, 1000)
    out.hours, out.minutes, out.seconds = seconds // 3600, seconds // 60 % 60, seconds % 60
    out.nanos = ms * 1_000_000


_LOGICAL_WRITERS: dict[str, Write] = {
    TIMESTAMP: _write_timestamp,
    DATE: _write_date,
    TIME_OF_DAY: _write_time,
}

PROTOBUF = register(ProtobufFormat())
PROTOBUF_NOSR = register(ProtobufNoRegistryFormat())

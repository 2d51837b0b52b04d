"""AVRO: data written with a registered schema, as Kafka Connect's converter writes it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import cache
from itertools import count
from typing import Any

import fastavro
import numpy as np

from kalam_jupyter.engine import types as t
from kalam_jupyter.engine.batch import Row
from kalam_jupyter.ksql.errors import KsqlError
from kalam_jupyter.ksql.formats.adapt import adapter, nullable
from kalam_jupyter.ksql.formats.avro_columns import FieldPlan, plan_of, read_columns
from kalam_jupyter.ksql.formats.avro_schema import (
    DEFAULT_NAME,
    AvroSchema,
    branches,
    check_name,
    is_map_entry,
    record_schema,
    value_schema,
)
from kalam_jupyter.ksql.formats.base import (
    UNWRAP_SINGLES,
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
from kalam_jupyter.ksql.formats.columns import SideColumns
from kalam_jupyter.ksql.formats.json_format import is_unwritable_map
from kalam_jupyter.ksql.formats.packed import Packed
from kalam_jupyter.ksql.formats.registered import (
    check_referenced,
    field_names,
    registry_of,
    schema_id_to_write,
    side_type,
)
from kalam_jupyter.ksql.formats.wire import PREFIX_BYTES, prefix, schema_id_of
from kalam_jupyter.ksql.values.numbers import from_unscaled, unscaled

Convert = Callable[[Any], Any]


class AvroFormat:
    """Avro with the schema registry."""

    name = "AVRO"
    schema_type: str | None = "AVRO"
    features = frozenset({WRAP_SINGLES, UNWRAP_SINGLES})
    properties = frozenset({"fullSchemaName"})
    uses_registry = True

    def check(self, columns: Sequence[t.Column], info: FormatInfo) -> None:
        if any(find_type(c.type, is_unwritable_map) for c in columns):
            raise KsqlError("Avro only supports MAPs with STRING keys")
        for name in field_names(columns):
            check_name(name)

    def schema_text(self, side: Side) -> str:
        """Return the schema that the columns of `side` are written with."""
        name = side.info.get("fullSchemaName") or DEFAULT_NAME
        if side.unwrapped:
            return json.dumps(value_schema(side.columns[0].type, name))
        return json.dumps(record_schema([(c.name, c.type) for c in side.columns], name))

    def schema_type_of(self, text: str, references: dict[str, str], info: FormatInfo) -> t.DataType | None:
        """Return the type of the values that a schema describes, None where ksqlDB has none."""
        return _parsed(text).type()

    def serializer(self, side: Side) -> Serializer:
        if not side.columns:
            return lambda rows: [None] * len(rows)
        schema_id = schema_id_to_write(side)
        schema = _parsed(registry_of(side).schema(schema_id).text)
        writer = _fastavro_schema(schema)
        convert = _item_writer(schema, schema.root, side_type(side))
        head = prefix(schema_id)

        def write(row: Row) -> bytes | None:
            value: Any = row[0] if side.unwrapped else row
            if value is None:
                return None
            out = io.BytesIO()
            out.write(head)
            try:
                fastavro.schemaless_writer(out, writer, convert(value))
            except (SerdeError, ValueError, TypeError) as error:
                raise SerdeError(f"Unable to serialize record: {error}") from None
            return out.getvalue()

        return lambda rows: [None if r is None else write(r) for r in rows]

    def deserializer(self, side: Side) -> Deserializer:
        if not side.columns:
            return lambda data: ([None] * len(data), [])
        target = side_type(side)

        @cache
        def reader(schema_id: int) -> Callable[[bytes], Any]:
            schema = _parsed(registry_of(side).schema(schema_id).text)
            check_referenced(schema.type(), schema_id)
            writer = _fastavro_schema(schema)
            convert = _reader(schema, schema.root)
            adapt = nullable(adapter(schema.type() or t.STRING, target))

            def read(data: bytes) -> Any:
                source = io.BytesIO(data)
                source.seek(PREFIX_BYTES)
                value: Any = fastavro.schemaless_reader(source, writer, None)
                return None if value is None else adapt(convert(value))

            return read

        def read_row(data: bytes) -> Row | None:
            try:
                value = reader(schema_id_of(data))(data)
            except KsqlError as error:
                raise SerdeError(error.message) from None
            except (ValueError, EOFError, IndexError, TypeError, OverflowError, RecursionError) as error:
                raise SerdeError(f"Not the data of its schema: {error or type(error).__name__}") from None
            if value is None:
                return None
            return (value,) if side.unwrapped else value

        return _AvroReader(side, each(read_row))

    def lossless(self, side: Side) -> bool:
        """A bare null is a null value; with a schema of the user's, defaults take the place of nulls."""
        return side.is_key or not side.unwrapped


class _AvroReader:
    """Reads batches of flat records of one schema as columns, too."""

    def __init__(self, side: Side, one_by_one: Deserializer) -> None:
        self._side = side
        self._one_by_one = one_by_one
        self._types = [c.type for c in side.columns]
        self._plans: dict[int, list[FieldPlan] | None] = {}

    def __call__(self, data: Sequence[bytes | None]) -> tuple[list[Row | None], list[tuple[int, str]]]:
        return self._one_by_one(data)

    def columns(self, data: Sequence[bytes | None]) -> SideColumns | None:
        head = (data[0] or b"")[:PREFIX_BYTES]
        packed = Packed.of(data)
        if packed is None or (packed.ends - packed.starts < PREFIX_BYTES).any():
            return None
        heads = [packed.data.take(packed.starts + i) == byte for i, byte in enumerate(head)]
        if not np.logical_and.reduce(heads).all():
            return None
        try:
            plans = self._plan(schema_id_of(head))
        except (KsqlError, SerdeError):  # the rows say what is wrong
            return None
        if plans is None:
            return None
        arrays = read_columns(packed, PREFIX_BYTES, plans, self._types)
        return None if arrays is None else (arrays, None)

    def _plan(self, schema_id: int) -> list[FieldPlan] | None:
        if schema_id not in self._plans:
            schema = _parsed(registry_of(self._side).schema(schema_id).text)
            plan = plan_of(schema, self._side.columns, unwrapped=self._side.unwrapped)
            self._plans[schema_id] = plan
        return self._plans[schema_id]


@cache
def _parsed(text: str) -> AvroSchema:
    try:
        return AvroSchema(json.loads(text))
    except ValueError:
        return AvroSchema(text.strip())  # a bare type name, as some registries give it


def _fastavro_schema(schema: AvroSchema) -> Any:
    """Return a schema of the same bytes for fastavro.

    Dates, times and decimals are the integers and bytes they are written as. Each branch of a union is a
    record with one field, called after the branch, so that values tell which branch they are.
    """
    numbers = count()

    def plain(node: Any) -> Any:
        if isinstance(node, list) and len(branches(node)) > 1:
            return [b if b == "null" else branch(b) for b in node]
        if isinstance(node, list):
            return [plain(b) for b in node]
        if not isinstance(node, dict):
            return node
        return {
            k: [{**f, "type": plain(f["type"])} for f in v]
            if k == "fields"
            else plain(v)
            if k in ("type", "items", "values")
            else v
            for k, v in node.items()
            if k != "logicalType"
        }

    def branch(node: Any) -> dict[str, Any]:
        field = {"name": schema.branch_name(node), "type": plain(node)}
        return {"type": "record", "name": f"Branch{next(numbers)}_", "fields": [field]}

    return fastavro.parse_schema(plain(schema.root), {})


def _reader(schema: AvroSchema, node: Any, inside: tuple[str, ...] = ()) -> Convert:
    """Return the conversion of what fastavro reads to physical values of `AvroSchema.type`."""
    node = schema.resolve(node)
    if isinstance(node, list):
        parts = _struct_readers(schema, [(schema.branch_name(b), b) for b in branches(node)], inside)
        return lambda v: tuple([read(v.get(name)) for name, read in parts])
    kind = node if isinstance(node, str) else node["type"]
    if kind == "record":
        inside = (*inside, node["name"])
        fields = _struct_readers(schema, [(f["name"], f["type"]) for f in node["fields"]], inside)
        return lambda v: tuple([read(v[name]) for name, read in fields])
    if kind == "array":
        if is_map_entry(schema.resolve(node["items"])):
            entry = _reader(schema, node["items"], inside)
            return lambda v: dict(entry(e) for e in v)
        element = nullable(_reader(schema, node["items"], inside))
        return lambda v: [element(e) for e in v]
    if kind == "map":
        value = nullable(_reader(schema, node["values"], inside))
        return lambda v: {k: value(e) for k, e in v.items()}
    if not isinstance(node, str) and node.get("logicalType") == "decimal":
        scale = node.get("scale", 0)
        return lambda v: from_unscaled(int.from_bytes(v, "big", signed=True), scale)
    return lambda v: v


def _struct_readers(
    schema: AvroSchema, parts: Sequence[tuple[str, Any]], inside: tuple[str, ...]
) -> list[tuple[str, Convert]]:
    return [
        (name, nullable(_reader(schema, node, inside)))
        for name, node in parts
        if schema.type(node, inside) is not None
    ]


def _writer(schema: AvroSchema, field: dict[str, Any], type_: t.DataType | None) -> Convert:
    """Return the conversion of physical values of `type_` to what fastavro writes as the type of `field`.

    Null where the schema does not admit it becomes the field's default, if it has one. A `type_` of None is a
    field that no column fills.
    """
    node = field["type"]
    optional = node == "null" or (isinstance(node, list) and "null" in node)
    inner = None if type_ is None else _value_writer(schema, schema.resolve(node), type_)

    def convert(value: Any) -> Any:
        if value is not None and inner is not None:
            return inner(value)
        if "default" in field and not optional:
            return field["default"]
        if optional:
            return None
        raise SerdeError(f"null where the schema does not allow it: {field.get('name', 'value')}")

    return convert


def _item_writer(schema: AvroSchema, node: Any, type_: t.DataType) -> Convert:
    return _writer(schema, {"type": node}, type_)


def _value_writer(schema: AvroSchema, node: Any, type_: t.DataType) -> Convert:
    if isinstance(node, list):
        return _union_writer(schema, node, type_)
    kind = node if isinstance(node, str) else node["type"]
    match type_, kind:
        case t.Struct(), "record":
            return _record_writer(schema, node, type_)
        case t.Array(element), "array":
            item = _item_writer(schema, node["items"], element)
            return lambda v: [item(x) for x in v]
        case t.Map(_, value), "map":
            item = _item_writer(schema, node["values"], value)
            return lambda v: {k: item(x) for k, x in v.items()}
        case t.Map(key, value), "array":
            entry = _item_writer(schema, node["items"], t.Struct((("key", key), ("value", value))))
            return lambda v: [entry(pair) for pair in v.items()]
        case t.Decimal(), "bytes" | "fixed" if not isinstance(node, str) and "scale" in node:
            return _decimal_writer(node["scale"], node.get("size") if kind == "fixed" else None)
        case _, "record" | "array" | "map":
            raise KsqlError(f"{type_} cannot be written as Avro {kind}")
    return lambda v: v


def _union_writer(schema: AvroSchema, union: list[Any], type_: t.DataType) -> Convert:
    """Write the first field of a struct that is not null as the branch of its name."""
    if not isinstance(type_, t.Struct):
        raise KsqlError(f"{type_} cannot be written as an Avro union")
    found = {schema.branch_name(b).upper(): (schema.branch_name(b), b) for b in branches(union)}
    writers = []
    for i, (field, part) in enumerate(type_.fields):
        name, node = found.get(field.upper(), ("", None))
        if node is None:
            raise KsqlError(f"The Avro union has no branch {field}")
        writers.append((i, name, _value_writer(schema, schema.resolve(node), part)))
    return lambda v: next(({name: write(v[i])} for i, name, write in writers if v[i] is not None), None)


def _record_writer(schema: AvroSchema, node: dict[str, Any], type_: t.Struct) -> Convert:
    folded = {name.upper(): i for name, i in type_.index.items()}
    fields: list[tuple[str, int | None, Convert]] = []
    for field in node["fields"]:
        i = type_.index.get(field["name"], folded.get(field["name"].upper()))
        convert = _writer(schema, field, None if i is None else type_.fields[i][1])
        fields.append((field["name"], i, convert))
    return lambda v: {name: convert(None if i is None else v[i]) for name, i, convert in fields}


def _decimal_writer(scale: int, size: int | None) -> Convert:
    def convert(value: Decimal) -> bytes:
        digits = unscaled(value, scale)
        length = size or max(1, (digits.bit_length() + 8) // 8)
        return digits.to_bytes(length, "big", signed=True)

    return convert


AVRO = register(AvroFormat())

"""JSON_SR: JSON text behind the id of its registered JSON schema; read and coerced like JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

from kalam_jupyter.engine import types as t
from kalam_jupyter.engine.batch import Row
from kalam_jupyter.ksql.formats import json_reader
from kalam_jupyter.ksql.formats.base import (
    Deserializer,
    FormatInfo,
    SerdeError,
    Serializer,
    Side,
    register,
)
from kalam_jupyter.ksql.formats.json_format import JsonFormat
from kalam_jupyter.ksql.formats.json_schema import object_schema, optional_schema, schema_type
from kalam_jupyter.ksql.formats.json_writer import object_writer
from kalam_jupyter.ksql.formats.registered import narrowed, registry_of, schema_id_to_write
from kalam_jupyter.ksql.formats.wire import PREFIX_BYTES, prefix, schema_id_of


class JsonSchemaFormat(JsonFormat):
    """JSON with the schema registry."""

    name = "JSON_SR"
    schema_type: str | None = "JSON"
    properties = frozenset({"fullSchemaName"})
    uses_registry = True

    def check(self, columns: Sequence[t.Column], info: FormatInfo) -> None:
        super().check(columns, info)

    def schema_text(self, side: Side) -> str:
        """Return the schema that the columns of `side` are written with."""
        if side.unwrapped:
            return json.dumps(optional_schema(side.columns[0].type))
        return json.dumps(object_schema([(c.name, c.type) for c in side.columns]))

    def schema_type_of(self, text: str, references: dict[str, str], info: FormatInfo) -> t.DataType | None:
        """Return the type of the values that a schema describes, None where ksqlDB has none."""
        try:
            return schema_type(json.loads(text))
        except ValueError:
            return None

    def serializer(self, side: Side) -> Serializer:
        plain = super().serializer(side)
        if not side.columns:
            return plain
        schema_id = schema_id_to_write(side)
        head = prefix(schema_id)
        if narrowed(side) and not side.unwrapped:
            type_ = self.schema_type_of(registry_of(side).schema(schema_id).text, {}, side.info)
            if isinstance(type_, t.Struct):
                plain = _writer_of(type_, side)
        return lambda rows: [None if data is None else head + data for data in plain(rows)]

    def deserializer(self, side: Side) -> Deserializer:
        if not side.columns:
            return super().deserializer(side)
        read = json_reader.RowReader(side.columns, unwrapped=side.unwrapped)

        def deserialize(data: Sequence[bytes | None]) -> tuple[list[Row | None], list[tuple[int, str]]]:
            bodies: list[bytes | None] = []
            errors: dict[int, str] = {}
            for i, record in enumerate(data):
                try:
                    bodies.append(None if record is None else _body(record))
                except SerdeError as error:
                    bodies.append(None)
                    errors[i] = str(error)
            rows, bad = read(bodies)
            return rows, sorted([*errors.items(), *bad])

        return deserialize


def _writer_of(schema: t.Struct, side: Side) -> Serializer:
    """Return a writer of all the fields of a schema of the user's; those that are no columns are null."""
    by_name = {c.name: (i, c.type) for i, c in enumerate(side.columns)}
    write = object_writer(
        [(name, by_name[name][1] if name in by_name else t.STRING) for name, _ in schema.fields]
    )
    order = [by_name[name][0] if name in by_name else None for name, _ in schema.fields]

    def serialize(rows: Sequence[Row | None]) -> list[bytes | None]:
        return [
            None
            if r is None
            else write([None if i is None else r[i] for i in order]).encode("utf-8", "replace")
            for r in rows
        ]

    return serialize


def _body(data: bytes) -> bytes:
    schema_id_of(data)
    return data[PREFIX_BYTES:]


JSON_SR = register(JsonSchemaFormat())

"""Between sources and the schema registry: columns from schemas, schemas from columns (15.8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from kalam_jupyter.engine import types as t
from kalam_jupyter.ksql.errors import KsqlError, StatementError
from kalam_jupyter.ksql.formats.base import FormatInfo, SerdeFormat, Side, columns_text
from kalam_jupyter.ksql.formats.registered import RegisteredFormat
from kalam_jupyter.ksql.formats.schema_registry import (
    RegisteredSchema,
    SchemaNotFoundError,
    SchemaRegistry,
    referenced,
    subject_name,
)

#: The column of a key that is one bare value, and that of such a value
BARE_KEY = "ROWKEY"
BARE_VALUE = "ROWVAL"
#: Formats whose keys are always read as one bare value
BARE_KEY_FORMATS = ("AVRO", "JSON_SR")


def infer_columns(
    registry: SchemaRegistry,
    topic: str,
    info: FormatInfo,
    *,
    is_key: bool,
    schema_id: int | None = None,
    unwrapped: bool = False,
) -> tuple[t.Column, ...]:
    """Return the columns of one side of a topic, as its registered schema has them.

    Parameters
    ----------
    registry : SchemaRegistry
    topic : str
    info : FormatInfo
    is_key : bool
    schema_id : int, optional
        KEY_SCHEMA_ID or VALUE_SCHEMA_ID; names are then kept as written, otherwise upper-cased.
    unwrapped : bool
        Whether WRAP_SINGLE_VALUE=false says that the value is one bare value.

    Raises
    ------
    KsqlError
        If there is no schema, or none of its fields has an SQL type.
    """
    side = "key" if is_key else "value"
    if not info.format.uses_registry:
        raise KsqlError(
            f"{side.upper()}_FORMAT should support schema inference when {side.upper()}_SCHEMA_ID is "
            f"provided. Current format is {info.name}."
        )
    type_ = _registered_type(registry, topic, info, is_key=is_key, schema_id=schema_id)
    if schema_id is None:
        type_ = _upper_cased(type_)
    if is_key and info.name in BARE_KEY_FORMATS:
        return (t.Column(BARE_KEY, type_, key=True),)
    if unwrapped:
        return (t.Column(BARE_VALUE, type_),)
    if not isinstance(type_, t.Struct):
        raise KsqlError(
            f"The {side} schema of topic '{topic}' is {type_}, not a record. "
            "Use WRAP_SINGLE_VALUE=false to read it as one column."
        )
    return tuple(t.Column(name, inner, key=is_key) for name, inner in type_.fields)


def _registered_type(
    registry: SchemaRegistry, topic: str, info: FormatInfo, *, is_key: bool, schema_id: int | None
) -> t.DataType:
    format_ = cast(RegisteredFormat, info.format)
    try:
        if schema_id is None:
            schema = registry.version(subject_name(topic, is_key=is_key)).schema
        else:
            schema = registry.schema(schema_id)
        type_ = None
        if schema.type == format_.schema_type:
            type_ = format_.schema_type_of(schema.text, referenced(registry, schema), info)
    except (SchemaNotFoundError, RecursionError):
        type_ = None
    if type_ is None:
        which = f" with ID {schema_id}" if schema_id is not None else ""
        side = "keys" if is_key else "values"
        raise KsqlError(
            f"Schema for message {side} on topic '{topic}'{which} does not exist in the Schema Registry."
        )
    return type_


def _upper_cased(type_: t.DataType) -> t.DataType:
    match type_:
        case t.Struct(fields):
            return t.Struct(tuple((name.upper(), _upper_cased(inner)) for name, inner in fields))
        case t.Array(element):
            return t.Array(_upper_cased(element))
        case t.Map(key, value):
            return t.Map(key, _upper_cased(value))
    return type_


def schema_of(serde: SerdeFormat, columns: Sequence[t.Column], *, is_key: bool) -> RegisteredSchema | None:
    """Return the schema that columns are written with; None for formats without registered schemas."""
    if not serde.info.format.uses_registry or not columns:
        return None
    format_ = cast(RegisteredFormat, serde.info.format)
    return RegisteredSchema(
        format_.schema_type or "", format_.schema_text(Side(tuple(columns), serde, is_key))
    )


def registered(
    registry: SchemaRegistry, topic: str, serde: SerdeFormat, columns: Sequence[t.Column], *, is_key: bool
) -> SerdeFormat:
    """Register the schema of one side of a topic; return the serde format with the id to write.

    A side with a schema id of its own keeps it; its schema also becomes one of the topic's subject.
    """
    schema = schema_of(serde, columns, is_key=is_key)
    if schema is None:
        return serde
    subject = subject_name(topic, is_key=is_key)
    if serde.schema_id is not None:
        registry.register(subject, registry.schema(serde.schema_id))
        return serde
    return replace(serde, schema_id=registry.register(subject, schema))


def check_columns_match(columns: Sequence[t.Column], schema: Sequence[t.Column], *, is_key: bool) -> None:
    """Refuse columns of a query that are not those of the schema with the id that the statement gives.

    Raises
    ------
    StatementError
        ``The following value columns are changed, missing or reordered: [...]``
    """
    wrong = [
        c
        for i, c in enumerate(columns)
        if i >= len(schema) or (c.name, c.type) != (schema[i].name, schema[i].type)
    ]
    if wrong:
        side = "key" if is_key else "value"
        raise StatementError(
            f"The following {side} columns are changed, missing or reordered: {columns_text(wrong)}. "
            f"Schema from schema registry is {columns_text(schema)}"
        )

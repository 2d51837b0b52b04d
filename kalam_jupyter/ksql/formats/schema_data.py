"""Schemas and types as JSON, for descriptors: scalars by name, the others as ``[name, *parameters]``."""

from __future__ import annotations

from typing import Any

from kalam_jupyter.engine import types as t

_SCALARS: dict[str, t.DataType] = {
    str(type_): type_
    for type_ in (t.BOOLEAN, t.INTEGER, t.BIGINT, t.DOUBLE, t.STRING, t.BYTES, t.DATE, t.TIME, t.TIMESTAMP)
}


def type_to_data(type_: t.DataType) -> Any:
    """Return a ksqlDB type as JSON."""
    match type_:
        case t.Decimal(precision, scale):
            return ["DECIMAL", precision, scale]
        case t.Array(element):
            return ["ARRAY", type_to_data(element)]
        case t.Map(key, value):
            return ["MAP", type_to_data(key), type_to_data(value)]
        case t.Struct(fields):
            return ["STRUCT", *([name, type_to_data(field)] for name, field in fields)]
        case scalar:
            return str(scalar)


def type_from_data(data: Any) -> t.DataType:
    """Return the type that `type_to_data` wrote."""
    match data:
        case str():
            return _SCALARS[data]
        case ["DECIMAL", precision, scale]:
            return t.Decimal(precision, scale)
        case ["ARRAY", element]:
            return t.Array(type_from_data(element))
        case ["MAP", key, value]:
            return t.Map(type_from_data(key), type_from_data(value))
        case ["STRUCT", *fields]:
            return t.Struct(tuple((name, type_from_data(field)) for name, field in fields))
    raise ValueError(f"not a type: {data!r}")


def schema_to_data(schema: t.Schema) -> list[Any]:
    """Return a schema as JSON: ``[name, type, is key]`` for each column."""
    return [[c.name, type_to_data(c.type), c.key] for c in schema]


def schema_from_data(data: list[Any]) -> t.Schema:
    """Return the schema that `schema_to_data` wrote."""
    return t.Schema.of([t.Column(name, type_from_data(type_), key) for name, type_, key in data])

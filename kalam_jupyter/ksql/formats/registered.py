"""What the formats with registered schemas share: AVRO, JSON_SR and PROTOBUF."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, cast

from kalam_jupyter.engine import types as t
from kalam_jupyter.ksql.errors import KsqlError
from kalam_jupyter.ksql.formats.base import Format, FormatInfo, SerdeError, Side
from kalam_jupyter.ksql.formats.schema_registry import SchemaRegistry


class RegisteredFormat(Format, Protocol):
    """A format that writes and reads schemas of its own."""

    def schema_text(self, side: Side) -> str:
        """Return the schema that the columns of `side` are written with."""

    def schema_type_of(self, text: str, references: dict[str, str], info: FormatInfo) -> t.DataType | None:
        """Return the type of the values that a schema describes, None where ksqlDB has none."""


def registry_of(side: Side) -> SchemaRegistry:
    """Return the registry; KsqlError if there is none."""
    if side.registry is None:
        raise KsqlError(f"{side.info.name} needs a schema registry, and none is configured")
    return side.registry


def schema_id_to_write(side: Side) -> int:
    """Return the id of the schema that `side` is written with."""
    if side.serde.schema_id is None:
        raise KsqlError(
            f"The schema of the {side.info.name} {'key' if side.is_key else 'value'} is not registered"
        )
    return side.serde.schema_id


def narrowed(side: Side) -> bool:
    """Whether a side is written with another schema than that of its columns, which may admit less."""
    if not side.columns or not side.info.format.uses_registry or side.serde.schema_id is None:
        return False
    format_ = cast(RegisteredFormat, side.info.format)
    return registry_of(side).schema(side.serde.schema_id).text != format_.schema_text(side)


def side_type(side: Side) -> t.DataType:
    """Return the type that a side's values have as one value: a struct, or the one bare column."""
    if side.unwrapped:
        return side.columns[0].type
    return t.Struct(tuple((c.name, c.type) for c in side.columns))


def field_names(columns: Sequence[t.Column]) -> Iterator[str]:
    """Yield the names of columns and of all fields inside them."""
    for column in columns:
        yield column.name
        yield from _inner_names(column.type)


def _inner_names(type_: t.DataType) -> Iterator[str]:
    match type_:
        case t.Struct(fields):
            for name, inner in fields:
                yield name
                yield from _inner_names(inner)
        case t.Array(element):
            yield from _inner_names(element)
        case t.Map(_, value):
            yield from _inner_names(value)


def check_referenced(type_: t.DataType | None, schema_id: int) -> None:
    """Refuse a schema whose values have no type in ksqlDB."""
    if type_ is None:
        raise SerdeError(f"Schema {schema_id} describes values that have no SQL type")

"""Compatibility of a subject's versions: which levels there are, and what each of them asks of a new schema.

========================= ==================================================================
``NONE``                  nothing
``BACKWARD``              the new schema reads what the latest one has written
``FORWARD``               the latest schema reads what the new one will write
``FULL``                  both
``.._TRANSITIVE``         the same for all versions, not only the latest
========================= ==================================================================
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from kalam_jupyter.ksql.errors import KsqlError
from kalam_jupyter.ksql.formats import avro_resolution, json_compatibility

if TYPE_CHECKING:
    from kalam_jupyter.ksql.formats.schema_registry import RegisteredSchema, SchemaRegistry

DEFAULT_COMPATIBILITY = "BACKWARD"
COMPATIBILITY_LEVELS = (
    "NONE",
    "BACKWARD",
    "BACKWARD_TRANSITIVE",
    "FORWARD",
    "FORWARD_TRANSITIVE",
    "FULL",
    "FULL_TRANSITIVE",
)


class IncompatibleSchemaError(KsqlError):
    """A subject does not take a schema, as it does not go with the versions that there are."""


def faults(
    level: str,
    schema: RegisteredSchema,
    versions: Sequence[RegisteredSchema],
    registry: SchemaRegistry,
    *,
    lenient: bool = False,
) -> list[str]:
    """Return why a subject of this level does not take a schema; [] if it does.

    Parameters
    ----------
    level : str
    schema : RegisteredSchema
    versions : sequence of RegisteredSchema
        What the subject has, oldest first.
    registry : SchemaRegistry
        Where references are found.
    lenient : bool
        Whether a JSON schema may gain properties though it admits others.
    """
    if level == "NONE" or not versions:
        return []
    chosen = versions if level.endswith("_TRANSITIVE") else versions[-1:]
    found = []
    for old in chosen:
        if old == schema:
            continue
        if old.type != schema.type:
            found.append(f"the schema type changed from {old.type} to {schema.type}")
            continue
        judge = functools.partial(_JUDGES[schema.type], registry=registry, lenient=lenient)
        if not level.startswith("FORWARD"):
            found += judge(schema, old)
        if not level.startswith("BACKWARD"):
            found += judge(old, schema)
    return list(dict.fromkeys(found))


def _avro(
    reader: RegisteredSchema, writer: RegisteredSchema, registry: SchemaRegistry, lenient: bool
) -> list[str]:
    return avro_resolution.unreadable(_avro_json(reader, registry), _avro_json(writer, registry))


def _avro_json(schema: RegisteredSchema, registry: SchemaRegistry) -> Any:
    """Return an Avro schema with the types that it imports in place of their first mention."""
    from kalam_jupyter.ksql.formats.schema_registry import referenced

    imported = {}
    for text in referenced(registry, schema).values():
        node = json.loads(text)
        if isinstance(node, dict) and "name" in node:
            imported[avro_resolution.full_name(node, "")] = node
    return avro_resolution.with_types(json.loads(schema.text), imported)


def _json(
    reader: RegisteredSchema, writer: RegisteredSchema, registry: SchemaRegistry, lenient: bool
) -> list[str]:
    new, old = json.loads(reader.text), json.loads(writer.text)
    return json_compatibility.unreadable(new, old, lenient=lenient)


def _protobuf(
    reader: RegisteredSchema, writer: RegisteredSchema, registry: SchemaRegistry, lenient: bool
) -> list[str]:
    from kalam_jupyter.ksql.formats import proto_compatibility
    from kalam_jupyter.ksql.formats.proto_schema import ProtoSchema
    from kalam_jupyter.ksql.formats.schema_registry import referenced

    new, old = (ProtoSchema.of(s.text, referenced(registry, s)) for s in (reader, writer))
    return proto_compatibility.unreadable(new, old)


_JUDGES: dict[str, Callable[..., list[str]]] = {"AVRO": _avro, "JSON": _json, "PROTOBUF": _protobuf}

"""Statements and the schema registry: columns inferred from it, schemas registered with it (15.8).

What a definition took from the registry (its columns, its schema ids) is kept beside its statement, so that
opening an engine again gives the same source whatever the registry says by then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from kalam_jupyter.engine.types import Column, Schema
from kalam_jupyter.ksql.errors import StatementError
from kalam_jupyter.ksql.formats import FormatInfo, SerdeFormat
from kalam_jupyter.ksql.formats.avro_schema import key_name
from kalam_jupyter.ksql.formats.schema_data import schema_from_data, schema_to_data
from kalam_jupyter.ksql.formats.schema_registry import subject_name
from kalam_jupyter.ksql.formats.source_schemas import check_columns_match, infer_columns, registered
from kalam_jupyter.ksql.lang import ast
from kalam_jupyter.ksql.lang.properties import typed_properties
from kalam_jupyter.ksql.metastore import Source
from kalam_jupyter.ksql.statements.definitions import format_names, key_properties, value_properties
from kalam_jupyter.ksql.statements.run import Run

#: What a definition took from the registry, as JSON
Taken = dict[str, Any]


def with_inferred_columns(run: Run, s: ast.CreateSource) -> tuple[ast.CreateSource, tuple[bool, bool]]:
    """Return the statement with the columns that it leaves to the registry, and for which sides it does so.

    Raises
    ------
    KsqlError
        If there is no schema to infer from, or the format has none.
    """
    properties = typed_properties(s.properties)
    keys = [e for e in s.elements if e.constraint in ("KEY", "PRIMARY KEY")]
    values = [e for e in s.elements if e.constraint not in ("KEY", "PRIMARY KEY")]
    key = None if keys and "KEY_SCHEMA_ID" not in properties else _inferrable(run, properties, is_key=True)
    value = (
        None if values and "VALUE_SCHEMA_ID" not in properties else _inferrable(run, properties, is_key=False)
    )
    for info, declared, side in ((key, keys, "KEY"), (value, values, "VALUE")):
        if info is not None and declared:
            raise StatementError(
                f"Table elements and {side}_SCHEMA_ID cannot both exist for create statement."
            )
    if key is None and value is None:
        return s, (False, False)
    kept = None if run.restored is None else run.restored.taken.get("columns")
    columns = _infer(run, properties, key, value) if kept is None else list(schema_from_data(kept))
    constraint: Any = "PRIMARY KEY" if s.kind == "TABLE" else "KEY"
    inferred = [ast.TableElement(c.name, c.type, constraint if c.key else None) for c in columns]
    elements = (
        *keys,
        *(e for e in inferred if e.constraint),
        *values,
        *(e for e in inferred if not e.constraint),
    )
    return replace(s, elements=elements), (key is not None, value is not None)


def _inferrable(run: Run, properties: Mapping[str, Any], *, is_key: bool) -> FormatInfo | None:
    """The format of a side that is inferred; None where there is nothing to infer."""
    side = "KEY" if is_key else "VALUE"
    name = format_names(properties)[0 if is_key else 1]
    name = name or run.config[f"ksql.persistence.default.format.{side.lower()}"]
    if name is None:
        return None
    info = FormatInfo.of(name, (key_properties if is_key else value_properties)(properties))
    return info if info.format.uses_registry or f"{side}_SCHEMA_ID" in properties else None


def _infer(
    run: Run, properties: Mapping[str, Any], key: FormatInfo | None, value: FormatInfo | None
) -> list[Column]:
    topic = properties["KAFKA_TOPIC"]
    registry = run.schema_registry
    columns: list[Column] = []
    if key is not None:
        columns += infer_columns(registry, topic, key, is_key=True, schema_id=properties.get("KEY_SCHEMA_ID"))
    if value is not None:
        columns += infer_columns(
            registry,
            topic,
            value,
            is_key=False,
            schema_id=properties.get("VALUE_SCHEMA_ID"),
            unwrapped=properties.get("WRAP_SINGLE_VALUE") is False,
        )
    return columns


def checked_against_schema(run: Run, source: Source, properties: Mapping[str, Any]) -> None:
    """Refuse a query's columns that are not those of the schema ids that its statement gives."""
    if run.restored is not None:
        return
    for is_key, serde in ((True, source.key_format), (False, source.value_format)):
        schema_id = properties.get("KEY_SCHEMA_ID" if is_key else "VALUE_SCHEMA_ID")
        if schema_id is not None:
            wanted = infer_columns(
                run.schema_registry, source.topic, serde.info, is_key=is_key, schema_id=schema_id
            )
            stored = source.stored_schema
            check_columns_match(stored.key if is_key else stored.value, wanted, is_key=is_key)


def with_schemas(run: Run, source: Source, inferred: tuple[bool, bool] = (False, False)) -> Source:
    """Return the source with the ids of the schemas that it is written with; registers those that are not."""
    stored = source.stored_schema
    return replace(
        source,
        key_format=_with_schema(run, source, source.key_format, stored.key, inferred[0]),
        value_format=_with_schema(run, source, source.value_format, stored.value, inferred[1]),
    )


def _with_schema(
    run: Run, source: Source, serde: SerdeFormat, columns: Sequence[Column], inferred: bool
) -> SerdeFormat:
    is_key = bool(columns) and columns[0].key
    if not columns or not serde.info.format.uses_registry:
        return serde
    if is_key and not inferred and serde.info.name == "AVRO" and serde.info.get("fullSchemaName") is None:
        info = FormatInfo.of("AVRO", {**dict(serde.info.properties), "fullSchemaName": key_name(source.name)})
        serde = replace(serde, info=info)
    if run.restored is not None:
        return replace(serde, schema_id=run.restored.taken.get("keyId" if is_key else "valueId"))
    if inferred and serde.schema_id is None:
        found = run.schema_registry.version(subject_name(source.topic, is_key=is_key))
        return replace(serde, schema_id=found.id)
    return registered(run.schema_registry, source.topic, serde, columns, is_key=is_key)


def taken(source: Source, inferred: tuple[bool, bool] = (False, False)) -> Taken:
    """Return what to keep beside the statement of a source."""
    columns = [c for c in source.stored_schema if inferred[0 if c.key else 1]]
    return {
        "columns": schema_to_data(Schema(tuple(columns))) if any(inferred) else None,
        "keyId": source.key_format.schema_id,
        "valueId": source.value_format.schema_id,
    }

"""CREATE statements to sources: columns, formats, windows, timestamps, and what goes together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kalam_jupyter.engine.types import (
    BIGINT,
    BYTES,
    STRING,
    TIMESTAMP,
    Array,
    Column,
    DataType,
    Schema,
    Struct,
)
from kalam_jupyter.ksql.config import Config
from kalam_jupyter.ksql.errors import KsqlError, StatementError
from kalam_jupyter.ksql.formats import (
    FormatInfo,
    SerdeFormat,
    check_key_types,
    check_side,
    key_features,
    value_features,
)
from kalam_jupyter.ksql.lang import ast
from kalam_jupyter.ksql.lang.properties import typed_properties
from kalam_jupyter.ksql.metastore import RESERVED_NAMES, Metastore, Source, TimestampColumn, WindowInfo
from kalam_jupyter.ksql.plan.planner import missing_timestamp
from kalam_jupyter.ksql.plan.query_plan import QueryPlan
from kalam_jupyter.ksql.values.errors import EvaluationError
from kalam_jupyter.ksql.values.java_parse import timestamp_pattern

HEADERS_TYPE = Array(Struct((("KEY", STRING), ("VALUE", BYTES))))


@dataclass(frozen=True)
class Definition:
    """A source to be made, and the topic that it wants."""

    source: Source
    properties: Mapping[str, Any]


def create_definition(
    statement: ast.CreateSource, text: str, metastore: Metastore, config: Config
) -> Definition:
    """Return the source that a CREATE statement declares.

    Raises
    ------
    KsqlError
        If columns, formats and properties do not go together.
    """
    properties = typed_properties(statement.properties)
    columns, headers = _columns(statement, metastore)
    schema = Schema(tuple(columns))
    key, value = _create_formats(properties, schema, headers, config)
    window = _window(properties)
    if window is not None and not schema.key:
        raise StatementError("Windowed sources require a key column.")
    _check_retention(statement.kind, window, properties)
    source = Source(
        name=statement.name,
        kind=statement.kind,
        schema=schema,
        topic=properties["KAFKA_TOPIC"],
        key_format=key,
        value_format=value,
        window=window,
        timestamp=timestamp_column(properties, schema),
        headers=headers,
        statement=text,
        read_only=statement.read_only,
    )
    _check_source(source)
    return Definition(source, properties)


def _columns(
    statement: ast.CreateSource, metastore: Metastore
) -> tuple[list[Column], tuple[tuple[str, str | None], ...]]:
    keys: list[Column] = []
    values: list[Column] = []
    headers: list[tuple[str, str | None]] = []
    table = statement.kind == "TABLE"
    seen: set[str] = set()
    for e in statement.elements:
        check_column_name(e.name)
        if e.name in seen:
            raise StatementError(f"Duplicate column names: {e.name}")
        seen.add(e.name)
        type_ = metastore.resolve_type(e.type)
        if e.constraint in ("KEY", "PRIMARY KEY"):
            if table != (e.constraint == "PRIMARY KEY"):
                raise _wrong_key(e, table)
            keys.append(Column(e.name, type_, key=True))
            continue
        if e.constraint in ("HEADERS", "HEADER"):
            _check_header(e, type_, [header for _, header in headers])
            headers.append((e.name, e.header if e.constraint == "HEADER" else None))
        values.append(Column(e.name, type_))
    if table and statement.elements and not keys:
        raise StatementError("Tables require a PRIMARY KEY. Please define the PRIMARY KEY.")
    return keys + values, tuple(headers)


def check_column_name(name: str) -> None:
    """Refuse a name that pseudo columns have."""
    if name in RESERVED_NAMES:
        raise StatementError(f"'{name}' is a reserved column name. You cannot use it as a name for a column.")


def _wrong_key(e: ast.TableElement, table: bool) -> StatementError:
    used, wanted, kind = ("KEY", "PRIMARY KEY", "tables") if table else ("PRIMARY KEY", "KEY", "streams")
    return StatementError(
        f"{e.prefix}Column `{e.name}` is a '{used}' column: please use '{wanted}' for {kind}."
    )


def _check_header(e: ast.TableElement, type_: DataType, earlier: Sequence[str | None]) -> None:
    """Refuse a header column of the wrong type, and one whose headers an earlier column has already."""
    if e.constraint == "HEADERS" and type_ != HEADERS_TYPE:
        raise KsqlError(f"Invalid type for HEADERS column: expected {HEADERS_TYPE}, got {type_}")
    if e.constraint == "HEADER" and type_ != BYTES:
        raise KsqlError(f"Invalid type for HEADER('{e.header}') column: expected BYTES, got {type_}")
    clashes = [h for h in earlier if h is None or e.constraint == "HEADERS" or h == e.header]
    if clashes:
        name = "HEADERS" if clashes[0] is None else f"HEADER('{clashes[0]}')"
        raise KsqlError(f"Schema already contains a {name} column.")


def _check_retention(kind: str, window: WindowInfo | None, properties: Mapping[str, Any]) -> None:
    if kind == "TABLE" and window is None and "RETENTION_MS" in properties:
        raise StatementError(
            "Invalid config variable in the WITH clause: RETENTION_MS. Non-windowed tables do not support "
            "retention."
        )


def format_names(properties: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return the key format and the value format that a WITH clause names."""
    both = properties.get("FORMAT")
    return properties.get("KEY_FORMAT", both), properties.get("VALUE_FORMAT", both)


def key_properties(properties: Mapping[str, Any]) -> dict[str, str]:
    """Return the format properties that a WITH clause sets for the key."""
    names = {
        "KEY_DELIMITER": "delimiter",
        "KEY_SCHEMA_FULL_NAME": "fullSchemaName",
        "KEY_PROTOBUF_NULLABLE_REPRESENTATION": "nullableRepresentation",
    }
    return {to: str(properties[name]) for name, to in names.items() if name in properties}


def value_properties(properties: Mapping[str, Any]) -> dict[str, str]:
    """Return the format properties that a WITH clause sets for the value."""
    names = {
        "VALUE_DELIMITER": "delimiter",
        "VALUE_AVRO_SCHEMA_FULL_NAME": "fullSchemaName",
        "VALUE_SCHEMA_FULL_NAME": "fullSchemaName",
        "VALUE_PROTOBUF_NULLABLE_REPRESENTATION": "nullableRepresentation",
    }
    return {to: str(properties[name]) for name, to in names.items() if name in properties}


def _create_formats(
    properties: Mapping[str, Any],
    schema: Schema,
    headers: Sequence[tuple[str, str | None]],
    config: Config,
) -> tuple[SerdeFormat, SerdeFormat]:
    key_name, value_name = format_names(properties)
    if key_name is None:
        key_name = config["ksql.persistence.default.format.key"] if schema.key else "NONE"
    value_name = value_name or config["ksql.persistence.default.format.value"]
    if value_name is None:
        raise _missing_value_format()
    key = FormatInfo.of(key_name, key_properties(properties))
    value = FormatInfo.of(value_name, value_properties(properties))
    names = {name for name, _ in headers}
    return _serdes(
        key, value, schema.key, [c for c in schema.value if c.name not in names], properties, config
    )


def _missing_value_format() -> StatementError:
    return StatementError(
        "Statement is missing the 'VALUE_FORMAT' property from the WITH clause. Either provide one or set "
        "a default via the 'ksql.persistence.default.format.value' config."
    )


def _serdes(
    key: FormatInfo,
    value: FormatInfo,
    key_columns: Sequence[Column],
    value_columns: Sequence[Column],
    properties: Mapping[str, Any],
    config: Config,
) -> tuple[SerdeFormat, SerdeFormat]:
    check_key_types(key_columns)
    features = value_features(
        value,
        value_columns,
        properties.get("WRAP_SINGLE_VALUE"),
        config.flag_or_none("ksql.persistence.wrap.single.values"),
    )
    return (
        SerdeFormat(key, key_features(key, key_columns), properties.get("KEY_SCHEMA_ID")),
        SerdeFormat(value, features, properties.get("VALUE_SCHEMA_ID")),
    )


def _window(properties: Mapping[str, Any]) -> WindowInfo | None:
    kind = properties.get("WINDOW_TYPE")
    return None if kind is None else WindowInfo(kind, properties.get("WINDOW_SIZE"))


def timestamp_name(properties: Mapping[str, Any]) -> str | None:
    """Return the column that the TIMESTAMP property names; folded like any identifier."""
    name = properties.get("TIMESTAMP")
    if name is None:
        return None
    quoted = len(name) > 1 and name[0] == name[-1] == "`"
    return name[1:-1] if quoted else str(name).upper()


def timestamp_column(properties: Mapping[str, Any], schema: Schema) -> TimestampColumn | None:
    """Return the TIMESTAMP property, checked against the schema."""
    name = timestamp_name(properties)
    if name is None:
        return None
    pattern = properties.get("TIMESTAMP_FORMAT")
    if name not in schema.index:
        raise missing_timestamp(name)
    type_ = schema.column(name).type
    if type_ not in (BIGINT, TIMESTAMP) and not (type_ == STRING and pattern is not None):
        raise StatementError(
            f"Timestamp column, `{name}`, should be LONG(INT64), TIMESTAMP, or a String with a "
            "timestamp_format specified"
        )
    if pattern is not None:
        try:
            timestamp_pattern(pattern)
        except EvaluationError as error:
            raise StatementError(f"Invalid TIMESTAMP_FORMAT '{pattern}': {error}") from None
    return TimestampColumn(name, pattern)


def _check_source(source: Source) -> None:
    if not source.schema.columns:
        raise StatementError("No columns supplied.")
    stored = source.stored_schema
    check_side(source.key_format.info, stored.key, is_key=True, features=source.key_format.features)
    check_side(source.value_format.info, stored.value, is_key=False, features=source.value_format.features)


def sink_definition(
    name: str,
    kind: str,
    plan: QueryPlan,
    given: ast.Properties,
    text: str,
    config: Config,
) -> Definition:
    """Return the source that a CREATE .. AS SELECT makes: what it does not say comes from the left-most
    source.

    Raises
    ------
    KsqlError
        If the formats cannot hold the result.
    """
    properties = typed_properties(given)
    key_name, value_name = format_names(properties)
    inherited_key, inherited_value = plan.key_format.info, plan.value_format.info
    key = _inherit(inherited_key, key_name, key_properties(properties))
    value = _inherit(inherited_value, value_name, value_properties(properties))
    if plan.without_key:
        if key_name is not None and FormatInfo.of(key_name).name != "NONE":
            raise StatementError("Key format specified for stream without key columns.")
        key = FormatInfo.of("NONE")
    elif key.name == "NONE" and plan.schema.key and key_name is None:
        key = FormatInfo.of(config["ksql.persistence.default.format.key"])
    prefix = config["ksql.output.topic.name.prefix"] or ""
    topic = properties.get("KAFKA_TOPIC", f"{prefix}{name}")
    _check_retention(kind, plan.window, properties)
    key_serde, value_serde = _serdes(key, value, plan.schema.key, plan.schema.value, properties, config)
    source = Source(
        name=name,
        kind=kind,  # type: ignore[arg-type]
        schema=plan.schema,
        topic=topic,
        key_format=key_serde,
        value_format=value_serde,
        window=plan.window,
        timestamp=timestamp_column(properties, plan.schema),
        statement=text,
    )
    _check_source(source)
    return Definition(source, properties)


def _inherit(inherited: FormatInfo, name: str | None, properties: Mapping[str, str]) -> FormatInfo:
    """A format that is not named is inherited with its properties; one that is named starts afresh."""
    if name is None:
        kept = {k: v for k, v in inherited.properties if k != "fullSchemaName"}
        return FormatInfo.of(inherited.name, {**kept, **properties})
    info = FormatInfo.of(name, properties)
    if info.name == inherited.name:
        kept = {
            k: v for k, v in inherited.properties if k in info.format.properties and k != "fullSchemaName"
        }
        return FormatInfo.of(name, {**kept, **properties})
    return info

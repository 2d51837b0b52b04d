"""Avro schemas of ksqlDB columns, and columns of Avro schemas, both as Kafka Connect translates them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from kalam_jupyter.engine import types as t
from kalam_jupyter.ksql.errors import KsqlError

DEFAULT_NAME = "io.confluent.ksql.avro_schemas.KsqlDataSourceSchema"
MAP_ENTRY = "MapEntry"
_INTERNAL_TYPE = "connect.internal.type"
_CONNECT = "org.apache.kafka.connect.data."
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_PRIMITIVES: dict[str, Any] = {
    "BOOLEAN": "boolean",
    "INTEGER": "int",
    "BIGINT": "long",
    "DOUBLE": "double",
    "STRING": "string",
    "BYTES": "bytes",
    "DATE": {"type": "int", "connect.version": 1, "connect.name": f"{_CONNECT}Date", "logicalType": "date"},
    "TIME": {
        "type": "int",
        "connect.version": 1,
        "connect.name": f"{_CONNECT}Time",
        "logicalType": "time-millis",
    },
    "TIMESTAMP": {
        "type": "long",
        "connect.version": 1,
        "connect.name": f"{_CONNECT}Timestamp",
        "logicalType": "timestamp-millis",
    },
}

#: (Avro type, logical type) or Avro type alone -> type
_TYPES: dict[Any, t.DataType] = {
    "boolean": t.BOOLEAN,
    "int": t.INTEGER,
    "long": t.BIGINT,
    "float": t.DOUBLE,
    "double": t.DOUBLE,
    "string": t.STRING,
    "enum": t.STRING,
    "bytes": t.BYTES,
    "fixed": t.BYTES,
    ("int", "date"): t.DATE,
    ("int", "time-millis"): t.TIME,
    ("long", "timestamp-millis"): t.TIMESTAMP,
}


def key_name(source_name: str) -> str:
    """Return the full name of the schema of a source's keys: ``..OutputKey`` for OUTPUT."""
    words = "".join(word[:1].upper() + word[1:].lower() for word in source_name.split("_"))
    return f"{DEFAULT_NAME.rpartition('.')[0]}.{words}Key"


def check_name(name: str) -> None:
    """Refuse a name that no Avro field can have."""
    if not name or not (name[0].isalpha() or name[0] == "_") or not name[0].isascii():
        raise KsqlError(f"Schema is not compatible with Avro: Illegal initial character: {name}")
    if not _NAME.fullmatch(name):
        raise KsqlError(f"Schema is not compatible with Avro: Illegal character in: {name}")


def record_schema(
    fields: Sequence[tuple[str, t.DataType]], full_name: str, *, inner: bool = False
) -> dict[str, Any]:
    """Return the record of some fields, each of them optional.

    Parameters
    ----------
    fields : sequence of (str, DataType)
    full_name : str
        With its namespace.
    inner : bool
        Whether it stands in a record of the same namespace, which is then not repeated.
    """
    namespace, _, name = full_name.rpartition(".")
    schema: dict[str, Any] = {"type": "record", "name": name}
    if namespace and not inner:
        schema["namespace"] = namespace
    schema["fields"] = [
        {
            "name": field,
            "type": ["null", value_schema(type_, f"{full_name}_{field}", inner=True)],
            "default": None,
        }
        for field, type_ in fields
    ]
    schema["connect.name"] = full_name
    return schema


def value_schema(type_: t.DataType, full_name: str, *, inner: bool = False) -> Any:
    """Return the schema of a type's non-null values; records inside are named after `full_name`."""
    match t.storage_type(type_):
        case t.Struct(fields):
            return record_schema(fields, full_name, inner=inner)
        case t.Array(element):
            return {"type": "array", "items": ["null", value_schema(element, full_name, inner=inner)]}
        case t.Map(key, value):
            entry = record_schema([("key", key), ("value", value)], full_name, inner=inner)
            del entry["connect.name"]
            return {"type": "array", "items": {**entry, _INTERNAL_TYPE: MAP_ENTRY}}
        case t.Decimal(precision, scale):
            return {
                "type": "bytes",
                "scale": scale,
                "precision": precision,
                "connect.version": 1,
                "connect.parameters": {"scale": str(scale), "connect.decimal.precision": str(precision)},
                "connect.name": f"{_CONNECT}Decimal",
                "logicalType": "decimal",
            }
        case scalar:
            return _PRIMITIVES[str(scalar)]


class AvroSchema:
    """An Avro schema with its named types resolved.

    Parameters
    ----------
    schema
        Parsed JSON.
    """

    def __init__(self, schema: Any) -> None:
        self.root = schema
        self._named: dict[str, Any] = {}
        self._collect(schema, "")

    def _collect(self, schema: Any, namespace: str) -> None:
        if isinstance(schema, list):
            for branch in schema:
                self._collect(branch, namespace)
        elif isinstance(schema, dict):
            if schema.get("type") in ("record", "enum", "fixed"):
                full = schema["name"]
                if "." not in full:
                    namespace = schema.get("namespace", namespace)
                    full = f"{namespace}.{full}" if namespace else full
                else:
                    namespace = full.rpartition(".")[0]
                self._named[full] = self._named[full.rpartition(".")[2]] = schema
            for field in schema.get("fields", ()):
                self._collect(field["type"], namespace)
            for inner in ("items", "values", "type"):
                if isinstance(schema.get(inner), dict | list):
                    self._collect(schema[inner], namespace)

    def resolve(self, schema: Any) -> Any:
        """Return a type by what it stands for: names by what they name, optional types by the type itself."""
        if isinstance(schema, list):
            found = branches(schema)
            return self.resolve(found[0]) if len(found) == 1 else schema
        if isinstance(schema, str) and schema in self._named:
            return self._named[schema]
        if isinstance(schema, dict) and isinstance(schema.get("type"), dict | list):
            return self.resolve(schema["type"])
        return schema

    def type(self, schema: Any = None, inside: tuple[str, ...] = ()) -> t.DataType | None:
        """Return the type of a schema's values; None where ksqlDB has none.

        Parameters
        ----------
        schema
            A part of the whole, which is the default.
        inside : tuple of str
            Names of the records that the part is in: a record inside itself has no type.
        """
        schema = self.resolve(self.root if schema is None else schema)
        if isinstance(schema, list):
            return self._struct([(self.branch_name(b), b) for b in branches(schema)], inside)
        kind = schema if isinstance(schema, str) else schema["type"]
        if kind == "record":
            return self._record_type(schema, inside)
        if kind == "array":
            if is_map_entry(self.resolve(schema["items"])):
                value = self.type(_field(self.resolve(schema["items"]), "value")["type"], inside)
                return None if value is None else t.Map(t.STRING, value)
            element = self.type(schema["items"], inside)
            return None if element is None else t.Array(element)
        if kind == "map":
            value = self.type(schema["values"], inside)
            return None if value is None else t.Map(t.STRING, value)
        logical = None if isinstance(schema, str) else schema.get("logicalType")
        if logical == "decimal" and kind in ("bytes", "fixed"):
            return t.Decimal(schema.get("precision", 64), schema.get("scale", 0))
        return _TYPES.get((kind, logical), _TYPES.get(kind))

    def _record_type(self, schema: dict[str, Any], inside: tuple[str, ...]) -> t.DataType | None:
        if schema["name"] in inside:
            return None
        return self._struct([(f["name"], f["type"]) for f in schema["fields"]], (*inside, schema["name"]))

    def _struct(self, parts: Sequence[tuple[str, Any]], inside: tuple[str, ...]) -> t.Struct:
        fields = [(name, self.type(part, inside)) for name, part in parts]
        return t.Struct(tuple((name, type_) for name, type_ in fields if type_ is not None))

    def branch_name(self, branch: Any) -> str:
        """Return what the field of a union's branch is called in the struct that stands for the union."""
        schema = self.resolve(branch)
        kind: str = schema if isinstance(schema, str) else schema["type"]
        return schema["name"].rpartition(".")[2] if kind in ("record", "enum", "fixed") else kind


def branches(union: Sequence[Any]) -> list[Any]:
    """Return the branches of a union that are not null."""
    return [b for b in union if b != "null"]


def is_map_entry(schema: Any) -> bool:
    """Whether a record is the entry of a map that Connect wrote as an array."""
    return isinstance(schema, dict) and (
        schema.get(_INTERNAL_TYPE) == MAP_ENTRY
        or (schema.get("name") == MAP_ENTRY and schema.get("namespace") == "io.confluent.connect.avro")
    )


def _field(record: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(f for f in record["fields"] if f["name"] == name)
    return found

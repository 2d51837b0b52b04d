"""Compatibility levels: what each lets a subject take, by the rules of each schema language."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalam_jupyter.engine import Engine
from kalam_jupyter.ksql import Ksql, KsqlError
from kalam_jupyter.ksql.formats import avro_resolution, json_compatibility
from kalam_jupyter.ksql.formats.compatibility import IncompatibleSchemaError
from kalam_jupyter.ksql.formats.registry_api import answer
from kalam_jupyter.ksql.formats.schema_registry import EmbeddedRegistry, RegisteredSchema


@pytest.fixture
def registry() -> Iterator[EmbeddedRegistry]:
    with Engine.open() as engine:
        yield EmbeddedRegistry(engine)


def record(*fields: Any, **more: Any) -> dict[str, Any]:
    made = [{"name": n, "type": t, **({"default": d[0]} if d else {})} for n, t, *d in fields]
    return {"type": "record", "name": "R", "fields": made, **more}


def avro(schema: Any) -> RegisteredSchema:
    return RegisteredSchema("AVRO", json.dumps(schema))


def proto(text: str) -> RegisteredSchema:
    return RegisteredSchema("PROTOBUF", f'syntax = "proto3"; {text}')


def json_schema(**schema: Any) -> RegisteredSchema:
    return RegisteredSchema("JSON", json.dumps(schema))


def takes(registry: EmbeddedRegistry, level: str, *versions: RegisteredSchema) -> bool:
    """Whether a subject of a level takes the last version after the others."""
    registry.set_compatibility("NONE", "s")
    for schema in versions[:-1]:
        registry.register("s", schema, strict=True)
    registry.set_compatibility(level, "s")
    try:
        registry.register("s", versions[-1], strict=True)
    except IncompatibleSchemaError:
        return False
    return True


TREE = record(("children", {"type": "array", "items": "R"}))
AVRO_CASES = [
    # reader, writer, whether the reader takes it
    ("long", "int", True),
    ("int", "long", False),
    ("double", "float", True),
    ("string", "bytes", True),
    ("string", "int", False),
    (["null", "int"], "int", True),
    ("int", ["null", "int"], False),
    (["null", "long"], ["null", "int"], True),
    ({"type": "array", "items": "long"}, {"type": "array", "items": "int"}, True),
    ({"type": "map", "values": "int"}, {"type": "map", "values": "string"}, False),
    (record(("a", "int"), ("b", "int", 0)), record(("a", "int")), True),
    (record(("a", "int"), ("b", "int")), record(("a", "int")), False),
    (record(("a", "int")), record(("a", "int"), ("b", "int")), True),
    (record(("a", "int"), name="S"), record(("a", "int")), False),
    (record(("a", "int"), name="S", aliases=["R"]), record(("a", "int")), True),
    (TREE, TREE, True),
    (record(*[("children", {"type": "array", "items": "R"}), ("x", "int")]), TREE, False),
    (
        {"type": "enum", "name": "E", "symbols": ["A", "B"]},
        {"type": "enum", "name": "E", "symbols": ["A"]},
        True,
    ),
    (
        {"type": "enum", "name": "E", "symbols": ["A"]},
        {"type": "enum", "name": "E", "symbols": ["A", "B"]},
        False,
    ),
    (
        {"type": "enum", "name": "E", "symbols": ["A"], "default": "A"},
        {"type": "enum", "name": "E", "symbols": ["A", "B"]},
        True,
    ),
    ({"type": "fixed", "name": "F", "size": 4}, {"type": "fixed", "name": "F", "size": 8}, False),
    ({"type": "long", "logicalType": "timestamp-millis"}, "long", True),
]


@pytest.mark.parametrize(("reader", "writer", "readable"), AVRO_CASES)
def test_avro_resolves_as_its_specification_says(reader: Any, writer: Any, readable: bool) -> None:
    assert (avro_resolution.unreadable(reader, writer) == []) is readable


def test_a_renamed_field_is_found_by_its_alias() -> None:
    reader = record(("b", "int"))
    assert avro_resolution.unreadable(reader, record(("a", "int"))) != []
    reader["fields"][0]["aliases"] = ["a"]
    assert avro_resolution.unreadable(reader, record(("a", "int"))) == []


PRIMITIVES = {
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(width=32, allow_nan=False),
    "double": st.floats(allow_nan=False),
    "string": st.text(),
    "boolean": st.booleans(),
    "null": st.none(),
}


def _schemas() -> st.SearchStrategy[Any]:
    unions = st.lists(st.sampled_from(sorted(PRIMITIVES)), min_size=1, max_size=3, unique=True)
    leaf = st.sampled_from(sorted(PRIMITIVES)) | unions
    nested = leaf | leaf.map(lambda s: {"type": "array", "items": s})
    fields = st.dictionaries(st.sampled_from("abc"), st.tuples(nested, st.booleans()), min_size=1)
    return fields.map(_as_record)


def _as_record(fields: dict[str, Any]) -> dict[str, Any]:
    made = []
    for name, (type_, nullable) in fields.items():
        if nullable and not isinstance(type_, list) and type_ != "null":
            made.append((name, ["null", type_], None))
        else:
            made.append((name, type_))
    return record(*made)


def _values(schema: Any) -> st.SearchStrategy[Any]:
    if isinstance(schema, str):
        return PRIMITIVES[schema]
    if isinstance(schema, list):
        return st.one_of([_values(branch).map(lambda v, b=branch: (_tag(b), v)) for branch in schema])
    if schema["type"] == "array":
        return st.lists(_values(schema["items"]), max_size=2)
    return st.fixed_dictionaries({f["name"]: _values(f["type"]) for f in schema["fields"]})


def _tag(branch: Any) -> str:
    return branch if isinstance(branch, str) else str(branch["type"])


@given(st.data(), _schemas(), _schemas())
def test_what_avro_is_said_to_resolve_can_be_read(data: Any, reader: Any, writer: Any) -> None:
    assert avro_resolution.unreadable(writer, writer) == []
    if avro_resolution.unreadable(reader, writer):
        return
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(writer), data.draw(_values(writer)))
    buffer.seek(0)
    fastavro.schemaless_reader(buffer, fastavro.parse_schema(writer), fastavro.parse_schema(reader))


JSON_CASES = [
    # reader, writer, admitted, admitted leniently
    ({"type": "number"}, {"type": "integer"}, True, True),
    ({"type": "integer"}, {"type": "number"}, False, False),
    ({"type": ["string", "null"]}, {"type": "string"}, True, True),
    ({"type": "string"}, {"oneOf": [{"type": "null"}, {"type": "string"}]}, False, False),
    ({"minimum": 1}, {"minimum": 2}, True, True),
    ({"minimum": 2}, {"minimum": 1}, False, False),
    ({"maxLength": 3}, {}, False, False),
    ({"enum": [1, 2]}, {"enum": [1]}, True, True),
    ({"enum": [1]}, {"enum": [1, 2]}, False, False),
    ({"properties": {"a": {"type": "string"}}}, {}, False, True),
    ({"properties": {"a": {"type": "string"}}}, {"additionalProperties": False}, True, True),
    ({}, {"properties": {"a": {"type": "string"}}}, True, True),
    ({"additionalProperties": False}, {"properties": {"a": {}}, "additionalProperties": False}, False, False),
    ({"required": ["a"]}, {}, False, False),
    ({"required": ["a"], "properties": {"a": {"default": 1}}}, {}, True, True),
    ({"items": {"type": "number"}}, {"items": {"type": "integer"}}, True, True),
    ({"items": {"type": "integer"}}, {"items": {"type": "number"}}, False, False),
    ({"pattern": "a"}, {"pattern": "b"}, False, False),
    (
        {"$ref": "#/definitions/x", "definitions": {"x": {"type": "number"}}},
        {"type": "integer"},
        True,
        True,
    ),
]


@pytest.mark.parametrize(("reader", "writer", "admitted", "lenient"), JSON_CASES)
def test_a_json_schema_admits_what_another_does(
    reader: Any, writer: Any, admitted: bool, lenient: bool
) -> None:
    assert (json_compatibility.unreadable(reader, writer) == []) is admitted
    assert (json_compatibility.unreadable(reader, writer, lenient=True) == []) is lenient
    assert json_compatibility.unreadable(reader, reader) == []


PROTO_CASES = [
    # new, old, whether the new one reads the old one's data
    ("message M { int32 a = 1; string b = 2; }", "message M { int32 a = 1; }", True),
    ("message M { int32 a = 1; }", "message M { int32 a = 1; string b = 2; }", True),
    ("message M { int64 a = 1; }", "message M { int32 a = 1; }", True),
    ("message M { string a = 1; }", "message M { int32 a = 1; }", False),
    ("message M { int32 b = 1; }", "message M { int32 a = 1; }", True),
    ("message N { int32 a = 1; }", "message M { int32 a = 1; }", False),
    ("message M { oneof x { int32 a = 1; } }", "message M { int32 a = 1; }", True),
    (
        "message M { oneof x { int32 a = 1; int32 b = 2; } }",
        "message M { int32 a = 1; int32 b = 2; }",
        False,
    ),
    (
        "message M { oneof x { int32 a = 1; } }",
        "message M { oneof x { int32 a = 1; int32 b = 2; } }",
        False,
    ),
    ("message M { repeated int32 a = 1; }", "message M { int32 a = 1; }", False),
    ("message M { repeated string a = 1; }", "message M { string a = 1; }", True),
    (
        "message M { message I { string x = 1; } I i = 1; }",
        "message M { message I { int32 x = 1; } I i = 1; }",
        False,
    ),
]


@pytest.mark.parametrize(("new", "old", "readable"), PROTO_CASES)
def test_protobuf_reads_by_number(registry: EmbeddedRegistry, new: str, old: str, readable: bool) -> None:
    assert takes(registry, "BACKWARD", proto(old), proto(new)) is readable


WIDE, NARROW = avro("long"), avro("int")


@pytest.mark.parametrize(
    ("level", "widened", "narrowed"),
    [
        ("NONE", True, True),
        ("BACKWARD", True, False),
        ("FORWARD", False, True),
        ("FULL", False, False),
        ("FULL_TRANSITIVE", False, False),
    ],
)
def test_a_level_says_who_must_read_whom(
    registry: EmbeddedRegistry, level: str, widened: bool, narrowed: bool
) -> None:
    assert takes(registry, level, NARROW, WIDE) is widened
    registry.delete_subject("s")
    assert takes(registry, level, WIDE, NARROW) is narrowed


def test_a_transitive_level_counts_all_versions(registry: EmbeddedRegistry) -> None:
    first, second = avro(record(("a", "int"))), avro(record(("b", "int", 0)))
    third = avro(record(("a", "string", ""), ("b", "int", 0)))
    assert takes(registry, "BACKWARD", first, second, third)
    registry.delete_subject("s")
    assert not takes(registry, "BACKWARD_TRANSITIVE", first, second, third)


def test_a_schema_that_is_there_is_always_taken(registry: EmbeddedRegistry) -> None:
    assert takes(registry, "FULL_TRANSITIVE", NARROW, WIDE, NARROW)


def test_another_language_is_not_compatible(registry: EmbeddedRegistry) -> None:
    assert not takes(registry, "BACKWARD", NARROW, json_schema(type="integer"))


def test_imported_types_count(registry: EmbeddedRegistry) -> None:
    from kalam_jupyter.ksql.formats.schema_registry import Reference

    inner = record(("x", "int"), name="Inner")
    registry.register("inner", avro(inner))
    outer = json.dumps(record(("i", "Inner")))
    registry.register("s", RegisteredSchema("AVRO", outer, (Reference("Inner", "inner", 1),)), strict=True)
    inlined = record(("i", {**inner, "fields": [{"name": "x", "type": "string"}]}))
    assert "/i/x/" in registry.incompatibilities("s", avro(inlined))[0]


class TestApi:
    def post(self, registry: EmbeddedRegistry, path: str, schema: str) -> tuple[int, Any]:
        return answer(registry, "POST", path, json.dumps({"schema": schema}).encode())

    def test_backward_is_the_default_and_a_refusal_is_409(self, registry: EmbeddedRegistry) -> None:
        assert self.post(registry, "/subjects/s/versions", '"long"')[0] == 200
        status, body = self.post(registry, "/subjects/s/versions", '"int"')
        assert (status, body["error_code"]) == (409, 409)
        assert body["message"].startswith(
            'Schema being registered is incompatible with an earlier schema for subject "s", details: ['
        )
        assert registry.versions("s") == [1]

    def test_it_can_be_asked_before(self, registry: EmbeddedRegistry) -> None:
        self.post(registry, "/subjects/s/versions", '"long"')
        for path in ("/versions/latest", "/versions/1", "/versions"):
            status, body = self.post(registry, f"/compatibility/subjects/s{path}", '"int"')
            assert (status, body["is_compatible"], len(body["messages"])) == (200, False, 1)
        found = self.post(registry, "/compatibility/subjects/s/versions/1", '"double"')
        assert found == (200, {"is_compatible": True, "messages": []})
        assert self.post(registry, "/compatibility/subjects/s/versions/9", '"int"')[1]["error_code"] == 40402
        assert self.post(registry, "/compatibility/subjects/x/versions/1", '"int"')[1]["error_code"] == 40401
        assert self.post(registry, "/compatibility/subjects/x/versions", '"int"')[1]["is_compatible"] is True

    def test_a_subject_s_level_goes_before_the_default(self, registry: EmbeddedRegistry) -> None:
        self.post(registry, "/subjects/s/versions", '"long"')
        answer(registry, "PUT", "/config/s", b'{"compatibility": "NONE"}')
        assert self.post(registry, "/subjects/s/versions", '"string"')[0] == 200
        assert answer(registry, "DELETE", "/config/s") == (200, {"compatibilityLevel": "NONE"})
        assert self.post(registry, "/subjects/s/versions", '"boolean"')[0] == 409


class TestStatements:
    CREATE = "CREATE STREAM {} (id INT KEY, v {}) WITH (KAFKA_TOPIC='t', VALUE_FORMAT='AVRO', PARTITIONS=1);"

    def test_they_are_judged_once_a_level_was_set(self) -> None:
        with Engine.open() as engine:
            ksql = Ksql(engine)
            ksql.execute(self.CREATE.format("a", "INT"))
            ksql.execute(self.CREATE.format("b", "STRING"))
            assert isinstance(ksql.schema_registry, EmbeddedRegistry)
            ksql.schema_registry.set_compatibility("BACKWARD")
            with pytest.raises(KsqlError, match="incompatible with an earlier schema"):
                ksql.execute("CREATE TYPE x AS STRUCT<a INT>;" + self.CREATE.format("c", "BOOLEAN"))
            assert ksql.metastore.types == {} and "C" not in ksql.metastore.sources

    @pytest.mark.parametrize("format_", ["AVRO", "PROTOBUF", "JSON_SR"])
    def test_a_column_can_be_added_at_the_default_level(self, format_: str) -> None:
        with Engine.open() as engine:
            ksql = Ksql(engine)
            assert isinstance(ksql.schema_registry, EmbeddedRegistry)
            ksql.schema_registry.set_compatibility("BACKWARD")
            ksql.execute(self.CREATE.format("a", "INT").replace("AVRO", format_))
            ksql.execute("ALTER STREAM a ADD COLUMN w STRING;")
            assert ksql.schema_registry.versions("t-value") == [1, 2]

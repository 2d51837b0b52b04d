"""AVRO, JSON_SR, PROTOBUF and the schema registry."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from decimal import Decimal

import fastavro
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kalam_jupyter.engine import Engine
from kalam_jupyter.engine import types as t
from kalam_jupyter.ksql.errors import KsqlError
from kalam_jupyter.ksql.formats import NO_FEATURES, FormatInfo, KsqlCodec, SerdeFormat, key_features
from kalam_jupyter.ksql.formats.columns import ColumnReader
from kalam_jupyter.ksql.formats.schema_registry import (
    EmbeddedRegistry,
    Reference,
    RegisteredSchema,
    SchemaNotFoundError,
)
from kalam_jupyter.ksql.formats.source_schemas import check_columns_match, infer_columns, registered
from tests.ksql.formats.support import UNWRAPPED, Columns, codec_of, read, write

ALL: Columns = {
    "B": t.BOOLEAN,
    "I": t.INTEGER,
    "L": t.BIGINT,
    "D": t.DOUBLE,
    "M": t.Decimal(6, 2),
    "S": t.STRING,
    "Y": t.BYTES,
    "DA": t.DATE,
    "TI": t.TIME,
    "TS": t.TIMESTAMP,
    "A": t.Array(t.STRING),
    "P": t.Map(t.STRING, t.BIGINT),
    "R": t.Struct((("F", t.INTEGER), ("G", t.Array(t.Struct((("H", t.Decimal(4, 1)),)))))),
}
ROW = (
    True,
    -5,
    2**40,
    1.5,
    Decimal("-12.34"),
    "é",
    b"\0\xff",
    -1,
    86_399_999,
    -1,
    ["x", ""],
    {"k": 1},
    (7, [(Decimal("1.5"),)]),
)


@pytest.fixture
def registry() -> Iterator[EmbeddedRegistry]:
    with Engine.open() as engine:
        yield EmbeddedRegistry(engine)


def codec(
    registry: EmbeddedRegistry,
    format_: str,
    columns: Columns,
    features=NO_FEATURES,
    topic: str = "t",
    **properties,
) -> KsqlCodec:
    """A codec whose value schema is registered for a topic."""
    schema = t.Schema.of([t.Column(n, type_) for n, type_ in columns.items()])
    serde = SerdeFormat(FormatInfo.of(format_, properties), features)
    value = registered(registry, topic, serde, schema.value, is_key=False)
    return KsqlCodec(schema, SerdeFormat.of("NONE"), value, registry=registry)


def infer(
    registry: EmbeddedRegistry, format_: str, type_: str, text: str, **options
) -> dict[str, t.DataType]:
    """The value columns that a schema text gives."""
    registry.register("t-value", RegisteredSchema(type_, text))
    info = FormatInfo.of(format_, options.pop("properties", {}))
    return {c.name: c.type for c in infer_columns(registry, "t", info, is_key=False, **options)}


@pytest.mark.parametrize("format_", ["AVRO", "JSON_SR", "PROTOBUF"])
def test_every_type_is_written_and_read_back(registry: EmbeddedRegistry, format_: str) -> None:
    one = codec(registry, format_, ALL)
    (data,) = write(one, ROW)
    assert data is not None
    assert data[:5] == b"\0\0\0\0\x01"
    assert read(one, data, None) == [ROW, None]


@pytest.mark.parametrize("format_", ["AVRO", "JSON_SR", "PROTOBUF"])
def test_the_columns_are_found_again_in_the_registered_schema(
    registry: EmbeddedRegistry, format_: str
) -> None:
    codec(registry, format_, ALL)
    found = infer_columns(registry, "t", FormatInfo.of(format_), is_key=False)
    assert {c.name: c.type for c in found} == ALL


FLAT: Columns = {name: ALL[name] for name in ("B", "I", "L", "D", "S", "Y", "DA", "TI", "TS")}
CELLS = {
    "B": st.booleans(),
    "I": st.integers(-(2**31), 2**31 - 1),
    "L": st.integers(-(2**63), 2**63 - 1),
    "D": st.floats(),
    "S": st.text(),
    "Y": st.binary(),
    "DA": st.integers(-(2**31), 2**31 - 1),
    "TI": st.integers(0, 86_399_999),
    "TS": st.integers(-(2**62), 2**62),
}
#: Fields without null, a float, strangers between, null as the second branch.
FOREIGN = {
    "type": "record",
    "name": "R",
    "fields": [
        {"name": "x", "type": "string"},
        {"name": "d", "type": "float"},
        {"name": "y", "type": ["bytes", "null"]},
        {"name": "l", "type": "long"},
        {"name": "z", "type": ["null", "boolean"]},
    ],
}
FOREIGN_ROW = st.fixed_dictionaries(
    {
        "x": st.text(),
        "d": st.floats(width=32),
        "y": CELLS["Y"] | st.none(),
        "l": CELLS["L"],
        "z": st.none() | CELLS["B"],
    }
)


def agrees(one: KsqlCodec, data: list[bytes]) -> bool:
    """Whether the columns hold what the rows hold; False if there are no columns."""
    reader = one._read_value
    assert isinstance(reader, ColumnReader)
    found = reader.columns(data)
    if found is None:
        return False
    rows, errors = reader(data)
    lists = [t.from_arrow(a, c.type) for a, c in zip(found[0], one.schema.value, strict=True)]
    assert found[1] is None and not errors
    assert repr(list(zip(*lists, strict=True))) == repr(rows)
    return True


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(*(c | st.none() for c in CELLS.values())), min_size=1, max_size=8),
    st.integers(0, 60),
    st.binary(max_size=3),
)
def test_columns_of_avro_hold_what_the_rows_hold(
    registry: EmbeddedRegistry, rows: list[tuple[object, ...]], at: int, change: bytes
) -> None:
    one = codec(registry, "AVRO", FLAT)
    data = [record for record in write(one, *rows) if record is not None]
    assert agrees(one, data)
    agrees(one, [*data, data[0][:at] + change + data[0][at + len(change) :], data[0]])
    agrees(one, [*data, data[0][:at], data[0]])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(FOREIGN_ROW, min_size=1, max_size=8))
def test_columns_of_foreign_avro_hold_what_the_rows_hold(
    registry: EmbeddedRegistry, rows: list[dict[str, object]]
) -> None:
    registry.register("t-value", RegisteredSchema("AVRO", json.dumps(FOREIGN)))
    schema = t.Schema.of([t.Column("Y", t.BYTES), t.Column("D", t.DOUBLE), t.Column("L", t.BIGINT)])
    value = SerdeFormat(FormatInfo.of("AVRO"), NO_FEATURES, 1)
    one = KsqlCodec(schema, SerdeFormat.of("NONE"), value, registry=registry)
    data = []
    for row in rows:
        out = io.BytesIO(b"\0\0\0\0\x01")
        out.seek(5)
        fastavro.schemaless_writer(out, FOREIGN, row)
        data.append(out.getvalue())
    assert agrees(one, data)


def test_nulls_survive_in_avro_and_json(registry: EmbeddedRegistry) -> None:
    nulls = (None,) * len(ALL)
    for format_ in ("AVRO", "JSON_SR"):
        one = codec(registry, format_, ALL, topic=format_)
        assert one.lossless
        assert read(one, *write(one, nulls, None)) == [nulls, None]


def test_null_primitives_become_defaults_in_protobuf(registry: EmbeddedRegistry) -> None:
    types = {k: ALL[k] for k in ("I", "S", "B", "A", "P", "TS", "R")}
    one = codec(registry, "PROTOBUF", types)
    assert read(one, *write(one, (None,) * 7)) == [(0, "", False, [], {}, None, None)]
    assert not one.lossless


@pytest.mark.parametrize("representation", ["OPTIONAL", "WRAPPER"])
def test_protobuf_can_tell_null_from_defaults(registry: EmbeddedRegistry, representation: str) -> None:
    types: Columns = {"I": t.INTEGER, "S": t.STRING, "B": t.BYTES}
    one = codec(registry, "PROTOBUF", types, nullableRepresentation=representation)
    rows = [(None, None, None), (0, "", b"")]
    assert read(one, *write(one, *rows)) == rows


def test_protobuf_without_registry_writes_bare_messages() -> None:
    one = codec_of("PROTOBUF_NOSR", ALL)
    (data,) = write(one, ROW)
    assert data is not None
    assert data[:4] == b"\x08\x01\x10\xfb"
    assert read(one, data) == [ROW]
    assert isinstance(read(one, b"\xff")[0], str)


def test_the_avro_schema_is_that_of_connect(registry: EmbeddedRegistry) -> None:
    codec(registry, "AVRO", {"ID": t.INTEGER, "R": t.Struct((("F", t.Map(t.STRING, t.DATE)),))})
    prefix = "io.confluent.ksql.avro_schemas"
    date = {"type": "int", "connect.version": 1, "connect.name": "org.apache.kafka.connect.data.Date"}
    entry = {
        "type": "record",
        "name": "KsqlDataSourceSchema_R_F",
        "fields": [
            {"name": "key", "type": ["null", "string"], "default": None},
            {"name": "value", "type": ["null", {**date, "logicalType": "date"}], "default": None},
        ],
        "connect.internal.type": "MapEntry",
    }
    inner = {
        "type": "record",
        "name": "KsqlDataSourceSchema_R",
        "fields": [{"name": "F", "type": ["null", {"type": "array", "items": entry}], "default": None}],
        "connect.name": f"{prefix}.KsqlDataSourceSchema_R",
    }
    assert json.loads(registry.version("t-value").schema.text) == {
        "type": "record",
        "name": "KsqlDataSourceSchema",
        "namespace": prefix,
        "fields": [
            {"name": "ID", "type": ["null", "int"], "default": None},
            {"name": "R", "type": ["null", inner], "default": None},
        ],
        "connect.name": f"{prefix}.KsqlDataSourceSchema",
    }


def test_the_protobuf_schema_is_that_of_connect(registry: EmbeddedRegistry) -> None:
    codec(
        registry, "PROTOBUF", {"I": t.INTEGER, "R": t.Struct((("F", t.Array(t.STRING)),)), "T": t.TIMESTAMP}
    )
    assert registry.version("t-value").schema.text == (
        'syntax = "proto3";\n\nimport "google/protobuf/timestamp.proto";\n\n'
        "message ConnectDefault1 {\n  int32 I = 1;\n  ConnectDefault2 R = 2;\n"
        "  google.protobuf.Timestamp T = 3;\n\n"
        "  message ConnectDefault2 {\n    repeated string F = 1;\n  }\n}\n"
    )


def test_the_json_schema_is_that_of_connect(registry: EmbeddedRegistry) -> None:
    codec(registry, "JSON_SR", {"FOO": t.INTEGER})
    inner = {"connect.index": 0, "oneOf": [{"type": "null"}, {"type": "integer", "connect.type": "int32"}]}
    text = registry.version("t-value").schema.text
    assert json.loads(text) == {"type": "object", "properties": {"FOO": inner}}


def test_avro_of_another_writer_is_read_by_its_own_schema(registry: EmbeddedRegistry) -> None:
    point = {"name": "y", "type": "int"}
    either = t.Struct((("INT", t.INTEGER), ("P", t.Struct((("Y", t.INTEGER),)))))
    schema = {
        "type": "record",
        "name": "w",
        "fields": [
            {"name": "id", "type": "int"},
            {"name": "kind", "type": {"type": "enum", "name": "k", "symbols": ["A", "B"]}},
            {"name": "either", "type": ["null", "int", {"type": "record", "name": "x.P", "fields": [point]}]},
            {"name": "tags", "type": {"type": "map", "values": ["null", "int"]}},
            {
                "name": "amount",
                "type": {"type": "bytes", "logicalType": "decimal", "precision": 5, "scale": 1},
            },
        ],
    }
    columns = infer(registry, "AVRO", "AVRO", json.dumps(schema))
    assert columns == {
        "ID": t.INTEGER,
        "KIND": t.STRING,
        "EITHER": either,
        "TAGS": t.Map(t.STRING, t.INTEGER),
        "AMOUNT": t.Decimal(5, 1),
    }
    out = io.BytesIO(b"\0\0\0\0\x01")
    out.seek(5)
    value = {"id": 5, "kind": "B", "either": {"y": 7}, "tags": {"a": None}, "amount": Decimal("2.5")}
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema, {}), value)
    reader = codec(
        registry,
        "AVRO",
        {
            "ID": t.BIGINT,
            "KIND": t.STRING,
            "TAGS": t.Map(t.STRING, t.STRING),
            "AMOUNT": t.Decimal(6, 2),
            "MORE": t.STRING,
            "EITHER": either,
        },
        topic="u",
    )
    assert read(reader, out.getvalue()) == [(5, "B", {"a": None}, Decimal("2.50"), None, (None, (7,)))]


def test_unions_of_avro_are_structs_of_which_one_field_is_there(registry: EmbeddedRegistry) -> None:
    union = ["null", "string", "int", {"type": "array", "items": ["int", "string"]}]
    schema = {"type": "record", "name": "w", "fields": [{"name": "u", "type": union}]}
    (type_,) = infer(registry, "AVRO", "AVRO", json.dumps(schema)).values()
    item = t.Struct((("INT", t.INTEGER), ("STRING", t.STRING)))
    assert type_ == t.Struct((("STRING", t.STRING), ("INT", t.INTEGER), ("ARRAY", t.Array(item))))
    value = SerdeFormat(FormatInfo.of("AVRO"), NO_FEATURES, 1)
    one = KsqlCodec(t.Schema.of([t.Column("U", type_)]), SerdeFormat.of("NONE"), value, registry=registry)
    rows = [(None,), (("x", None, None),), ((None, 3, None),), ((None, None, [(1, None), (None, "y")]),)]
    data = [record for record in write(one, *rows) if record is not None]
    plain = fastavro.parse_schema(schema, {})
    foreign = [fastavro.schemaless_reader(io.BytesIO(record[5:]), plain, None) for record in data]
    assert foreign == [{"u": None}, {"u": "x"}, {"u": 3}, {"u": [1, "y"]}]
    assert read(one, *data) == rows


def test_a_record_inside_itself_is_left_out(registry: EmbeddedRegistry) -> None:
    fields = [{"name": "v", "type": "int"}, {"name": "next", "type": ["null", "n"], "default": None}]
    schema = json.dumps({"type": "record", "name": "n", "fields": fields})
    assert infer(registry, "AVRO", "AVRO", schema) == {"V": t.INTEGER}
    serde = SerdeFormat(FormatInfo.of("AVRO"), schema_id=1)
    columns = t.Schema.of([t.Column("V", t.INTEGER)])
    one = KsqlCodec(columns, SerdeFormat.of("NONE"), serde, registry=registry)
    assert read(one, *write(one, (5,)), b"\0\0\0\0\x01\x02\x02\x04\x00") == [(5,), (1,)]


@pytest.mark.parametrize("format_", ["AVRO", "JSON_SR", "PROTOBUF"])
@pytest.mark.parametrize(
    "data", [b"", b"\0", b"\x01\0\0\0\x01", b"\0\0\0\0\x63\0\0", b"\0\0\0\0\x01\xff\xff\xff"]
)
def test_bytes_that_are_no_record_are_an_error(registry: EmbeddedRegistry, format_: str, data: bytes) -> None:
    one = codec(registry, format_, ALL)
    (good,) = write(one, ROW)
    found = read(one, good, data, good)
    assert found[0] == found[2] == ROW
    assert isinstance(found[1], str) or format_ == "JSON_SR"


def test_a_single_value_may_stand_bare(registry: EmbeddedRegistry) -> None:
    for format_ in ("AVRO", "JSON_SR"):
        one = codec(registry, format_, {"V": t.Array(t.INTEGER)}, UNWRAPPED, topic=format_)
        assert read(one, *write(one, ([1, None],), (None,))) == [([1, None],), None]


def test_a_null_takes_the_default_of_the_users_schema(registry: EmbeddedRegistry) -> None:
    fields = [
        {"name": "c1", "type": "int"},
        {"name": "c2", "type": "int", "default": 100},
        {"name": "c3", "type": "string", "default": "foo"},
    ]
    schema = {"type": "record", "name": "blah", "fields": fields}
    number = registry.register("x", RegisteredSchema("AVRO", json.dumps(schema)))
    columns = t.Schema.of([t.Column("c1", t.INTEGER), t.Column("c2", t.INTEGER)])
    serde = SerdeFormat(FormatInfo.of("AVRO"), schema_id=number)
    one = KsqlCodec(columns, SerdeFormat.of("NONE"), serde, registry=registry)
    (data,) = write(one, (1, None))
    assert data is not None
    assert data[5:] == b"\x02\xc8\x01\x06foo"
    assert not one.lossless
    assert not one.total
    with pytest.raises(ValueError, match="null where the schema does not allow it: c1"):
        write(one, (None, 5))


def test_messages_are_chosen_by_their_full_name(registry: EmbeddedRegistry) -> None:
    text = (
        'syntax = "proto3"; message One {float c1 = 1;} '
        "message Two {uint32 c1 = 1; message In {int32 x = 1;}}"
    )
    assert infer(registry, "PROTOBUF", "PROTOBUF", text) == {"C1": t.DOUBLE}
    for name, column in (("Two", t.BIGINT), ("Two.In", t.INTEGER)):
        info = FormatInfo.of("PROTOBUF", {"fullSchemaName": name})
        (found,) = infer_columns(registry, "t", info, is_key=False, schema_id=1)
        assert found.type == column
        serde = SerdeFormat(info, schema_id=1)
        one = KsqlCodec(t.Schema.of([found]), SerdeFormat.of("NONE"), serde, registry=registry)
        (data,) = write(one, (7,))
        assert data is not None
        assert data[5:] == (b"\x02\x02\x08\x07" if name == "Two" else b"\x04\x02\x00\x08\x07")
        assert read(one, data) == [(7,)]


def test_protobuf_schemas_of_others_are_understood(registry: EmbeddedRegistry) -> None:
    event = RegisteredSchema(
        "PROTOBUF", 'syntax = "proto3"; package e; message Event { int64 timestamp = 1; }'
    )
    registry.register("event", event)
    text = """
        // a comment
        syntax = "proto3"; /* another */
        package p.q;
        import "event.proto";
        import 'google/protobuf/wrappers.proto';
        import "confluent/type/decimal.proto";
        option java_package = "x";
        message Outer {
          reserved 9, 10 to 12;
          enum Suit { SPADES = 0; HEARTS = 1 [deprecated = true]; }
          e.Event event = 1;
          Suit suit = 2;
          repeated Inner inners = 3;
          map<int32, Inner> by_id = 4;
          oneof choice { string text = 5; sint64 number = 6; }
          optional google.protobuf.BoolValue flag = 7;
          confluent.type.Decimal d = 8 [(confluent.field_meta) = { params: [{ value: "4", key: "precision" },
            { value: "2", key: "scale" }]}];
          message Inner { Outer again = 1; fixed32 x = 2; }
        }
        service S { rpc Do (Outer) returns (Outer) {} }
    """
    registry.register("t-value", RegisteredSchema("PROTOBUF", text, (Reference("event.proto", "event", 1),)))
    inner = t.Struct((("x", t.BIGINT),))
    found = infer_columns(registry, "t", FormatInfo.of("PROTOBUF"), is_key=False, schema_id=2)
    assert {c.name: c.type for c in found} == {
        "event": t.Struct((("timestamp", t.BIGINT),)),
        "suit": t.STRING,
        "inners": t.Array(inner),
        "by_id": t.Map(t.STRING, inner),
        "choice_0": t.Struct((("text", t.STRING), ("number", t.BIGINT))),
        "flag": t.BOOLEAN,
        "d": t.Decimal(4, 2),
    }


def test_a_oneof_of_protobuf_is_a_struct_of_which_one_field_is_there(registry: EmbeddedRegistry) -> None:
    text = """syntax = "proto3";
        message M {
          int32 a = 1;
          oneof first { string x = 2; int64 y = 3; }
          optional int32 b = 4;
          oneof second { N n = 5; int32 z = 6; }
          message N { int32 v = 1; }
        }"""
    columns = infer(registry, "PROTOBUF", "PROTOBUF", text)
    first = t.Struct((("X", t.STRING), ("Y", t.BIGINT)))
    second = t.Struct((("N", t.Struct((("V", t.INTEGER),))), ("Z", t.INTEGER)))
    assert columns == {"FIRST_0": first, "SECOND_1": second, "A": t.INTEGER, "B": t.INTEGER}
    schema = t.Schema.of([t.Column(n, type_) for n, type_ in columns.items()])
    value = SerdeFormat(FormatInfo.of("PROTOBUF"), NO_FEATURES, 1)
    one = KsqlCodec(schema, SerdeFormat.of("NONE"), value, registry=registry)
    rows = [
        (("", None), ((5,), None), 1, None),
        ((None, 7), (None, 0), 2, 0),
        (None, None, 0, 3),
    ]
    data = write(one, *rows)
    assert data[0] == b"\0\0\0\0\x01\0" + bytes.fromhex("0801 1200 2a02 0805")
    assert read(one, *data) == rows


@pytest.mark.parametrize(
    "text", ["message", "message A {", "message A { int32 = 1; }", "foo", 'import "x.proto";', "$"]
)
def test_text_that_is_no_protobuf_schema_is_refused(registry: EmbeddedRegistry, text: str) -> None:
    with pytest.raises(KsqlError):
        infer(registry, "PROTOBUF", "PROTOBUF", text)


def test_json_schemas_of_others_are_understood(registry: EmbeddedRegistry) -> None:
    schema = {
        "type": "object",
        "definitions": {"n": {"type": "number"}},
        "properties": {
            "a": {"type": ["null", "integer"]},
            "b": {"$ref": "#/definitions/n"},
            "c": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "d": {"type": "object", "additionalProperties": {"type": "boolean"}},
            "e": {"oneOf": [{"type": "string"}, {"type": "integer"}]},
            "f": {"type": "array", "items": {"type": "object", "properties": {"g": {"type": "string"}}}},
            "self": {"$ref": "#"},
        },
    }
    assert infer(registry, "JSON_SR", "JSON", json.dumps(schema)) == {
        "A": t.BIGINT,
        "B": t.DOUBLE,
        "C": t.STRING,
        "D": t.Map(t.STRING, t.BOOLEAN),
        "F": t.Array(t.Struct((("G", t.STRING),))),
    }


def test_keys_of_avro_and_json_are_one_bare_value(registry: EmbeddedRegistry) -> None:
    record = {"type": "record", "name": "key", "fields": [{"name": "f1", "type": ["null", "string"]}]}
    registry.register("t-key", RegisteredSchema("AVRO", json.dumps(record)))
    info = FormatInfo.of("AVRO")
    (column,) = infer_columns(registry, "t", info, is_key=True)
    assert column == t.Column("ROWKEY", t.Struct((("F1", t.STRING),)), key=True)
    assert key_features(info, [column]) == UNWRAPPED
    registry.register("u-key", RegisteredSchema("PROTOBUF", 'syntax = "proto3"; message K {uint32 k1 = 1;}'))
    (column,) = infer_columns(registry, "u", FormatInfo.of("PROTOBUF"), is_key=True)
    assert column == t.Column("K1", t.BIGINT, key=True)


def test_a_bare_value_needs_to_be_asked_for(registry: EmbeddedRegistry) -> None:
    assert infer(registry, "AVRO", "AVRO", '"int"', unwrapped=True) == {"ROWVAL": t.INTEGER}
    with pytest.raises(KsqlError, match="WRAP_SINGLE_VALUE=false"):
        infer(registry, "AVRO", "AVRO", '"int"')


def test_what_cannot_be_inferred_is_said(registry: EmbeddedRegistry) -> None:
    text = "Schema for message values on topic 'nope' does not exist in the Schema Registry."
    with pytest.raises(KsqlError, match=text):
        infer_columns(registry, "nope", FormatInfo.of("PROTOBUF"), is_key=False)
    text = (
        "KEY_FORMAT should support schema inference when KEY_SCHEMA_ID is provided. Current format is KAFKA."
    )
    with pytest.raises(KsqlError, match=text):
        infer_columns(registry, "t", FormatInfo.of("KAFKA"), is_key=True, schema_id=1)


def test_columns_must_be_those_of_the_schema_that_is_named() -> None:
    schema = [t.Column("c2", t.DOUBLE), t.Column("c1", t.INTEGER)]
    with pytest.raises(KsqlError) as caught:
        check_columns_match([t.Column("c1", t.INTEGER)], schema, is_key=False)
    assert caught.value.message == (
        "The following value columns are changed, missing or reordered: [`c1` INTEGER]. "
        "Schema from schema registry is [`c2` DOUBLE, `c1` INTEGER]"
    )


@pytest.mark.parametrize(
    ("format_", "columns", "message"),
    [
        ("AVRO", {"1x": t.INTEGER}, "Schema is not compatible with Avro: Illegal initial character: 1x"),
        ("AVRO", {"M": t.Map(t.INTEGER, t.STRING)}, "Avro only supports MAPs with STRING keys"),
        (
            "PROTOBUF",
            {"M": t.Map(t.INTEGER, t.STRING)},
            "PROTOBUF format only supports MAP types with STRING keys",
        ),
        ("JSON_SR", {"M": t.Map(t.INTEGER, t.STRING)}, "JSON only supports MAP types with STRING keys"),
    ],
)
def test_registered_formats_say_what_they_cannot_hold(format_: str, columns: Columns, message: str) -> None:
    info = FormatInfo.of(format_)
    found = [t.Column(n, type_) for n, type_ in columns.items()]
    with pytest.raises(KsqlError) as caught:
        info.format.check(found, info)
    assert caught.value.message == message


def test_a_registry_gives_equal_schemas_one_id(registry: EmbeddedRegistry) -> None:
    first = registry.register("a", RegisteredSchema("AVRO", '{"type": "int"}'))
    assert registry.register("a", RegisteredSchema("AVRO", '{"type":"int"}')) == first
    assert registry.register("b", RegisteredSchema("AVRO", '{"type":"int"}')) == first
    second = registry.register("a", RegisteredSchema("AVRO", '"long"'))
    assert second != first
    assert registry.versions("a") == [1, 2]
    assert registry.version("a").id == second
    assert registry.version("a", 1).schema.text == '{"type": "int"}'
    assert registry.subjects() == ["a", "b"]
    assert registry.delete_subject("a") == [1, 2]
    with pytest.raises(SchemaNotFoundError):
        registry.version("a")
    assert registry.schema(first).type == "AVRO"


def test_a_schema_may_come_with_its_id(registry: EmbeddedRegistry) -> None:
    assert registry.register("a", RegisteredSchema("AVRO", '"int"'), schema_id=102) == 102
    assert registry.register("a", RegisteredSchema("AVRO", '"long"')) == 103
    with pytest.raises(KsqlError, match="taken"):
        registry.register("a", RegisteredSchema("AVRO", '"string"'), schema_id=102)


def test_compatibility_levels_are_kept(registry: EmbeddedRegistry) -> None:
    assert registry.compatibility() == "BACKWARD"
    registry.set_compatibility("full")
    registry.set_compatibility("NONE", "a")
    assert (registry.compatibility("b"), registry.compatibility("a")) == ("FULL", "NONE")
    with pytest.raises(KsqlError):
        registry.set_compatibility("PARTLY")

"""The codec of a source: keys, windows, equality, descriptors; KAFKA and NONE."""

from __future__ import annotations

import json

import pytest

from kalam_jupyter.engine import types as t
from kalam_jupyter.engine.batch import Payload
from kalam_jupyter.ksql.formats import FormatInfo, KeyWindow, KsqlCodec, SerdeFormat, codec_from_descriptor
from tests.ksql.formats.support import codec_of, read, write


@pytest.mark.parametrize(
    ("type_", "value", "data"),
    [
        (t.INTEGER, -2, b"\xff\xff\xff\xfe"),
        (t.BIGINT, 1, b"\0\0\0\0\0\0\0\x01"),
        (t.DOUBLE, 1.0, b"\x3f\xf0\0\0\0\0\0\0"),
        (t.STRING, "é", "é".encode()),
        (t.BYTES, b"\0", b"\0"),
    ],
)
def test_kafka_writes_the_encodings_of_kafkas_serializers(
    type_: t.DataType, value: object, data: bytes
) -> None:
    codec = codec_of("KAFKA", {"V": type_})
    assert write(codec, (value,), (None,), None) == [data, None, None]
    assert read(codec, data, None) == [(value,), None]


def test_kafka_refuses_numbers_of_another_size() -> None:
    codec = codec_of("KAFKA", {"V": t.INTEGER})
    assert read(codec, b"\0") == ["Size of data received by IntegerDeserializer is not 4"]


def test_a_null_key_column_is_a_null_key() -> None:
    for key in ("KAFKA", "JSON", "DELIMITED"):
        codec = codec_of("JSON", {"V": t.INTEGER}, {"K": t.STRING}, key=key)
        keys, values = codec.encode(Payload.from_rows(codec.schema, [None, (None,), ("a",)], [(1,)] * 3))
        assert keys[:2] == [None, None]
        assert codec.decode(keys, values).payload.keys == [None, None, ("a",)]


def test_several_key_columns_are_an_object_and_may_be_null() -> None:
    codec = codec_of("JSON", {"V": t.INTEGER}, {"ID": t.INTEGER, "AGE": t.INTEGER}, key="JSON")
    keys, values = codec.encode(Payload.from_rows(codec.schema, [(None, 3)], [(1,)]))
    assert keys == [b'{"ID":null,"AGE":3}']
    assert codec.decode(keys, values).payload.keys == [(None, 3)]


def test_without_key_columns_there_is_no_key() -> None:
    codec = codec_of("JSON", {"V": t.INTEGER})
    payload = Payload.from_rows(codec.schema, [None, ()], [(1,), (2,)])
    keys, values = codec.encode(payload)
    assert keys == [None, None]
    assert codec.decode([b"ignored", None], values).payload.keys == [None, None]


def windowed(kind: str, size_ms: int | None = None) -> KsqlCodec:
    base = codec_of("JSON", {"V": t.INTEGER}, {"K": t.STRING})
    return KsqlCodec(base.schema, base.key, base.value, KeyWindow(kind, size_ms))


def test_time_windows_are_their_start_after_the_key() -> None:
    codec = windowed("time", 10)
    payload = Payload.from_rows(codec.schema, [("a",)], [(1,)], [(256, 266)])
    keys, values = codec.encode(payload)
    assert keys == [b"a\0\0\0\0\0\0\x01\0"]
    decoded = codec.decode(keys, values).payload
    assert (decoded.keys, decoded.windows) == ([("a",)], [(256, 266)])


def test_sessions_are_end_and_start_after_the_key() -> None:
    codec = windowed("session")
    payload = Payload.from_rows(codec.schema, [("a",)], [(1,)], [(1, 2)])
    keys, values = codec.encode(payload)
    assert keys == [b"a" + b"\0" * 7 + b"\x02" + b"\0" * 7 + b"\x01"]
    assert codec.decode(keys, values).payload.windows == [(1, 2)]


def test_a_windowed_key_without_room_for_its_window_is_an_error() -> None:
    codec = windowed("time", 10)
    decoded = codec.decode([b"short", b"a" + b"\0" * 8], [b'{"V":1}', b'{"V":2}'])
    assert [(e.index, e.target) for e in decoded.errors] == [(0, "key")]
    assert decoded.payload.values == [(2,)]
    assert decoded.payload.windows == [(0, 10)]


def test_one_bad_record_gives_one_error_the_key_first() -> None:
    codec = codec_of("JSON", {"V": t.INTEGER}, {"K": t.INTEGER})
    (error,) = codec.decode([b"x"], [b"{"]).errors
    assert error.target == "key"


def test_codecs_are_values() -> None:
    schema = {"V": t.Struct((("F", t.Array(t.Map(t.STRING, t.Decimal(4, 2)))),)), "W": t.TIMESTAMP}
    codec = codec_of("DELIMITED", schema, {"K": t.STRING}, delimiter="|")
    same = codec_of("DELIMITED", schema, {"K": t.STRING}, delimiter="|")
    assert codec == same
    assert hash(codec) == hash(same)
    assert codec != codec_of("DELIMITED", schema, {"K": t.STRING})
    assert codec != KsqlCodec(codec.schema, codec.key, codec.value, KeyWindow("time", 5))


def test_a_codec_is_rebuilt_from_its_descriptor() -> None:
    types = {"V": t.Struct((("F", t.Array(t.Map(t.STRING, t.Decimal(4, 2)))),)), "W": t.TIMESTAMP}
    base = codec_of("JSON", types, {"K": t.STRING}, key="JSON")
    codec = KsqlCodec(base.schema, base.key, base.value, KeyWindow("time", 5))
    assert codec_from_descriptor(json.loads(json.dumps(codec.descriptor()))) == codec


def test_columns_arrive_in_bytes_like_rows() -> None:
    codec = codec_of("JSON", {"V": t.INTEGER, "A": t.Array(t.STRING)}, {"K": t.STRING})
    rows = Payload.from_rows(codec.schema, [("a",), None], [(1, ["x", None]), None])
    columns = Payload.from_columns(codec.schema, rows.columns, 2)
    assert codec.encode(columns) == codec.encode(rows)


def test_lossless_is_claimed_only_where_nothing_collapses() -> None:
    assert codec_of("JSON", {"V": t.INTEGER}, {"K": t.STRING}).lossless
    assert not codec_of("KAFKA", {"V": t.INTEGER}, {"K": t.STRING}).lossless


def test_formats_are_found_in_any_case() -> None:
    assert FormatInfo.of("json") == FormatInfo("JSON")
    assert SerdeFormat.of("delimited", delimiter=";").info.get("delimiter") == ";"

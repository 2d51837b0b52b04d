"""Query rows as Protobuf messages (HTTP contract, section 7.5)."""

from __future__ import annotations

from decimal import Decimal

import pytest
from google.protobuf import text_format
from google.protobuf.message_factory import GetMessageClass

from kalam_jupyter.engine import Engine
from kalam_jupyter.engine import types as t
from kalam_jupyter.ksql import Ksql, KsqlError
from kalam_jupyter.ksql.formats.proto_schema import ProtoSchema
from kalam_jupyter.ksql.formats.protobuf import row_messages
from kalam_server.ksql_handlers.outputs import OUTPUTS, output_of
from kalam_server.negotiate import KSQL_JSON, KSQL_PROTOBUF


def _shown(text: str, data: bytes) -> str:
    message = ProtoSchema.of(text).message(None)
    assert message is not None
    return text_format.MessageToString(GetMessageClass(message).FromString(data))


def test_columns_become_fields_in_their_order() -> None:
    text, write = row_messages([("ID", t.INTEGER), ("N", t.BIGINT), ("S", t.STRING), ("B", t.BYTES)])
    assert text == (
        'syntax = "proto3";\n\nmessage ConnectDefault1 {\n'
        "  int32 ID = 1;\n  int64 N = 2;\n  string S = 3;\n  bytes B = 4;\n}\n"
    )
    assert _shown(text, write((1, 2, "x", b"!"))) == 'ID: 1\nN: 2\nS: "x"\nB: "!"\n'
    assert _shown(text, write((None, None, None, None))) == ""


def test_maps_are_lists_of_entries_in_javas_order() -> None:
    text, write = row_messages([("M", t.Map(t.STRING, t.INTEGER))])
    assert "  repeated ConnectDefault2Entry M = 1;\n\n  message ConnectDefault2Entry {\n" in text
    assert _shown(text, write(({"D": 4, "Q": 0},))) == 'M {\n  key: "Q"\n}\nM {\n  key: "D"\n  value: 4\n}\n'


def test_structs_decimals_and_moments_have_messages() -> None:
    columns = [
        ("ST", t.Struct((("X", t.Array(t.INTEGER)),))),
        ("D", t.Decimal(4, 2)),
        ("AT", t.TIMESTAMP),
        ("M", t.Map(t.INTEGER, t.Struct((("Y", t.BOOLEAN),)))),
    ]
    text, write = row_messages(columns)
    shown = _shown(text, write((([1, 2],), Decimal("1.50"), 1500, {7: (True,)})))
    assert "ST {\n  X: 1\n  X: 2\n}" in shown
    assert "precision: 4" in shown
    assert "AT {\n  seconds: 1\n  nanos: 500000000\n}" in shown
    assert "M {\n  key: 7\n  value {\n    Y: true\n  }\n}" in shown


@pytest.mark.parametrize("type_", [t.Array(t.Array(t.INTEGER)), t.Array(t.Map(t.STRING, t.INTEGER))])
def test_what_has_no_protobuf_form_is_refused(type_: t.DataType) -> None:
    with pytest.raises(KsqlError, match="Protobuf has no lists of lists or maps"):
        row_messages([("A", type_)])


def test_a_query_that_cannot_be_shown_so_is_closed() -> None:
    with Engine.open() as engine:
        ksql = Ksql(engine)
        ksql.execute(
            "CREATE STREAM S (A ARRAY<ARRAY<INT>>) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);"
        )
        query = ksql.query("SELECT * FROM S EMIT CHANGES;")
        with pytest.raises(KsqlError):
            output_of(query, KSQL_PROTOBUF)
        assert ksql.transient_queries() == []


def test_the_framing_is_that_of_row_objects() -> None:
    with Engine.open() as engine:
        ksql = Ksql(engine)
        ksql.execute("CREATE STREAM S (V INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);")
        ksql.execute("INSERT INTO S (V) VALUES (5);")
        pieces = []
        for media_type in (KSQL_JSON, KSQL_PROTOBUF):
            query = ksql.query("SELECT * FROM S;")
            output = OUTPUTS[media_type](query)
            rows = query.poll()
            pieces.append((output.rows(rows), output.end("Query Completed", None)))
        assert pieces[0] == ([b'{"row":{"columns":[5]}},\n'], b'{"finalMessage":"Query Completed"}]')
        assert pieces[1] == ([b'{"row":{"protobufBytes":"CAU="}},\n'], b'{"finalMessage":"Query Completed"}]')

from __future__ import annotations

from kalam_jupyter.magics.entities import answer, type_text


def schema(kind: str, **more) -> dict:
    return {"type": kind, "fields": None, "memberSchema": None, **more}


def test_streams_are_listed():
    stream = {
        "type": "STREAM",
        "name": "ORDERS",
        "topic": "orders",
        "keyFormat": "KAFKA",
        "valueFormat": "JSON",
        "isWindowed": False,
    }
    shown = answer(
        {"@type": "streams", "statementText": "LIST STREAMS;", "streams": [stream], "warnings": []}
    )
    assert shown.rows == [
        {"Name": "ORDERS", "Topic": "orders", "Key format": "KAFKA", "Value format": "JSON"}
    ]


def test_a_source_is_described_by_its_columns():
    source = {
        "name": "ORDERS",
        "windowType": "TUMBLING",
        "readQueries": [{"id": "CSAS_X_1"}],
        "writeQueries": [],
        "fields": [
            {"name": "ID", "schema": schema("INTEGER"), "type": "KEY"},
            {"name": "H", "schema": schema("BYTES"), "type": "HEADER", "headerKey": "trace"},
            {"name": "TAGS", "schema": schema("ARRAY", memberSchema=schema("STRING"))},
        ],
        "type": "TABLE",
        "extended": False,
        "keyFormat": "KAFKA",
        "valueFormat": "JSON",
        "topic": "orders",
        "partitions": 4,
        "statement": "CREATE ...",
    }
    shown = answer(
        {"@type": "sourceDescription", "sourceDescription": source, "warnings": [{"message": "old"}]}
    )
    assert shown.rows == [
        {"Column": "ID", "Type": "INTEGER", "Role": "key"},
        {"Column": "H", "Type": "BYTES", "Role": "header('trace')"},
        {"Column": "TAGS", "Type": "ARRAY<STRING>", "Role": ""},
    ]
    assert shown.title == (
        "ORDERS · table · tumbling window on topic 'orders' · key KAFKA, value JSON · 4 partition(s) · "
        "read by CSAS_X_1"
    )
    assert shown.warnings == ["old"] and shown.text == ""


def test_commands_say_what_they_did():
    entity = {"@type": "currentStatus", "commandStatus": {"status": "SUCCESS", "message": "Stream created"}}
    assert answer(entity).title == "Stream created"


def test_an_unknown_entity_is_shown_all_the_same():
    assert answer({"@type": "new", "things": [{"a": 1}]}).rows == [{"a": 1}]
    assert answer({"@type": "new", "a": 1}).rows == [{"Member": "a", "Value": 1}]


def test_types_are_written_as_in_sql():
    fields = [{"name": "A", "schema": schema("DECIMAL", parameters={"precision": 4, "scale": 2})}]
    assert type_text(schema("STRUCT", fields=fields)) == "STRUCT<A DECIMAL(4, 2)>"
    assert type_text(schema("MAP", memberSchema=schema("BIGINT"))) == "MAP<STRING, BIGINT>"

"""Statements and the schema registry, end to end through the dialect."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kalam_jupyter.engine import Engine
from kalam_jupyter.ksql import Ksql, KsqlError
from kalam_jupyter.ksql.formats.schema_registry import RegisteredSchema

AVRO = json.dumps(
    {
        "type": "record",
        "name": "r",
        "fields": [{"name": "id", "type": "int"}, {"name": "s", "type": "string"}],
    }
)


def columns(ksql: Ksql, name: str) -> list[str]:
    """The columns of a source as text."""
    source = ksql.metastore.get(name)
    assert source is not None
    return [f"{c.name} {c.type}{' KEY' if c.key else ''}" for c in source.schema]


def test_a_restart_needs_no_registry_to_know_inferred_columns(tmp_path: Path) -> None:
    with Engine.open(tmp_path) as engine:
        ksql = Ksql(engine)
        engine.transact(lambda tx: tx.create_topic("t"))
        ksql.schema_registry.register("t-value", RegisteredSchema("AVRO", AVRO))
        ksql.execute("CREATE STREAM a WITH (kafka_topic='t', value_format='AVRO');")
        assert columns(ksql, "A") == ["ID INTEGER", "S STRING"]
        before = ksql.metastore.get("A")
        ksql.schema_registry.delete_subject("t-value")
    with Engine.open(tmp_path) as engine:
        assert Ksql(engine).metastore.get("A") == before


@pytest.mark.parametrize("format_", ["AVRO", "JSON_SR", "PROTOBUF", "PROTOBUF_NOSR"])
def test_what_is_inserted_comes_out_of_a_query(format_: str) -> None:
    with Engine.open() as engine:
        ksql = Ksql(engine, {"ksql.streams.auto.offset.reset": "earliest"})
        engine.start()
        ksql.execute(
            f"CREATE STREAM a (k STRING KEY, i INT, d DECIMAL(4, 1)) WITH (kafka_topic='a', partitions=1, "
            f"format='{format_}'); CREATE TABLE b AS SELECT k, COUNT(*) AS n, SUM(i) AS s FROM a GROUP BY k;"
        )
        ksql.execute("INSERT INTO a VALUES ('x', 1, 1.5); INSERT INTO a VALUES ('x', 2, 2.5);")
        with_rows = ksql.query("SELECT * FROM b WHERE k = 'x';")
        assert [r.values for r in with_rows.poll()] == [("x", 2, 3)]
        subjects = ["B-key", "B-value", "a-key", "a-value"] if format_ != "PROTOBUF_NOSR" else []
        assert ksql.schema_registry.subjects() == subjects
        ksql.execute("DROP TABLE b DELETE TOPIC;")
        assert ksql.schema_registry.subjects() == [s for s in subjects if s.startswith("a")]


def test_a_request_that_fails_registers_nothing() -> None:
    with Engine.open() as engine:
        ksql = Ksql(engine)
        with pytest.raises(KsqlError, match="NOPE"):
            ksql.execute(
                "CREATE STREAM a (i INT) WITH (kafka_topic='a', partitions=1, value_format='AVRO');"
                "CREATE STREAM b AS SELECT * FROM nope;"
            )
        assert ksql.schema_registry.subjects() == []


def test_a_request_infers_from_what_it_would_register() -> None:
    with Engine.open() as engine:
        ksql = Ksql(engine)
        ksql.execute(
            "CREATE STREAM a (i INT, `low` STRING) WITH (kafka_topic='a', partitions=1, value_format='AVRO');"
            "CREATE STREAM b WITH (kafka_topic='a', value_format='AVRO');"
        )
        assert columns(ksql, "B") == ["I INTEGER", "LOW STRING"]


def test_an_added_column_is_a_new_version() -> None:
    with Engine.open() as engine:
        ksql = Ksql(engine)
        ksql.execute("CREATE STREAM a (i INT) WITH (kafka_topic='a', partitions=1, value_format='JSON_SR');")
        ksql.execute("ALTER STREAM a ADD COLUMN j INT;")
        assert ksql.schema_registry.versions("a-value") == [1, 2]


def test_columns_and_a_schema_id_exclude_each_other() -> None:
    with Engine.open() as engine:
        ksql = Ksql(engine)
        with pytest.raises(KsqlError, match="Table elements and VALUE_SCHEMA_ID cannot both exist"):
            ksql.execute(
                "CREATE STREAM a (i INT) WITH (kafka_topic='a', partitions=1, "
                "value_format='AVRO', value_schema_id=1);"
            )

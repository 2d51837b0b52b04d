"""Statements of the catalogue that change or ask about what there is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kalam_jupyter.engine import Engine
from kalam_jupyter.ksql import Ksql, KsqlError

AVRO = "CREATE STREAM av (id INT KEY, v STRING) WITH (KAFKA_TOPIC='av', FORMAT='AVRO', PARTITIONS=1);"


@pytest.fixture
def ksql() -> Iterator[Ksql]:
    with Engine.open() as engine:
        ksql = Ksql(engine)
        engine.start()
        ksql.execute(
            "CREATE STREAM s (id INT KEY, v INT) WITH (KAFKA_TOPIC='s', FORMAT='JSON', PARTITIONS=1);"
        )
        yield ksql


@pytest.mark.parametrize(
    "what", ["SUBJECT 'av-value'", "SUBJECT 'av-value' ID 2", "ID 1", "ID 2 TIMEOUT 1 SECONDS"]
)
def test_a_schema_that_is_there_can_be_asserted(ksql: Ksql, what: str) -> None:
    ksql.execute(AVRO)
    (found,) = ksql.execute(f"ASSERT SCHEMA {what};")
    assert found["@type"] == "assert_schema" and found["exists"] is True
    with pytest.raises(KsqlError, match="exists") as refused:
        ksql.execute(f"ASSERT NOT EXISTS SCHEMA {what};")
    assert refused.value.error_code == 41700


@pytest.mark.parametrize("what", ["SUBJECT 's-value'", "SUBJECT 'av-value' ID 1", "ID 99"])
def test_a_schema_that_is_not_there_can_be_asserted(ksql: Ksql, what: str) -> None:
    ksql.execute(AVRO)
    with pytest.raises(KsqlError, match="does not exist") as refused:
        ksql.execute(f"ASSERT SCHEMA {what};")
    assert refused.value.error_code == 41700
    (found,) = ksql.execute(f"ASSERT NOT EXISTS SCHEMA {what};")
    assert found["exists"] is False


def test_query_ids_are_the_same_in_any_case(ksql: Ksql) -> None:
    ksql.execute("CREATE STREAM t AS SELECT * FROM s; INSERT INTO t WITH (QUERY_ID='mine') SELECT * FROM s;")
    assert ksql.execute("EXPLAIN mine;")[0]["queryDescription"]["id"] == "MINE"
    ksql.execute("PAUSE Mine;")
    assert ksql.query_state("MINE") == "PAUSED"
    ksql.execute("RESUME mine;")
    assert ksql.query_state("MINE") == "RUNNING"
    ksql.execute("TERMINATE mine;")
    assert list(ksql.running) == ["CSAS_T_1"]


@pytest.mark.parametrize("name", ["auto.offset.rest", "ksql.streams.no.such", "nope"])
def test_a_property_that_nothing_knows_is_refused(ksql: Ksql, name: str) -> None:
    with pytest.raises(KsqlError, match=f"Unknown property: {name}"):
        ksql.execute(f"SET '{name}'='x';")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("auto.offset.reset", "earliest"),
        ("ksql.streams.num.stream.threads", "2"),
        ("cache.max.bytes.buffering", "0"),
        ("ksql.streams.consumer.max.poll.records", "10"),
    ],
)
def test_kafka_s_own_properties_are_taken(ksql: Ksql, name: str, value: str) -> None:
    assert ksql.execute(f"SET '{name}'='{value}'; UNSET '{name}';") == []

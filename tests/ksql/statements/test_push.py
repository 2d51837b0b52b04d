"""Push queries: which are scalable, what they start with, what becomes of records without a value or key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from kalam_jupyter.engine import Engine
from kalam_jupyter.ksql import Ksql
from kalam_jupyter.ksql.runtime.transient import TransientQuery

EARLIEST = {"auto.offset.reset": "earliest"}
SCALABLE = {"ksql.query.push.v2.enabled": True, "auto.offset.reset": "latest"}


@pytest.fixture
def ksql() -> Iterator[Ksql]:
    with Engine.open() as engine:
        found = Ksql(engine)
        engine.start()
        found.execute(
            "CREATE STREAM S (K STRING KEY, V INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);"
            "CREATE STREAM COPY AS SELECT * FROM S;"
            "CREATE TABLE COUNTS AS SELECT K, COUNT(*) AS N FROM S GROUP BY K;"
        )
        yield found


def insert(ksql: Ksql, *rows: str) -> None:
    for row in rows:
        ksql.execute(f"INSERT INTO S (K, V) VALUES ({row});")
    ksql.engine.settle()


def values(query: TransientQuery) -> list[tuple[Any, ...]]:
    return [r.values for r in query.poll()]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM COPY EMIT CHANGES;",
        "SELECT V + 1 AS W FROM COPY WHERE K = 'a' EMIT CHANGES;",
        "SELECT * FROM COUNTS EMIT CHANGES;",
    ],
)
def test_filters_and_projections_of_what_a_query_writes_are_scalable(ksql: Ksql, sql: str) -> None:
    assert ksql.query(sql, properties=SCALABLE).id.startswith("SCALABLE_PUSH_QUERY_")


@pytest.mark.parametrize(
    ("sql", "properties"),
    [
        ("SELECT * FROM COPY EMIT CHANGES;", {}),
        ("SELECT * FROM COPY EMIT CHANGES;", {**SCALABLE, **EARLIEST}),
        ("SELECT * FROM S EMIT CHANGES;", SCALABLE),
        ("SELECT ROWOFFSET FROM COPY EMIT CHANGES;", SCALABLE),
        ("SELECT COUNT(*) FROM COPY GROUP BY K EMIT CHANGES;", SCALABLE),
        ("SELECT V FROM COPY PARTITION BY V EMIT CHANGES;", SCALABLE),
        ("SELECT * FROM COPY A JOIN COUNTS B ON A.K = B.K EMIT CHANGES;", SCALABLE),
    ],
)
def test_all_others_are_not(ksql: Ksql, sql: str, properties: dict[str, Any]) -> None:
    assert ksql.query(sql, properties=properties).id.startswith("transient_")


def test_a_scalable_query_sees_what_is_emitted_after_it_started(ksql: Ksql) -> None:
    insert(ksql, "'a', 1")
    scalable = ksql.query("SELECT * FROM COUNTS EMIT CHANGES;", properties=SCALABLE)
    usual = ksql.query("SELECT * FROM COUNTS EMIT CHANGES;", properties={"auto.offset.reset": "latest"})
    insert(ksql, "'b', 1")
    assert values(scalable) == [("b", 1)]
    assert values(usual) == [("a", 1), ("b", 1)]


def test_a_scalable_query_sees_no_records_without_a_key(ksql: Ksql) -> None:
    query = ksql.query("SELECT * FROM COPY EMIT CHANGES;", properties=SCALABLE)
    insert(ksql, "NULL, 1", "'a', 2")
    assert values(query) == [("a", 2)]


def test_a_streams_record_without_a_value_is_no_row(ksql: Ksql) -> None:
    from kalam_jupyter.engine.batch import Batch

    batch = Batch([1, 2], raw=([b"a", b"b"], [None, b'{"V": 1}']))
    ksql.engine.transact(lambda tx: tx.append("s", batch))
    query = ksql.query("SELECT * FROM S EMIT CHANGES;", properties=EARLIEST)
    assert values(query) == [("b", 1)]
    assert [r.values for r in ksql.query("SELECT * FROM S;").poll()] == [("b", 1)]


def test_an_aggregate_without_group_by_counts_everything(ksql: Ksql) -> None:
    insert(ksql, "'a', 1", "'b', 2")
    query = ksql.query("SELECT COUNT(*) AS N FROM S EMIT CHANGES LIMIT 2;", properties=EARLIEST)
    assert values(query) == [(1,), (2,)]
    assert query.final_message == "Limit Reached"

"""The dialect end to end on an engine in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kalam_jupyter.engine import Engine
from kalam_jupyter.ksql import Ksql, KsqlError

EARLIEST = {"auto.offset.reset": "earliest"}


@pytest.fixture
def ksql() -> Iterator[Ksql]:
    engine = Engine.open()
    dialect = Ksql(engine)
    engine.start()
    yield dialect
    engine.close()


@pytest.fixture
def orders(ksql: Ksql) -> Ksql:
    ksql.execute(
        "CREATE STREAM s (id INT KEY, name STRING, v DOUBLE) "
        "WITH (kafka_topic='s', value_format='JSON', partitions=1);"
    )
    return ksql


def insert(ksql: Ksql, *rows: str) -> None:
    for row in rows:
        ksql.execute(f"INSERT INTO s (ROWTIME, id, name, v) VALUES ({row});")


def rows(ksql: Ksql, text: str) -> list[tuple[object, ...]]:
    return sorted((tuple(r.values()) for r in ksql.query(text).table().to_pylist()), key=repr)


def test_a_filter_runs_on_what_is_inserted_and_a_push_query_ends_at_its_limit(orders: Ksql) -> None:
    orders.execute("CREATE STREAM big AS SELECT id, UCASE(name) AS n, v * 2 AS v2 FROM s WHERE v > 1;")
    push = orders.query("SELECT * FROM big EMIT CHANGES LIMIT 2;", properties=EARLIEST)
    insert(orders, "0, 1, 'a', 1.5", "1, 2, 'b', 0.5", "2, 3, 'c', NULL", "3, 4, 'd', 4.0")
    orders.engine.settle()
    assert [r.values for r in push.poll()] == [(1, "A", 3.0), (4, "D", 8.0)]
    assert push.finished
    assert push.final_message == "Limit Reached"


def test_a_pull_query_sees_every_row_inserted_before_it(orders: Ksql) -> None:
    orders.execute(
        "CREATE TABLE t AS SELECT name, COUNT(*) AS c, SUM(v) AS s, AVG(v) AS a, MIN(v) AS lo, MAX(v) AS hi "
        "FROM s GROUP BY name;"
    )
    insert(orders, "0, 1, 'a', 1.5", "1, 2, 'b', 0.5", "2, 3, 'a', 2.5", "3, 4, 'b', NULL")
    assert rows(orders, "SELECT * FROM t;") == [("a", 2, 4.0, 2.0, 1.5, 2.5), ("b", 2, 0.5, 0.5, 0.5, 0.5)]
    assert rows(orders, "SELECT c FROM t WHERE name = 'a';") == [(2,)]


def test_tumbling_windows_are_rows_of_their_own(orders: Ksql) -> None:
    orders.execute(
        "CREATE TABLE w AS SELECT name, COUNT(*) AS c FROM s WINDOW TUMBLING (SIZE 10 SECONDS) GROUP BY name;"
    )
    insert(orders, "0, 1, 'a', 1", "9999, 2, 'a', 1", "10000, 3, 'a', 1")
    assert rows(orders, "SELECT * FROM w;") == [("a", 0, 10000, 2), ("a", 10000, 20000, 1)]
    assert rows(orders, "SELECT c FROM w WHERE name = 'a' AND WINDOWSTART >= 10000;") == [(1,)]


def test_a_mistake_in_any_statement_means_that_nothing_was_done(orders: Ksql) -> None:
    with pytest.raises(KsqlError, match="cannot be resolved"):
        orders.execute("CREATE STREAM x AS SELECT * FROM s; CREATE STREAM y AS SELECT nope FROM x;")
    assert orders.execute("LIST STREAMS;")[0]["streams"] == [
        {
            "type": "STREAM",
            "name": "S",
            "topic": "s",
            "keyFormat": "KAFKA",
            "valueFormat": "JSON",
            "isWindowed": False,
        }
    ]
    assert not orders.state.queries


def test_a_source_that_is_read_cannot_be_dropped(orders: Ksql) -> None:
    orders.execute("CREATE STREAM x AS SELECT * FROM s;")
    with pytest.raises(KsqlError, match="You need to drop them before dropping S"):
        orders.execute("DROP STREAM s;")
    orders.execute("DROP STREAM x; DROP STREAM s;")
    assert orders.execute("SHOW QUERIES;")[0]["queries"] == []


def test_select_is_told_where_to_go(orders: Ksql) -> None:
    with pytest.raises(KsqlError) as raised:
        orders.execute("SELECT * FROM s EMIT CHANGES;")
    assert raised.value.error_code == 40002

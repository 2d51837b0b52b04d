"""The dialect end to end on an engine in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest

from kalam_jupyter.engine import Engine
from kalam_jupyter.engine.batch import Batch
from kalam_jupyter.ksql import Ksql, KsqlError
from kalam_jupyter.ksql.functions.python import udf

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


def test_a_bad_record_goes_to_the_processing_log_and_the_next_one_through(orders: Ksql) -> None:
    orders.execute("CREATE STREAM o AS SELECT id, v FROM s;", properties=EARLIEST)
    raw = ([b"\0\0\0\1"] * 2, [b"not json", b'{"NAME": "a", "V": 2}'])
    orders.engine.transact(lambda tx: tx.append("s", Batch([1, 2], raw=raw)))
    orders.engine.settle()
    assert rows(orders, "SELECT * FROM o;") == [(1, 2.0)]
    (entry,) = rows(
        orders,
        "SELECT logger, message->type, message->deserializationError->`TOPIC` FROM KSQL_PROCESSING_LOG;",
    )
    assert entry == ("processing.CSAS_O_1.deserializer", 0, "s")


def test_what_a_transient_query_could_not_compute_goes_to_the_processing_log(orders: Ksql) -> None:
    def raises(v: float) -> float:
        return v / 0

    udf("raises_in_a_test(v DOUBLE) -> DOUBLE")(raises)
    orders.execute("INSERT INTO s (id, v) VALUES (1, 2);")
    assert rows(orders, "SELECT raises_in_a_test(v) FROM s;") == [(None,)]
    orders.engine.transact(lambda tx: None)  # what was submitted before is there
    (entry,) = rows(
        orders, "SELECT logger, message->recordProcessingError->errorMessage FROM KSQL_PROCESSING_LOG;"
    )
    assert entry[0].startswith("processing.transient_S_")
    assert entry[1] == "raises: ZeroDivisionError: float division by zero"
    # A reader of the log adds nothing to it.
    reading = "SELECT raises_in_a_test(CAST(time AS DOUBLE)) FROM KSQL_PROCESSING_LOG;"
    assert rows(orders, reading) == rows(orders, reading) == [(None,)]


def test_what_a_pull_query_of_a_table_could_not_compute_goes_to_the_processing_log(orders: Ksql) -> None:
    orders.execute("CREATE TABLE t AS SELECT id, COUNT(*) AS n FROM s GROUP BY id;", properties=EARLIEST)
    orders.execute("INSERT INTO s (id, v) VALUES (1, 2);")
    assert rows(orders, "SELECT 6 / (n - 1) AS x FROM t;") == [(None,)]
    assert rows(orders, "SELECT n FROM t WHERE id = 1 AND 6 % (n - 1) = 0;") == []
    orders.engine.transact(lambda tx: None)  # what was submitted before is there
    log = "SELECT logger, message->recordProcessingError->errorMessage FROM KSQL_PROCESSING_LOG;"
    assert rows(orders, log) == [("processing.pull_T.expression", "/ by zero")] * 2


def test_a_frame_becomes_a_stream_and_a_table_a_frame(ksql: Ksql) -> None:
    table = pa.table(
        {"name": ["a", "b", "a"], "v": [1.5, 2.5, None], "at": pa.array([1, 2, 3], pa.timestamp("us"))}
    )
    ksql.stream_frame("frame", table.slice(0, 0), key="name")
    ksql.execute("CREATE TABLE t AS SELECT name, COUNT(v) AS c, SUM(v) AS s FROM frame GROUP BY name;")
    assert ksql.stream_frame("frame", table) == 3
    assert rows(ksql, "SELECT * FROM t;") == [("a", 1, 1.5), ("b", 1, 2.5)]


def test_json_rows_are_inserted_whole_or_not_at_all(orders: Ksql) -> None:
    target = orders.insert_target("s")
    target.insert([{"id": 1, "NAME": "a", "v": 2}, {"id": 2, "name": None}])
    with pytest.raises(KsqlError, match="Can't coerce a field of type"):
        target.insert([{"id": 3}, {"id": "x"}])
    assert rows(orders, "SELECT id, v FROM s;") == [(1, 2.0), (2, None)]


def test_the_other_dialect_sees_tables_as_relations(orders: Ksql) -> None:
    orders.execute("CREATE TABLE t AS SELECT name, COUNT(*) AS c FROM s GROUP BY name;")
    provider = orders.engine.sources["ksql"]
    subscription = provider.subscribe("t")
    insert(orders, "0, 1, 'a', 1", "1, 2, 'a', 1")
    orders.engine.settle()
    assert provider.table("t").to_pylist() == [{"name": "a", "c": 2}]
    changes = [c for found in subscription.poll() for c in found.changes()]
    assert [(c.op, c.new) for c in changes] == [("insert", ("a", 1)), ("update", ("a", 2))]


def test_explain_shows_the_steps(orders: Ksql) -> None:
    (entity,) = orders.execute("EXPLAIN SELECT name FROM s WHERE v > 1 EMIT CHANGES;")
    plan = entity["queryDescription"]["executionPlan"].splitlines()
    assert [line.split("[ ")[1].split(" ]")[0] for line in plan] == ["PROJECT", "FILTER", "SOURCE"]


def test_the_same_push_query_ends_when_it_is_closed(orders: Ksql) -> None:
    push = orders.query("SELECT * FROM s EMIT CHANGES;")
    assert [q["id"] for q in orders.execute("SHOW QUERIES;")[0]["queries"]] == [push.id]
    assert orders.close_query(push.id)
    assert push.finished
    assert not orders.close_query(push.id)

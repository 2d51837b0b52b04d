from __future__ import annotations

import pytest

from kalam_jupyter.client import ClientError

SOURCES = """
CREATE STREAM o (id INT KEY, item STRING, price DECIMAL(6, 2), tags ARRAY<STRING>, s STRUCT<`a b` INT>)
  WITH (KAFKA_TOPIC='o', VALUE_FORMAT='JSON', PARTITIONS=2);
CREATE TABLE u (id INT PRIMARY KEY, name STRING) WITH (KAFKA_TOPIC='u', VALUE_FORMAT='JSON', PARTITIONS=2);
CREATE TABLE t AS SELECT item, COUNT(*) AS n FROM o WINDOW TUMBLING (SIZE 10 SECONDS) GROUP BY item;
CREATE STREAM w (item STRING KEY, n BIGINT)
  WITH (KAFKA_TOPIC='T', VALUE_FORMAT='JSON', WINDOW_TYPE='TUMBLING', WINDOW_SIZE='10 SECONDS');
"""


@pytest.fixture
def connected(connection):
    connection.ksql(SOURCES)
    return connection


def test_a_query_of_any_connection_is_stepped_through(connected):
    stepping = connected.stepping("SELECT o.id, item, name FROM o JOIN u ON o.id = u.id EMIT CHANGES;")
    steps = stepping.feed([("u", {"id": 1, "name": "Ann"}), ("o", {"id": 1, "item": "tea", "price": "1.5"})])
    assert [r.value for r in steps[1].outputs] == [{"O_ID": 1, "ITEM": "tea", "NAME": "Ann"}]


def test_a_query_that_runs_is_stepped_through_by_its_id(connected):
    query_id = next(q["id"] for q in connected.ksql("LIST QUERIES;")[0].entity["queries"])
    stepping = connected.stepping(query_id)
    (step,) = stepping.feed([{"id": 1, "item": "tea", "rowtime": 12_000}])
    assert step.outputs[0].window == (10_000, 20_000)


def test_windowed_sources_are_known(connected):
    stepping = connected.stepping("SELECT * FROM w EMIT CHANGES;")
    (step,) = stepping.feed([{"item": "tea", "n": 1, "rowtime": 12_000}])
    assert step.outputs[0].value["WINDOWSTART"] == 10_000


@pytest.mark.parametrize(
    "query", ["SELECT * FROM nowhere EMIT CHANGES;", "SELEC", "CTAS_NOTHING_9", "LIST STREAMS;"]
)
def test_what_cannot_be_stepped_through_is_refused(connected, query):
    with pytest.raises(ClientError):
        connected.stepping(query)

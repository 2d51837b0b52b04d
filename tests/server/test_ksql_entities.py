"""Every entity of POST /ksql has exactly the members that strict clients read."""

import json

import httpx
import pytest

from tests.server.entity_shapes import ENTITIES, check_entity
from tests.server.running import running

SCRIPT = """
CREATE TYPE ADDRESS AS STRUCT<ZIP STRING, LINES ARRAY<STRING>>;
CREATE STREAM ORDERS (ID INT KEY, NOTE STRING, AMOUNT DECIMAL(10, 2), TAGS ARRAY<STRING>,
  M MAP<STRING, DOUBLE>, A ADDRESS, B BYTES, MOMENT TIMESTAMP, D DATE, T TIME, F BOOLEAN, H BYTES HEADER('h'))
  WITH (KAFKA_TOPIC='orders', VALUE_FORMAT='JSON', PARTITIONS=2);
CREATE STREAM TIMED (ID INT KEY, MOMENT TIMESTAMP)
  WITH (KAFKA_TOPIC='timed', VALUE_FORMAT='JSON', PARTITIONS=1, TIMESTAMP='MOMENT');
CREATE STREAM COPY AS SELECT * FROM ORDERS;
INSERT INTO COPY SELECT * FROM ORDERS;
CREATE TABLE TOTALS AS SELECT ID, COUNT(*) AS N FROM ORDERS GROUP BY ID;
CREATE TABLE HOURLY AS SELECT ID, COUNT(*) AS N FROM ORDERS WINDOW TUMBLING (SIZE 1 HOUR) GROUP BY ID;
CREATE TABLE VISITS AS SELECT ID, COUNT(*) AS N FROM ORDERS WINDOW SESSION (1 HOUR) GROUP BY ID;
CREATE TABLE JUMPS AS SELECT ID, COUNT(*) AS N FROM ORDERS
  WINDOW HOPPING (SIZE 1 HOUR, ADVANCE BY 30 MINUTES) GROUP BY ID;
CREATE SOURCE TABLE TOTALS2 (ID INT PRIMARY KEY, N BIGINT) WITH (KAFKA_TOPIC='TOTALS', VALUE_FORMAT='JSON');
CREATE STREAM IF NOT EXISTS TIMED (ID INT) WITH (KAFKA_TOPIC='timed', VALUE_FORMAT='JSON');
ALTER STREAM TIMED ADD COLUMN EXTRA STRING;
PAUSE CTAS_VISITS_7; RESUME ALL; TERMINATE CTAS_VISITS_7;
DROP STREAM TIMED; DROP STREAM IF EXISTS NOBODY; DROP TYPE IF EXISTS NOBODY;
"""
SHOWN = [
    "LIST STREAMS;",
    "LIST TABLES;",
    "LIST STREAMS EXTENDED;",
    "LIST TABLES EXTENDED;",
    "DESCRIBE STREAMS;",
    "DESCRIBE TABLES EXTENDED;",
    "DESCRIBE ORDERS;",
    "DESCRIBE ORDERS EXTENDED;",
    "DESCRIBE HOURLY;",
    "DESCRIBE VISITS EXTENDED;",
    "DESCRIBE JUMPS;",
    "DESCRIBE TOTALS2 EXTENDED;",
    "LIST QUERIES;",
    "LIST QUERIES EXTENDED;",
    "EXPLAIN CTAS_TOTALS_5;",
    "EXPLAIN CTAS_HOURLY_6;",
    "EXPLAIN SELECT * FROM ORDERS EMIT CHANGES;",
    "EXPLAIN CREATE TABLE X AS SELECT ID, COUNT(*) AS N FROM ORDERS GROUP BY ID;",
    "LIST TOPICS;",
    "LIST ALL TOPICS;",
    "LIST TOPICS EXTENDED;",
    "LIST PROPERTIES;",
    "SET 'auto.offset.reset'='earliest'; LIST PROPERTIES;",
    "LIST FUNCTIONS;",
    "DESCRIBE FUNCTION ABS;",
    "DESCRIBE FUNCTION COUNT;",
    "DESCRIBE FUNCTION EXPLODE;",
    "DESCRIBE FUNCTION CONCAT_WS;",
    "LIST TYPES;",
    "DEFINE fmt = 'JSON'; LIST VARIABLES;",
    "UNDEFINE nothing;",
    "ASSERT TOPIC orders;",
    "ASSERT NOT EXISTS TOPIC nobody TIMEOUT 0 SECONDS;",
    "ASSERT NOT EXISTS SCHEMA SUBJECT 'nobody' TIMEOUT 0 SECONDS;",
]
#: Their answers come from a Kafka Connect worker: see tests/ksql.
ELSEWHERE = {"connector_info", "connector_list", "drop_connector"}


@pytest.fixture(scope="module")
def server():
    with running(open_ksql=True) as server:
        yield server


def entities(server, text):
    answer = httpx.post(f"{server.url}/ksql", json={"ksql": text}, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture(scope="module")
def created(server):
    return entities(server, SCRIPT)


def test_commands(created):
    assert {check_entity(e) for e in created} == {"currentStatus", "warning_entity"}
    numbers = [e["commandSequenceNumber"] for e in created if e["@type"] == "currentStatus"]
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("text", SHOWN)
def test_what_is_shown(server, created, text):
    for entity in entities(server, text):
        check_entity(entity)


def test_a_push_query_that_is_terminated(server, created):
    with httpx.stream(
        "POST", f"{server.url}/query-stream", json={"sql": "SELECT * FROM ORDERS EMIT CHANGES;"}
    ) as answer:
        lines = answer.iter_lines()
        query_id = json.loads(next(lines))["queryId"]
        listed = entities(server, "LIST QUERIES;")[0]
        check_entity(listed)
        assert [q["queryType"] for q in listed["queries"] if q["id"] == query_id] == ["PUSH"]
        check_entity(entities(server, "LIST QUERIES EXTENDED;")[0])
        (ended,) = entities(server, f"TERMINATE {query_id};")
        assert check_entity(ended) == "terminate_query"


def test_every_kind_of_entity_is_among_them(server, created):
    found = {e["@type"] for e in created} | {"terminate_query"}
    for text in SHOWN:
        found |= {e["@type"] for e in entities(server, text)}
    assert found == ENTITIES.keys() - ELSEWHERE

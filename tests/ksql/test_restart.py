"""Definitions and persistent queries survive: they go on with their state, and emit nothing twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kalam_jupyter.engine import Engine
from kalam_jupyter.ksql import Ksql

DEFINITIONS = """
CREATE TYPE pair AS STRUCT<a INT, b INT>;
CREATE STREAM s (id INT KEY, name STRING, v BIGINT, p pair) WITH (kafka_topic='s', value_format='JSON',
partitions=1);
CREATE STREAM big AS SELECT id, name, v FROM s WHERE v > 1;
CREATE TABLE totals AS SELECT name, COUNT(*) AS n, SUM(v) AS total FROM big GROUP BY name;
CREATE TABLE windows AS SELECT name, COUNT(*) AS n FROM s
  WINDOW TUMBLING (SIZE 10 SECONDS) GROUP BY name EMIT FINAL;
CREATE TABLE names (name STRING PRIMARY KEY, city STRING)
  WITH (kafka_topic='names', value_format='JSON', partitions=1);
CREATE STREAM joined AS SELECT s.name AS name, s.id, names.city FROM s LEFT JOIN names ON s.name = names.name;
"""


class Session:
    """A dialect on an engine at a path."""

    def __init__(self, path: Path) -> None:
        self.engine = Engine.open(path)
        self.ksql = Ksql(self.engine, {"ksql.streams.auto.offset.reset": "earliest"})
        self.engine.start()

    def insert(self, *rows: str) -> None:
        for row in rows:
            self.ksql.execute(f"INSERT INTO s (ROWTIME, id, name, v) VALUES ({row});")
        assert self.engine.settle()

    def records(self, name: str) -> list[Any]:
        """All records that the topic of a source holds."""
        source = self.ksql.metastore.get(name)
        assert source is not None
        topic = self.engine.topic(source.topic)
        found: list[Any] = []
        for stored in topic.read(topic.start_sequence):
            payload = stored.batch.typed(self.ksql.codec(source)).payload
            found += zip(payload.keys, payload.values, stored.batch.timestamp_list(), strict=True)
        return found

    def close(self) -> None:
        self.engine.close()


FIRST = ("0, 1, 'a', 5", "1000, 2, 'b', 1", "2000, 3, 'a', 7")
SECOND = ("3000, 4, 'a', 1", "12000, 5, 'b', 9", "90000, 6, 'a', 2")
SINKS = ("BIG", "TOTALS", "WINDOWS", "JOINED")


@pytest.fixture
def without_restart(tmp_path: Path) -> dict[str, list[Any]]:
    session = Session(tmp_path / "whole")
    session.ksql.execute(DEFINITIONS)
    session.ksql.execute("INSERT INTO names (ROWTIME, name, city) VALUES (0, 'a', 'Oslo');")
    session.insert(*FIRST, *SECOND)
    found = {name: session.records(name) for name in SINKS}
    session.close()
    return found


def test_a_restart_in_the_middle_changes_nothing_in_the_output(
    tmp_path: Path, without_restart: dict[str, list[Any]]
) -> None:
    path = tmp_path / "cut"
    session = Session(path)
    session.ksql.execute(DEFINITIONS)
    session.ksql.execute("INSERT INTO names (ROWTIME, name, city) VALUES (0, 'a', 'Oslo');")
    session.insert(*FIRST)
    session.close()
    session = Session(path)
    session.insert(*SECOND)
    assert {name: session.records(name) for name in SINKS} == without_restart
    session.close()


def test_ids_and_definitions_are_the_same_after_a_restart(tmp_path: Path) -> None:
    session = Session(tmp_path)
    session.ksql.execute(DEFINITIONS)
    listing = "LIST STREAMS; LIST TABLES; LIST TYPES; SHOW QUERIES; DESCRIBE totals;"
    before = session.ksql.execute(listing)
    session.close()
    session = Session(tmp_path)
    assert session.ksql.execute(listing) == before
    created = session.ksql.execute("CREATE STREAM again AS SELECT * FROM s;")[0]
    assert created["commandStatus"]["queryId"] == "CSAS_AGAIN_7"
    session.close()


def test_what_was_dropped_or_terminated_stays_so(tmp_path: Path) -> None:
    session = Session(tmp_path)
    session.ksql.execute(DEFINITIONS)
    session.ksql.execute("DROP TABLE totals; TERMINATE CSAS_BIG_2;")
    session.close()
    session = Session(tmp_path)
    assert sorted(session.ksql.state.queries) == ["CSAS_JOINED_6", "CTAS_WINDOWS_4"]
    assert session.ksql.metastore.get("TOTALS") is None
    assert session.ksql.metastore.get("BIG") is not None
    session.close()


def test_a_replaced_query_keeps_its_state_over_a_restart(tmp_path: Path) -> None:
    session = Session(tmp_path)
    session.ksql.execute(DEFINITIONS)
    session.insert(*FIRST)
    session.ksql.execute(
        "CREATE OR REPLACE TABLE totals AS SELECT name, COUNT(*) AS n, SUM(v) AS total FROM big "
        "WHERE v < 100 GROUP BY name;"
    )
    session.close()
    session = Session(tmp_path)
    session.insert("3000, 4, 'a', 500", "4000, 5, 'a', 8")
    assert session.records("TOTALS")[-1] == (("a",), (3, 20), 4000)
    session.close()


@pytest.mark.parametrize("end", ["TERMINATE ALL;", "DROP TABLE totals;"])
def test_nothing_is_kept_of_a_query_that_ended(tmp_path: Path, end: str) -> None:
    session = Session(tmp_path)
    session.ksql.execute(DEFINITIONS)
    select = "SELECT name, COUNT(*) AS n, SUM(v) AS total FROM big"
    session.ksql.execute(f"CREATE OR REPLACE TABLE totals AS {select} WHERE v > 3 GROUP BY name;")
    assert len(session.engine.catalogue.names("ksql.state")) == 1
    session.ksql.execute(end)
    assert session.engine.catalogue.names("ksql.state") == []
    session.close()


def test_a_paused_query_is_still_paused_and_catches_up_when_resumed(tmp_path: Path) -> None:
    session = Session(tmp_path)
    session.ksql.execute(DEFINITIONS)
    session.ksql.execute("PAUSE CSAS_BIG_2;")
    session.close()
    session = Session(tmp_path)
    session.insert(*FIRST)
    assert session.records("BIG") == []
    (shown,) = [q for q in session.ksql.execute("SHOW QUERIES;")[0]["queries"] if q["id"] == "CSAS_BIG_2"]
    assert shown["statusCount"] == {"PAUSED": 1}
    session.ksql.execute("RESUME CSAS_BIG_2;")
    assert session.engine.settle()
    assert len(session.records("BIG")) == 2
    session.close()

"""CREATE OR REPLACE: what may change, what may not, and what a replaced query keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kalam_jupyter.engine import Engine
from kalam_jupyter.ksql import Ksql
from kalam_jupyter.ksql.errors import StatementError

INPUT = (
    "CREATE STREAM input (id INT KEY, col1 INT) "
    "WITH (kafka_topic='input', value_format='JSON', partitions=1);"
)
TABLE = (
    "CREATE TABLE t (id INT PRIMARY KEY, v INT) WITH (kafka_topic='t', value_format='JSON', partitions=1);"
)


@pytest.fixture
def stream(ksql: Ksql) -> Ksql:
    ksql.execute(INPUT)
    return ksql


def insert(ksql: Ksql, *rows: tuple[int, int]) -> None:
    for id_, value in rows:
        ksql.execute(f"INSERT INTO input (id, col1) VALUES ({id_}, {value});")
    ksql.engine.settle()


def output(ksql: Ksql, name: str) -> list[tuple[Any, ...]]:
    query = ksql.query(f"SELECT * FROM {name};")
    return [tuple(r.values()) for r in query.table().to_pylist()]


def refusal(ksql: Ksql, text: str) -> str:
    before = ksql.execute("SHOW QUERIES;")
    with pytest.raises(StatementError) as raised:
        ksql.execute(text)
    assert ksql.execute("SHOW QUERIES;") == before
    return raised.value.message


def test_a_filter_comes_changes_and_goes_and_old_records_are_not_read_again(stream: Ksql) -> None:
    stream.execute("CREATE STREAM o AS SELECT * FROM input;")
    (query,) = stream.execute("SHOW QUERIES;")[0]["queries"]
    insert(stream, (1, 1))
    stream.execute("CREATE OR REPLACE STREAM o AS SELECT * FROM input WHERE col1 > 5;")
    insert(stream, (2, 2), (3, 9))
    stream.execute("CREATE OR REPLACE STREAM o AS SELECT * FROM input WHERE col1 < 5;")
    insert(stream, (4, 4), (5, 9))
    stream.execute("CREATE OR REPLACE STREAM o AS SELECT * FROM input;")
    insert(stream, (6, 9))
    assert output(stream, "o") == [(1, 1), (3, 9), (4, 4), (6, 9)]
    assert [q["id"] for q in stream.execute("SHOW QUERIES;")[0]["queries"]] == [query["id"]]


def test_a_projection_grows(stream: Ksql) -> None:
    stream.execute("CREATE STREAM o AS SELECT id, col1 FROM input;")
    insert(stream, (1, 1))
    stream.execute("CREATE OR REPLACE STREAM o AS SELECT id, col1, col1 + 1 AS more FROM input;")
    insert(stream, (2, 2))
    assert output(stream, "o") == [(1, 1, None), (2, 2, 3)]


def test_more_aggregates_begin_where_they_are_added_and_the_others_keep_their_state(stream: Ksql) -> None:
    stream.execute("CREATE TABLE o AS SELECT id, SUM(col1) AS s FROM input GROUP BY id;")
    insert(stream, (1, 10))
    stream.execute(
        "CREATE OR REPLACE TABLE o AS "
        "SELECT id, SUM(col1) AS s, MAX(col1) AS m, COUNT(col1) AS c FROM input GROUP BY id;"
    )
    insert(stream, (1, 5), (2, 7))
    assert sorted(output(stream, "o")) == [(1, 15, 5, 1), (2, 7, 7, 1)]


def test_a_filter_of_an_aggregation_may_come_when_its_columns_are_needed_anyway(stream: Ksql) -> None:
    stream.execute("CREATE TABLE o AS SELECT id, SUM(col1) AS s FROM input GROUP BY id;")
    insert(stream, (1, 10))
    stream.execute(
        "CREATE OR REPLACE TABLE o AS SELECT id, SUM(col1) AS s FROM input WHERE col1 > 5 GROUP BY id;"
    )
    insert(stream, (1, 1), (1, 6))
    assert output(stream, "o") == [(1, 16)]


def test_a_filter_of_an_aggregation_may_not_need_another_column(stream: Ksql) -> None:
    stream.execute("CREATE TABLE o AS SELECT id, COUNT(*) AS c FROM input GROUP BY id;")
    message = refusal(
        stream, "CREATE OR REPLACE TABLE o AS SELECT id, COUNT(*) AS c FROM input WHERE col1 > 0 GROUP BY id;"
    )
    assert (
        "StreamAggregate must have matching columns not part of aggregate. "
        "Values differ: [`ID`, `ROWTIME`, `COL1`] vs. [`ID`, `ROWTIME`]"
    ) in message


def test_windowed_aggregations_cannot_change(stream: Ksql) -> None:
    window = "WINDOW TUMBLING (SIZE 1 HOUR)"
    query = f"SELECT id, COUNT(*) AS c FROM input {window}"
    stream.execute(f"CREATE TABLE o AS {query} GROUP BY id;")
    message = refusal(
        stream,
        f"CREATE OR REPLACE TABLE o AS {query} WHERE col1 > 0 GROUP BY id;",
    )
    assert "Upgrades not yet supported for StreamWindowedAggregate" in message


@pytest.mark.parametrize(
    "changed",
    ["SELECT s.id, s.col1, t.v FROM {} WHERE s.col1 > 0;", "SELECT s.id, s.col1, t.v, s.col1 AS w FROM {};"],
)
def test_stream_table_joins_cannot_change(stream: Ksql, changed: str) -> None:
    stream.execute(TABLE)
    joined = "input s JOIN t ON s.id = t.id"
    same = f"SELECT s.id, s.col1, t.v FROM {joined};"
    stream.execute(f"CREATE STREAM o AS {same}")
    stream.execute(f"CREATE OR REPLACE STREAM o AS {same}")
    message = refusal(stream, "CREATE OR REPLACE STREAM o AS " + changed.format(joined))
    assert "Upgrades not yet supported for StreamTableJoin" in message


def test_a_filter_that_comes_to_a_table_removes_what_stops_matching(ksql: Ksql) -> None:
    ksql.execute(TABLE)
    ksql.execute("CREATE TABLE o AS SELECT * FROM t;")
    ksql.execute("INSERT INTO t (id, v) VALUES (1, 10); INSERT INTO t (id, v) VALUES (2, 10);")
    ksql.engine.settle()
    ksql.execute("CREATE OR REPLACE TABLE o AS SELECT * FROM t WHERE v > 5;")
    ksql.execute("INSERT INTO t (id, v) VALUES (1, 1); INSERT INTO t (id, v) VALUES (2, 11);")
    assert output(ksql, "o") == [(2, 11)]


def test_another_source_is_refused(stream: Ksql) -> None:
    stream.execute(INPUT.replace("input", "other"))
    stream.execute("CREATE STREAM o AS SELECT * FROM input;")
    assert "must have matching properties" in refusal(
        stream, "CREATE OR REPLACE STREAM o AS SELECT * FROM other;"
    )


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ("id INT, col1 INT KEY", "[`ID` INTEGER KEY])"),
        (
            "id INT KEY, col1 BIGINT",
            "(The following columns are changed, missing or reordered: [`COL1` INTEGER])",
        ),
        ("id INT KEY, other INT, col1 INT", "missing or reordered: [`COL1` INTEGER])"),
    ],
)
def test_declared_columns_are_only_added(stream: Ksql, columns: str, text: str) -> None:
    replacement = INPUT.replace("CREATE", "CREATE OR REPLACE").replace("id INT KEY, col1 INT", columns)
    assert text in refusal(stream, replacement)


def test_a_replaced_query_goes_on_with_its_state_after_a_restart(tmp_path: Path) -> None:
    engine = Engine.open(tmp_path / "engine")
    ksql = Ksql(engine)
    engine.start()
    ksql.execute(INPUT)
    ksql.execute("CREATE TABLE o AS SELECT id, SUM(col1) AS s FROM input GROUP BY id;")
    insert(ksql, (1, 10))
    ksql.execute(
        "CREATE OR REPLACE TABLE o AS SELECT id, SUM(col1) AS s, MIN(col1) AS m FROM input GROUP BY id;"
    )
    insert(ksql, (1, 5))
    engine.close()
    engine = Engine.open(tmp_path / "engine")
    ksql = Ksql(engine)
    engine.start()
    insert(ksql, (1, 7))
    assert output(ksql, "o") == [(1, 22, 5)]
    engine.close()

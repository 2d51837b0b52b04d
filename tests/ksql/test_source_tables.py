"""SOURCE TABLEs: the query that keeps their rows, and what statements do with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kalam_jupyter.engine import Engine
from kalam_jupyter.ksql import Ksql, KsqlError

SOURCE_TABLE = "CREATE SOURCE TABLE t (k STRING PRIMARY KEY, v INT) WITH (KAFKA_TOPIC='t', FORMAT='JSON');"


def make(ksql: Ksql) -> None:
    """Make a topic that a stream writes, and a source table on it."""
    ksql.execute("CREATE STREAM w (k STRING KEY, v INT) WITH (KAFKA_TOPIC='t', FORMAT='JSON', PARTITIONS=1);")
    ksql.execute(SOURCE_TABLE)


@pytest.fixture
def ksql() -> Iterator[Ksql]:
    with Engine.open() as engine:
        ksql = Ksql(engine)
        engine.start()
        make(ksql)
        yield ksql


def insert(ksql: Ksql, key: str, value: int) -> None:
    ksql.execute(f"INSERT INTO w (k, v) VALUES ('{key}', {value});")


def rows(ksql: Ksql) -> list[dict[str, object]]:
    found: list[dict[str, object]] = ksql.query("SELECT * FROM t;").table().to_pylist()
    return found


def test_the_statement_tells_the_query_that_keeps_the_rows(ksql: Ksql) -> None:
    ksql.execute("DROP TABLE t;")
    (made,) = ksql.execute(SOURCE_TABLE)
    assert made["commandStatus"]["queryId"] == "CST_T_3"
    assert made["commandStatus"]["message"] == "Created query with ID CST_T_3"


def test_queries_and_descriptions_list_it(ksql: Ksql) -> None:
    (listed,) = ksql.execute("SHOW QUERIES;")[0]["queries"]
    assert (listed["id"], listed["queryType"], listed["sinks"]) == ("CST_T_1", "PERSISTENT", ["T"])
    described = ksql.execute("DESCRIBE t EXTENDED;")[0]["sourceDescription"]
    assert [q["id"] for q in described["readQueries"]] == ["CST_T_1"]
    assert (described["writeQueries"], described["sourceConstraints"]) == ([], [])
    (found,) = ksql.execute("SHOW QUERIES EXTENDED;")[0]["queryDescriptions"]
    assert (found["id"], found["state"]) == ("CST_T_1", "RUNNING")


def test_it_is_explained(ksql: Ksql) -> None:
    found = ksql.execute("EXPLAIN cst_t_1;")[0]["queryDescription"]
    assert (found["id"], found["sources"], found["queryType"]) == ("CST_T_1", ["T"], "PERSISTENT")
    assert [f["name"] for f in found["fields"]] == ["K", "V"]
    nodes = ksql.topology_data("CST_T_1")["nodes"]
    assert [n["kind"] for n in nodes] == ["SOURCE", "PROJECT"]
    assert nodes[0]["stores"] == ["KafkaTopic_T-Reduce"]


def test_it_cannot_be_terminated(ksql: Ksql) -> None:
    with pytest.raises(KsqlError, match=r"CST_T_1 cannot be terminated.*source table T"):
        ksql.execute("TERMINATE CST_T_1;")
    ksql.execute("TERMINATE ALL;")
    assert [q["id"] for q in ksql.execute("SHOW QUERIES;")[0]["queries"]] == ["CST_T_1"]


def test_it_ends_with_its_table(ksql: Ksql) -> None:
    ksql.execute("PAUSE CST_T_1;")
    ksql.execute("DROP TABLE t;")
    assert ksql.execute("SHOW QUERIES;")[0]["queries"] == []
    assert ksql.engine.catalogue.names("ksql.paused") == []


def test_queries_that_read_the_table_block_its_drop(ksql: Ksql) -> None:
    ksql.execute("CREATE TABLE c AS SELECT * FROM t;")
    with pytest.raises(KsqlError, match=r"read from this source: \[C\]"):
        ksql.execute("DROP TABLE t;")


def test_while_it_is_paused_the_rows_stay(ksql: Ksql) -> None:
    insert(ksql, "a", 1)
    ksql.execute("PAUSE CST_T_1;")
    insert(ksql, "a", 2)
    insert(ksql, "b", 3)
    assert rows(ksql) == [{"K": "a", "V": 1}]
    (listed,) = ksql.execute("SHOW QUERIES;")[0]["queries"]
    assert listed["statusCount"] == {"PAUSED": 1}
    ksql.execute("RESUME ALL;")
    assert rows(ksql) == [{"K": "a", "V": 2}, {"K": "b", "V": 3}]


def test_it_is_there_after_a_restart_and_paused_if_it_was(tmp_path: Path) -> None:
    with Engine.open(tmp_path) as engine:
        ksql = Ksql(engine)
        engine.start()
        make(ksql)
        insert(ksql, "a", 1)
        ksql.execute("PAUSE CST_T_1;")
        insert(ksql, "a", 2)
    with Engine.open(tmp_path) as engine:
        ksql = Ksql(engine)
        engine.start()
        assert ksql.query_state("CST_T_1") == "PAUSED"
        assert rows(ksql) == [{"K": "a", "V": 1}]
        ksql.execute("RESUME CST_T_1;")
        assert rows(ksql) == [{"K": "a", "V": 2}]
        with pytest.raises(KsqlError, match="cannot be terminated"):
            ksql.execute("TERMINATE CST_T_1;")


def test_it_counts_as_a_persistent_query() -> None:
    with Engine.open() as engine:
        ksql = Ksql(engine, {"ksql.query.persistent.active.limit": 0})
        engine.start()
        with pytest.raises(KsqlError, match="Configured limit: 0") as refused:
            make(ksql)
        assert refused.value.error_code == 40000


def test_without_materialization_it_is_a_read_only_table(ksql: Ksql) -> None:
    with Engine.open() as engine:
        ksql = Ksql(engine, {"ksql.source.table.materialization.enabled": "false"})
        engine.start()
        make(ksql)
        assert ksql.execute("SHOW QUERIES;")[0]["queries"] == []
        with pytest.raises(KsqlError, match="isn't queryable"):
            ksql.query("SELECT * FROM t;")


def test_a_windowed_one_has_a_query_too(ksql: Ksql) -> None:
    ksql.execute(
        "CREATE SOURCE TABLE win (k STRING PRIMARY KEY, v INT) WITH (KAFKA_TOPIC='t', FORMAT='JSON', "
        "WINDOW_TYPE='TUMBLING', WINDOW_SIZE='1 MINUTE');"
    )
    assert ksql.execute("EXPLAIN CST_WIN_2;")[0]["queryDescription"]["windowType"] == "TUMBLING"

"""Queries as graphs: what `Ksql.topology_data` and EXPLAIN tell of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pyarrow as pa
import pytest

from kalam_jupyter.engine import Engine
from kalam_jupyter.ksql import Ksql, KsqlError

INSERTS = "".join(f"INSERT INTO s (id, v) VALUES ({i}, {i});" for i in (1, 2, 3))


@pytest.fixture
def ksql() -> Iterator[Ksql]:
    with Engine.open() as engine:
        ksql = Ksql(engine)
        engine.start()
        ksql.execute(
            "CREATE STREAM s (id INT KEY, v INT) WITH (KAFKA_TOPIC='s', FORMAT='JSON', PARTITIONS=1);"
        )
        yield ksql


def test_a_topology_is_told_as_data(ksql: Ksql) -> None:
    ksql.execute("CREATE TABLE t AS SELECT v, COUNT(*) AS n FROM s WHERE v > 1 GROUP BY v;")
    found = ksql.topology_data("ctas_t_1")
    assert (found["query_id"], found["state"], found["error"]) == ("CTAS_T_1", "RUNNING", "")
    kinds = [node["kind"] for node in found["nodes"]]
    assert kinds == ["SOURCE", "FILTER", "GROUP_BY", "AGGREGATE", "PROJECT", "SINK"]
    ids = [node["id"] for node in found["nodes"]]
    assert found["edges"] == [list(edge) for edge in itertools.pairwise(ids)]
    source, sink = found["nodes"][0], found["nodes"][-1]
    assert (source["label"], source["topic"]) == ("S", "s")
    assert source["schema"] == "`ID` INTEGER KEY, `V` INTEGER"
    assert (sink["label"], sink["topic"], sink["schema"]) == ("T", "T", "`V` INTEGER KEY, `N` BIGINT")
    assert found["nodes"][1]["detail"] == "(V > 1)"
    assert found["nodes"][3]["stores"] == ["Aggregate-Aggregate-Materialize"]


def test_a_topology_counts_what_went_through(ksql: Ksql) -> None:
    ksql.execute("CREATE TABLE t AS SELECT v, COUNT(*) AS n FROM s WHERE v > 1 GROUP BY v;" + INSERTS)
    ksql.engine.settle()
    nodes = ksql.topology_data("CTAS_T_1")["nodes"]
    assert [(n["kind"], n["records_in"], n["records_out"]) for n in nodes] == [
        ("SOURCE", 3, 3),
        ("FILTER", 3, 2),
        ("GROUP_BY", 2, 2),
        ("AGGREGATE", 2, 2),
        ("PROJECT", 2, 2),
        ("SINK", 2, 2),
    ]
    assert nodes[0]["lag"] == 0


def test_a_topology_counts_the_column_form_as_the_row_form(ksql: Ksql) -> None:
    ksql.execute("CREATE STREAM t AS SELECT id, v FROM s WHERE v >= 50;")
    ksql.stream_frame("s", pa.table({"id": list(range(100)), "v": list(range(100))}), key="id")
    ksql.engine.settle()
    nodes = ksql.topology_data("CSAS_T_1")["nodes"]
    assert [n["records_out"] for n in nodes] == [100, 50, 50, 50]


def test_a_paused_query_lags(ksql: Ksql) -> None:
    ksql.execute("CREATE STREAM t AS SELECT id, v FROM s; PAUSE CSAS_T_1;" + INSERTS)
    found = ksql.topology_data("CSAS_T_1")
    assert (found["state"], found["nodes"][0]["lag"]) == ("PAUSED", 3)


def test_a_push_query_has_a_topology(ksql: Ksql) -> None:
    query = ksql.query("SELECT v FROM s EMIT CHANGES;")
    ksql.execute(INSERTS)
    assert ksql.topology_data(query.id)["nodes"][0]["lag"] == 3
    query.poll()
    found = ksql.topology_data(query.id.upper())
    assert [(n["records_out"], n["lag"]) for n in found["nodes"]] == [(3, 0), (3, None)]
    described = ksql.execute(f"EXPLAIN {query.id};")[0]["queryDescription"]
    assert (described["id"], described["queryType"]) == (query.id, "PUSH")
    query.close()


def test_the_topology_of_a_statement_runs_nothing(ksql: Ksql) -> None:
    ksql.execute("CREATE STREAM s2 (id INT KEY, w INT) WITH (KAFKA_TOPIC='s', FORMAT='JSON');")
    found = ksql.topology_data(
        "SELECT a.id, w FROM ${left} a JOIN s2 b WITHIN 1 HOUR ON a.id = b.id EMIT CHANGES;",
        variables={"left": "s"},
    )
    assert (found["query_id"], found["state"]) == ("", "")
    assert {n["records_out"] for n in found["nodes"]} == {None}
    (join,) = [node["id"] for node in found["nodes"] if node["kind"] == "JOIN"]
    assert len([edge for edge in found["edges"] if edge[1] == join]) == 2
    assert not ksql.state.queries


def test_explain_draws_the_topology_as_kafka_streams_does(ksql: Ksql) -> None:
    ksql.execute("CREATE STREAM t AS SELECT id, v FROM s;")
    text = ksql.execute("EXPLAIN CSAS_T_1;")[0]["queryDescription"]["topology"]
    assert text.splitlines() == [
        "Topologies:",
        "   Sub-topology: 0",
        "    Source: Source-0 (topics: [s])",
        "      --> Project-1",
        "    Processor: Project-1 (stores: [])",
        "      --> Sink-2",
        "      <-- Source-0",
        "    Sink: Sink-2 (topic: T)",
        "      <-- Project-1",
        "",
    ]


def test_a_query_of_the_same_request_can_be_explained(ksql: Ksql) -> None:
    entities = ksql.execute(
        "CREATE STREAM t AS SELECT id, v FROM s; EXPLAIN CSAS_T_1; SHOW QUERIES EXTENDED;"
    )
    assert entities[1]["queryDescription"]["sinks"] == ["T"]
    assert [q["id"] for q in entities[2]["queryDescriptions"]] == ["CSAS_T_1"]


def test_what_is_no_query_has_no_topology(ksql: Ksql) -> None:
    with pytest.raises(KsqlError, match="does not run a ksql query"):
        ksql.topology_data("SHOW STREAMS;")

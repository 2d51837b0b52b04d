"""Topologies of a ksqlDB cluster, read from the text of EXPLAIN."""

from kalam_jupyter.client.topology_text import explained_topology

REPARTITIONED = """Topologies:
   Sub-topology: 0
    Source: KSTREAM-SOURCE-0000000000 (topics: [orders])
      --> KSTREAM-TRANSFORMVALUES-0000000001
    Processor: KSTREAM-TRANSFORMVALUES-0000000001 (stores: [])
      --> Aggregate-GroupBy
      <-- KSTREAM-SOURCE-0000000000
    Processor: Aggregate-GroupBy (stores: [])
      --> Aggregate-GroupBy-repartition-filter
      <-- KSTREAM-TRANSFORMVALUES-0000000001
    Processor: Aggregate-GroupBy-repartition-filter (stores: [])
      --> Aggregate-GroupBy-repartition-sink
      <-- Aggregate-GroupBy
    Sink: Aggregate-GroupBy-repartition-sink (topic: Aggregate-GroupBy-repartition)
      <-- Aggregate-GroupBy-repartition-filter

  Sub-topology: 1
    Source: Aggregate-GroupBy-repartition-source (topics: [Aggregate-GroupBy-repartition])
      --> KSTREAM-AGGREGATE-0000000003
    Processor: KSTREAM-AGGREGATE-0000000003 (stores: [Aggregate-Aggregate-Materialize])
      --> Project, Other
      <-- Aggregate-GroupBy-repartition-source
    Processor: Project (stores: [])
      --> KSTREAM-SINK-0000000009
      <-- KSTREAM-AGGREGATE-0000000003
    Sink: KSTREAM-SINK-0000000009 (topic: TOTALS)
      <-- Project
    Processor: Other (stores: [])
      --> none
      <-- KSTREAM-AGGREGATE-0000000003

"""


def described(**members):
    return {"id": "CTAS_TOTALS_3", "statementText": "CREATE ..", "topology": REPARTITIONED, **members}


def test_a_repartition_connects_its_sub_topologies():
    found = explained_topology(described())
    assert ["Aggregate-GroupBy-repartition-sink", "Aggregate-GroupBy-repartition-source"] in found["edges"]
    starts = {n["id"] for n in found["nodes"]} - {b for _, b in found["edges"]}
    assert starts == {"KSTREAM-SOURCE-0000000000"}


def test_every_arrow_is_an_edge_and_none_is_not():
    found = explained_topology(described())
    assert [b for a, b in found["edges"] if a == "KSTREAM-AGGREGATE-0000000003"] == ["Project", "Other"]
    assert [b for a, b in found["edges"] if a == "Other"] == []


def test_nodes_stand_behind_those_they_read():
    found = explained_topology(described())
    order = [n["id"] for n in found["nodes"]]
    assert all(order.index(a) < order.index(b) for a, b in found["edges"])
    assert len(order) == 10


def test_only_the_query_s_own_sink_has_its_name_and_columns():
    struct = {"type": "STRUCT", "fields": [{"name": "a", "schema": {"type": "BIGINT"}}]}
    fields = [
        {"name": "K", "schema": {"type": "STRING"}, "type": "KEY"},
        {"name": "D", "schema": {"type": "DECIMAL", "parameters": {"precision": 4, "scale": 2}}},
        {"name": "A", "schema": {"type": "ARRAY", "memberSchema": struct}},
    ]
    found = explained_topology(described(sinks=["TOTALS_TABLE"], fields=fields))
    sinks = {n["topic"]: (n["label"], n["schema"]) for n in found["nodes"] if n["kind"] == "SINK"}
    columns = "`K` STRING KEY, `D` DECIMAL(4, 2), `A` ARRAY<STRUCT<`a` BIGINT>>"
    assert sinks["TOTALS"] == ("TOTALS_TABLE", columns)
    assert sinks["Aggregate-GroupBy-repartition"] == ("Aggregate-GroupBy-repartition", "")


def test_stores_topics_and_errors_are_told():
    found = explained_topology(described(state="ERROR", queryErrors=[{"errorMessage": "bad"}]))
    assert (found["state"], found["error"]) == ("ERROR", "bad")
    (aggregate,) = [n for n in found["nodes"] if n["stores"]]
    assert aggregate["stores"] == ["Aggregate-Aggregate-Materialize"]
    assert found["nodes"][0]["topic"] == "orders"


def test_an_answer_without_a_topology_has_no_nodes():
    assert explained_topology({"id": "X", "topology": None})["nodes"] == []

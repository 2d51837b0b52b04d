from __future__ import annotations

import pytest

from kalam_jupyter.magics.errors import UsageError
from kalam_jupyter.widgets import Topology

from .test_magics import ORDERS


def test_explain_shows_the_topology_above_its_text(run):
    run(ORDERS)
    cell = run("%ksql EXPLAIN SELECT item FROM orders WHERE price > 1 EMIT CHANGES;")
    picture = cell.shown[0].data["text/plain"]
    assert "FILTER · (PRICE > 1)" in picture and "Source" in cell.shown[1].data["text/plain"]


def test_a_query_that_runs_is_shown_with_its_counts(run):
    run(ORDERS)
    topology = run("%ksql topology").value
    assert isinstance(topology, Topology) and topology.state == "RUNNING"
    source = topology.figures["Source-0"]
    assert source["text"] == "3 in · 3 out"
    topology.stop()


def test_the_query_may_be_named(run):
    run(ORDERS)
    query_id = run("%ksql queries").value.Query[0]
    topology = run(f"%ksql topology {query_id.lower()}").value
    assert topology.data["query_id"] == query_id
    topology.stop()


def test_a_query_that_is_not_there_is_told(run):
    with pytest.raises(UsageError, match="none runs"):
        run("%ksql topology")
    run(ORDERS)
    with pytest.raises(UsageError, match=r"There is no query 'CTAS_REVENUE'. Did you mean CTAS_REVENUE_"):
        run("%ksql topology CTAS_REVENUE")

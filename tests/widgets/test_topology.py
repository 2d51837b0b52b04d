from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalam_jupyter.client import ClientError
from kalam_jupyter.widgets import Topology
from kalam_jupyter.widgets.topology_svg import HEIGHT, WIDTH, draw, lay_out

from .test_stepper import connection  # noqa: F401

COUNTS = "CREATE TABLE t AS SELECT item, COUNT(*) AS n FROM o WHERE item <> 'a<b' GROUP BY item;"


@pytest.fixture
def topology(connection):  # noqa: F811
    connection.ksql(COUNTS)
    connection.ksql("INSERT INTO o VALUES (1, 'tea'); INSERT INTO o VALUES (2, 'a<b');")
    connection.node.engine.settle()
    (listed,) = connection.ksql("LIST QUERIES;")
    topology = Topology(listed.entity["queries"][0]["id"], connection=connection)
    yield topology
    topology.stop()


def test_it_shows_what_went_through_each_operator(topology):
    assert [n["kind"] for n in topology.nodes] == [
        "SOURCE",
        "FILTER",
        "GROUP_BY",
        "AGGREGATE",
        "PROJECT",
        "SINK",
    ]
    texts = [topology.figures[n["id"]]["text"] for n in topology.nodes]
    assert texts == [
        "2 in · 2 out",
        "2 in · 1 out",
        "1 in · 1 out",
        "1 in · 1 out",
        "1 in · 1 out",
        "1 written",
    ]
    assert topology.state == "RUNNING" and not topology.ended


def test_a_second_reading_knows_rates(topology, connection):  # noqa: F811
    connection.node.engine.clock.set(topology.data["time_ms"] + 2_000)
    connection.ksql("INSERT INTO o VALUES (3, 'tea');" * 8)
    connection.node.engine.settle()
    topology.refresh()
    assert topology.figures["Source-0"] == {"text": "10 in · 10 out", "rate": 4, "lag": 0}


def test_a_query_that_ended_says_so(topology, connection):  # noqa: F811
    connection.ksql(f"TERMINATE {topology.data['query_id']};")
    topology.refresh()
    assert topology.state == "ENDED" and topology.ended


def test_a_statement_is_drawn_and_not_run(connection):  # noqa: F811
    topology = Topology(COUNTS, connection=connection)
    assert topology.ended and topology.state == "" and topology.figures["Source-0"]["text"] == ""
    assert connection.ksql("LIST QUERIES;")[0].entity["queries"] == []
    with pytest.raises(ClientError):
        Topology("LIST STREAMS;", connection=connection)


def test_its_saved_form_is_a_picture(topology):
    data = topology._saved()
    assert re.search(r'<img [^>]*src="data:image/svg\+xml;base64,', data["text/html"])
    assert "SINK · T · 1 written" in data["text/plain"]


def test_the_picture_is_well_formed_and_styles_nothing_else(topology):
    picture = ElementTree.fromstring(topology.picture)
    style = picture.find("{http://www.w3.org/2000/svg}style").text
    rules = [line for line in style.splitlines() if line.strip()]
    assert all(line.startswith(".klt-svg ") for line in rules)
    assert "a<b" in "".join(picture.itertext())


GRAPHS = st.integers(1, 9).flatmap(
    lambda n: st.tuples(
        st.just([f"n{i}" for i in range(n)]),
        st.sets(
            st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda e: e[0] < e[1]), max_size=14
        ),
    )
)


@given(GRAPHS)
def test_inputs_stand_above_and_no_node_on_another(graph):
    ids, numbered = graph
    edges = [[f"n{a}", f"n{b}"] for a, b in numbered]
    layout = lay_out(ids, edges)
    assert all(layout.places[a][1] + HEIGHT < layout.places[b][1] for a, b in edges)
    places = list(layout.places.values())
    for i, (x, y) in enumerate(places):
        assert 0 <= x <= layout.width - WIDTH and 0 <= y <= layout.height - HEIGHT
        assert all(y != y2 or abs(x - x2) >= WIDTH for x2, y2 in places[i + 1 :])


def test_an_empty_topology_is_drawn():
    assert draw([], []).startswith("<svg")

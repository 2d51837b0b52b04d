"""The channel by which JupyterLab's Streams panel sees the engine in a kernel."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kalam_jupyter.client import Connection
from kalam_jupyter.client.connections import Connections
from kalam_jupyter.client.inprocess import InProcessTransport
from kalam_jupyter.magics.panel import PanelChannel
from kalam_jupyter.node import Node

STATEMENTS = (
    "CREATE STREAM s (id INT KEY, note STRING) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);"
    "CREATE TABLE t AS SELECT id, COUNT(*) AS n FROM s GROUP BY id;"
    "INSERT INTO s VALUES (1, 'a');"
)


class Wire:
    """Stands for the comm: what the front end would receive, and a way to send as it does."""

    def __init__(self) -> None:
        self.received: queue.Queue[dict[str, Any]] = queue.Queue()
        self.closed = False
        self._deliver: Callable[[dict[str, Any]], None] = lambda message: None

    def on_msg(self, callback: Callable[[dict[str, Any]], None]) -> None:
        self._deliver = callback

    def send(self, data: dict[str, Any]) -> None:
        self.received.put(data)

    def close(self) -> None:
        self.closed = True

    def say(self, **data: Any) -> None:
        self._deliver({"content": {"data": data}})

    def ask(self, **data: Any) -> dict[str, Any]:
        self.say(id=7, **data)
        return self.next("reply")

    def next(self, kind: str) -> dict[str, Any]:
        while True:
            message = self.received.get(timeout=30)
            if message["type"] == kind:
                return message


@pytest.fixture
def wire() -> Iterator[Wire]:
    made = Wire()
    node = Node.open()
    connections = Connections()
    connections.add("mine", Connection(InProcessTransport(node)))
    connections.current.ksql(STATEMENTS)
    channel = PanelChannel(connections, made)
    yield made
    channel.close()
    connections.close()
    node.close()


def test_sends_what_there_is_when_asked_to_watch(wire: Wire):
    wire.say(type="watch", value=True)
    shown = wire.next("overview")
    assert shown["target"] == "embedded"
    assert [q["id"] for q in shown["overview"]["queries"]] == ["CTAS_T_1"]


def test_sends_again_when_something_changed(wire: Wire):
    wire.say(type="watch", value=True)
    wire.next("overview")
    assert wire.ask(type="stop", query="CTAS_T_1") == {
        "type": "reply",
        "id": 7,
        "result": {"stopped": "CTAS_T_1"},
    }
    while wire.next("overview")["overview"]["queries"]:
        pass


def test_peeks_at_a_topic(wire: Wire):
    assert [r["key"] for r in wire.ask(type="peek", topic="s")["result"]["records"]] == ["1"]


def test_refuses_in_words(wire: Wire):
    assert "nobody" in wire.ask(type="peek", topic="nobody")["error"]
    assert "CTAS_X_9" in wire.ask(type="stop", query="CTAS_X_9")["error"]


def test_a_connection_that_leads_elsewhere_has_nothing_to_show():
    wire = Wire()
    channel = PanelChannel(Connections(), wire)
    wire.say(type="watch", value=True)
    assert wire.next("overview") == {"type": "overview", "target": None, "overview": None}
    assert "no engine of its own" in wire.ask(type="peek", topic="s")["error"]
    channel.close()
    assert wire.closed

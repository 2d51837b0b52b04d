"""Connections over each transport; the same cases run on all of them."""

import pytest

from kalam_jupyter.client import Connection, connect
from kalam_jupyter.client.http import HttpTransport
from kalam_jupyter.client.inprocess import InProcessTransport
from kalam_jupyter.client.wire import Wire
from kalam_jupyter.node import Node
from tests.server.running import CONFIG, TOKEN, running


@pytest.fixture
def server():
    with running() as server:
        yield server


@pytest.fixture(params=["embedded", "http", "cluster"])
def connection(request):
    """A connection to a fresh engine.

    ``cluster`` talks to our server as if it were somebody else's: in the contracts' JSON alone.
    """
    if request.param == "embedded":
        with Node.open(kalam=CONFIG) as node, Connection(InProcessTransport(node)) as connection:
            yield connection
    elif request.param == "cluster":
        server = request.getfixturevalue("server")
        wire = Wire.to(server.url, f"Bearer {TOKEN}")
        transport = HttpTransport(wire, ours=False, dialects=frozenset({"ksql", "kalam"}))
        with Connection(transport) as connection:
            yield connection
    else:
        server = request.getfixturevalue("server")
        with connect(server.url, token=TOKEN) as connection:
            yield connection

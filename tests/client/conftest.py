"""Connections over each transport; the same cases run on all of them."""

import pytest

from kalam_jupyter.client import Connection, connect
from kalam_jupyter.client.inprocess import InProcessTransport
from kalam_jupyter.node import Node
from tests.server.running import CONFIG, TOKEN, running


@pytest.fixture
def server():
    with running() as server:
        yield server


@pytest.fixture(params=["embedded", "http"])
def connection(request):
    """A connection to a fresh engine."""
    if request.param == "embedded":
        with Node.open(kalam=CONFIG) as node, Connection(InProcessTransport(node)) as connection:
            yield connection
    else:
        server = request.getfixturevalue("server")
        with connect(server.url, token=TOKEN) as connection:
            yield connection

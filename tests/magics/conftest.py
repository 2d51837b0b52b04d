from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.testing.globalipapp import start_ipython
from IPython.utils.capture import capture_output

import kalam_jupyter
from kalam_jupyter.client import Connection
from kalam_jupyter.client.connections import connections
from kalam_jupyter.client.inprocess import InProcessTransport
from kalam_jupyter.node import Node


@pytest.fixture(scope="session")
def ipython() -> InteractiveShell:
    return start_ipython() or InteractiveShell.instance()


@pytest.fixture
def shell(ipython: InteractiveShell) -> Iterator[InteractiveShell]:
    """A shell with the extension loaded, connected to a fresh engine in memory."""
    kalam_jupyter.load_ipython_extension(ipython)
    node = Node.open()
    connections.add("default", Connection(InProcessTransport(node)))
    ipython.user_ns.pop("x", None)
    yield ipython
    kalam_jupyter.unload_ipython_extension(ipython)
    node.close()


class Cell:
    """What running a cell showed: the objects displayed, and the value of its last line."""

    def __init__(self, shown: list[Any], value: Any) -> None:
        self.shown, self.value = shown, value

    def __str__(self) -> str:
        return "\n".join([*(out.data["text/plain"] for out in self.shown), repr(self.value)])


@pytest.fixture
def run(shell: InteractiveShell) -> Callable[[str], Cell]:
    """Run a cell; what it raises is raised."""

    def run_cell(text: str) -> Cell:
        with capture_output() as captured:
            result = shell.run_cell(text)
        result.raise_error()
        # A widget's view is an output without text, beside the one that is saved.
        shown = [out for out in captured.outputs if "text/plain" in out.data]
        return Cell(shown, result.result)

    return run_cell

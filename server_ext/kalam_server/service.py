"""The engine behind the handlers: opened at first use, worked on outside the event loop."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from kalam_jupyter.node import Node

T = TypeVar("T")


class ServiceClosedError(Exception):
    """The server is shutting down and takes no more work."""


class Service:
    """One `Node`, and the threads that work on it for the handlers.

    Parameters
    ----------
    open_node : callable
        Opens the node; called once, in a worker thread, when the first request needs it.
    workers : int
        Threads. A push query that waits for rows holds none.
    """

    def __init__(self, open_node: Callable[[], Node], *, workers: int = 32) -> None:
        self._open_node = open_node
        self._node: Node | None = None
        self._opening = threading.Lock()
        self._closed = False
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="kalam-server")
        #: Called when the server stops, so that open streams end properly.
        self.on_close: set[Callable[[], None]] = set()
        self.log = logging.getLogger("kalam_server")

    @property
    def opened(self) -> bool:
        """Whether the node exists already."""
        return self._node is not None

    @property
    def closed(self) -> bool:
        """Whether the server is shutting down."""
        return self._closed

    def node(self) -> Node:
        """Return the node, opening it if need be. Blocks; not for the event loop.

        Raises
        ------
        ServiceClosedError
        EngineError
            If it cannot be opened.
        """
        node = self._node
        if node is None:
            with self._opening:
                if self._closed:
                    raise ServiceClosedError
                if self._node is None:
                    self._node = self._open_node()
                node = self._node
        return node

    async def run(self, work: Callable[[Node], T]) -> T:
        """Run `work` on the node in a worker thread; return or raise what it does.

        Raises
        ------
        ServiceClosedError
        """
        if self._closed:
            raise ServiceClosedError
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, lambda: work(self.node()))

    async def close(self) -> None:
        """End open streams, then close the node."""
        if self._closed:
            return
        self._closed = True
        for callback in list(self.on_close):
            callback()
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._close)

    def _close(self) -> None:
        with self._opening:
            node = self._node
        if node is not None:
            node.close()
        self._executor.shutdown(wait=False, cancel_futures=True)

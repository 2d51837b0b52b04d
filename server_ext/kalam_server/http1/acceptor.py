"""Which connections are served by this package, and their end."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

from tornado import iostream
from tornado.httpserver import HTTPServer
from tornado.ioloop import PeriodicCallback

from kalam_server.http1.connection import Http1Connection
from kalam_server.http1.request import Express

#: So much is read at once.
READ_SIZE = 256 * 1024
#: Who has not sent the head of a request within so many seconds will not.
HEAD_SECONDS = 60.0


class _Acceptor:
    """Stands in front of one server: makes its plain connections ours, leaves TLS to Tornado."""

    def __init__(self, server: HTTPServer, max_body: int, express: Express | None) -> None:
        self._server, self._max_body, self._express = server, max_body, express
        self._buffer = memoryview(bytearray(READ_SIZE))
        self._tornado = server.handle_stream
        self.connections: set[Http1Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def handle_stream(self, stream: iostream.IOStream, address: Any) -> None:
        """Take an accepted connection of which nothing has been read."""
        if isinstance(stream, iostream.SSLIOStream):
            self._tornado(stream, address)
            return
        task = asyncio.ensure_future(self._connect(stream.socket, address))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, sock: socket.socket, address: Any) -> None:
        connection = Http1Connection(self._server, address, self._max_body, self._express, self._buffer)
        connection.on_lost = self.connections.discard
        self.connections.add(connection)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, sock)
        except OSError:
            self.connections.discard(connection)
            sock.close()

    async def drain(self, seconds: float) -> None:
        """End all connections; answers in progress get some time to finish."""
        deadline = time.monotonic() + seconds
        while self.connections and time.monotonic() < deadline:
            for connection in list(self.connections):
                if connection.idle:
                    connection.close()
            await asyncio.sleep(0.01)
        for connection in list(self.connections):
            connection.close()

    def close_idle(self, seconds: float) -> None:
        """Close connections over which nothing came for so long while nothing is being answered, and those
        that take too long over the head of a request."""
        now = time.monotonic()
        for connection in list(self.connections):
            begun = connection.head_since
            if (connection.idle and connection.used < now - seconds) or (
                begun is not None and begun < now - HEAD_SECONDS
            ):
                connection.close()


class Installed:
    """HTTP/1.1 on a server: see `install`."""

    def __init__(self, acceptor: _Acceptor, idle_timeout: float) -> None:
        self._acceptor = acceptor
        self._sweep = PeriodicCallback(lambda: acceptor.close_idle(idle_timeout), 60_000)
        self._sweep.start()

    async def drain(self, seconds: float = 2.0) -> None:
        """End all connections."""
        self._sweep.stop()
        await self._acceptor.drain(seconds)


def install(
    server: HTTPServer, *, max_body: int, idle_timeout: float, express: Express | None = None
) -> Installed:
    """Serve HTTP/1.1 on `server` by this module. Call before `http2.install`, and that before it accepts."""
    acceptor = _Acceptor(server, max_body, express)
    server.handle_stream = acceptor.handle_stream  # type: ignore[method-assign]
    return Installed(acceptor, idle_timeout)

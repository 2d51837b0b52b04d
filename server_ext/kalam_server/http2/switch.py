"""Which connections speak HTTP/2: decided by looking at their first bytes, or by ALPN."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any

from tornado import iostream
from tornado.httpserver import HTTPServer, _HTTPRequestContext

from kalam_server.http2.connection import H2Connection
from kalam_server.http2.stream import resolve

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FIRST_BYTE_TIMEOUT = 60.0
DRAIN_TIMEOUT = 2.0


async def _opens_with_preface(stream: iostream.IOStream) -> bool:
    """Whether the peer speaks HTTP/2 from the first byte. Peeks; consumes nothing."""
    sock, loop = stream.socket, asyncio.get_running_loop()
    deadline = loop.time() + FIRST_BYTE_TIMEOUT
    while True:
        ready: asyncio.Future[None] = loop.create_future()
        loop.add_reader(sock.fileno(), resolve, ready)
        try:
            await asyncio.wait_for(ready, deadline - loop.time())
        finally:
            loop.remove_reader(sock.fileno())
        head = sock.recv(len(PREFACE), socket.MSG_PEEK)
        if not head or not PREFACE.startswith(head):
            return False
        if len(head) == len(PREFACE):
            return True
        await asyncio.sleep(0.01)  # part of a preface: the rest is on its way


class _Switch:
    """Stands in front of one server: sends each connection to HTTP/2 or to Tornado."""

    def __init__(self, server: HTTPServer) -> None:
        self.server, self.http1 = server, server.handle_stream
        self.connections: set[H2Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def handle_stream(self, stream: iostream.IOStream, address: tuple[Any, ...]) -> None:
        """Take an accepted connection."""
        task = asyncio.ensure_future(self._route(stream, address))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _route(self, stream: iostream.IOStream, address: tuple[Any, ...]) -> None:
        try:
            if isinstance(stream, iostream.SSLIOStream):
                await stream.wait_for_handshake()
                speaks_h2 = stream.socket.selected_alpn_protocol() == "h2"
            else:
                speaks_h2 = await _opens_with_preface(stream)
        except (TimeoutError, OSError, ssl.SSLError, iostream.StreamClosedError, ValueError):
            stream.close()
            return
        if not speaks_h2:
            self.http1(stream, address)
            return
        protocol = "https" if isinstance(stream, iostream.SSLIOStream) else "http"
        context = _HTTPRequestContext(stream, address, protocol, self.server.trusted_downstream)
        connection = H2Connection(self.server, stream, context)
        self.connections.add(connection)
        try:
            await connection.serve()
        finally:
            self.connections.discard(connection)

    async def drain(self) -> None:
        """End every HTTP/2 connection, and those that have not said anything yet."""
        await asyncio.gather(*(c.drain(DRAIN_TIMEOUT) for c in list(self.connections)))
        for task in list(self._tasks):
            task.cancel()


def install(server: HTTPServer) -> None:
    """Serve HTTP/2 on `server` beside HTTP/1.1. Call before it accepts connections."""
    switch = _Switch(server)
    server.handle_stream = switch.handle_stream  # type: ignore[method-assign]
    server.kalam_http2 = switch  # type: ignore[attr-defined]


async def drain(server: HTTPServer) -> None:
    """End the HTTP/2 connections of `server` gracefully; `close_all_connections` does not know them."""
    switch: _Switch | None = getattr(server, "kalam_http2", None)
    if switch is not None:
        await switch.drain()

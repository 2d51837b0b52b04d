"""HTTP/1.1 for a Tornado `HTTPServer`, at a third of the cost of Tornado's own.

A connection is an asyncio transport with the parser that Node.js uses (llhttp, by ``httptools``) in front
of the application: every request becomes one ``server.start_request`` call, as with `http2`, so handlers
notice nothing. What was parsed waits in a queue until the request before it is answered and the handler
wants it; while much is waiting, nothing is read. A request that somebody upgrades (`detach`) takes its
socket along as a Tornado stream.

An `Express` may answer a request itself, before the application sees it: see `kalam_handlers.express`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from http.client import responses
from typing import Any, Protocol

import httptools
from tornado import httputil, iostream
from tornado.httpserver import HTTPServer
from tornado.ioloop import PeriodicCallback

log = logging.getLogger("kalam_server.http1")

MAX_HEAD = 64 * 1024
#: So much of a body may wait for its handler before the socket is left alone.
MAX_WAITING = 256 * 1024
#: Bodies up to this size are offered to the express.
MAX_EXPRESS_BODY = 64 * 1024
BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_NO_BODY = frozenset({204, 304})


@dataclass(frozen=True)
class Peer:
    """The other end of a connection, as Tornado's requests ask for it."""

    remote_ip: str
    address: Any
    protocol: str = "http"

    def __str__(self) -> str:
        return self.remote_ip


@dataclass
class Request:
    """A request whose head has been read.

    Attributes
    ----------
    target : bytes
        As in the request line.
    version : str
        ``1.0`` or ``1.1``.
    headers : list of (name, value)
        In order, names in lower case.
    body : bytes or None
        The whole body, where it was collected for the express.
    keep_alive : bool
    """

    method: str
    target: bytes
    version: str
    headers: list[tuple[bytes, bytes]]
    keep_alive: bool
    body: bytes | None = None

    def header(self, name: bytes) -> bytes | None:
        """Return the only header of a name, None if there is none or several."""
        found = [v for n, v in self.headers if n == name]
        return found[0] if len(found) == 1 else None

    def start_line(self) -> httputil.RequestStartLine:
        """Return the request line for Tornado."""
        return httputil.RequestStartLine(self.method, self.target.decode("latin-1"), f"HTTP/{self.version}")

    def tornado_headers(self) -> httputil.HTTPHeaders:
        """Return the headers for Tornado."""
        headers = httputil.HTTPHeaders()
        for name, value in self.headers:
            headers.add(name.decode("latin-1"), value.decode("latin-1"))
        return headers


class Express(Protocol):
    """Answers some requests by itself."""

    def wants(self, request: Request) -> bool:
        """Whether to collect the request's body for `take`."""

    def take(self, request: Request, peer: Peer, answer: Callable[[int, bytes], None]) -> bool:
        """Answer the request, now or later, with a status and a JSON body; False leaves it to others."""


class Exchange(httputil.HTTPConnection):
    """One request and its answer, as the `HTTPConnection` that Tornado's handlers write to."""

    def __init__(self, connection: Http1Connection, request: Request, max_body: int) -> None:
        self.connection, self.request, self.context = connection, request, connection.peer
        self.delegate: httputil.HTTPMessageDelegate | None = None
        self.max_body, self.received = max_body, 0
        self.body_read = self.finished = self.detached = False
        self._on_close: Callable[[], None] | None = None
        self._chunked = self._head_only = False
        self._expected: int | None = None
        #: What is held back, while it is.
        self._held: list[bytes] | None = None

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Have `callback` called when the peer goes away before the answer is complete."""
        self._on_close = callback

    def set_max_body_size(self, size: int) -> None:
        """Limit the request body."""
        self.max_body = size

    def write_headers(
        self,
        start_line: httputil.RequestStartLine | httputil.ResponseStartLine,
        headers: httputil.HTTPHeaders,
        chunk: bytes | None = None,
    ) -> asyncio.Future[None]:
        """Send the response head, then `chunk`."""
        assert isinstance(start_line, httputil.ResponseStartLine)
        request, code = self.request, start_line.code
        self._head_only = request.method == "HEAD" or code == 304
        bodiless = code in _NO_BODY or 100 <= code < 200
        self._chunked = (
            request.version == "1.1"
            and not bodiless
            and "Content-Length" not in headers
            and "Transfer-Encoding" not in headers
        )
        if self._chunked:
            headers["Transfer-Encoding"] = "chunked"
        elif "Content-Length" in headers and not self._head_only:
            self._expected = int(headers["Content-Length"])
        elif not bodiless and not self._head_only:
            request.keep_alive = False  # the end of the connection is the end of the body
        if not self.body_read:
            request.keep_alive = False
        if not request.keep_alive and code != 101:
            headers["Connection"] = "close"
        elif request.version == "1.0":
            headers["Connection"] = "Keep-Alive"
        lines = [f"HTTP/1.1 {code} {start_line.reason}"]
        lines += [f"{name}: {value}" for name, value in headers.get_all()]
        text = "\r\n".join(lines)
        if text.count("\n") != len(lines) - 1 or text.count("\r") != len(lines) - 1:
            raise ValueError("illegal characters in a response header")
        return self._send(text.encode("latin-1") + b"\r\n\r\n" + self._framed(chunk or b""))

    def write(self, chunk: bytes) -> asyncio.Future[None]:
        """Send body bytes; done when the transport wants more."""
        return self._send(self._framed(chunk))

    def cork(self) -> None:
        """Hold back what is written until the response ends: it leaves in one write."""
        self._held = []

    def write_pieces(self, pieces: Sequence[bytes]) -> asyncio.Future[None]:
        """As `write`, each piece as a chunk of its own."""
        return self._send(b"".join([self._framed(piece) for piece in pieces]))

    def _framed(self, chunk: bytes) -> bytes:
        if self._head_only or not chunk:
            return b""
        if self._expected is not None:
            self._expected -= len(chunk)
            if self._expected < 0:
                self.connection.close()
                raise httputil.HTTPOutputError("Tried to write more data than Content-Length")
        return b"%x\r\n%b\r\n" % (len(chunk), chunk) if self._chunked else bytes(chunk)

    def _send(self, data: bytes) -> asyncio.Future[None]:
        if self.connection.closed:
            future: asyncio.Future[None] = self.connection.loop.create_future()
            future.set_exception(iostream.StreamClosedError())
            future.exception()  # retrieved: nobody has to await it
            return future
        if data and self._held is not None:
            self._held.append(data)
        elif data:
            self.connection.transport.write(data)
        return self.connection.writable()

    def finish(self) -> None:
        """End the response."""
        if self._expected:
            self.connection.close()
            raise httputil.HTTPOutputError(f"Tried to write {self._expected} bytes less than Content-Length")
        held, self._held = self._held or [], None
        if self._chunked and not self._head_only:
            held.append(b"0\r\n\r\n")
        if held and not self.connection.closed:
            self.connection.transport.write(b"".join(held))
        self.finished = True
        self._on_close = None
        self.connection.answered(self)

    def detach(self) -> iostream.IOStream:
        """Take the socket over: this connection is no longer HTTP."""
        self.detached = self.finished = True
        return self.connection.detach()

    def abort(self) -> None:
        """The peer is gone before the answer was complete."""
        if self.finished:
            return
        self.finished = True
        if self._on_close is not None:
            self._on_close()
        if self.delegate is not None and not self.body_read:
            self.delegate.on_connection_close()


class DetachedStream(iostream.IOStream):
    """A stream that first gives what was read from its socket before."""

    def __init__(self, sock: socket.socket, before: bytes) -> None:
        self._before = before
        super().__init__(sock)

    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        """See `IOStream`."""
        if self._before:
            part = self._before[: len(buf)]
            self._before = self._before[len(part) :]
            buf[: len(part)] = part
            return len(part)
        return super().read_from_fd(buf)


class Http1Connection(asyncio.Protocol):
    """One connection. The ``on_`` methods are called by the parser."""

    def __init__(self, server: HTTPServer, address: Any, max_body: int, express: Express | None) -> None:
        self.loop = asyncio.get_running_loop()
        self.peer = Peer(address[0] if isinstance(address, tuple) else "0.0.0.0", address)
        self.transport: Any = None
        self.closed = False
        self.used = time.monotonic()
        self.on_lost: Callable[[Http1Connection], None] = lambda connection: None
        self._server, self._express, self._max_body = server, express, max_body
        self._parser = httptools.HttpRequestParser(self)
        self._events: deque[tuple[str, Any]] = deque()
        self._waiting = self._head = 0
        self._exchange: Exchange | None = None
        self._stepping = self._pending = self._paused = False
        self._upgraded: bytes | None = None
        self._collected: list[bytes] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._done: asyncio.Future[None] = self.loop.create_future()
        self._done.set_result(None)

    # ---- the transport

    def connection_made(self, transport: Any) -> None:
        """See `asyncio.Protocol`."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self.used = time.monotonic()
        self._feed(data)
        self._step()

    def _feed(self, data: bytes) -> None:
        self._head += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # What follows belongs to whoever takes the connection over, else it is the next request.
            self._upgraded = data[upgrade.args[0] :]
        except httptools.HttpParserError as error:
            log.info("malformed request on HTTP/1.1 from %s: %s", self.peer, error)
            self._events.append(("bad", None))
        if self._head > MAX_HEAD:
            self._events.append(("bad", None))
        self._restrain()

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`: writes are done when the transport has sent most of what it holds."""
        self._drained = self.loop.create_future()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    def writable(self) -> asyncio.Future[None]:
        """Done when the transport wants more."""
        return self._done if self._drained is None else self._drained

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self.closed = True
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_exception(iostream.StreamClosedError())
            drained.exception()  # retrieved: nobody has to await it
        self._events.clear()
        if self._exchange is not None:
            self._exchange.abort()
        self.on_lost(self)

    def close(self) -> None:
        """Close the connection once what was written is sent."""
        if self.transport is not None:
            self.transport.close()

    @property
    def idle(self) -> bool:
        """Whether no request is being answered."""
        return self._exchange is None and not self._events

    # ---- the parser

    def on_message_begin(self) -> None:
        """A request begins."""
        self._target, self._headers = b"", list[tuple[bytes, bytes]]()

    def on_url(self, url: bytes) -> None:
        """A part of the target was read."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header was read."""
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The head was read."""
        parser = self._parser
        self._head = -(1 << 62)  # counted again from the next request on
        request = Request(
            parser.get_method().decode("latin-1"),
            self._target,
            parser.get_http_version(),
            self._headers,
            parser.should_keep_alive(),
        )
        if any(n == b"expect" and v.lower() == b"100-continue" for n, v in self._headers):
            self.transport.write(CONTINUE)
        if self._express is not None and self._express.wants(request):
            self._collected = []
        self._events.append(("head", request))

    def on_body(self, body: bytes) -> None:
        """A part of the body was read."""
        if self._collected is not None:
            self._collected.append(body)
            return
        self._waiting += len(body)
        self._events.append(("body", body))

    def on_message_complete(self) -> None:
        """The request was read."""
        self._head = 0
        if self._collected is not None:
            self._events[-1][1].body = b"".join(self._collected)
            self._collected = None
        self._events.append(("end", None))

    # ---- from parsed events to the application

    def _step(self) -> None:
        """Go on with what was parsed, as far as the handlers are ready for it."""
        if self._stepping:
            return
        self._stepping = True
        try:
            while self._events and not (self._pending or self.closed):
                kind, value = self._events[0]
                if kind == "head" and (self._exchange is not None or self._collected is not None):
                    break
                self._events.popleft()
                _STEPS[kind](self, value)
            self._after_upgrade()
        finally:
            self._stepping = False
        self._restrain()

    def _after_upgrade(self) -> None:
        """Go on with the next request when nobody took the connection over."""
        if self._upgraded is not None and not (self._events or self._exchange or self.closed):
            rest, self._upgraded = self._upgraded, None
            self._parser = httptools.HttpRequestParser(self)
            self._head = 0
            if rest:
                self._feed(rest)
                self.loop.call_soon(self._step)

    def _restrain(self) -> None:
        """Leave the socket alone while much is waiting."""
        full = self._waiting > MAX_WAITING or self._upgraded is not None or len(self._events) > 64
        if full != self._paused and not (self.closed or self.transport.is_closing()):
            self._paused = full
            (self.transport.pause_reading if full else self.transport.resume_reading)()

    def _begin(self, request: Request) -> None:
        exchange = self._exchange = Exchange(self, request, self._max_body)
        if request.body is not None:
            assert self._express is not None
            if self._express.take(request, self.peer, self._answer):
                return
            self._waiting += len(request.body)
            self._events.appendleft(("body", request.body))
        delegate = exchange.delegate = self._server.start_request(self, exchange)
        self._deliver(lambda: delegate.headers_received(request.start_line(), request.tornado_headers()))

    def _body(self, data: bytes) -> None:
        self._waiting -= len(data)
        exchange = self._exchange
        if exchange is None or exchange.delegate is None or exchange.finished:
            return
        declared = int(exchange.request.header(b"content-length") or 0) if not exchange.received else 0
        exchange.received += len(data)
        if max(exchange.received, declared) > exchange.max_body:
            self._bad(None)
            return
        delegate = exchange.delegate
        self._deliver(lambda: delegate.data_received(data))

    def _end(self, _: None) -> None:
        exchange = self._exchange
        if exchange is None:
            return
        exchange.body_read = True
        if exchange.finished:
            self.answered(exchange)
        elif exchange.delegate is not None:
            delegate = exchange.delegate
            self._deliver(lambda: delegate.finish())

    def _bad(self, _: None) -> None:
        """The request cannot be understood, or is too large: nothing after it can be either."""
        self._events.clear()
        self.transport.write(BAD_REQUEST)
        self.close()

    def _deliver(self, call: Callable[[], Awaitable[None] | None]) -> None:
        """Call a delegate's method; wait for what it returns before the next."""
        try:
            waiting = call()
        except httputil.HTTPInputError as error:
            log.info("malformed request on HTTP/1.1 from %s: %s", self.peer, error)
            self._bad(None)
            return
        if waiting is not None:
            future = asyncio.ensure_future(waiting)
            if not future.done():
                self._pending = True
                future.add_done_callback(self._delivered)

    def _delivered(self, future: asyncio.Future[None]) -> None:
        self._pending = False
        if not future.cancelled() and (error := future.exception()) is not None:
            log.error("a handler failed", exc_info=error)
            self.close()
            return
        self._step()

    # ---- answers

    def _answer(self, status: int, body: bytes) -> None:
        """Answer an express request."""
        exchange = self._exchange
        if exchange is None or self.closed:
            return
        keep = b"" if exchange.request.keep_alive else b"Connection: close\r\n"
        self.transport.write(
            b"HTTP/1.1 %d %b\r\nX-Content-Type-Options: nosniff\r\nContent-Type: application/json\r\n"
            b"Date: %b\r\n%bContent-Length: %d\r\n\r\n%b"
            % (status, _reason(status), _date(), keep, len(body), body)
        )
        exchange.finished = exchange.body_read = True
        self.answered(exchange)

    def answered(self, exchange: Exchange) -> None:
        """An answer is complete: go on with the next request, when this one has been read."""
        if exchange is not self._exchange or self.closed:
            return
        if not exchange.request.keep_alive:
            self.close()
        elif exchange.body_read:
            self._exchange = None
            if self._events or self._upgraded is not None:
                self.loop.call_soon(self._step)

    def detach(self) -> iostream.IOStream:
        """Give the socket away as a Tornado stream."""
        sock = socket.socket(fileno=os.dup(self.transport.get_extra_info("socket").fileno()))
        rest, self._upgraded = self._upgraded or b"", None
        self._exchange = None
        self.transport.abort()
        return DetachedStream(sock, rest)


_STEPS: dict[str, Callable[[Http1Connection, Any], None]] = {
    "head": Http1Connection._begin,
    "body": Http1Connection._body,
    "end": Http1Connection._end,
    "bad": Http1Connection._bad,
}
_dated: tuple[int, bytes] = (0, b"")


def _date() -> bytes:
    """Return the ``Date`` header's value, made once a second."""
    global _dated
    now = int(time.time())
    if _dated[0] != now:
        _dated = (now, formatdate(now, usegmt=True).encode())
    return _dated[1]


def _reason(status: int) -> bytes:
    return responses.get(status, "Unknown").encode()


class _Acceptor:
    """Stands in front of one server: makes its plain connections ours, leaves TLS to Tornado."""

    def __init__(self, server: HTTPServer, max_body: int, express: Express | None) -> None:
        self._server, self._max_body, self._express = server, max_body, express
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
        connection = Http1Connection(self._server, address, self._max_body, self._express)
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
        """Close connections over which nothing came for so long while nothing is being answered."""
        oldest = time.monotonic() - seconds
        for connection in list(self.connections):
            if connection.idle and connection.used < oldest:
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

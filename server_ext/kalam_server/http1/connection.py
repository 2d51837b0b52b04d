"""One HTTP/1.1 connection: from bytes to requests, and from their handlers to answers."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections import deque
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from functools import cache
from http.client import responses
from typing import Any

import httptools
from tornado import httputil, iostream
from tornado.httpserver import HTTPServer

from kalam_server.http1.exchange import Exchange
from kalam_server.http1.request import MAX_COLLECTED, Express, Peer, Repeated, Request

log = logging.getLogger("kalam_server.http1")

MAX_HEAD = 64 * 1024
#: So much of a body may wait for its handler before the socket is left alone.
MAX_WAITING = 256 * 1024
BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


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


class Http1Connection(asyncio.BufferedProtocol):
    """One connection. The ``on_`` methods are called by the parser.

    Parameters
    ----------
    buffer : memoryview
        What is read goes through it; for all connections of a loop, which reads one at a time. (A buffer of
        its own for each read, as `asyncio.Protocol` has it, costs as much as all the rest of reading.)
    """

    def __init__(
        self,
        server: HTTPServer,
        address: Any,
        max_body: int,
        express: Express | None,
        buffer: memoryview,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.peer = Peer(address[0] if isinstance(address, tuple) else "0.0.0.0", address)
        self.transport: Any = None
        self.closed = False
        self.used = time.monotonic()
        #: When the head began that is still being read.
        self.head_since: float | None = None
        self.on_lost: Callable[[Http1Connection], None] = lambda connection: None
        self._server, self._express, self._max_body, self._buffer = server, express, max_body, buffer
        self._parser = httptools.HttpRequestParser(self)
        self._events: deque[tuple[str, Any]] = deque()
        self._waiting = self._head = 0
        self._exchange: Exchange | None = None
        self._stepping = self._pending = self._paused = self._reading = False
        self._repeated: Repeated | None = None
        self._upgraded: bytes | None = None
        self._again: bytes | None = None
        self._collected: list[bytes] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._done: asyncio.Future[None] = self.loop.create_future()
        self._done.set_result(None)

    # ---- the transport

    def connection_made(self, transport: Any) -> None:
        """See `asyncio.BufferedProtocol`."""
        self.transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        """See `asyncio.BufferedProtocol`."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """See `asyncio.BufferedProtocol`."""
        data = bytes(self._buffer[:nbytes])
        self.used = time.monotonic()
        between = self.idle and not self._reading and self._upgraded is None
        if between and self._repeated is not None and (known := self._repeated.read(data)) is not None:
            if self._begin(known):
                return
            self._events.append(("end", None))
        else:
            self._feed(data)
            if between and not self._reading and len(self._events) == 2:
                self._remember(data, self._events[0][1])
        self._step()

    def _remember(self, data: bytes, request: Any) -> None:
        """Know the head again of the one request that `data` was, if it is an express one."""
        if isinstance(request, Request) and request.body is not None:
            self._repeated = Repeated.of(data, request)

    def _feed(self, data: bytes) -> None:
        self._head += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            rest = data[upgrade.args[0] :]
            if self._again is not None:
                head, self._again = self._again, None
                self._parser = httptools.HttpRequestParser(self)
                self._feed(head + rest)
                return
            # What follows belongs to whoever takes the connection over, else it is the next request.
            self._upgraded = rest
        except httptools.HttpParserError as error:
            log.info("malformed request on HTTP/1.1 from %s: %s", self.peer, error)
            self._events.append(("bad", None))
        if self._head > MAX_HEAD:
            self._events.append(("bad", None))
        self._restrain()

    def pause_writing(self) -> None:
        """See `asyncio.BufferedProtocol`: writes are done when the transport has sent most of what it has."""
        self._drained = self.loop.create_future()

    def resume_writing(self) -> None:
        """See `asyncio.BufferedProtocol`."""
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    def writable(self) -> asyncio.Future[None]:
        """Done when the transport wants more."""
        return self._done if self._drained is None else self._drained

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.BufferedProtocol`."""
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
        self._reading, self.head_since = True, self.used
        self._target, self._headers = b"", list[tuple[bytes, bytes]]()

    def on_url(self, url: bytes) -> None:
        """A part of the target was read."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header was read."""
        self._headers.append((name.lower(), value.rstrip(b" \t")))  # the parser strips only in front

    def on_headers_complete(self) -> None:
        """The head was read."""
        self.head_since = None
        parser = self._parser
        if parser.should_upgrade() and not self._wants_websocket():
            self._again = self._head_without_upgrade()
            return
        if self._head > MAX_HEAD and sum(len(n) + len(v) for n, v in self._headers) > MAX_HEAD:
            self._events.append(("bad", None))
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
        length = request.header(b"content-length") or b""
        if self._express is not None and length.isdigit() and int(length) <= MAX_COLLECTED:
            request.take = self._express.judge(request, self.peer)
            self._collected = None if request.take is None else []
        self._events.append(("head", request))

    def _wants_websocket(self) -> bool:
        return any(n == b"upgrade" and v.lower() == b"websocket" for n, v in self._headers)

    def _head_without_upgrade(self) -> bytes:
        """Write the head again without what the parser takes for the end of HTTP: other upgrades (Java's
        clients offer ``h2c`` with every request) are not for us, and their requests have bodies."""
        start = b"%b %b HTTP/%b\r\n" % (
            self._parser.get_method(),
            self._target,
            self._parser.get_http_version().encode(),
        )
        kept = [
            (n, b"close" if n == b"connection" and b"close" in v.lower() else v)
            for n, v in self._headers
            if n != b"upgrade" and not (n == b"connection" and b"close" not in v.lower())
        ]
        return start + b"".join([b"%b: %b\r\n" % header for header in kept]) + b"\r\n"

    def on_body(self, body: bytes) -> None:
        """A part of the body was read."""
        if self._collected is not None:
            self._collected.append(body)
            return
        self._waiting += len(body)
        self._events.append(("body", body))

    def on_message_complete(self) -> None:
        """The request was read."""
        if self._again is not None:
            return
        self._head, self._reading = 0, False
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

    def _begin(self, request: Request) -> bool:
        """Hand a request over; return whether all of it was taken, by an express."""
        exchange = self._exchange = Exchange(self, request, self._max_body)
        if request.take is not None and request.body is not None:
            if request.take(request.body, self._answer, exchange.set_close_callback):
                return True
            self._waiting += len(request.body)
            self._events.appendleft(("body", request.body))
        delegate = exchange.delegate = self._server.start_request(self, exchange)
        self._deliver(lambda: delegate.headers_received(request.start_line(), request.tornado_headers()))
        return False

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
            b"%bDate: %b\r\n%bContent-Length: %d\r\n\r\n%b" % (_start(status), _date(), keep, len(body), body)
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


_STEPS: dict[str, Callable[[Http1Connection, Any], object]] = {
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


@cache
def _start(status: int) -> bytes:
    """Return how express answers begin."""
    return (
        f"HTTP/1.1 {status} {responses.get(status, 'Unknown')}\r\n"
        "X-Content-Type-Options: nosniff\r\nContent-Type: application/json\r\n"
    ).encode()

"""HTTP/2 for a Tornado `HTTPServer`, beside HTTP/1.1 on the same port.

`install` puts a switch in front of the server's own code: each accepted connection is looked at
without consuming anything. One that opens with the HTTP/2 preface (prior knowledge), or agreed on
``h2`` by ALPN under TLS, is served here; any other goes on to Tornado. ``Upgrade: h2c`` is ignored,
as the standard allows. Every HTTP/2 stream becomes one ``server.start_request`` call, so the same
application, handlers and authentication apply.

What keeps a hostile peer in bounds: flow control both ways (window is given back when a handler has
consumed the bytes; a write is done when the socket took it), at most `MAX_STREAMS` streams open and
handlers at work, header lists up to 64 KiB, a budget of resets (rapid reset), a limit on unsent bytes,
and closing connections that nobody uses.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
from tornado import httputil, iostream
from tornado.httpserver import HTTPServer, _HTTPRequestContext

log = logging.getLogger("kalam_server.http2")

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#: Headers that mean nothing in HTTP/2 and must not be sent.
HOP_BY_HOP = frozenset({"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"})
MAX_STREAMS = 100
MAX_HEADER_LIST = 64 * 1024
STREAM_WINDOW = 1024 * 1024
CONNECTION_WINDOW = 8 * 1024 * 1024
MAX_UNSENT = 64 * 1024 * 1024
#: A peer may reset this many streams, and gets one reset back every tenth of a second.
RESET_BUDGET = 200
RESETS_PER_SECOND = 10.0
FIRST_BYTE_TIMEOUT = 60.0
IDLE_TIMEOUT = 600.0
DRAIN_TIMEOUT = 2.0

Codes = h2.errors.ErrorCodes


class H2Stream(httputil.HTTPConnection):
    """One HTTP/2 stream, as the `HTTPConnection` that Tornado's handlers write to."""

    def __init__(self, connection: H2Connection, stream_id: int, *, head: bool, max_body: int) -> None:
        self.connection, self.stream_id, self.context = connection, stream_id, connection.context
        self.delegate: httputil.HTTPMessageDelegate | None = None
        self._head, self._max_body, self._received = head, max_body, 0
        #: Request body: (bytes, flow-controlled length), then None.
        self.inbox: asyncio.Queue[tuple[bytes, int] | None] = asyncio.Queue()
        #: Response bytes that wait for window.
        self.outbox: deque[memoryview] = deque()
        self.writing: asyncio.Future[None] | None = None
        self._on_close: Callable[[], None] | None = None
        self.headers_sent = self.finishing = self.finished = self.dead = False

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Have `callback` called when the peer goes away before the answer is complete."""
        self._on_close = callback

    def set_max_body_size(self, size: int) -> None:
        """Limit the request body."""
        self._max_body = size

    def write_headers(
        self,
        start_line: httputil.RequestStartLine | httputil.ResponseStartLine,
        headers: httputil.HTTPHeaders,
        chunk: bytes | None = None,
    ) -> asyncio.Future[None]:
        """Send the response head, then `chunk`."""
        assert isinstance(start_line, httputil.ResponseStartLine)
        fields = [(":status", str(start_line.code))]
        fields += [(k.lower(), v) for k, v in headers.get_all() if k.lower() not in HOP_BY_HOP]
        if not self.dead:
            self.connection.send_headers(self, fields)
        self.headers_sent = True
        return self.write(chunk or b"")

    def write(self, chunk: bytes) -> asyncio.Future[None]:
        """Queue response bytes; done when flow control and the socket have taken them."""
        self.writing = future = asyncio.get_running_loop().create_future()
        if self.dead:
            _fail(future)
        else:
            if chunk and not self._head:
                self.outbox.append(memoryview(bytes(chunk)))
            self.connection.pump(self)
        return future

    def write_pieces(self, pieces: Sequence[bytes]) -> asyncio.Future[None]:
        """As `write`, each piece in DATA frames of its own."""
        if not (self.dead or self._head):
            self.outbox.extend([memoryview(piece) for piece in pieces])
        return self.write(b"")

    def finish(self) -> None:
        """End the response once everything is sent."""
        self.finishing = True
        if not self.dead:
            self.connection.pump(self)

    def detach(self) -> iostream.IOStream:
        """Refuse: WebSockets are HTTP/1.1 here."""
        raise RuntimeError("an HTTP/2 stream cannot be detached")

    def abort(self) -> None:
        """The peer is gone: fail pending writes, tell the handler, end the body."""
        if self.dead:
            return
        self.dead = True
        self.outbox.clear()
        if self.writing is not None and not self.writing.done():
            _fail(self.writing)
        self.inbox.put_nowait(None)
        if not self.finished and self.delegate is not None:
            if self._on_close is not None:
                self._on_close()
            self.delegate.on_connection_close()

    async def run(self, start_line: httputil.RequestStartLine, headers: httputil.HTTPHeaders) -> None:
        """Feed the request to Tornado in order; give window back as it is consumed."""
        assert self.delegate is not None
        try:
            await _settle(self.delegate.headers_received(start_line, headers))
            while (item := await self.inbox.get()) is not None:
                data, flow = item
                self._received += len(data)
                if self._received > self._max_body:
                    self.connection.reset(self, Codes.REFUSED_STREAM)
                    return
                if not self.finished:
                    await _settle(self.delegate.data_received(data))
                self.connection.acknowledge(self, flow)
            if not (self.dead or self.finished):
                self.delegate.finish()
        except httputil.HTTPInputError as error:
            log.info("malformed request on HTTP/2: %s", error)
            self.connection.reset(self, Codes.PROTOCOL_ERROR)
        except Exception:
            # The boundary to Tornado's delegates: whatever they raise ends this stream only.
            log.exception("HTTP/2 stream %d", self.stream_id)
            self.connection.reset(self, Codes.INTERNAL_ERROR)


class H2Connection:
    """One HTTP/2 connection and its streams."""

    def __init__(self, server: HTTPServer, stream: iostream.IOStream, context: Any) -> None:
        self.server, self.stream, self.context = server, stream, context
        stream.max_write_buffer_size = MAX_UNSENT
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        )
        self.streams: dict[int, H2Stream] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._resets, self._resets_at = float(RESET_BUDGET), time.monotonic()
        self._draining = False
        self._used = time.monotonic()
        self._empty = asyncio.Event()
        self._empty.set()

    async def serve(self) -> None:
        """Serve until either side has enough."""
        watch = asyncio.ensure_future(self._close_when_idle())
        try:
            self._open()
            while True:
                data = await self.stream.read_bytes(65536, partial=True)
                for event in self.h2.receive_data(data):
                    self._handle(event)
                self.flush()
        except h2.exceptions.ProtocolError as error:
            log.info("HTTP/2 protocol error from %s: %s", self.context.remote_ip, error)
            self.flush()
        except (iostream.StreamClosedError, iostream.StreamBufferFullError):
            pass
        finally:
            watch.cancel()
            for stream in list(self.streams.values()):
                stream.abort()
            self.stream.close()

    def _open(self) -> None:
        codes = h2.settings.SettingCodes
        self.h2.local_settings = h2.settings.Settings(
            client=False,
            initial_values={
                codes.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
                codes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
                codes.MAX_HEADER_LIST_SIZE: MAX_HEADER_LIST,
            },
        )
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(CONNECTION_WINDOW - 65535)
        self.flush()

    async def _close_when_idle(self) -> None:
        while True:
            await asyncio.sleep(IDLE_TIMEOUT / 4)
            if not self.streams and time.monotonic() - self._used > IDLE_TIMEOUT:
                self.goodbye(Codes.NO_ERROR)
                self.stream.close()
                return

    async def drain(self, timeout: float) -> None:
        """Take no new streams, let open ones end for `timeout` seconds, then say goodbye and close.

        GOAWAY comes last: once h2 has sent it, it sends nothing more on open streams.
        """
        self._draining = True
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._empty.wait(), timeout)
        self.goodbye(Codes.NO_ERROR)
        self.stream.close()

    def goodbye(self, code: h2.errors.ErrorCodes) -> None:
        """Send GOAWAY."""
        with contextlib.suppress(h2.exceptions.ProtocolError):
            self.h2.close_connection(code)
        self.flush()

    def flush(self) -> asyncio.Future[None] | None:
        """Hand what h2 wants sent to the socket; return the write's future."""
        data = self.h2.data_to_send()
        if not data or self.stream.closed():
            return None
        try:
            future = self.stream.write(data)
        except iostream.StreamBufferFullError:
            log.info("closing HTTP/2 connection from %s: it does not read", self.context.remote_ip)
            self.stream.close()
            return None
        future.add_done_callback(lambda f: f.exception())
        return future

    def _handle(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.RequestReceived():
                self._start(event)
            case h2.events.DataReceived():
                self._received_data(event)
            case h2.events.StreamEnded():
                if found := self.streams.get(event.stream_id or 0):
                    found.inbox.put_nowait(None)
            case h2.events.StreamReset():
                self._was_reset(event.stream_id or 0)
            case h2.events.WindowUpdated() if event.stream_id:
                if found := self.streams.get(event.stream_id):
                    self.pump(found)
            case h2.events.WindowUpdated() | h2.events.RemoteSettingsChanged():
                for stream in list(self.streams.values()):
                    self.pump(stream)
            case h2.events.ConnectionTerminated():
                self.stream.close()

    def _received_data(self, event: h2.events.DataReceived) -> None:
        stream = self.streams.get(event.stream_id or 0)
        length = event.flow_controlled_length or 0
        if stream is not None:
            stream.inbox.put_nowait((event.data or b"", length))
        else:
            with contextlib.suppress(h2.exceptions.ProtocolError):
                self.h2.acknowledge_received_data(length, event.stream_id or 0)

    def _was_reset(self, stream_id: int) -> None:
        now = time.monotonic()
        self._resets = min(RESET_BUDGET, self._resets + (now - self._resets_at) * RESETS_PER_SECOND) - 1
        self._resets_at = now
        if stream := self._forget(stream_id):
            stream.abort()
        if self._resets < 0:
            log.warning("closing HTTP/2 connection from %s: too many resets", self.context.remote_ip)
            self.goodbye(Codes.ENHANCE_YOUR_CALM)
            self.stream.close()

    def _start(self, event: h2.events.RequestReceived) -> None:
        stream_id = event.stream_id or 0
        # Handlers of reset streams still work: they count, or resets would buy unlimited work.
        if self._draining or len(self._tasks) >= 2 * MAX_STREAMS:
            self.h2.reset_stream(stream_id, Codes.REFUSED_STREAM)
            return
        pseudo, headers = _split(event.headers or [])
        method = pseudo[":method"]
        stream = H2Stream(
            self, stream_id, head=method == "HEAD", max_body=self.server.conn_params.max_body_size or 2**63
        )
        self.streams[stream_id] = stream
        self._empty.clear()
        if headers.get("Expect", "").lower() == "100-continue":
            self.h2.send_headers(stream_id, [(":status", "100")])
        line = httputil.RequestStartLine(method, pseudo.get(":path", "/"), "HTTP/2.0")
        stream.delegate = self.server.start_request(self, stream)
        task = asyncio.ensure_future(stream.run(line, headers))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _forget(self, stream_id: int) -> H2Stream | None:
        stream = self.streams.pop(stream_id, None)
        self._used = time.monotonic()
        if not self.streams:
            self._empty.set()
        return stream

    def send_headers(self, stream: H2Stream, fields: list[tuple[str, str]]) -> None:
        """Send a response head."""
        with contextlib.suppress(h2.exceptions.ProtocolError):
            self.h2.send_headers(stream.stream_id, fields)

    def acknowledge(self, stream: H2Stream, length: int) -> None:
        """Give back receive window: a handler has consumed `length` bytes."""
        if length:
            with contextlib.suppress(h2.exceptions.ProtocolError):
                self.h2.acknowledge_received_data(length, stream.stream_id)
            self.flush()

    def reset(self, stream: H2Stream, code: h2.errors.ErrorCodes) -> None:
        """End a stream from our side."""
        with contextlib.suppress(h2.exceptions.ProtocolError):
            self.h2.reset_stream(stream.stream_id, code)
        self._forget(stream.stream_id)
        stream.abort()
        self.flush()

    def pump(self, stream: H2Stream) -> None:
        """Send what flow control allows; settle the pending write when all of it is out."""
        if stream.dead or not stream.headers_sent or stream.finished:
            return
        try:
            self._send_data(stream)
            if not stream.outbox and stream.finishing:
                stream.finished = True
                self.h2.end_stream(stream.stream_id)
                self._forget(stream.stream_id)
                stream.inbox.put_nowait(None)
        except h2.exceptions.ProtocolError:
            self._forget(stream.stream_id)
            stream.abort()
        sent = self.flush()
        if not stream.outbox and stream.writing is not None and not stream.writing.done():
            _follow(stream.writing, sent)

    def _send_data(self, stream: H2Stream) -> None:
        while stream.outbox:
            window = self.h2.local_flow_control_window(stream.stream_id)
            room = min(window, self.h2.max_outbound_frame_size)
            if room <= 0:
                return
            view = stream.outbox.popleft()
            if len(view) > room:
                stream.outbox.appendleft(view[room:])
            self.h2.send_data(stream.stream_id, view[:room].tobytes())


def _split(fields: Any) -> tuple[dict[str, str], httputil.HTTPHeaders]:
    """Take HTTP/2 header fields apart into pseudo headers and ordinary ones."""
    pseudo: dict[str, str] = {}
    headers = httputil.HTTPHeaders()
    for name, value in fields:
        if name.startswith(":"):
            pseudo[name] = value
        elif name == "cookie" and "Cookie" in headers:
            headers["Cookie"] += f"; {value}"  # HTTP/2 may split the cookie
        else:
            headers.add(name, value)
    if ":authority" in pseudo:
        headers["Host"] = pseudo[":authority"]
    return pseudo, headers


async def _settle(result: Any) -> None:
    if result is not None:
        await result


def _fail(future: asyncio.Future[None]) -> None:
    future.set_exception(iostream.StreamClosedError())
    future.exception()  # retrieved: nobody has to await it


def _follow(future: asyncio.Future[None], sent: asyncio.Future[None] | None) -> None:
    """Resolve `future` when `sent` is: at once when there was nothing to send."""
    if sent is None or sent.done():
        _resolve(future)
        return

    def done(write: asyncio.Future[None]) -> None:
        if not future.done():
            if write.cancelled() or write.exception() is not None:
                _fail(future)
            else:
                future.set_result(None)

    sent.add_done_callback(done)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def _opens_with_preface(stream: iostream.IOStream) -> bool:
    """Whether the peer speaks HTTP/2 from the first byte. Peeks; consumes nothing."""
    sock, loop = stream.socket, asyncio.get_running_loop()
    deadline = loop.time() + FIRST_BYTE_TIMEOUT
    while True:
        ready: asyncio.Future[None] = loop.create_future()
        loop.add_reader(sock.fileno(), _resolve, ready)
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

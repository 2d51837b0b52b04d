"""One HTTP/2 stream, as Tornado's handlers see it: a request and its answer."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import h2.errors
from tornado import httputil, iostream

if TYPE_CHECKING:
    from kalam_server.http2.connection import H2Connection

log = logging.getLogger("kalam_server.http2")

#: Headers that mean nothing in HTTP/2 and must not be sent.
HOP_BY_HOP = frozenset({"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"})

Codes = h2.errors.ErrorCodes


class H2Stream(httputil.HTTPConnection):
    """One HTTP/2 stream, as the `HTTPConnection` that Tornado's handlers write to."""

    def __init__(self, connection: H2Connection, stream_id: int, *, head: bool, max_body: int) -> None:
        self.connection, self.stream_id, self.context = connection, stream_id, connection.context
        self.delegate: httputil.HTTPMessageDelegate | None = None
        self._head, self._max_body, self._received = head, max_body, 0
        #: Request body: (bytes, flow-controlled length), then None.
        self.inbox: asyncio.Queue[tuple[bytes, int] | None] = asyncio.Queue()
        #: Response bytes that wait for window; each piece goes in frames of its own.
        self.outbox: deque[bytes | memoryview] = deque()
        #: Writes that are done once the outbox is empty.
        self._writes: list[asyncio.Future[None]] = []
        self._on_close: Callable[[], None] | None = None
        self.headers_sent = self.finishing = self.finished = self.dead = self._corked = False

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
        return self.write_pieces((bytes(chunk),) if chunk else ())

    def write_pieces(self, pieces: Sequence[bytes]) -> asyncio.Future[None]:
        """As `write`, each piece in DATA frames of its own."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.dead:
            _fail(future)
            return future
        if not self._head:
            self.outbox.extend(pieces)
        if self._corked:
            future.set_result(None)
        else:
            self._writes.append(future)
            self.connection.pump(self)
        return future

    def cork(self) -> None:
        """Hold back what is written until the response ends: it leaves in one write."""
        self._corked = True

    def finish(self) -> None:
        """End the response once everything is sent."""
        self.finishing, self._corked = True, False
        if not self.dead:
            self.connection.pump(self)

    def settle(self, sent: asyncio.Future[None] | None) -> None:
        """Resolve the pending writes when `sent` is: at once when there was nothing to send."""
        writes, self._writes = self._writes, []
        if sent is None or sent.done():
            for future in writes:
                resolve(future)
        elif writes:
            sent.add_done_callback(lambda write: _pass_on(write, writes))

    def detach(self) -> iostream.IOStream:
        """Refuse: WebSockets are HTTP/1.1 here."""
        raise RuntimeError("an HTTP/2 stream cannot be detached")

    def abort(self) -> None:
        """The peer is gone: fail pending writes, tell the handler, end the body."""
        if self.dead:
            return
        self.dead = True
        self.outbox.clear()
        for future in self._writes:
            if not future.done():
                _fail(future)
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


async def _settle(result: Any) -> None:
    if result is not None:
        await result


def _fail(future: asyncio.Future[None]) -> None:
    future.set_exception(iostream.StreamClosedError())
    future.exception()  # retrieved: nobody has to await it


def resolve(future: asyncio.Future[None]) -> None:
    """Set a result, unless there is one."""
    if not future.done():
        future.set_result(None)


def _pass_on(write: asyncio.Future[None], waiting: Sequence[asyncio.Future[None]]) -> None:
    failed = write.cancelled() or write.exception() is not None
    for future in waiting:
        if not future.done():
            if failed:
                _fail(future)
            else:
                future.set_result(None)

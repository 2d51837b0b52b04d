"""One request and its answer, as Tornado's handlers know them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tornado import httputil, iostream

from kalam_server.http1.request import Request

if TYPE_CHECKING:
    from kalam_server.http1.connection import Http1Connection

_NO_BODY = frozenset({204, 304})


class Exchange(httputil.HTTPConnection):
    """One request and its answer, as the `HTTPConnection` that Tornado's handlers write to."""

    # Here, since most exchanges are answered without a handler and leave them as they are.
    delegate: httputil.HTTPMessageDelegate | None = None
    received = 0
    body_read = finished = detached = False
    _on_close: Callable[[], None] | None = None
    _chunked = _head_only = False
    _expected: int | None = None
    #: What is held back, while it is.
    _held: list[bytes] | None = None

    def __init__(self, connection: Http1Connection, request: Request, max_body: int) -> None:
        self.connection, self.request, self.context = connection, request, connection.peer
        self.max_body = max_body

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
        if not self.body_read and not self._chunked:
            request.keep_alive = False  # a streamed answer may read the rest yet
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
        if not self.body_read:
            self.request.keep_alive = False
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

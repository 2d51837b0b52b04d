"""Requests whose head has been read, and who may answer them before the application sees them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
from tornado import httputil

#: Bodies up to this size are collected for an `Express`: larger ones take a while to read.
MAX_COLLECTED = 64 * 1024
#: Longer heads are not remembered.
MAX_REMEMBERED = 4096
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
#: Takes the status and the JSON body of an answer.
Answer = Callable[[int, bytes], None]
#: Takes what is to be called when the peer goes away before the answer.
OnGone = Callable[[Callable[[], None]], None]
#: Answers the request with this body, now or later; False leaves it to others.
Take = Callable[[bytes, Answer, OnGone], bool]


@dataclass(frozen=True)
class Peer:
    """The other end of a connection, as Tornado's requests ask for it."""

    remote_ip: str
    address: Any
    protocol: str = "http"

    def __str__(self) -> str:
        return self.remote_ip


class Request(msgspec.Struct):
    """A request whose head has been read.

    Attributes
    ----------
    target : bytes
        As in the request line.
    version : str
        ``1.0`` or ``1.1``.
    headers : list of (name, value)
        In order, names in lower case. The length of a `body` is its own: a `Repeated` head has another.
    keep_alive : bool
    take : callable or None
        Answers requests with this head, if an express does.
    body : bytes or None
        The whole body, where it was collected for `take`.
    """

    method: str
    target: bytes
    version: str
    headers: list[tuple[bytes, bytes]]
    keep_alive: bool
    take: Take | None = None
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
        if self.body is not None:
            headers["Content-Length"] = str(len(self.body))
        return headers


class Express(Protocol):
    """Answers some requests by itself."""

    def judge(self, request: Request, peer: Peer) -> Take | None:
        """Return what answers the requests of a peer that have this head; None leaves them to others.

        Judged once for all requests of a connection whose heads differ in the length of the body only.
        """


@dataclass(frozen=True)
class Repeated:
    """A head that is known again without a parser: clients repeat theirs, but for the length of the body.

    Attributes
    ----------
    before, after : bytes
        The head up to the digits of the length, and from there to its end.
    request : Request
        What the parser made of it.
    """

    before: bytes
    after: bytes
    request: Request

    @classmethod
    def of(cls, data: bytes, request: Request) -> Repeated | None:
        """Remember the head of a request that is all of `data`."""
        end = data.find(b"\r\n\r\n") + 4
        found = _LENGTH.search(data, 0, end)
        if found is None or end > MAX_REMEMBERED or data[end:] != request.body:
            return None
        return cls(data[: found.start(1)], data[found.end(1) : end], request)

    def read(self, data: bytes) -> Request | None:
        """Return the request that is all of `data`, if it has this head."""
        start = len(self.before)
        stop = data.find(b"\r", start, start + 8)
        if stop < 0 or not (data.startswith(self.before) and data.startswith(self.after, stop)):
            return None
        length, body = data[start:stop], data[stop + len(self.after) :]
        if not length.isdigit() or int(length) != len(body) or len(body) > MAX_COLLECTED:
            return None
        known = self.request
        return Request(
            known.method, known.target, known.version, known.headers, known.keep_alive, known.take, body
        )

"""Requests that are plain enough to be answered without a handler, and most of them without a thread.

That is JSON from this machine without an ``Origin``, by a caller who is known. Everything else, errors
included, goes the ordinary way through the route's handler, which has the last word on every check.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from kalam_server.context import Context
from kalam_server.http1.request import Answer, OnGone, Peer, Request, Take
from kalam_server.identity import Authorization, Caller, Gate, is_loopback, read_authorization

if TYPE_CHECKING:
    from kalam_jupyter.kalam import Session
    from kalam_jupyter.node import Node

#: With any of these a request needs the ordinary way.
_SPECIAL = frozenset(
    {b"origin", b"x-forwarded-for", b"x-real-ip", b"content-encoding", b"expect", b"upgrade"}
)


class Head:
    """What a plain request's head says; for all requests of a connection that repeat it."""

    def __init__(self, authorization: Authorization | None, request_id: str) -> None:
        self.request_id = request_id
        self._authorization = authorization
        self._caller: Caller | None = None
        self._secrets: Iterable[str] | None = None

    def caller(self, gate: Gate) -> Caller | None:
        """Return who the head says it is: asked again when the gate's secrets are others."""
        secrets = gate.secrets()
        if secrets is not self._secrets:
            self._caller, self._secrets = gate.shown(self._authorization), secrets
        return self._caller


class Admitted(NamedTuple):
    """A caller who is known, and the node."""

    node: Node
    session: Session
    local: bool


class Plain(ABC):
    """One path of a mount.

    Parameters
    ----------
    path : str
        Without the mount's own.
    """

    def __init__(self, context: Context, path: str) -> None:
        self.context = context
        self.target = f"{context.base_url}{path}".encode()

    def judge(self, request: Request, peer: Peer) -> Take | None:
        """See `http1.request.Express`."""
        headers = dict(request.headers)
        plain = (
            request.target == self.target
            and request.method == "POST"
            and len(headers) == len(request.headers)
            and _SPECIAL.isdisjoint(headers)
            and headers.get(b"content-type", b"").partition(b";")[0].strip().lower() == b"application/json"
            and b"arrow" not in headers.get(b"accept", b"")
            and is_loopback(peer.remote_ip)
            and self.context.host_allowed(headers.get(b"host", b"").decode("latin-1"))
        )
        if not plain:
            return None
        authorization = read_authorization(headers.get(b"authorization", b"").decode("latin-1"))
        return partial(self.take, Head(authorization, headers.get(b"x-request-id", b"").decode("latin-1")))

    @abstractmethod
    def take(self, head: Head, body: bytes, answer: Answer, on_gone: OnGone) -> bool:
        """Answer a request with this head: see `http1.request.Take`."""

    def admit(self, head: Head) -> Admitted | None:
        """Return the caller of a request, if that is somebody known."""
        context = self.context
        if not context.service.opened or context.service.closed:
            return None
        caller = head.caller(context.gate)
        if caller is None or caller.kind == "anonymous":
            return None
        node = context.service.node()
        session = context.known_session(node, caller)
        return None if session is None else Admitted(node, session, caller.kind == "local")


class Expresses:
    """Several `Plain` paths as one `http1.request.Express`."""

    def __init__(self, paths: Sequence[Plain]) -> None:
        self._paths = {path.target: path for path in paths}

    def judge(self, request: Request, peer: Peer) -> Take | None:
        """See `http1.request.Express`."""
        path = self._paths.get(request.target)
        return None if path is None else path.judge(request, peer)

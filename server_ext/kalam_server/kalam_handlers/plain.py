"""Requests that are plain enough to be answered on the event loop, without a handler or a thread.

That is JSON from this machine without an ``Origin``, by a caller who is known. Everything else, errors
included, goes the ordinary way through the route's handler, which has the last word on every check.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from kalam_server.context import Context
from kalam_server.http1_exchange import Answer, Peer, Request
from kalam_server.identity import is_loopback

if TYPE_CHECKING:
    from kalam_jupyter.kalam import Session
    from kalam_jupyter.node import Node

#: With any of these a request needs the ordinary way.
_SPECIAL = frozenset(
    {b"origin", b"x-forwarded-for", b"x-real-ip", b"content-encoding", b"expect", b"upgrade"}
)
#: Larger bodies take a while to read.
MAX_BODY = 64 * 1024


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

    def wants(self, request: Request) -> bool:
        """See `http1.Express`: whether a request looks plain."""
        if request.target != self.target or request.method != "POST":
            return False
        headers = dict(request.headers)
        length = headers.get(b"content-length", b"")
        return (
            len(headers) == len(request.headers)
            and _SPECIAL.isdisjoint(headers)
            and headers.get(b"content-type", b"").partition(b";")[0].strip().lower() == b"application/json"
            and length.isdigit()
            and int(length) <= MAX_BODY
            and b"arrow" not in headers.get(b"accept", b"")
        )

    @abstractmethod
    def take(self, request: Request, peer: Peer, answer: Answer) -> bool:
        """See `http1.Express`."""

    def admit(self, request: Request, peer: Peer) -> Admitted | None:
        """Return the caller of a request, if that is somebody known."""
        context = self.context
        if not context.service.opened or context.service.closed or not is_loopback(peer.remote_ip):
            return None
        headers = _Capital((n.decode("latin-1"), v.decode("latin-1")) for n, v in request.headers)
        if not context.host_allowed(headers.get("host", "")):
            return None
        caller = context.gate.caller(headers)
        if caller is None or caller.kind == "anonymous":
            return None
        node = context.service.node()
        session = context.known_session(node, caller)
        return None if session is None else Admitted(node, session, caller.kind == "local")


class Expresses:
    """Several `Plain` paths as one `http1.Express`."""

    def __init__(self, paths: Sequence[Plain]) -> None:
        self._paths = {path.target: path for path in paths}

    def wants(self, request: Request) -> bool:
        """See `http1.Express`."""
        path = self._paths.get(request.target)
        return path is not None and path.wants(request)

    def take(self, request: Request, peer: Peer, answer: Answer) -> bool:
        """See `http1.Express`."""
        return self._paths[request.target].take(request, peer, answer)


class _Capital(dict[str, str]):
    """Headers in lower case, asked for as ``Authorization``."""

    def get(self, name: str, default: Any = None) -> Any:
        """See `dict.get`."""
        return super().get(name.lower(), default)

"""What every handler of one mount shares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeVar

from kalam_server.identity import Caller, Gate, host_of, is_loopback
from kalam_server.limits import Limits
from kalam_server.service import Service

if TYPE_CHECKING:
    from kalam_jupyter.kalam import KalamConfig, Session
    from kalam_jupyter.node import Node
    from kalam_server.kalam_handlers.ws_feed import LiveHub

T = TypeVar("T")


@dataclass(frozen=True)
class Context:
    """A mount of the two APIs: under Jupyter Server, or on a port of its own.

    Attributes
    ----------
    service : Service
    gate : Gate
        Recognises callers by their ``Authorization`` header.
    local_user : str
        KalamDB user that local callers act as.
    local_user_role : str
        Role that `local_user` gets when it has to be created.
    origins : tuple of str
        Foreign origins that browsers may call from: exact, or ``*`` for any.
    check_host : bool
        Whether requests must name this machine in ``Host``; set on loopback addresses, where it
        stops a web page whose name was rebound to 127.0.0.1.
    base_url : str
        Where the routes begin, with a final slash.
    allow_credentials : bool
        Whether pages of those origins may send cookies.
    trusted_proxies : tuple of str
        Networks whose ``X-Forwarded-For`` is believed; this machine's always is.
    limits : Limits
        Rates of all mounts of one server.
    root : {"ksql", "kalam", None}
        Which API answers paths that nobody knows; None when that is Jupyter's affair.
    """

    service: Service
    gate: Gate
    local_user: str = "root"
    local_user_role: str = "dba"
    origins: tuple[str, ...] = ()
    check_host: bool = False
    base_url: str = "/"
    allow_credentials: bool = False
    trusted_proxies: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    root: Literal["ksql", "kalam"] | None = None

    @cached_property
    def live(self) -> LiveHub:
        """The live queries of this mount's clients."""
        from kalam_server.kalam_handlers.ws_feed import LiveHub

        return LiveHub(self.service)

    def origin_allowed(self, origin: str | None, host: str) -> bool:
        """Whether a browser page of `origin` may use this mount at `host`."""
        if origin is None or "*" in self.origins or origin in self.origins:
            return True
        if origin.partition("://")[2].lower() == host.lower():
            return True
        return not self.gate.open and not self.origins and is_loopback(host_of(origin))

    def host_allowed(self, host: str) -> bool:
        """Whether the ``Host`` header names this machine, where that is asked for."""
        return not self.check_host or is_loopback(host_of(host))

    def session(self, node: Node, caller: Caller) -> Session:
        """Return the KalamDB session of a caller. Needs the engine: not for the event loop.

        Raises
        ------
        KalamError
            If the caller is not who the token says, or nobody.
        """
        if caller.kind == "local":
            return local_session(node, self.local_user, self.local_user_role, caller.address)
        if caller.bearer:
            return node.kalam.auth.verify(caller.bearer, caller.address)
        from kalam_jupyter.kalam import KalamError

        if caller.scheme is None:
            raise KalamError("MISSING_AUTHORIZATION", "Authentication required", 401)
        raise KalamError("INVALID_CREDENTIALS", "Invalid credentials", 401)

    def known_session(self, node: Node, caller: Caller) -> Session | None:
        """Return the session of a caller who was here before; None for others. In microseconds."""
        if caller.kind == "local":
            return node.kalam.auth.present(self.local_user, caller.address)
        return node.kalam.auth.known(caller.bearer, caller.address) if caller.bearer else None

    async def kalam_config(self) -> KalamConfig:
        """Return KalamDB's settings, opening the engine if need be."""
        if self.service.opened:
            return self.service.node().kalam.config
        return await self.service.run(lambda node: node.kalam.config)

    async def run_as(self, caller: Caller, work: Callable[[Node, Session], T]) -> T:
        """Run `work` in a worker thread with the node and the caller's KalamDB session."""
        return await self.service.run(lambda node: work(node, self.session(node, caller)))


def local_session(node: Node, user: str, role: str, address: str | None = None) -> Session:
    """Return the session of the local user, creating the user if it is not there."""
    from kalam_jupyter.kalam import KalamError

    try:
        return node.kalam.auth.session(user, address)
    except KalamError:
        root = node.kalam.session("root")
        # The names come from the server's configuration; the statement quotes them all the same.
        quoted = user.replace("'", "''")
        node.kalam.execute(root, f"CREATE USER '{quoted}' WITH INTERNAL ROLE {role}")
        return node.kalam.auth.session(user, address)

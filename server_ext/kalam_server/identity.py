"""Who sends a request.

Three kinds of caller:

local
    Holds a credential of this server itself: a Jupyter token or login, the token that
    ``kalam serve`` printed, or the one kernels inherit. Acts as the configured local user.
kalam
    Shows a bearer token that claims to be KalamDB's. Who that is, the dialect finds out when the
    request is carried out (that may need the engine, so it is no work for the event loop).
anonymous
    Shows nothing, or nothing that is known.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Authorization:
    """An ``Authorization`` header, taken apart.

    Attributes
    ----------
    scheme : str
        As it was written: ``Bearer``, ``Basic``, ``token``, ...
    value : str
        The bearer token, or the password of Basic; "" when it cannot be read.
    """

    scheme: str
    value: str


@dataclass(frozen=True)
class Caller:
    """Who sends a request.

    Attributes
    ----------
    kind : {"local", "kalam", "anonymous"}
    token : str or None
        The unverified KalamDB token of a ``kalam`` caller.
    scheme : str or None
        Scheme of the header, if there was one: error messages depend on it.
    address : str
        Where the request comes from, for the audit log: ``127.0.0.1`` is all of this machine.
    """

    kind: Literal["local", "kalam", "anonymous"]
    token: str | None = None
    scheme: str | None = None
    address: str = "127.0.0.1"

    @property
    def bearer(self) -> str | None:
        """The token, if its scheme is written as KalamDB insists on (HTTP section 3): ``Bearer``."""
        return self.token if self.scheme == "Bearer" else None


LOCAL = Caller("local")
ANONYMOUS = Caller("anonymous")


def read_authorization(header: str | None) -> Authorization | None:
    """Take an ``Authorization`` header apart; None when there is none."""
    if not header or not header.strip():
        return None
    scheme, _, value = header.strip().partition(" ")
    value = value.strip()
    if scheme.lower() == "basic":
        try:
            _, _, value = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            value = ""
    return Authorization(scheme, value)


def stranger(headers: Mapping[str, str]) -> Caller:
    """Return the caller of a request whose ``Authorization`` header, if it has one, is nothing we know."""
    authorization = read_authorization(headers.get("Authorization"))
    return ANONYMOUS if authorization is None else Caller("anonymous", scheme=authorization.scheme)


def same_secret(given: str, known: Iterable[str]) -> bool:
    """Whether `given` is one of the `known` secrets; takes equally long either way."""
    found = False
    for secret in known:
        found |= bool(secret) and hmac.compare_digest(given.encode(), secret.encode())
    return found


@dataclass(frozen=True)
class Gate:
    """Recognises callers by their ``Authorization`` header.

    Attributes
    ----------
    secrets : callable
        Returns the tokens that make a caller local; the same object as before only if they are the same.
    open : bool
        Whether whoever can reach the listener is local (``--ksql-auth none``).
    """

    secrets: Callable[[], Iterable[str]]
    open: bool = False

    def caller(self, headers: Mapping[str, str]) -> Caller | None:
        """Return who the header says it is, None when it has nothing for this gate to judge."""
        return self.shown(read_authorization(headers.get("Authorization")))

    def shown(self, authorization: Authorization | None) -> Caller | None:
        """As `caller`, of a header that was read before."""
        if authorization is None:
            return LOCAL if self.open else None
        scheme = authorization.scheme.lower()
        if scheme in ("bearer", "basic", "token") and same_secret(authorization.value, self.secrets()):
            return LOCAL
        if self.open:
            return LOCAL
        if scheme == "bearer" and authorization.value:
            return Caller("kalam", authorization.value, authorization.scheme)
        if scheme == "token":
            return None
        return Caller("anonymous", scheme=authorization.scheme)


@lru_cache(256)
def is_loopback(address: str) -> bool:
    """Whether an IP address, or the name ``localhost``, means this machine."""
    address = address.strip("[]").partition("%")[0]
    if address.lower() == "localhost":
        return True
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_loopback


@lru_cache(256)
def host_of(header: str) -> str:
    """Return the host of a ``Host`` header or of an origin, without port and brackets, lower case."""
    url = header if "://" in header else f"//{header}"
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""


def is_here(address: str, host: str) -> bool:
    """Whether a request comes from this machine, and says so in its ``Host`` header.

    A browser on this machine also sends what a page wants whose name was rebound to it.
    """
    return is_loopback(address) and is_loopback(host_of(host))


def client_ip(peer: str, headers: Mapping[str, str], trusted: Iterable[str] = ()) -> str:
    """Return the address a request comes from, looking through trusted proxies.

    The peer's own address counts unless the peer is this machine or lies in `trusted`; then the first
    entry of ``X-Forwarded-For``, else ``X-Real-IP``, does, if it is an address that is not loopback.
    Source: KalamDB's HTTP contract, section 2.
    """
    if not (is_loopback(peer) or _in_ranges(peer, trusted)):
        return peer
    forwarded = headers.get("X-Forwarded-For", "").split(",")[0].strip() or headers.get("X-Real-IP", "")
    forwarded = forwarded.strip().strip("[]")
    try:
        ipaddress.ip_address(forwarded)
    except ValueError:
        return peer
    return peer if is_loopback(forwarded) else forwarded


def _in_ranges(address: str, ranges: Iterable[str]) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
        return any(parsed in ipaddress.ip_network(r, strict=False) for r in ranges)
    except ValueError:
        return False

"""Tokens of external issuers, by OpenID Connect discovery.

An issuer is asked for its keys only when it is on the list of trusted ones. A token must be signed with an
asymmetric algorithm, name its issuer, and be no refresh token (HTTP contract section 3.1). Where an audience
is configured it must be the token's.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from typing import Any
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import jwt
import orjson

ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"})
#: Seconds an issuer is not asked again, after an unknown key or a failure: whoever sends tokens must not
#: make this server send requests at will.
PAUSE = 10.0
_TIMEOUT = 5.0
_MAX_DOCUMENT = 1 << 20
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class IssuerError(jwt.PyJWTError):
    """An issuer is not trusted, or its keys cannot be had."""


class Issuers:
    """The issuers whose tokens are taken.

    Parameters
    ----------
    trusted : sequence of str
        Issuer URLs, exactly as tokens name them.
    audience : str or None
        What ``aud`` must hold; None does not look at it.
    """

    def __init__(self, trusted: Sequence[str], audience: str | None = None) -> None:
        self._audience = audience
        self._keys = {url: _Keys(url) for url in trusted}

    def claims(self, token: str, leeway: float) -> dict[str, Any]:
        """Check a token and return its claims.

        Raises
        ------
        jwt.PyJWTError
        """
        header = jwt.get_unverified_header(token)
        issuer = str(jwt.decode(token, options={"verify_signature": False}).get("iss"))
        keys = self._keys.get(issuer)
        if keys is None:
            raise IssuerError(f"issuer '{issuer}' is not trusted")
        found: dict[str, Any] = jwt.decode(
            token,
            keys.find(header.get("kid"), header["alg"]),
            algorithms=[header["alg"]],
            leeway=leeway,
            issuer=issuer,
            audience=self._audience,
            options={"require": ["sub", "iss", "exp"], "verify_aud": self._audience is not None},
        )
        kinds = (header.get("typ"), found.get("typ"), found.get("token_type"))
        if any("refresh" in str(kind).lower() for kind in kinds):
            raise IssuerError("a refresh token gives no access")
        return found


class _Keys:
    """The public keys of one issuer, fetched when a token needs one that is not known."""

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer
        self._lock = threading.Lock()
        self._raw: list[dict[str, Any]] = []
        self._next = 0.0

    def find(self, kid: str | None, algorithm: str) -> jwt.PyJWK:
        """Return the key of an id; without an id, the issuer's only one for the algorithm.

        Raises
        ------
        IssuerError
        """
        found = self._known(kid, algorithm)
        if found is None:
            with self._lock:
                found = self._known(kid, algorithm)
                if found is None and time.monotonic() >= self._next:
                    self._next = time.monotonic() + PAUSE
                    self._raw = self._fetch()
                    found = self._known(kid, algorithm)
        if found is None:
            raise IssuerError("the issuer has no such key")
        return found

    def _known(self, kid: str | None, algorithm: str) -> jwt.PyJWK | None:
        found = []
        for raw in self._raw:
            if raw.get("alg", algorithm) == algorithm and (kid is None or raw.get("kid") == kid):
                with contextlib.suppress(jwt.PyJWTError):  # of another kind than the algorithm needs
                    found.append(jwt.PyJWK(raw, algorithm))
        return found[0] if len(found) == 1 else None

    def _fetch(self) -> list[dict[str, Any]]:
        said = _get(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
        if said.get("issuer") != self._issuer:
            raise IssuerError("the discovery document is another issuer's")
        keys = _get(str(said.get("jwks_uri"))).get("keys")
        if not isinstance(keys, list):
            raise IssuerError("the issuer publishes no keys")
        return [key for key in keys if isinstance(key, dict) and key.get("use", "sig") == "sig"]


def _get(url: str) -> dict[str, Any]:
    """Fetch a JSON document: over https, or from this machine."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise IssuerError("issuers are asked over https only")
    try:
        with urlopen(Request(url, headers={"Accept": "application/json"}), timeout=_TIMEOUT) as answer:
            found = orjson.loads(answer.read(_MAX_DOCUMENT))
    except (URLError, OSError, ValueError) as error:
        raise IssuerError(f"the issuer cannot be asked: {error}") from None
    if not isinstance(found, dict):
        raise IssuerError("the issuer answers no JSON object")
    return found

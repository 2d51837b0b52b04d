"""Bearer tokens: what a login gives out, and what a token says of its bearer.

Our own tokens are HS256 JWTs; those of external issuers are told apart by their asymmetric algorithm and
checked by `Issuers`.
"""

from __future__ import annotations

import datetime as dt
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt

from kalam_jupyter.kalam.config import KalamConfig
from kalam_jupyter.kalam.errors import ADMIN_ROLES, KalamError
from kalam_jupyter.kalam.oidc import ALGORITHMS, Issuers

ISSUER = "kalamdb"
LEEWAY = 60
_SECRET_FILE = "kalam-jwt-secret"


@dataclass(frozen=True)
class UserInfo:
    """What the auth routes say about a user; times are ms since the epoch."""

    id: str
    role: str
    email: str | None
    created_at: int
    updated_at: int

    @classmethod
    def of(cls, record: dict[str, Any]) -> UserInfo:
        """Read a user record."""
        return cls(
            record["user_id"], record["role"], record["email"], record["created_at"], record["updated_at"]
        )

    def json(self) -> dict[str, Any]:
        """Return the UserInfo object of the contract."""
        return {
            "id": self.id,
            "role": self.role,
            "email": self.email,
            "created_at": rfc3339(self.created_at),
            "updated_at": rfc3339(self.updated_at),
        }


@dataclass(frozen=True)
class LoginResult:
    """Tokens of a login or refresh; expiry times are nanoseconds since the epoch."""

    user: UserInfo
    access_token: str
    refresh_token: str
    expires_at: int
    refresh_expires_at: int

    @property
    def admin_ui_access(self) -> bool:
        """Whether the user may open the admin console."""
        return self.user.role in ADMIN_ROLES

    def json(self) -> dict[str, Any]:
        """Return the LoginResponse object of the contract."""
        return {
            "user": self.user.json(),
            "admin_ui_access": self.admin_ui_access,
            "expires_at": rfc3339_ns(self.expires_at),
            "access_token": self.access_token,
            "refresh_token": self.refresh_token,
            "refresh_expires_at": rfc3339_ns(self.refresh_expires_at),
        }


def rfc3339(ms: int) -> str:
    """Format milliseconds since the epoch with a numeric offset."""
    moment = dt.datetime.fromtimestamp(ms / 1000, dt.UTC)
    return moment.isoformat(timespec="milliseconds")


def rfc3339_ns(ns: int) -> str:
    """Format nanoseconds since the epoch with a numeric offset and nine digits."""
    moment = dt.datetime.fromtimestamp(ns // 1_000_000_000, dt.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ns % 1_000_000_000:09d}+00:00"


class Bearer:
    """Issues and reads tokens.

    Parameters
    ----------
    secret : str
        Signs our own.
    config : KalamConfig
    """

    def __init__(self, secret: str, config: KalamConfig) -> None:
        self._secret, self._hours = secret, config.jwt_expiry_hours
        self._issuers = Issuers(config.jwt_trusted_issuers, config.oidc_audience)

    def issue(self, record: dict[str, Any]) -> LoginResult:
        """Return new tokens of a user."""
        now = time.time_ns()

        def token(kind: str, lifetime_hours: float) -> tuple[str, int]:
            expires = now + int(lifetime_hours * 3600 * 1_000_000_000)
            claims = {
                "sub": record["user_id"],
                "iss": ISSUER,
                "iat": now // 1_000_000_000,
                "exp": expires // 1_000_000_000,
                "email": record["email"],
                "role": record["role"],
                "token_type": kind,
            }
            return jwt.encode(claims, self._secret, algorithm="HS256"), expires

        access, expires = token("access", self._hours)
        refresh, refresh_expires = token("refresh", 7 * self._hours)
        return LoginResult(UserInfo.of(record), access, refresh, expires, refresh_expires)

    def claims(self, token: str) -> dict[str, Any]:
        """Check a token and return its claims.

        Raises
        ------
        KalamError
            ``INVALID_CREDENTIALS`` or ``TOKEN_EXPIRED``, status 401.
        """
        try:
            algorithm = jwt.get_unverified_header(token).get("alg")
            if algorithm in ALGORITHMS:
                return self._issuers.claims(token, LEEWAY)
            found: dict[str, Any] = jwt.decode(
                token,
                self._secret,
                algorithms=["HS256"],
                leeway=LEEWAY,
                issuer=ISSUER,
                options={"require": ["sub", "iss", "iat", "exp"], "verify_aud": False},
            )
        except jwt.ExpiredSignatureError:
            raise KalamError("TOKEN_EXPIRED", "Invalid credentials", 401) from None
        except jwt.PyJWTError:
            raise KalamError("INVALID_CREDENTIALS", "Invalid credentials", 401) from None
        return found


def malformed(token: str) -> str | None:
    """Return why a token is none at all, None when it can be read."""
    try:
        jwt.get_unverified_header(token)
        jwt.decode(token, options={"verify_signature": False})
    except jwt.PyJWTError as error:
        return str(error)
    return None


def load_secret(path: Any) -> str:
    """Return the secret kept beside the engine's files, made at first use; a fresh one in memory."""
    if path is None:
        return secrets.token_hex(32)
    file = Path(path) / _SECRET_FILE
    try:
        return file.read_text().strip()
    except FileNotFoundError:
        secret = secrets.token_hex(32)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as out:
            out.write(secret)
            out.flush()
            os.fsync(out.fileno())
        return secret

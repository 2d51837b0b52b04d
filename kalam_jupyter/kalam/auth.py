"""Users, roles, logins and sessions.

Users live in the catalogue; their id is their name. Passwords are bcrypt hashes. Tokens are stateless: a
changed role makes older tokens worthless because the role claim is compared on every use.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import Any

import msgspec
import orjson

from kalam_jupyter.engine import Engine
from kalam_jupyter.engine.transaction import Transaction
from kalam_jupyter.kalam.audit import Audit
from kalam_jupyter.kalam.bearer import ISSUER, LEEWAY, Bearer, LoginResult, UserInfo, load_secret, malformed
from kalam_jupyter.kalam.catalog import USER
from kalam_jupyter.kalam.config import KalamConfig
from kalam_jupyter.kalam.errors import ADMIN_ROLES, KalamError
from kalam_jupyter.kalam.names import user_problem
from kalam_jupyter.kalam.passwords import Passwords, password_problem

ROOT = "root"
#: Which roles each role may act for besides itself (EXECUTE AS USER).
IMPERSONATION = {
    "user": frozenset[str](),
    "service": frozenset({"service", "user"}),
    "dba": frozenset({"dba", "service", "user"}),
    "system": frozenset({"system", "dba", "service", "user"}),
}


class Session(msgspec.Struct, frozen=True):
    """Who runs statements.

    Attributes
    ----------
    user_id : str
    role : str
        ``user``, ``service``, ``dba`` or ``system``.
    actor : str or None
        The real user under EXECUTE AS USER.
    request_id : str
        Names the owner of a transaction.
    address : str or None
        Where the caller is, for the audit log; None in this process.
    in_block : bool
        Whether the statements are part of BEGIN .. COMMIT.
    """

    user_id: str
    role: str
    actor: str | None = None
    request_id: str = "embedded"
    address: str | None = None
    in_block: bool = False

    @property
    def is_admin(self) -> bool:
        """Whether the role is dba or system."""
        return self.role in ADMIN_ROLES


class AuthError(KalamError):
    """An auth route's refusal: `code` is the snake_case id of the AuthError envelope."""


class Auth:
    """Logins, tokens and the user records behind them."""

    def __init__(self, engine: Engine, config: KalamConfig, audit: Audit) -> None:
        self._engine, self._config, self._audit = engine, config, audit
        self._bearer = Bearer(config.jwt_secret or load_secret(engine.path), config)
        self._verified: OrderedDict[tuple[str, str | None], tuple[float, Any, Session]] = OrderedDict()
        self._lock = threading.Lock()
        self._passwords = Passwords(config.bcrypt_cost, config.login_cache)
        root, preset = engine.catalogue.get(USER, ROOT), config.root_password
        if root is None or (preset is not None and root["password_hash"] is None):
            hashed = None if preset is None else self.hash_password(preset)

            def put_root(tx: Transaction) -> None:
                base = root or self.record(tx.now_ms, ROOT, "system", "Internal")
                tx.put(USER, ROOT, {**base, "password_hash": hashed})

            engine.transact(put_root)

    # ---- records

    @staticmethod
    def record(
        now_ms: int,
        user_id: str,
        role: str,
        auth_type: str,
        password_hash: str | None = None,
        email: str | None = None,
        auth_data: str | None = None,
    ) -> dict[str, Any]:
        """Return a new user record: the columns of `system.users`."""
        return {
            "user_id": user_id,
            "password_hash": password_hash,
            "role": role,
            "email": email,
            "auth_type": auth_type,
            "auth_data": auth_data,
            "storage_mode": "Table",
            "storage_id": "local",
            "failed_login_attempts": 0,
            "locked_until": None,
            "last_login_at": None,
            "created_at": now_ms,
            "updated_at": now_ms,
            "last_seen": None,
            "deleted_at": None,
        }

    def user(self, user_id: str) -> dict[str, Any] | None:
        """Return the record of an active user, or None."""
        found = self._engine.catalogue.get(USER, user_id)
        return None if found is None or found["deleted_at"] is not None else found

    def role_of(self, user_id: str) -> str:
        """Return a user's role; unknown users count as ordinary ones."""
        found = self.user(user_id)
        return "user" if found is None else str(found["role"])

    def user_info(self, user_id: str) -> UserInfo:
        """Return what the auth routes say about an active user.

        Raises
        ------
        AuthError
            ``unauthorized``.
        """
        record = self.user(user_id)
        if record is None:
            raise AuthError("unauthorized", "Invalid credentials", 401)
        return UserInfo.of(record)

    def hash_password(self, password: str) -> str:
        """Return the bcrypt hash of a password."""
        return self._passwords.hash(password)

    def session(self, user_id: str, address: str | None = None) -> Session:
        """Return a trusted session: no password asked."""
        found = self.present(user_id, address)
        if found is None:
            raise KalamError("INVALID_CREDENTIALS", f"User '{user_id}' does not exist", 401)
        return found

    def present(self, user_id: str, address: str | None = None) -> Session | None:
        """As `session`, None if there is no such user."""
        found = self.user(user_id)
        return None if found is None else Session(user_id, str(found["role"]), address=address)

    # ---- login

    def login(
        self, user_id: str, password: str, *, local: bool = True, address: str | None = None
    ) -> LoginResult:
        """Check a password and issue tokens. The logins of admins are audited.

        Parameters
        ----------
        local : bool
            Whether the caller is on this machine; internal users may only log in from here.
        address : str, optional
            Where the caller is, for the audit log.

        Raises
        ------
        AuthError
            ``unauthorized``, ``account_locked``, ``setup_required`` or ``forbidden``.
        """
        record = self.user(user_id)
        stored = None if record is None else record["password_hash"]
        if record is not None and record["auth_type"] == "Internal" and stored is None:
            if user_id == ROOT and not password:
                raise AuthError(
                    "setup_required", "Server requires initial setup. Root password is not configured.", 428
                )
            if not local:
                raise AuthError(
                    "forbidden", "Internal users without a password may only log in from localhost.", 403
                )
        if record is not None and record["locked_until"] is not None:
            remaining = record["locked_until"] - self._engine.clock.now_ms()
            if remaining > 0:
                raise AuthError("account_locked", f"{-(-remaining // 60_000)} minute(s)", 401)
        if record is None or stored is None or record["auth_type"] == "OAuth" or user_problem(user_id):
            self._passwords.check(password, None)
            raise AuthError("unauthorized", "Invalid credentials", 401)
        if not self._passwords.check(password, stored):
            self._engine.transact(lambda tx: self._count_failure(tx, user_id))
            raise AuthError("unauthorized", "Invalid credentials", 401)
        record = self._engine.transact(lambda tx: self._count_success(tx, user_id, address))
        if record is None:
            raise AuthError("unauthorized", "Invalid credentials", 401)
        return self._bearer.issue(record)

    def _count_failure(self, tx: Transaction, user_id: str) -> None:
        record = tx.get(USER, user_id)
        if record is None:
            return
        failures = record["failed_login_attempts"] + 1
        locked = None
        if failures >= self._config.lockout_attempts:
            locked, failures = tx.now_ms + int(self._config.lockout_minutes * 60_000), 0
        tx.put(USER, user_id, {**record, "failed_login_attempts": failures, "locked_until": locked})

    def _count_success(self, tx: Transaction, user_id: str, address: str | None) -> Any:
        record = tx.get(USER, user_id)
        if record is None or record["deleted_at"] is not None:
            return None
        seen = {
            "failed_login_attempts": 0,
            "locked_until": None,
            "last_login_at": tx.now_ms,
            "last_seen": tx.now_ms,
        }
        tx.put(USER, user_id, {**record, **seen})
        if record["role"] in ADMIN_ROLES:
            session = Session(user_id, record["role"], address=address)
            self._audit.record(tx, session, "LOGIN", user_id)
        return tx.get(USER, user_id)

    # ---- tokens

    def issue(self, user_id: str) -> LoginResult:
        """Issue tokens for a user without asking for a password: for trusted code in this process."""
        record = self.user(user_id)
        if record is None:
            raise KalamError("INVALID_CREDENTIALS", "Invalid credentials", 401)
        return self._bearer.issue(record)

    def verify(self, token: str, address: str | None = None) -> Session:
        """Return the session of an access token that came from an address.

        Raises
        ------
        KalamError
            ``INVALID_CREDENTIALS`` or ``TOKEN_EXPIRED``, status 401.
        """
        known = self.known(token, address)
        if known is not None:
            return known
        claims = self._bearer.claims(token)
        if claims["iss"] == ISSUER:
            record = self.user(str(claims["sub"]))
            good = (
                claims.get("token_type") == "access"
                and record
                and record["role"] == claims.get("role")
                and _is_of(record, claims)
            )
        else:
            record = self._external(claims, address)
            good = record is not None
        if not good or record is None:
            raise KalamError("INVALID_CREDENTIALS", "Invalid credentials", 401)
        session = Session(str(claims["sub"]), str(record["role"]), address=address)
        with self._lock:
            self._verified[token, address] = (float(claims["exp"]) + LEEWAY, record, session)
            while len(self._verified) > 4096:
                self._verified.popitem(last=False)
        return session

    def known(self, token: str, address: str | None = None) -> Session | None:
        """Return the session of an access token that was verified before from there, if it still holds.

        A new one may need an issuer's keys from the network.
        """
        expires, record, session = self._verified.get((token, address), (0.0, None, None))
        if session is None or expires <= time.time():
            return None
        return session if record is self._engine.catalogue.get(USER, session.user_id) else None

    def _external(self, claims: dict[str, Any], address: str | None) -> dict[str, Any] | None:
        """Return the user an external issuer's token means: its subject, if that is an OAuth user.

        A user whose provider is an issuer's URL belongs to that issuer alone. One who is new is made
        where the configuration says so.
        """
        user_id, issuer = str(claims["sub"]), str(claims["iss"])
        role = self._config.oidc_auto_provision_role
        if role is not None and self._engine.catalogue.get(USER, user_id) is None:
            if user_problem(user_id) is not None:
                return None
            said = orjson.dumps({"provider": issuer, "subject": user_id}).decode()
            email = claims["email"] if isinstance(claims.get("email"), str) else None

            def provision(tx: Transaction) -> None:
                if tx.get(USER, user_id) is None:
                    record = self.record(tx.now_ms, user_id, role, "OAuth", None, email, said)
                    tx.put(USER, user_id, record)
                    session = Session(user_id, role, address=address)
                    self._audit.record(tx, session, "CREATE_USER", user_id, said)

            self._engine.transact(provision)
        record = self.user(user_id)
        if record is None or record["auth_type"] != "OAuth":
            return None
        provider = str(orjson.loads(record["auth_data"] or "{}").get("provider"))
        return record if "://" not in provider or provider == issuer else None

    def me(self, token: str) -> UserInfo:
        """Return the user of an access token, in the auth routes' own error form.

        Raises
        ------
        AuthError
            ``unauthorized``.
        """
        try:
            session = self.verify(token)
        except KalamError:
            raise AuthError("unauthorized", malformed(token) or "Invalid credentials", 401) from None
        return self.user_info(session.user_id)

    def refresh(self, token: str) -> LoginResult:
        """Exchange a refresh token for new tokens.

        Raises
        ------
        AuthError
            ``unauthorized``.
        """
        try:
            claims = self._bearer.claims(token)
        except KalamError:
            raise AuthError("unauthorized", malformed(token) or "Invalid credentials", 401) from None
        if claims.get("token_type") != "refresh" or claims["iss"] != ISSUER:
            raise AuthError("unauthorized", "Refresh endpoint requires a refresh token", 401)
        record = self.user(str(claims["sub"]))
        if record is None or not _is_of(record, claims):
            raise AuthError("unauthorized", "User no longer valid", 401)
        if record["role"] != claims.get("role"):
            raise AuthError("unauthorized", "Token role does not match user role", 401)
        return self._bearer.issue(record)

    # ---- first setup

    def needs_setup(self) -> bool:
        """Whether root has no password yet."""
        root = self.user(ROOT)
        return root is None or root["password_hash"] is None

    def status(self) -> dict[str, Any]:
        """Return the body of the status route."""
        if self.needs_setup():
            return {
                "needs_setup": True,
                "message": "Server requires initial setup. Call POST /v1/api/auth/setup with user, password, "
                "root_password, and optional email.",
            }
        return {"needs_setup": False, "message": "Server is configured and ready."}

    def setup(self, user_id: str, password: str, root_password: str, email: str | None = None) -> UserInfo:
        """Give root its password and create the first dba.

        Raises
        ------
        AuthError
            ``already_configured``, ``weak_password``, ``invalid_user`` or ``user_exists``.
        """
        if not self.needs_setup():
            raise AuthError(
                "already_configured", "Server has already been configured. Root password is set.", 409
            )
        for who, secret in (("DBA user", password), ("Root", root_password)):
            problem = password_problem(secret, complexity=False)
            if problem is not None:
                raise AuthError("weak_password", f"{who} password: Weak password: {problem}", 400)
        if (problem := user_problem(user_id)) is not None:
            raise AuthError("invalid_user", problem, 400)
        if user_id == ROOT:
            raise AuthError("invalid_user", "Cannot create the DBA user with the name 'root'", 400)
        hashed, root_hashed = self.hash_password(password), self.hash_password(root_password)

        def apply(tx: Transaction) -> dict[str, Any]:
            root = tx.get(USER, ROOT)
            if root is not None and root["password_hash"] is not None:
                raise AuthError(
                    "already_configured", "Server has already been configured. Root password is set.", 409
                )
            if tx.get(USER, user_id) is not None:
                raise AuthError("user_exists", f"User '{user_id}' already exists", 409)
            base = root or self.record(tx.now_ms, ROOT, "system", "Internal")
            tx.put(USER, ROOT, {**base, "password_hash": root_hashed, "updated_at": tx.now_ms})
            record = self.record(tx.now_ms, user_id, "dba", "Password", hashed, email)
            tx.put(USER, user_id, record)
            return record

        return UserInfo.of(self._engine.transact(apply))


def _is_of(record: dict[str, Any], claims: dict[str, Any]) -> bool:
    """Whether one of our tokens is this user's, and not that of a dropped one who had the name before."""
    return bool(claims["iat"] >= record.get("tokens_since", 0))

"""Login, refresh, logout, me, first setup. Error bodies are ``{"error", "message"}``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.cookies import CookieError
from typing import TYPE_CHECKING, Any

from kalam_server.identity import is_here, is_loopback
from kalam_server.kalam_handlers.base import FrameworkError, KalamRoute

if TYPE_CHECKING:
    from kalam_jupyter.kalam import LoginResult, Session, UserInfo
    from kalam_jupyter.node import Node

AUTH_COOKIE, REFRESH_COOKIE = "kalamdb_auth", "kalamdb_refresh"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_LENGTH = {"user": 128, "password": 256, "root_password": 256, "email": 320}


class AuthRoute(KalamRoute):
    """A route below ``/v1/api/auth``."""

    def refuse(self, status: int, code: str, message: str) -> None:
        """Raise an error of this API."""
        from kalam_jupyter.kalam import AuthError

        raise AuthError(code, message, status)

    def envelope(self, error: BaseException) -> tuple[int, Any]:
        """See `KalamRoute.envelope`."""
        from kalam_jupyter.kalam import KalamError

        if isinstance(error, KalamError):
            return error.status, {"error": error.code.lower(), "message": error.message}
        return 500, {"error": "internal_error", "message": "Internal server error"}

    async def limit(self, what: str = "authentication") -> None:
        """Count an attempt of this address."""
        config = await self.context.kalam_config()
        if not self.allow_auth(config.max_auth_requests_per_ip_per_sec):
            self.refuse(429, "rate_limited", f"Too many {what} attempts. Please retry shortly.")

    def fields(self, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, Any]:
        """Return the members of the body; ``username`` is read as ``user``, unknown ones are refused."""
        body = self.json_object()
        if "username" in body:
            if "user" in body:
                raise FrameworkError("Json deserialize error: duplicate field `user`")
            body["user"] = body.pop("username")
        for name, value in body.items():
            if name not in required + optional:
                raise FrameworkError(f"Json deserialize error: unknown field `{name}`")
            if value is None and name in optional:
                continue
            if not isinstance(value, str):
                raise FrameworkError(f"Json deserialize error: invalid type for `{name}`, expected a string")
            size = len(value) if name == "user" else len(value.encode())
            if size > _MAX_LENGTH[name]:
                raise FrameworkError(
                    f"Json deserialize error: {name} exceeds maximum length of {_MAX_LENGTH[name]} characters"
                )
        for name in required:
            if name not in body:
                raise FrameworkError(f"Json deserialize error: missing field `{name}`")
        return body

    async def send_login(self, result: LoginResult) -> None:
        """Answer with tokens, in the body and as cookies."""
        config = await self.context.kalam_config()
        hours = config.jwt_expiry_hours
        secure = config.cookie_secure and self.request.protocol == "https"
        now = datetime.now(UTC)
        self.put_cookie(AUTH_COOKIE, result.access_token, now + timedelta(hours=hours), secure)
        self.put_cookie(REFRESH_COOKIE, result.refresh_token, now + timedelta(hours=7 * hours), secure)
        self.send_json(result.json())

    def put_cookie(self, name: str, value: str, expires: datetime, secure: bool) -> None:
        """Set one of the two cookies; by hand, as the standard library puts an empty value in quotes."""
        until = format_datetime(expires, usegmt=True)
        text = f"{name}={value}; Path={self.context.base_url}; Expires={until}; HttpOnly; SameSite=Strict"
        self.add_header("Set-Cookie", f"{text}; Secure" if secure else text)

    def cookie(self, name: str) -> str | None:
        """Return a cookie of the request, None when it is absent or empty."""
        try:
            return self.get_cookie(name) or None
        except CookieError:
            return None


class LoginHandler(AuthRoute):
    """``POST /v1/api/auth/login``."""

    async def post(self) -> None:
        """Exchange a password for tokens."""
        await self.limit()
        body = self.fields(("user", "password"))
        address = self.client_ip
        result = await self.context.service.run(
            lambda node: node.kalam.auth.login(
                body["user"], body["password"], local=is_loopback(address), address=address
            )
        )
        await self.send_login(result)


class RefreshHandler(AuthRoute):
    """``POST /v1/api/auth/refresh``."""

    async def post(self) -> None:
        """Exchange a refresh token, from its cookie or as bearer, for new tokens."""
        await self.limit()
        token = self.cookie(REFRESH_COOKIE) or self.bearer
        if not token:
            self.refuse(401, "unauthorized", "No refresh token found")
            return
        await self.send_login(await self.context.service.run(lambda node: node.kalam.auth.refresh(token)))


class LogoutHandler(AuthRoute):
    """``POST /v1/api/auth/logout``."""

    def post(self) -> None:
        """Clear the cookies. Tokens are stateless and stay valid."""
        for name in (AUTH_COOKIE, REFRESH_COOKIE):
            self.put_cookie(name, "", _EPOCH, secure=False)
        self.send_json({"message": "Logged out successfully"})


class MeHandler(AuthRoute):
    """``GET /v1/api/auth/me``."""

    async def get(self) -> None:
        """Say who the token, or the auth cookie, belongs to; or whom a local caller acts as."""
        token = self._token()
        if token is None and self.caller.kind == "local":
            user = await self.context.run_as(self.caller, _own_info)
        else:
            if token is None:
                self.refuse(401, "unauthorized", "No auth token found")
            user = await self.context.service.run(lambda node: node.kalam.auth.me(token or ""))
        admin = user.role in ("dba", "system")
        self.send_json({"user": user.json(), "admin_ui_access": admin})

    def _token(self) -> str | None:
        header = self.request.headers.get("Authorization", "").strip()
        if self.caller.kind == "local" or not header:
            return self.cookie(AUTH_COOKIE)
        if self.bearer is None:
            self.refuse(401, "unauthorized", "Authorization header must use Bearer token")
        elif not self.bearer:
            self.refuse(401, "unauthorized", "Bearer token missing")
        return self.bearer


def _own_info(node: Node, session: Session) -> UserInfo:
    return node.kalam.auth.user_info(session.user_id)


class SetupRoute(AuthRoute):
    """First setup: for this machine only, unless remote setup is switched on."""

    async def check_place(self, message: str) -> None:
        """Refuse requests from elsewhere.

        Under Jupyter Server "this machine" does not tell one person from another (a shared host, a
        proxy in front), so there the caller has to be the server's own user.
        """
        config = await self.context.kalam_config()
        own_port = self.context.root is not None
        near = is_here(self.client_ip, self.request.host) if own_port else self.caller.kind == "local"
        if not (near or config.allow_remote_setup):
            self.refuse(403, "forbidden", message)


class SetupHandler(SetupRoute):
    """``POST /v1/api/auth/setup``."""

    async def post(self) -> None:
        """Give root its password and create the first dba."""
        await self.limit("setup")
        await self.check_place("Server setup can only be performed from localhost")
        body = self.fields(("user", "password", "root_password"), ("email",))
        user = await self.context.service.run(
            lambda node: node.kalam.auth.setup(
                body["user"], body["password"], body["root_password"], body.get("email")
            )
        )
        self.send_json(
            {
                "user": user.json(),
                "message": "Server setup complete. Root password configured and DBA user "
                f"'{user.id}' created. Please login to continue.",
            }
        )


class StatusHandler(SetupRoute):
    """``GET /v1/api/auth/status``."""

    async def get(self) -> None:
        """Say whether setup is still needed."""
        await self.check_place("Setup status can only be checked from localhost")
        self.send_json(await self.context.service.run(lambda node: node.kalam.auth.status()))

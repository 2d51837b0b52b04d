"""What KalamDB's routes share: the guard before everything, the four error envelopes, small helpers."""

from __future__ import annotations

from typing import Any

import orjson
from tornado import web
from tornado.iostream import StreamClosedError

from kalam_server.identity import is_loopback
from kalam_server.route import Route, is_json
from kalam_server.service import ServiceClosedError

#: The reference's framework reads no larger JSON bodies; no text part of a multipart body is larger either.
MAX_JSON = 2 * 1024 * 1024


class GuardError(Exception):
    """The guard in front of all routes refuses the request."""

    def __init__(self, status: int, code: str, message: str, **extra: int) -> None:
        self.status, self.body = status, {"error": code, "message": message, **extra}
        self.retry_after = extra.get("retry_after_seconds")
        super().__init__(message)


class FrameworkError(Exception):
    """What the reference's web framework answers by itself: status and plain text."""

    def __init__(self, message: str, status: int = 400) -> None:
        self.status = status
        super().__init__(message)


def json_too_large(size: int) -> str:
    """Return what is said about a JSON body above `MAX_JSON`."""
    return f"JSON payload ({size} bytes) is larger than allowed (limit: {MAX_JSON} bytes)."


def json_object(data: bytes) -> dict[str, Any]:
    """Return a JSON object, as the reference's framework reads it.

    Raises
    ------
    FrameworkError
    """
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise FrameworkError(f"Json deserialize error: {error}") from None
    if not isinstance(body, dict):
        raise FrameworkError("Json deserialize error: invalid type, expected an object")
    return body


class KalamRoute(Route):
    """A route of KalamDB's API. Who may call is up to each route; see `Context.session`."""

    cors_methods = ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")

    async def begin(self) -> None:
        """The guard: body size, and requests a second from addresses other than this machine's."""
        config = await self.context.kalam_config()
        length = self.request.headers.get("Content-Length", "")
        if length.isdigit() and int(length) > config.max_body_size:
            raise GuardError(
                413,
                "BODY_TOO_LARGE",
                "Request body exceeds maximum allowed size",
                size_bytes=int(length),
                max_bytes=config.max_body_size,
            )
        address = self.client_ip
        if is_loopback(address):
            return
        if banned := self.context.limits.banned(address):
            raise GuardError(
                429,
                "IP_BANNED",
                "Your IP has been temporarily banned due to excessive requests",
                retry_after_seconds=banned,
            )
        if not self.context.limits.requests.allow(address, config.max_requests_per_ip_per_sec):
            self.context.limits.violation(address, config.ban_duration)
            raise GuardError(
                429, "RATE_LIMIT_EXCEEDED", "Too many requests from your IP address", retry_after_seconds=1
            )

    def allow_auth(self, rate: float) -> bool:
        """Take one of the address's authentication attempts."""
        return self.context.limits.auth.allow(self.client_ip, rate)

    def _methods(self) -> list[str]:
        """The methods this route answers."""
        return [
            method
            for method in self.SUPPORTED_METHODS
            if getattr(type(self), method.lower()) is not getattr(web.RequestHandler, method.lower())
        ]

    def failure(self, error: BaseException) -> tuple[int, Any]:
        """See `Route.failure`; routes refine it in `envelope`."""
        if isinstance(error, GuardError):
            if error.retry_after is not None:
                self.set_header("Retry-After", str(error.retry_after))
                self.set_header("X-RateLimit-Reset", str(error.retry_after))
            return error.status, error.body
        if isinstance(error, FrameworkError):
            return error.status, str(error)
        if isinstance(error, web.HTTPError):
            if error.status_code == 404:
                return 404, ""
            if error.status_code == 405:
                self.set_header("Allow", ", ".join(self._methods()))
            return error.status_code, error.log_message or error.reason or ""
        if isinstance(error, ServiceClosedError):
            return 503, "Server is shutting down"
        return self.envelope(error)

    def envelope(self, error: BaseException) -> tuple[int, Any]:
        """Return status and body in this route's error envelope."""
        raise NotImplementedError

    def is_expected(self, error: BaseException | None) -> bool:
        """See `Route.is_expected`."""
        known = (GuardError, FrameworkError, ServiceClosedError, StreamClosedError)
        if super().is_expected(error) or isinstance(error, known):
            return True
        return error is not None and type(error).__module__.startswith("kalam_jupyter.kalam")

    def json_object(self) -> dict[str, Any]:
        """Return the body as a JSON object, as the reference's framework reads it.

        Raises
        ------
        FrameworkError
        """
        if not is_json(self.request):
            raise FrameworkError("Content type error")
        if (size := len(self.request.body)) > MAX_JSON:
            raise FrameworkError(json_too_large(size), 413)
        return json_object(self.request.body)

    @property
    def bearer(self) -> str | None:
        """Token of a ``Bearer`` header, whatever the case of the scheme; None without such a header."""
        scheme, _, value = self.request.headers.get("Authorization", "").strip().partition(" ")
        return value.strip() if scheme.lower() == "bearer" else None

"""What ksqlDB's routes share: who may call, reading the request, the error envelope."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import msgspec
import orjson
from tornado import web
from tornado.iostream import StreamClosedError

from kalam_server.context import Context
from kalam_server.ksql_handlers.gate import check_ready
from kalam_server.negotiate import JSON, KSQL_JSON, NotAcceptableError, select
from kalam_server.route import Route
from kalam_server.service import ServiceClosedError

NOT_FOUND = "Not Found"
SERVER_ERROR = 50000
UNAUTHORIZED = 40100
FORBIDDEN = 40300
REALM = "ksqlDB"
INTERNAL = (
    "The server encountered an internal error when processing the query. "
    "Please consult the server logs for more information."
)
#: Roles of KalamDB users that may use ksqlDB's API: it shows topics of all users.
KSQL_ROLES = ("service", "dba", "system")


class KsqlRoute(Route):
    """A route of ksqlDB's API. Anonymous callers are refused unless `public` has the method."""

    cors_credentials = True
    #: Whether the route is shut with the cluster.
    gated = True
    #: Media types served; None where ``Accept`` is not looked at.
    serves: Sequence[str] | None = (KSQL_JSON, JSON)
    #: What a wildcard in ``Accept`` gets.
    favourite: str | None = JSON

    def initialize(self, context: Context) -> None:
        """Take the mount's context. The body is JSON whatever its type says: Tornado must not read a form."""
        super().initialize(context)
        self.request.headers.pop("Content-Type", None)

    async def begin(self) -> None:
        """Refuse who may not call, and what cannot be answered in a form that is asked for."""
        if self.request.method not in self.public:
            await self.authorize()
        if self.gated:
            check_ready(self.context.service)
        if self.serves is not None:
            try:
                self.media_type = select(self.request.headers.get("Accept"), self.serves, self.favourite)
            except NotAcceptableError:
                raise web.HTTPError(404) from None

    async def authorize(self) -> None:
        """Let local callers pass, and KalamDB users whose role may see every topic."""
        if self.caller.kind == "local":
            return
        if self.caller.kind == "anonymous":
            self.refuse("Unauthorized", UNAUTHORIZED)
        from kalam_jupyter.kalam import KalamError

        try:
            session = await self.context.run_as(self.caller, lambda _, session: session)
        except KalamError:
            self.refuse("Unauthorized", UNAUTHORIZED)
        if session.role not in KSQL_ROLES:
            self.refuse("Forbidden", FORBIDDEN)

    def refuse(self, message: str, code: int) -> NoReturn:
        """Raise a request-level error."""
        from kalam_jupyter.ksql import KsqlError

        raise KsqlError(message, error_code=code)

    def body(self) -> dict[str, Any]:
        """Return the request body as a JSON object, whatever its declared type.

        Raises
        ------
        KsqlError
            40000, if it is not one.
        """
        try:
            # orjson refuses what JSON forbids and reads 64-bit integers exactly.
            body = orjson.loads(self.request.body or b"{}")
        except orjson.JSONDecodeError as error:
            self.refuse(f"Invalid JSON in request: {error}", 40000)
        if not isinstance(body, dict):
            self.refuse("Invalid JSON in request: expected an object", 40000)
        return body

    def text(self, body: Mapping[str, Any], name: str, *, required: bool = False) -> str:
        """Return a string member; "" when it is absent or null."""
        value = body.get(name)
        if value is None:
            if required:
                self.refuse(f"Invalid JSON in request: Missing required creator property '{name}'", 40000)
            return ""
        if not isinstance(value, str):
            self.refuse(f"Invalid JSON in request: '{name}' must be a string", 40000)
        return value

    def mapping(self, body: Mapping[str, Any], name: str) -> dict[str, Any]:
        """Return an object member; {} when it is absent or null."""
        value = body.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.refuse(f"Invalid JSON in request: '{name}' must be an object", 40000)
        return value

    def variables(self, body: Mapping[str, Any]) -> dict[str, str]:
        """Return the session variables, values as strings."""
        given = self.mapping(body, "sessionVariables")
        return {name: stringify(value) for name, value in given.items()}

    def failure(self, error: BaseException) -> tuple[int, Any]:
        """See `Route.failure`."""
        if isinstance(error, web.HTTPError):
            if error.status_code in (404, 405):
                return 404, NOT_FOUND
            code = error.status_code * 100
            return error.status_code, generic_error(error.log_message or error.reason or "", code)
        if isinstance(error, ServiceClosedError):
            return 503, generic_error("The server is shutting down", 50303)
        status, body = error_body(error)
        if status == 401 and self.caller.scheme == "Basic":
            self.set_header("WWW-Authenticate", f'Basic realm="{REALM}"')
        return status, body

    def is_expected(self, error: BaseException | None) -> bool:
        """See `Route.is_expected`."""
        if super().is_expected(error) or isinstance(error, (ServiceClosedError, StreamClosedError)):
            return True
        return error is not None and type(error).__module__.startswith("kalam_jupyter.ksql")


def error_body(error: BaseException) -> tuple[int, dict[str, Any]]:
    """Return HTTP status and JSON body for an error of the dialect; 500 for anything else."""
    from kalam_jupyter.engine.errors import EngineError
    from kalam_jupyter.ksql import KsqlError

    if isinstance(error, KsqlError):
        body = generic_error(error.message, error.error_code)
        if error.statement_text is not None:
            body["@type"] = "statement_error"
            body |= {"statementText": error.statement_text, "entities": []}
        return error.http_status, body
    if isinstance(error, EngineError):
        return 500, generic_error(str(error), SERVER_ERROR)
    return 500, generic_error(INTERNAL, SERVER_ERROR)


def generic_error(message: str, code: int) -> dict[str, Any]:
    """Return the error object that is not about one statement."""
    return {"@type": "generic_error", "error_code": code, "message": message}


def stringify(value: Any) -> str:
    """Return a JSON value as the string that Java would make of it."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return msgspec.json.encode(value).decode()

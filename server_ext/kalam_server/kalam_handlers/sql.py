"""``POST /v1/api/sql``: statements in, the SQL envelope out, or Arrow for our own client."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson

from kalam_server.kalam_handlers.base import KalamRoute
from kalam_server.kalam_handlers.sql_request import InvalidInputError, SqlRequest, read_json, read_multipart
from kalam_server.negotiate import ARROW, JSON, NotAcceptableError, select
from kalam_server.route import is_json

if TYPE_CHECKING:
    from kalam_jupyter.kalam import Result, Session
    from kalam_jupyter.node import Node


#: What may be a FILE() placeholder: worth a closer look.
_FILE_CALL = re.compile(r"\bfile\s*\(", re.IGNORECASE)


class SqlRoute(KalamRoute):
    """A route whose errors come in the SQL envelope."""

    _began = 0.0

    async def begin(self) -> None:
        """Start the clock of ``took``, then the guard."""
        self._began = time.perf_counter()
        await super().begin()

    @property
    def took(self) -> float:
        """Milliseconds since the request came in."""
        return round((time.perf_counter() - self._began) * 1000, 3)

    def envelope(self, error: BaseException) -> tuple[int, Any]:
        """See `KalamRoute.envelope`."""
        from kalam_jupyter.kalam import KalamError

        if isinstance(error, InvalidInputError):
            return 400, self.error_body(error.code, str(error))
        if isinstance(error, KalamError):
            return error.status, self.error_body(error.code, error.message, error.details)
        return 500, self.error_body("INTERNAL_ERROR", "SQL request failed")

    def error_body(self, code: str, message: str, details: str | None = None) -> dict[str, Any]:
        """Return the SQL envelope of a failure."""
        error = {"code": code, "message": message}
        if details is not None:
            error["details"] = details
        return {"status": "error", "results": [], "took": self.took, "error": error}

    def is_expected(self, error: BaseException | None) -> bool:
        """See `Route.is_expected`."""
        return isinstance(error, InvalidInputError) or super().is_expected(error)


class SqlHandler(SqlRoute):
    """``POST /v1/api/sql``."""

    async def post(self) -> None:
        """Run statements."""
        arrow = self._wants_arrow()
        body = await self.context.run_as(self.caller, lambda node, session: self._work(node, session, arrow))
        if arrow:
            self.set_header("Content-Type", ARROW)
            self.finish(body)
        else:
            self.send_json(body)

    def _wants_arrow(self) -> bool:
        try:
            return select(self.request.headers.get("Accept"), (JSON, ARROW)) == ARROW
        except NotAcceptableError:
            return False

    def _work(self, node: Node, session: Session, arrow: bool) -> bytes:
        """Run in a worker thread: authentication came first, now the rate, the payload, the statements."""
        from kalam_jupyter.kalam import KalamError

        config = node.kalam.config
        local = self.caller.kind == "local"
        if not (local or self.context.limits.queries.allow(session.user_id, config.max_queries_per_sec)):
            raise KalamError(
                "RATE_LIMIT_EXCEEDED", "Too many queries per second. Please slow down.", status=429
            )
        request = self._read()
        if request_id := self.request.headers.get("X-Request-ID"):
            session = replace(session, request_id=request_id)
        results = self._run(node, session, request, limit=not arrow)
        return self._arrow(results) if arrow else self._json(node, session, results)

    def _read(self) -> SqlRequest:
        content_type = self.request.headers.get("Content-Type", "")
        if content_type.lower().startswith("multipart/form-data"):
            return read_multipart(self.request)
        return read_json(self.request.body, is_json(self.request))

    @staticmethod
    def _run(node: Node, session: Session, request: SqlRequest, *, limit: bool) -> list[Result]:
        if request.files is not None:
            return node.kalam.execute_upload(
                session, request.sql, params=request.params, namespace=request.namespace, files=request.files
            )
        if _FILE_CALL.search(request.sql):
            from kalam_jupyter.kalam.files import find_placeholders

            if find_placeholders(request.sql):
                raise InvalidInputError("INVALID_INPUT", "FILE placeholders require multipart/form-data")
        return node.kalam.execute(
            session, request.sql, params=request.params, namespace=request.namespace, limit=limit
        )

    def _json(self, node: Node, session: Session, results: list[Result]) -> bytes:
        from kalam_jupyter.kalam.errors import StatementError, failure
        from kalam_jupyter.kalam.serialize import result_json

        mask = not session.is_admin
        try:
            encoded = [result_json(result, mask=mask) for result in results]
        except StatementError as error:
            raise failure(error, session.role) from error
        body: dict[str, Any] = {"status": "success", "results": encoded, "took": self.took}
        if len(results) == 1 and results[0].kind == "rows":
            body["error"] = None
        return orjson.dumps(body)

    @staticmethod
    def _arrow(results: list[Result]) -> bytes:
        from kalam_server.frames import encode

        return b"".join(
            encode(
                result.table if result.kind == "rows" else None,
                {
                    "row_count": result.row_count,
                    "message": result.message,
                    "as_user": result.as_user,
                    "key": [c.name for c in result.columns if "pk" in c.flags],
                },
            )
            for result in results
        )

"""``POST /v1/api/sql``: statements in, the SQL envelope out, or Arrow for our own client."""

from __future__ import annotations

import re
import time
import uuid
from typing import TYPE_CHECKING, Any

from msgspec import structs
from tornado import web

from kalam_server.context import Context
from kalam_server.kalam_handlers import sql_answer
from kalam_server.kalam_handlers.base import GuardError, KalamRoute
from kalam_server.kalam_handlers.sql_request import (
    BodyReader,
    EncodedReader,
    InvalidInputError,
    JsonReader,
    MultipartReader,
    SqlRequest,
)
from kalam_server.negotiate import ARROW, JSON, NotAcceptableError, select
from kalam_server.route import is_json

if TYPE_CHECKING:
    from kalam_jupyter.kalam import Result, Session, Stop
    from kalam_jupyter.node import Node


#: What may be a FILE() placeholder: worth a closer look.
_FILE_CALL = re.compile(r"\bfile\s*\(", re.IGNORECASE)
#: This much of a multipart body is collected before a worker thread takes it: hand-overs cost time.
_PIECE = 512 * 1024


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
        return sql_answer.failure(error, self.took)

    def is_expected(self, error: BaseException | None) -> bool:
        """See `Route.is_expected`."""
        return isinstance(error, InvalidInputError) or super().is_expected(error)


@web.stream_request_body
class SqlHandler(SqlRoute):
    """``POST /v1/api/sql``.

    The body is read as it arrives. Files go to disk piece by piece, in a worker thread, and only once
    the caller is known; a body that is refused is read to its end and forgotten, so that the client
    gets its answer.
    """

    _reader: BodyReader | None = None
    _refused: Exception | None = None
    _received = _collected = _max_body = 0
    _multipart = _feeding = _gone = False
    _stop: Stop | None = None

    def initialize(self, context: Context) -> None:
        """Take the mount's context."""
        super().initialize(context)
        self._pieces: list[bytes] = []

    async def begin(self) -> None:
        """The guard; then make ready for the body."""
        await super().begin()
        content_type = self.request.headers.get("Content-Type", "")
        self._multipart = content_type.lower().startswith("multipart/form-data")
        encoding = self.request.headers.get("Content-Encoding", "").strip()
        if encoding.lower() not in ("", "identity"):
            self._reader = EncodedReader(encoding)
        elif not self._multipart:
            self._reader = JsonReader(is_json(self.request))
        config = await self.context.kalam_config()
        # A body without a declared length escapes the guard: as much as its files may hold.
        files = config.max_files_per_request * config.max_file_size if self._multipart else 0
        self._max_body = max(config.max_body_size, files)
        connection: Any = self.request.connection
        # Counted here too, to answer in the API's form; a client that goes on and on is cut off.
        connection.set_max_body_size(2 * self._max_body)

    async def data_received(self, chunk: bytes) -> None:
        """Take some of the body. An exception here would close the connection, so it waits for `post`."""
        self._received += len(chunk)
        if self._received > self._max_body:
            if self._refused is None:
                self._refuse_size()
            return
        if self._refused is not None:
            return
        if not self._multipart and self._reader is not None:
            self._reader.feed(chunk)
            return
        self._pieces.append(chunk)
        self._collected += len(chunk)
        if self._collected >= _PIECE:
            await self._feed()

    def _refuse_size(self) -> None:
        self._pieces.clear()
        self._close_reader()
        self._refused = GuardError(
            413,
            "BODY_TOO_LARGE",
            "Request body exceeds maximum allowed size",
            size_bytes=self._received,
            max_bytes=self._max_body,
        )

    async def _feed(self) -> None:
        data, self._pieces, self._collected = b"".join(self._pieces), [], 0
        self._feeding = True
        try:
            await self.context.run_as(self.caller, lambda node, _: self._take(node, data))
        except Exception as error:
            # Any failure, expected or not, is this request's answer: `post` raises it.
            self._refused = error
        finally:
            self._feeding = False
        if self._gone or self._refused is not None:
            self._close_reader()

    def _take(self, node: Node, data: bytes) -> None:
        """Take a piece of a multipart body, in a worker thread."""
        if self._reader is None:
            content_type = self.request.headers["Content-Type"]
            self._reader = MultipartReader(content_type, node.kalam.files.receive, node.kalam.config)
        if data:
            self._reader.feed(data)

    def _close_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()

    def on_connection_close(self) -> None:
        """The client is gone: forget what it sent so far."""
        self._gone = True
        if self._stop is not None:
            self._stop.cancel()
        if not self._feeding:
            self._close_reader()
        super().on_connection_close()

    async def post(self) -> None:
        """Run statements."""
        if self._refused is not None:
            raise self._refused
        arrow = self._wants_arrow()
        self._feeding = True
        try:
            body = await self.context.run_as(
                self.caller, lambda node, session: self._work(node, session, arrow)
            )
        finally:
            self._feeding = False
            self._close_reader()
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
        from kalam_jupyter.kalam import KalamError, Stop

        config = node.kalam.config
        local = self.caller.kind == "local"
        if not (local or self.context.limits.queries.allow(session.user_id, config.max_queries_per_sec)):
            raise KalamError(
                "RATE_LIMIT_EXCEEDED", "Too many queries per second. Please slow down.", status=429
            )
        request = self._read(node)
        request_id = self.request.headers.get("X-Request-ID") or uuid.uuid4().hex
        session = structs.replace(session, request_id=request_id)
        self._stop = Stop(config.query_timeout)
        if self._gone:
            self._stop.cancel()
        results = self._run(node, session, request, self._stop, limit=not arrow)
        return self._arrow(results) if arrow else sql_answer.success(session, results, self.took)

    def _read(self, node: Node) -> SqlRequest:
        if self._multipart:
            self._take(node, b"".join(self._pieces))
        assert self._reader is not None
        return self._reader.finish()

    @staticmethod
    def _run(node: Node, session: Session, request: SqlRequest, stop: Stop, *, limit: bool) -> list[Result]:
        if request.files is not None:
            return node.kalam.execute_upload(
                session, request.sql, params=request.params, namespace=request.namespace, files=request.files
            )
        if _FILE_CALL.search(request.sql):
            from kalam_jupyter.kalam.files import find_placeholders

            if find_placeholders(request.sql):
                raise InvalidInputError("INVALID_INPUT", "FILE placeholders require multipart/form-data")
        return node.kalam.execute(
            session, request.sql, params=request.params, namespace=request.namespace, limit=limit, stop=stop
        )

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

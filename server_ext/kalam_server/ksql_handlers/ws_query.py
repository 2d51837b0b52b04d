"""``GET /ws/query``: a query over WebSocket, for browsers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import orjson
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from kalam_server.identity import LOCAL, Caller, same_secret
from kalam_server.ksql_handlers.base import KsqlRoute
from kalam_server.ksql_handlers.gate import TIMED_OUT, wait_for_command
from kalam_server.ksql_handlers.streaming import BATCH, Feed
from kalam_server.route import admitted_origin
from kalam_server.service import ServiceClosedError

if TYPE_CHECKING:
    from kalam_jupyter.ksql import TransientQuery

BAD_REQUEST, FAILED, TRY_LATER = 1003, 1011, 1013
#: A close reason may be this long (RFC 6455, control frames).
MAX_REASON = 123


class QuerySocket(KsqlRoute, WebSocketHandler):
    """``GET /ws/query``."""

    serves = None
    _feed: Feed | None = None

    def check_origin(self, origin: str) -> bool:
        """See `admitted_origin`."""
        return admitted_origin(self, origin)

    def identify(self) -> Caller | None:
        """As `Route.identify`; browsers cannot set headers here, so ``?token=`` does as well."""
        token = self.get_query_argument("token", "")
        if same_secret(token, self.context.gate.secrets()):
            return LOCAL
        return super().identify()

    def open(self, *args: str, **kwargs: str) -> None:
        """Begin. Frames, a close among them, are read only once this has returned."""
        self._task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        """Run the query of the ``request`` parameter."""
        try:
            query = await self._query()
            await self._send(query)
        except ServiceClosedError:
            self.close(1001, "Server shutting down")
        except WebSocketClosedError:
            pass
        except Exception as error:
            # The contract wants every failure as a frame; what is a defect is logged as well.
            if not self.is_expected(error):
                self.log_exception(type(error), error, error.__traceback__)
                self._fail("The server encountered an internal error", FAILED)
            else:
                late = getattr(error, "error_code", 0) == TIMED_OUT
                self._fail(getattr(error, "message", str(error)), TRY_LATER if late else BAD_REQUEST)

    async def _query(self) -> TransientQuery:
        from kalam_jupyter.ksql import ParseError

        version = self.get_query_argument("version", "1")
        if version != "1":
            self.refuse(f"Received invalid api version: {version}", 40000)
        text = self.get_query_argument("request", None)
        if text is None:
            self.refuse("missing request parameter", 40000)
        try:
            body = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            self.refuse(f"Error parsing request: {error}", 40000)
        if not isinstance(body, dict):
            self.refuse("Error parsing request: expected an object", 40000)
        sql = self.text(body, "ksql")
        properties, variables = self.mapping(body, "streamsProperties"), self.variables(body)
        await wait_for_command(self.context.service, body)
        try:
            return await self.context.service.run(
                lambda node: node.ksql.query(sql, properties=properties, variables=variables)
            )
        except ParseError as error:
            self.refuse(f"Error parsing query: {error.message}", error.error_code)

    async def _send(self, query: TransientQuery) -> None:
        with Feed(self.context.service, query) as feed:
            self._feed = feed
            if query.kind != "print":
                await self.write_message(orjson.dumps(_schema(query)))
            frame = _frame_writer(query)
            while rows := await feed.rows(BATCH):
                for row in rows:
                    if not row.tombstone:
                        await self.write_message(frame(row.values))
            if query.error is not None:
                self._fail(query.error.message, FAILED)
            elif not feed.gone:
                await self.write_message('{"error":"done"}')
                self.close(1000, "done")

    def _fail(self, message: str, code: int) -> None:
        if self.ws_connection is not None:
            self.write_message(orjson.dumps({"error": message}).decode())
            self.close(code, message.encode()[:MAX_REASON].decode(errors="ignore"))

    def on_message(self, message: str | bytes) -> None:
        """Clients have nothing to say after the request."""

    def on_close(self) -> None:
        """End the query."""
        if self._feed is not None:
            self._feed.abandon()


def _frame_writer(query: TransientQuery) -> Callable[[Sequence[Any]], str | bytes]:
    """Return what makes a frame of a row: an object, or for PRINT its text."""
    from kalam_server.ksql_handlers.rows import row_writer

    if query.kind == "print":
        return lambda values: orjson.dumps(values[0])
    return row_writer([c.type for c in query.columns], '{"row":{"columns":', "}}")


def _schema(query: TransientQuery) -> list[dict[str, Any]]:
    """Return the columns as Field objects; keys are marked for pull queries only."""
    from kalam_jupyter.ksql.statements.entities import schema_of

    fields = []
    for column in query.columns:
        field = {"name": column.name, "schema": schema_of(column.type)}
        if query.kind == "pull" and column.key:
            field["type"] = "KEY"
        fields.append(field)
    return fields

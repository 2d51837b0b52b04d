"""``GET /ws/query``: a query over WebSocket, for browsers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from kalam_server.identity import LOCAL, Caller, same_secret
from kalam_server.ksql_handlers.base import KsqlRoute
from kalam_server.ksql_handlers.streaming import BATCH, Feed
from kalam_server.route import admitted_origin
from kalam_server.service import ServiceClosedError

if TYPE_CHECKING:
    from kalam_jupyter.engine.types import DataType
    from kalam_jupyter.ksql import TransientQuery

BAD_REQUEST, FAILED = 1003, 1011
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
                self._fail(getattr(error, "message", str(error)), BAD_REQUEST)

    async def _query(self) -> TransientQuery:
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
        return await self.context.service.run(
            lambda node: node.ksql.query(sql, properties=properties, variables=variables)
        )

    async def _send(self, query: TransientQuery) -> None:
        from kalam_server.ksql_handlers.rows import row_writer

        with Feed(self.context.service, query) as feed:
            self._feed = feed
            if query.kind == "print":
                while rows := await feed.rows(BATCH):
                    for row in rows:
                        await self.write_message(orjson.dumps(row.values[0]).decode())
            else:
                await self.write_message(orjson.dumps(_schema(query)).decode())
                write = row_writer([c.type for c in query.columns])
                while rows := await feed.rows(BATCH):
                    for row in rows:
                        if not row.tombstone:
                            await self.write_message(f'{{"row":{{"columns":{write(row.values)}}}}}')
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


def _schema(query: TransientQuery) -> list[dict[str, Any]]:
    """Return the columns as Field objects; keys are marked for pull queries only."""
    fields = []
    for column in query.columns:
        field = {"name": column.name, "schema": schema_object(column.type)}
        if query.kind == "pull" and column.key:
            field["type"] = "KEY"
        fields.append(field)
    return fields


def schema_object(type_: DataType) -> dict[str, Any]:
    """Return a type as the API's schema object (HTTP contract section 5.8)."""
    from kalam_jupyter.engine import types as t

    found: dict[str, Any] = {"type": "", "fields": None, "memberSchema": None}
    match t.storage_type(type_):
        case t.Array(element):
            return found | {"type": "ARRAY", "memberSchema": schema_object(element)}
        case t.Map(_, value):
            return found | {"type": "MAP", "memberSchema": schema_object(value)}
        case t.Struct(fields):
            inner = [{"name": name, "schema": schema_object(f)} for name, f in fields]
            return found | {"type": "STRUCT", "fields": inner}
        case t.Decimal(precision, scale):
            return found | {"type": "DECIMAL", "parameters": {"precision": precision, "scale": scale}}
        case scalar:
            return found | {"type": str(scalar)}

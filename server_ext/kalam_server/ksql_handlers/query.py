"""``POST /query-stream``, ``/query`` and ``/close-query``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from kalam_server.ksql_handlers.base import KsqlRoute, generic_error
from kalam_server.ksql_handlers.gate import wait_for_command
from kalam_server.ksql_handlers.printing import send_print
from kalam_server.ksql_handlers.streaming import StreamingRoute
from kalam_server.negotiate import ARROW, DELIMITED, JSON, KSQL_JSON, KSQL_PROTOBUF

if TYPE_CHECKING:
    from kalam_jupyter.ksql import TransientQuery
    from kalam_jupyter.ksql.statements.print_topic import PrintQuery

#: Setting: whether ``/query`` answers as ``/query-stream`` does.
MIGRATE = "ksql.endpoint.migrate.query"


def _with_statement(answer: tuple[int, Any]) -> tuple[int, Any]:
    """Return an error whose message ends with the statement it is about."""
    status, body = answer
    if isinstance(body, dict) and body.get("statementText") and "\nStatement: " not in body["message"]:
        body["message"] += f"\nStatement: {body['statementText']}"
    return status, body


class QueryRoute(StreamingRoute):
    """What the two query routes share."""

    media_type: str | None

    async def start(self, sql: str, properties: Mapping[str, Any], body: Mapping[str, Any]) -> TransientQuery:
        """Plan and start the statement of a request."""
        variables, service = self.variables(body), self.context.service
        if service.opened:
            found = service.node().ksql.quick_pull(sql, properties=properties)
            if found is not None:
                return found
        return await service.run(
            lambda node: node.ksql.query(sql, properties=properties, variables=variables)
        )

    def refuse_http2(self, query: TransientQuery) -> bool:
        """Refuse what the older form of the route cannot do over HTTP/2; say whether that was so."""
        if self.request.version != "HTTP/2.0":
            return False
        query.close()
        message = "The /query endpoint is not available using HTTP2"
        self.set_status(405, message)
        self.send_json(generic_error(message, 40500))
        return True


class QueryStreamHandler(QueryRoute):
    """``POST /query-stream``."""

    serves = (DELIMITED, JSON, KSQL_JSON, KSQL_PROTOBUF, ARROW)
    favourite = DELIMITED

    async def post(self) -> None:
        """Run one SELECT or PRINT and send its rows as they come."""
        from kalam_server.ksql_handlers.outputs import output_of

        if self.request.version == "HTTP/1.0":
            self.refuse("This endpoint needs HTTP/1.1 or HTTP/2", 40000)
        body = self.body()
        query = await self.start(
            self.text(body, "sql", required=True), self.mapping(body, "properties"), body
        )
        media_type = self.media_type or DELIMITED
        if query.kind != "print":
            await self.send_query(query, output_of(query, media_type))
        elif media_type in (DELIMITED, ARROW):
            caught_up = media_type == ARROW  # our own client asks for that
            await send_print(self, cast("PrintQuery", query), DELIMITED, caught_up=caught_up)
        else:
            query.close()
            self.send_nothing(406)

    def failure(self, error: BaseException) -> tuple[int, Any]:
        """See `Route.failure`. Our own client, which asks for Arrow, gets the bare message."""
        from kalam_jupyter.ksql.errors import UnknownTopicError

        status, body = super().failure(error)
        if getattr(self, "media_type", None) == ARROW:
            return status, body
        if isinstance(error, UnknownTopicError):
            body["message"] = f"Topic does not exist: {error.topic}"
        return _with_statement((status, body))


class QueryHandler(QueryRoute):
    """``POST /query``: as ``/query-stream``, with other names in the request and other defaults."""

    serves = (KSQL_JSON, JSON, DELIMITED, KSQL_PROTOBUF, ARROW)
    favourite = DELIMITED

    async def post(self) -> None:
        """Run one SELECT or PRINT and send its rows as they come."""
        body = self.body()
        sql = self.text(body, "ksql")
        if not sql.strip():
            self.refuse('"ksql" field must be populated', 40000)
        properties = self.mapping(body, "streamsProperties")
        await wait_for_command(self.context.service, body)
        query = await self.start(sql, properties, body)
        # "application/json" means row objects here, and an array on /query-stream.
        media_type = KSQL_JSON if self.media_type in (None, JSON) else self.media_type
        assert media_type is not None
        if query.kind == "print":
            await self._print(cast("PrintQuery", query), media_type)
        else:
            await self._select(query, media_type, properties)

    async def _print(self, query: PrintQuery, media_type: str) -> None:
        if media_type == DELIMITED:
            await send_print(self, query, DELIMITED)
        elif not self.refuse_http2(query):
            await send_print(self, query, JSON, formats=True)

    async def _select(self, query: TransientQuery, media_type: str, properties: Mapping[str, Any]) -> None:
        from kalam_server.ksql_handlers.outputs import output_of

        config = self.context.service.node().ksql.config
        migrated = str(properties.get(MIGRATE, config.get(MIGRATE, "true"))).strip().lower() != "false"
        legacy = None if migrated else self.idle_seconds()
        if migrated or not self.refuse_http2(query):
            await self.send_query(query, output_of(query, media_type, legacy=legacy))

    def failure(self, error: BaseException) -> tuple[int, Any]:
        """See `Route.failure`. Only syntax errors show the statement in their message here."""
        from kalam_jupyter.ksql.errors import NotAQueryError, ParseError, UnknownTopicError

        match error:
            case NotAQueryError(kind=kind):
                return 400, generic_error(f"Statement type `{kind}` not supported for this resource", 40000)
            case UnknownTopicError(message=message):
                return 400, generic_error(message, 40000)
            case ParseError():
                return _with_statement(super().failure(error))
        return super().failure(error)


class CloseQueryHandler(KsqlRoute):
    """``POST /close-query``."""

    serves = None

    async def post(self) -> None:
        """End a push query; its response ends normally."""
        body = self.body()
        query_id = self.text(body, "queryId", required=True)
        closed = await self.context.service.run(lambda node: node.ksql.close_query(query_id))
        if not closed:
            self.refuse(f"No query with id {query_id}", 40000)
        self.send_nothing(200)

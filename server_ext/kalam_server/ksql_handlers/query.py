"""``POST /query-stream``, ``/query`` and ``/close-query``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kalam_server.ksql_handlers.base import KsqlRoute
from kalam_server.ksql_handlers.streaming import StreamingRoute, send_print
from kalam_server.negotiate import ARROW, DELIMITED, JSON, KSQL_JSON, KSQL_PROTOBUF

if TYPE_CHECKING:
    from kalam_jupyter.ksql import TransientQuery


def _with_statement(answer: tuple[int, Any]) -> tuple[int, Any]:
    """Return an error whose message ends with the statement it is about."""
    status, body = answer
    if isinstance(body, dict) and body.get("statementText") and "\nStatement: " not in body["message"]:
        body["message"] += f"\nStatement: {body['statementText']}"
    return status, body


class QueryStreamHandler(StreamingRoute):
    """``POST /query-stream``."""

    serves = (DELIMITED, JSON, KSQL_JSON, KSQL_PROTOBUF, ARROW)
    favourite = DELIMITED
    media_type: str | None

    async def post(self) -> None:
        """Run one SELECT or PRINT and send its rows as they come."""
        from kalam_server.ksql_handlers.outputs import output_of

        body = self.body()
        sql = self.text(body, "sql", required=True)
        properties, variables = self.mapping(body, "properties"), self.variables(body)
        query = await self.context.service.run(
            lambda node: node.ksql.query(sql, properties=properties, variables=variables)
        )
        media_type = self.media_type or DELIMITED
        if query.kind == "print":
            await self._print(query, media_type)
        else:
            await self.send_query(query, output_of(query, media_type), media_type)

    def failure(self, error: BaseException) -> tuple[int, Any]:
        """See `Route.failure`. Our own client, which asks for Arrow, gets the bare message."""
        answer = super().failure(error)
        return answer if getattr(self, "media_type", None) == ARROW else _with_statement(answer)

    async def _print(self, query: TransientQuery, media_type: str) -> None:
        if media_type not in (DELIMITED, ARROW):
            query.close()
            self.set_status(406)
            self.finish()
            return
        await send_print(self, query, DELIMITED)


class QueryHandler(StreamingRoute):
    """``POST /query``: as ``/query-stream``, with other names in the request and other defaults."""

    serves = (KSQL_JSON, JSON, DELIMITED, KSQL_PROTOBUF, ARROW)
    favourite = DELIMITED
    media_type: str | None

    async def post(self) -> None:
        """Run one SELECT or PRINT and send its rows as they come."""
        from kalam_server.ksql_handlers.outputs import output_of

        body = self.body()
        sql = self.text(body, "ksql")
        if not sql.strip():
            self.refuse('"ksql" field must be populated', 40000)
        properties, variables = self.mapping(body, "streamsProperties"), self.variables(body)
        query = await self.context.service.run(
            lambda node: node.ksql.query(sql, properties=properties, variables=variables)
        )
        if query.kind == "print":
            await send_print(self, query, DELIMITED if self.media_type == DELIMITED else JSON)
            return
        # "application/json" means row objects here, and an array on /query-stream.
        media_type = KSQL_JSON if self.media_type in (None, JSON) else self.media_type
        assert media_type is not None
        await self.send_query(query, output_of(query, media_type), media_type)

    def failure(self, error: BaseException) -> tuple[int, Any]:
        """See `Route.failure`. Only syntax errors show the statement in their message here."""
        from kalam_jupyter.ksql import ParseError

        answer = super().failure(error)
        return _with_statement(answer) if isinstance(error, ParseError) else answer


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
        self.finish()

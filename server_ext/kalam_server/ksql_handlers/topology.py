"""``GET /topology/{query id}`` and ``POST /topology``: queries as graphs. Ours alone: for pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kalam_server.ksql_handlers.base import KsqlRoute


class _Topology(KsqlRoute):
    async def answer(
        self, query: str, properties: Mapping[str, Any] = {}, variables: Mapping[str, str] = {}
    ) -> None:
        found = await self.context.service.run(
            lambda node: node.ksql.topology_data(query, properties=properties, variables=variables)
        )
        self.send_json(found)


class QueryTopologyHandler(_Topology):
    """``GET /topology/{query id}``."""

    async def get(self, query_id: str) -> None:
        """Return the graph of a query that runs, with what went through it."""
        await self.answer(query_id)


class StatementTopologyHandler(_Topology):
    """``POST /topology``."""

    async def post(self) -> None:
        """Return the graph of a statement that would start a query."""
        body = self.body()
        await self.answer(
            self.text(body, "ksql", required=True),
            self.mapping(body, "streamsProperties"),
            self.variables(body),
        )

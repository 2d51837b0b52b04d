"""``POST /ksql``: everything that is not a query."""

from __future__ import annotations

from typing import Any

from kalam_server.ksql_handlers.base import KsqlRoute
from kalam_server.ksql_handlers.gate import wait_for_command


class KsqlHandler(KsqlRoute):
    """``POST /ksql``."""

    async def post(self) -> None:
        """Run statements; answer with one entity for each that produces one."""
        body = self.body()
        text = self.text(body, "ksql")
        await wait_for_command(self.context.service, body)
        properties, variables = self.mapping(body, "streamsProperties"), self.variables(body)
        entities: list[dict[str, Any]] = await self.context.service.run(
            lambda node: node.ksql.execute(text, properties=properties, variables=variables)
        )
        self.send_json(entities)

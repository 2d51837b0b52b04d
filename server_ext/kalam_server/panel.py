"""Routes of JupyterLab's Streams panel, below ``kalam-jupyter/``; only under Jupyter Server."""

from __future__ import annotations

from typing import Any

from tornado import web

from kalam_server.ksql_handlers.base import KsqlRoute
from kalam_server.route import Entry


class PanelRoute(KsqlRoute):
    """Same callers and same error envelope as ksqlDB's routes."""

    serves = None


class OverviewHandler(PanelRoute):
    """What there is and what runs."""

    async def get(self) -> None:
        from kalam_jupyter.overview import overview

        self.send_json(await self.context.service.run(overview))


class PeekHandler(PanelRoute):
    """The last records of a topic."""

    async def get(self, topic: str) -> None:
        from kalam_jupyter.engine.errors import NotFoundError
        from kalam_jupyter.overview import peek

        def work(node: Any) -> dict[str, Any]:
            return peek(node, topic)

        try:
            self.send_json(await self.context.service.run(work))
        except NotFoundError:
            raise web.HTTPError(404) from None


class QueryHandler(PanelRoute):
    """A running query."""

    async def delete(self, query_id: str) -> None:
        from kalam_jupyter.overview import stop_query

        if not await self.context.service.run(lambda node: stop_query(node, query_id)):
            self.refuse(f"No query with id {query_id}", 40000)
        self.send_json({"stopped": query_id})


PANEL_ROUTES = [
    Entry(r"/kalam-jupyter/overview", OverviewHandler),
    Entry(r"/kalam-jupyter/topics/([^/]+)", PeekHandler),
    Entry(r"/kalam-jupyter/queries/([^/]+)", QueryHandler),
]

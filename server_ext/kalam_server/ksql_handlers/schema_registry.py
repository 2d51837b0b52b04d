"""The schema registry's public REST API, over the registry that the ksqlDB dialect keeps."""

from __future__ import annotations

from typing import Any

import orjson

from kalam_server.ksql_handlers.base import KsqlRoute


class SchemaRegistryHandler(KsqlRoute):
    """``/subjects``, ``/schemas``, ``/config``: serializers of Kafka clients work with them unchanged."""

    serves = None

    async def _answer(self) -> None:
        from kalam_jupyter.ksql.formats.registry_api import CONTENT_TYPE, answer
        from kalam_jupyter.ksql.formats.schema_registry import EmbeddedRegistry

        method, body = self.request.method or "GET", self.request.body
        path = self.request.path[len(self.context.base_url) - 1 :]

        def work(node: Any) -> tuple[int, Any]:
            registry = node.ksql.schema_registry
            if not isinstance(registry, EmbeddedRegistry):
                message = "The schemas are in the registry of ksql.schema.registry.url; ask it."
                return 404, {"error_code": 404, "message": message}
            return answer(registry, method, path, body)

        status, found = await self.context.service.run(work)
        self.set_status(status)
        self.set_header("Content-Type", CONTENT_TYPE)
        self.finish(orjson.dumps(found))

    async def get(self) -> None:
        await self._answer()

    async def post(self) -> None:
        await self._answer()

    async def put(self) -> None:
        await self._answer()

    async def delete(self) -> None:
        await self._answer()

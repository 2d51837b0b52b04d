"""The small routes of ksqlDB's API: what the server is, how it is, what became of a command."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kalam_server import __version__
from kalam_server.ksql_handlers.base import KsqlRoute, generic_error

if TYPE_CHECKING:
    from kalam_jupyter.ksql.cluster import Cluster
    from kalam_jupyter.node import Node

#: The release of ksqlDB whose contract is served: clients refuse older ones and warn about unknown ones.
KSQL_VERSION = "0.29.0"
CLUSTER_ID = "kalam-jupyter"
SERVICE_ID = "ksql.service.id"
_ONLY_GET = frozenset({"GET"})


async def service_id(route: KsqlRoute) -> str:
    """Return the configured service id, on the event loop once the engine is open: clients poll /info."""
    service = route.context.service
    if service.opened:
        return str(service.node().ksql.config.get(SERVICE_ID, "default_"))
    return await route.context.service.run(lambda node: str(node.ksql.config.get(SERVICE_ID, "default_")))


class InfoHandler(KsqlRoute):
    """``GET /info``."""

    def set_default_headers(self) -> None:
        """Tell our own client that it is us, even when it may not call."""
        super().set_default_headers()
        self.set_header("X-Kalam-Jupyter", __version__)

    async def get(self) -> None:
        """Say which version of ksqlDB this is."""
        self.send_json(
            {
                "KsqlServerInfo": {
                    "version": KSQL_VERSION,
                    "kafkaClusterId": CLUSTER_ID,
                    "ksqlServiceId": await service_id(self),
                    "serverStatus": "RUNNING",
                }
            }
        )


class RootHandler(KsqlRoute):
    """``GET /``."""

    serves = None

    def get(self) -> None:
        """Point to ``/info``."""
        self.set_header("Location", "/info")
        self.send_nothing(307)


class KsqlHealthHandler(KsqlRoute):
    """``GET /healthcheck``; open to everybody, as the contract has it."""

    public = _ONLY_GET

    async def get(self) -> None:
        """Say whether the parts work."""
        healthy = not self.context.service.closed
        metastore = healthy and await self.context.service.run(_metastore_answers)
        parts = {"metastore": metastore, "kafka": healthy, "commandRunner": healthy}
        self.send_json(
            {
                "isHealthy": all(parts.values()),
                "details": {name: {"isHealthy": value} for name, value in parts.items()},
                "serverState": "READY",
            }
        )


def _metastore_answers(node: Node) -> bool:
    from kalam_jupyter.ksql import KsqlError

    try:
        node.ksql.execute("LIST STREAMS; LIST TABLES; LIST QUERIES;")
    except KsqlError:
        return False
    return True


class MetadataHandler(KsqlRoute):
    """``GET /v1/metadata``; open to everybody."""

    public = _ONLY_GET

    async def get(self) -> None:
        """Describe the cluster."""
        self.send_json({"version": KSQL_VERSION, "clusterId": await cluster(self)})


class MetadataIdHandler(KsqlRoute):
    """``GET /v1/metadata/id``; open to everybody."""

    public = _ONLY_GET

    async def get(self) -> None:
        """Name the cluster."""
        self.send_json(await cluster(self))


async def cluster(route: KsqlRoute) -> dict[str, Any]:
    """Return the cluster's identity."""
    names = {"kafka-cluster": CLUSTER_ID, "ksql-cluster": await service_id(route)}
    return {"id": "", "scope": {"path": [], "clusters": names}}


class CompanionHandler(KsqlRoute):
    """``GET /chc/ready`` and ``/chc/live``; open to everybody, whatever state the server is in."""

    public = _ONLY_GET
    gated = False
    serves = None

    def get(self) -> None:
        """Say that the process answers."""
        self.send_json({})


class CommandStatusesHandler(KsqlRoute):
    """``GET /status``."""

    async def get(self) -> None:
        """List the commands and what became of them."""
        statuses = await self.context.service.run(lambda node: node.ksql.command_statuses())
        self.send_json({"commandStatuses": {name: status["status"] for name, status in statuses.items()}})


class CommandStatusHandler(KsqlRoute):
    """``GET /status/:type/:entity/:action``."""

    async def get(self, type_: str, entity: str, action: str) -> None:
        """Say what became of one command."""
        command = f"{type_.lower()}/{entity}/{action.lower()}"
        status = await self.context.service.run(lambda node: node.ksql.command_statuses().get(command))
        if status is None:
            self.send_json(generic_error("Command not found", 40400), status=404)
        else:
            self.send_json(status)


class PropertyHandler(KsqlRoute):
    """``GET /is_valid_property/:property``."""

    async def get(self, name: str) -> None:
        """Answer ``true`` when a client may override the property."""
        await self.context.service.run(lambda node: node.ksql.check_property(name))
        self.send_json(True)


class TerminateHandler(KsqlRoute):
    """``POST /ksql/terminate``."""

    async def post(self) -> None:
        """End all persistent queries, and delete the topics that are asked for."""
        body = self.body()
        patterns = body.get("deleteTopicList") or []
        if not isinstance(patterns, list) or not all(isinstance(p, str) for p in patterns):
            self.refuse("Invalid JSON in request: 'deleteTopicList' must be a list of strings", 40000)
        entity = await self.context.service.run(lambda node: node.ksql.terminate_cluster(patterns))
        self.send_json([entity])


class ClusterStatusHandler(KsqlRoute):
    """``GET /clusterStatus``."""

    async def get(self) -> None:
        """Tell which nodes live, and what they run; 404 without a body where that is switched off."""
        host = self.request.host
        status = await self.context.service.run(lambda node: node.ksql.cluster.status(host))
        if status is None:
            self.send_nothing(404)
        else:
            self.send_json(status)


async def _take(route: KsqlRoute, take: Callable[[Cluster, dict[str, Any]], bool]) -> None:
    """Take a message of another node; 404 without a body where such messages are not taken."""
    message = route.body()
    if await route.context.service.run(lambda node: take(node.ksql.cluster, message)):
        route.send_json({"isOk": True})
    else:
        route.send_nothing(404)


class HeartbeatHandler(KsqlRoute):
    """``POST /heartbeat``."""

    async def post(self) -> None:
        """Take note that a node is alive."""
        await _take(self, lambda cluster, message: cluster.heartbeat(message))


class LagHandler(KsqlRoute):
    """``POST /lag``."""

    async def post(self) -> None:
        """Take note of the lags of a node's stores."""
        await _take(self, lambda cluster, message: cluster.lag(message))

"""Health of the node, for callers on this machine and the server's own users."""

from __future__ import annotations

import socket
import sys
import time
from typing import Any

from kalam_server.identity import is_loopback
from kalam_server.kalam_handlers.base import KalamRoute

#: The release of KalamDB whose contract is served: clients compare it.
VERSION = "0.4.3-rc.4"
BUILD_DATE = "2026-05-04 20:27:57 UTC"
_STARTED = time.monotonic()


class HealthRoute(KalamRoute):
    """A health route. Answers whoever is on this machine, without credentials."""

    remote_message = "Access denied. Health endpoint is localhost-only."

    def envelope(self, error: BaseException) -> tuple[int, Any]:
        """See `KalamRoute.envelope`."""
        return 500, {"error": "Internal server error"}

    def is_near(self) -> bool:
        """Answer remote callers with 403; say whether the caller is near."""
        if self.caller.kind == "local" or is_loopback(self.client_ip):
            return True
        self.send_json({"error": self.remote_message}, status=403)
        return False


class HealthHandler(HealthRoute):
    """``GET /health`` and ``/v1/api/healthcheck``."""

    async def begin(self) -> None:
        """No guard: a health check must not open the engine."""

    def get(self) -> None:
        """Say that the server runs."""
        if self.is_near():
            self.send_json(
                {"status": "healthy", "version": VERSION, "api_version": "v1", "build_date": BUILD_DATE}
            )


class ClusterHealthHandler(HealthRoute):
    """``GET /v1/api/cluster/health``: one node that leads itself."""

    remote_message = "Access denied. Cluster health is localhost-only."

    async def get(self) -> None:
        """Describe the one-node cluster."""
        if not self.is_near():
            return
        position = await self.context.service.run(lambda node: node.engine.position)
        uptime = int(time.monotonic() - _STARTED)
        host = socket.gethostname() or "kalamdb"
        self.send_json(
            {
                "status": "healthy",
                "version": VERSION,
                "build_date": BUILD_DATE,
                "is_cluster_mode": True,
                "cluster_id": host,
                "node_id": 1,
                "is_leader": True,
                "total_groups": 3,
                "groups_leading": 3,
                "current_term": 1,
                "last_applied": position,
                "millis_since_quorum_ack": 0,
                "nodes": [
                    {
                        "node_id": 1,
                        "role": "leader",
                        "status": "active",
                        "api_addr": self.request.host,
                        "is_self": True,
                        "is_leader": True,
                        "replication_lag": None,
                        "catchup_progress_pct": None,
                        "hostname": host,
                        "memory_usage_mb": _memory_mb(),
                        "cpu_usage_percent": None,
                        "uptime_seconds": uptime,
                        "uptime_human": human(uptime),
                    }
                ],
            }
        )


def _memory_mb() -> int:
    try:
        import resource
    except ImportError:  # Windows has no such module
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (1024 * 1024 if sys.platform == "darwin" else 1024)


def human(seconds: int) -> str:
    """Format a duration as ``2d 3h 4m``, without leading zero units."""
    minutes = seconds // 60
    days, hours = minutes // 1440, minutes // 60 % 24
    parts = [f"{days}d"] if days else []
    parts += [f"{hours}h"] if days or hours else []
    return " ".join([*parts, f"{minutes % 60}m"])

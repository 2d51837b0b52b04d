"""The route tables of both APIs, as published. Patterns are relative to where they are mounted."""

from __future__ import annotations

from typing import Any

from kalam_server.kalam_handlers.auth import (
    LoginHandler,
    LogoutHandler,
    MeHandler,
    RefreshHandler,
    SetupHandler,
    StatusHandler,
)
from kalam_server.kalam_handlers.files import ExportHandler, FileHandler
from kalam_server.kalam_handlers.health import ClusterHealthHandler, HealthHandler
from kalam_server.kalam_handlers.sql import SqlHandler
from kalam_server.kalam_handlers.topics import AckHandler, ConsumeHandler
from kalam_server.kalam_handlers.ws import LiveSocket
from kalam_server.ksql_handlers.admin import (
    ClusterStatusHandler,
    CommandStatusesHandler,
    CommandStatusHandler,
    CompanionHandler,
    HeartbeatHandler,
    InfoHandler,
    KsqlHealthHandler,
    LagHandler,
    MetadataHandler,
    MetadataIdHandler,
    PropertyHandler,
    RootHandler,
    TerminateHandler,
)
from kalam_server.ksql_handlers.frames import FrameHandler
from kalam_server.ksql_handlers.inserts_stream import InsertsStreamHandler
from kalam_server.ksql_handlers.query import CloseQueryHandler, QueryHandler, QueryStreamHandler
from kalam_server.ksql_handlers.schema_registry import SchemaRegistryHandler
from kalam_server.ksql_handlers.statements import KsqlHandler
from kalam_server.ksql_handlers.topology import QueryTopologyHandler, StatementTopologyHandler
from kalam_server.ksql_handlers.ws_query import QuerySocket
from kalam_server.openapi import OpenApiHandler
from kalam_server.route import Entry, NotFound


class KalamNotFound(NotFound):
    """KalamDB's answer to an unknown path."""

    def failure(self, error: BaseException) -> tuple[int, Any]:
        """See `Route.failure`."""
        return 404, ""


KSQL_ROUTES = [
    Entry(r"/info/?", InfoHandler),
    Entry(r"/healthcheck/?", KsqlHealthHandler),
    Entry(r"/ksql/?", KsqlHandler),
    Entry(r"/ksql/terminate/?", TerminateHandler),
    Entry(r"/status/?", CommandStatusesHandler),
    Entry(r"/status/([^/]+)/([^/]+)/([^/]+)/?", CommandStatusHandler),
    Entry(r"/query-stream/?", QueryStreamHandler),
    Entry(r"/query/?", QueryHandler),
    Entry(r"/close-query/?", CloseQueryHandler),
    Entry(r"/inserts-stream/?", InsertsStreamHandler),
    Entry(r"/ws/query/?", QuerySocket),
    Entry(r"/is_valid_property/([^/]+)/?", PropertyHandler),
    Entry(r"/clusterStatus/?", ClusterStatusHandler),
    Entry(r"/heartbeat/?", HeartbeatHandler),
    Entry(r"/lag/?", LagHandler),
    Entry(r"/v1/metadata/?", MetadataHandler),
    Entry(r"/v1/metadata/id/?", MetadataIdHandler),
    Entry(r"/frames/([^/]+)", FrameHandler),
    Entry(r"/topology/?", StatementTopologyHandler),
    Entry(r"/topology/([^/]+)/?", QueryTopologyHandler),
    Entry(r"/chc/(?:ready|live)/?", CompanionHandler),
    Entry(r"/(?:subjects|schemas|config|mode|compatibility)(?:/.*)?", SchemaRegistryHandler),
]
#: Only where the mount owns the whole port: Jupyter has a root of its own.
KSQL_ROOT = [Entry(r"/", RootHandler)]

KALAM_ROUTES = [
    Entry(r"/v1/api/sql", SqlHandler),
    Entry(r"/v1/api/auth/login", LoginHandler),
    Entry(r"/v1/api/auth/refresh", RefreshHandler),
    Entry(r"/v1/api/auth/logout", LogoutHandler),
    Entry(r"/v1/api/auth/me", MeHandler),
    Entry(r"/v1/api/auth/setup", SetupHandler),
    Entry(r"/v1/api/auth/status", StatusHandler),
    Entry(r"/v1/api/topics/consume", ConsumeHandler),
    Entry(r"/v1/api/topics/ack", AckHandler),
    Entry(r"/v1/api/healthcheck", HealthHandler),
    Entry(r"/v1/api/cluster/health", ClusterHealthHandler),
    Entry(r"/health", HealthHandler),
    # The SDKs build file URLs below /api/v1, the server's contract says /v1.
    Entry(r"/v1/files/([^/]+)/([^/]+)/([^/]+)/([^/]+)", FileHandler),
    Entry(r"/api/v1/files/([^/]+)/([^/]+)/([^/]+)/([^/]+)", FileHandler),
    Entry(r"/v1/exports/([^/]+)/([^/]+)", ExportHandler),
    Entry(r"/v1/ws", LiveSocket),
    Entry(r"/v1/openapi\.json", OpenApiHandler),
]
#: Behind all others where the mount shares its port: paths that look like KalamDB's are answered as it does.
KALAM_UNKNOWN = [Entry(r"/v1(?:/.*)?", KalamNotFound)]

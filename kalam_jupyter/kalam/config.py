"""Every knob of the KalamDB dialect in one frozen value.

Sources: the contract's configuration tables (HTTP section 15, WebSocket section 10).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

MIB = 1024 * 1024


@dataclass(frozen=True)
class KalamConfig:
    """Settings of one KalamDB instance. Times are seconds and sizes are bytes unless a name says
    otherwise."""

    # auth
    jwt_secret: str | None = None  # None: a random secret, kept beside the engine's files
    jwt_expiry_hours: float = 24
    jwt_trusted_issuers: tuple[str, ...] = ()  # OpenID Connect issuers whose tokens are taken
    oidc_audience: str | None = None  # what their tokens' aud must hold; None does not look at it
    oidc_auto_provision_role: str | None = None  # role of a user their tokens name first; None makes none
    bcrypt_cost: int = 12
    login_cache: float = 60  # a password that was right is known for so long without bcrypt; 0: not at all
    enforce_password_complexity: bool = False
    cookie_secure: bool = True
    allow_remote_setup: bool = False
    root_password: str | None = None
    lockout_attempts: int = 5
    lockout_minutes: float = 15

    # security
    cors_allowed_origins: tuple[str, ...] = ()
    cors_allow_credentials: bool = False
    strict_ws_origin_check: bool = False
    trusted_proxy_ranges: tuple[str, ...] = ()
    max_body_size: int = 10 * MIB
    max_ws_message_size: int = MIB
    max_sql_length: int = MIB

    # limits
    default_query_limit: int = 50
    max_query_limit: int = 1000
    max_parameters: int = 50
    max_parameter_size: int = 512 * 1024
    query_timeout: float = 60  # of a statement from a network client; 0: none
    query_memory: int = 1024 * MIB  # of one query's sorts, joins and groups, and of its answer; 0: no limit
    transaction_timeout: float = 300
    transaction_buffer_limit: int = 100 * MIB

    # rate limits; 0 switches one off
    max_queries_per_sec: float = 100
    max_messages_per_sec: float = 50
    max_auth_requests_per_ip_per_sec: float = 20
    max_requests_per_ip_per_sec: float = 200
    max_subscriptions_per_user: int = 10
    max_subscriptions_per_connection: int = 100
    ban_duration: float = 300

    # files
    max_file_size: int = 25 * MIB
    max_files_per_request: int = 20
    allowed_mime_types: tuple[str, ...] = ()

    # topics
    visibility_timeout: float = 60
    topic_retention_seconds: int = 604_800
    topic_retention_max_bytes: int = 1024 * MIB
    max_consume_wait: float = 60

    # websocket
    ws_auth_timeout: float = 3
    ws_heartbeat_interval: float = 5
    ws_client_timeout: float = 10
    live_batch_size: int = 1000

    # bridge: the lowest role that may read ksqlDB's streams and tables as ksql.<name>
    ksql_role: str = "dba"

    # where storages, backups and exports live; None: beside the engine, or a temporary directory in memory
    data_dir: str | None = None
    node_id: int = 1
    base_url: str = "http://127.0.0.1:8080"

    @classmethod
    def development(cls) -> KalamConfig:
        """Return the profile of the reference's own suites: the limits lifted, the timeouts long."""
        return cls(
            max_queries_per_sec=100_000,
            max_messages_per_sec=10_000,
            max_subscriptions_per_user=200_000,
            max_auth_requests_per_ip_per_sec=200_000,
            max_requests_per_ip_per_sec=200_000,
            max_body_size=100 * MIB,
            ws_client_timeout=60,
            ws_auth_timeout=10,
            ws_heartbeat_interval=15,
            visibility_timeout=10,
        )

    def with_(self, **changes: Any) -> KalamConfig:
        """Return a copy with some settings changed."""
        return replace(self, **changes)

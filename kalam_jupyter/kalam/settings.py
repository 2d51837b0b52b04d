"""Settings from a file and from the environment, under KalamDB's own names.

Sources: the contract's configuration tables (HTTP section 15, WebSocket section 10). The file is TOML with
the keys' first words as tables; an environment variable wins over the file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from kalam_jupyter.kalam.config import KalamConfig

Read = Callable[[Any], Any]


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
        raise ValueError("expected a number that is not negative")
    return value


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("expected a whole number that is not negative")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("expected a string")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("expected true or false")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise ValueError("expected a list of strings")
    return tuple(value)


def _role(value: Any) -> str:
    if value not in ("user", "service", "dba"):
        raise ValueError("expected user, service or dba")
    return str(value)


#: Key of the file -> field of KalamConfig, and how its value is read.
KEYS: dict[str, tuple[str, Read]] = {
    "auth.jwt_secret": ("jwt_secret", _text),
    "auth.jwt_expiry_hours": ("jwt_expiry_hours", _number),
    "auth.jwt_trusted_issuers": ("jwt_trusted_issuers", _texts),
    "auth.oidc_audience": ("oidc_audience", _text),
    "auth.oidc_auto_provision_role": ("oidc_auto_provision_role", _role),
    "auth.bcrypt_cost": ("bcrypt_cost", _count),
    "auth.login_cache_secs": ("login_cache", _number),
    "auth.enforce_password_complexity": ("enforce_password_complexity", _flag),
    "auth.cookie_secure": ("cookie_secure", _flag),
    "auth.allow_remote_setup": ("allow_remote_setup", _flag),
    "auth.root_password": ("root_password", _text),
    "security.cors.allowed_origins": ("cors_allowed_origins", _texts),
    "security.cors.allow_credentials": ("cors_allow_credentials", _flag),
    "security.strict_ws_origin_check": ("strict_ws_origin_check", _flag),
    "security.trusted_proxy_ranges": ("trusted_proxy_ranges", _texts),
    "security.max_request_body_size": ("max_body_size", _count),
    "security.max_ws_message_size": ("max_ws_message_size", _count),
    "limits.default_query_limit": ("default_query_limit", _count),
    "limits.max_query_limit": ("max_query_limit", _count),
    "limits.query_timeout_secs": ("query_timeout", _number),
    "limits.query_memory_bytes": ("query_memory", _count),
    "rate_limit.max_queries_per_sec": ("max_queries_per_sec", _number),
    "rate_limit.max_messages_per_sec": ("max_messages_per_sec", _number),
    "rate_limit.max_auth_requests_per_ip_per_sec": ("max_auth_requests_per_ip_per_sec", _number),
    "rate_limit.max_requests_per_ip_per_sec": ("max_requests_per_ip_per_sec", _number),
    "rate_limit.max_subscriptions_per_user": ("max_subscriptions_per_user", _count),
    "websocket.auth_timeout_secs": ("ws_auth_timeout", _number),
    "websocket.client_timeout_secs": ("ws_client_timeout", _number),
    "websocket.heartbeat_interval_secs": ("ws_heartbeat_interval", _number),
    "files.max_size_bytes": ("max_file_size", _count),
    "files.max_files_per_request": ("max_files_per_request", _count),
    "files.allowed_mime_types": ("allowed_mime_types", _texts),
    "topics.visibility_timeout_secs": ("visibility_timeout", _number),
}
#: Environment variable -> key.
VARIABLES = {
    "KALAMDB_JWT_SECRET": "auth.jwt_secret",
    "KALAMDB_JWT_EXPIRY_HOURS": "auth.jwt_expiry_hours",
    "KALAMDB_JWT_TRUSTED_ISSUERS": "auth.jwt_trusted_issuers",
    "KALAMDB_COOKIE_SECURE": "auth.cookie_secure",
    "KALAMDB_ALLOW_REMOTE_SETUP": "auth.allow_remote_setup",
    "KALAMDB_ROOT_PASSWORD": "auth.root_password",
    "KALAMDB_SECURITY_CORS_ALLOWED_ORIGINS": "security.cors.allowed_origins",
    "KALAMDB_SECURITY_TRUSTED_PROXY_RANGES": "security.trusted_proxy_ranges",
    "KALAMDB_TOPIC_VISIBILITY_TIMEOUT_SECS": "topics.visibility_timeout_secs",
}
_PLAIN: dict[Read, Callable[[str], Any]] = {
    _number: float,
    _count: int,
    _flag: lambda text: {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text),
}


def load(path: Path | None, environ: Mapping[str, str], base: KalamConfig | None = None) -> KalamConfig:
    """Return the settings of a file and the environment over those of `base`.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        For a key that does not exist, or a value of another type; the text names it.
    """
    found: dict[str, Any] = {}
    if path is not None:
        try:
            said = tomllib.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        for key, value in _flat(said):
            if key not in KEYS:
                raise ValueError(f"{path}: unknown setting '{key}'. Known: {', '.join(sorted(KEYS))}")
            _put(found, key, value, f"{path}: {key}")
    for variable, key in VARIABLES.items():
        if text := environ.get(variable):
            try:
                value = _PLAIN.get(KEYS[key][1], str)(text)
            except ValueError:
                value = text
            _put(found, key, value, variable)
    return replace(base or KalamConfig(), **found)


def _put(found: dict[str, Any], key: str, value: Any, where: str) -> None:
    field, read = KEYS[key]
    try:
        found[field] = read(value)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value

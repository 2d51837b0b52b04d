"""Kafka Connect's public REST API, as far as statements about connectors need it."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from kalam_jupyter.ksql.errors import StatementError


class ConnectClient:
    """A Connect cluster, by its address (``ksql.connect.url``).

    Parameters
    ----------
    url : str
    timeout_ms : int
        How long an answer may take.
    meanwhile : callable
        Gives the context in which an answer is waited for.

    Raises
    ------
    StatementError
        Every method, with the error code n00 where Connect answers with status n, after what was attempted.
    """

    def __init__(
        self, url: str, timeout_ms: int, meanwhile: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> None:
        if not url.lower().startswith(("http://", "https://")):
            raise StatementError(f"ksql.connect.url is not the address of a Kafka Connect cluster: {url}")
        self._url = url.rstrip("/")
        self._seconds = timeout_ms / 1000
        self._meanwhile = meanwhile

    def names(self) -> list[str]:
        """Return the names of all connectors, sorted."""
        return sorted(self._call("Failed to list connectors", "GET", "connectors"))

    def plugins(self) -> list[dict[str, Any]]:
        """Return the connector plugins: ``class``, ``type``, ``version``."""
        found: list[dict[str, Any]] = self._call(
            "Failed to list connector plugins", "GET", "connector-plugins"
        )
        return found

    def create(self, name: str, config: Mapping[str, str]) -> dict[str, Any]:
        """Create a connector; return its ``name``, ``config``, ``tasks`` and ``type``."""
        body = {"name": name, "config": dict(config)}
        found: dict[str, Any] = self._call("Failed to create connector", "POST", "connectors", body=body)
        return found

    def faults(self, plugin: str, config: Mapping[str, str]) -> list[str]:
        """Return what a plugin finds wrong with a connector's configuration."""
        path = ("connector-plugins", plugin, "config", "validate")
        found = self._call("Failed to validate connector", "PUT", *path, body=dict(config))
        values = (c.get("value") or {} for c in found.get("configs") or ())
        return [f"{v.get('name')} - {error}" for v in values for error in v.get("errors") or ()]

    def info(self, name: str) -> dict[str, Any]:
        """Return a connector's ``name``, ``config``, ``tasks`` and ``type``."""
        found: dict[str, Any] = self._call("Failed to describe connector", "GET", "connectors", name)
        return found

    def status(self, name: str) -> dict[str, Any]:
        """Return a connector's state and that of its tasks."""
        attempt = "Failed to query connector status"
        found: dict[str, Any] = self._call(attempt, "GET", "connectors", name, "status")
        return found

    def topics(self, name: str) -> list[str]:
        """Return the topics that a connector has used, sorted."""
        found = self._call("Failed to describe connector", "GET", "connectors", name, "topics")
        return sorted((found.get(name) or {}).get("topics") or ())

    def delete(self, name: str) -> None:
        """Delete a connector."""
        self._call("Failed to drop connector", "DELETE", "connectors", name)

    def _call(self, attempt: str, method: str, *path: str, body: dict[str, Any] | None = None) -> Any:
        request = urllib.request.Request(
            f"{self._url}/{'/'.join(urllib.parse.quote(part, safe='') for part in path)}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Accept": "application/json"},
        )
        try:
            with self._meanwhile(), urllib.request.urlopen(request, timeout=self._seconds) as response:
                text = response.read()
            return json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            raise StatementError(f"{attempt}: {_reason(error)}", error_code=error.code * 100) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            message = (
                f"{attempt}: Kafka Connect at {self._url} (ksql.connect.url) cannot be reached: {reason}"
            )
            raise StatementError(message, error_code=50000) from None


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read())["message"])
    except (ValueError, KeyError, TypeError, OSError):
        return f"HTTP {error.code}"

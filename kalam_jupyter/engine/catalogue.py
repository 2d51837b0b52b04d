"""The catalogue: durable JSON values by kind and name. Dialects keep their definitions here."""

from __future__ import annotations

import threading
from typing import Any

import orjson


class Catalogue:
    """JSON values by (kind, name). Values must not be changed by who reads them."""

    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self._kinds: dict[str, dict[str, Any]] = {}

    def get(self, kind: str, name: str) -> Any | None:
        """Return a value, or None."""
        with self._lock:
            return self._kinds.get(kind, {}).get(name)

    def items(self, kind: str) -> list[tuple[str, Any]]:
        """Return (name, value) of a kind, sorted by name."""
        with self._lock:
            return sorted(self._kinds.get(kind, {}).items(), key=lambda item: item[0])

    def names(self, kind: str) -> list[str]:
        """Return the names of a kind, sorted."""
        with self._lock:
            return sorted(self._kinds.get(kind, {}))

    def kinds(self) -> list[str]:
        """Return the kinds that hold something, sorted."""
        with self._lock:
            return sorted(kind for kind, values in self._kinds.items() if values)

    def swap(self, kind: str, name: str, value: Any | None) -> Any | None:
        """Set a value (None removes it) and return the one before. For the transaction."""
        values = self._kinds.setdefault(kind, {})
        before = values.pop(name, None)
        if value is not None:
            values[name] = value
        return before


def json_copy(value: Any) -> Any:
    """Return `value` as the log will give it back.

    Raises
    ------
    TypeError
        If it is not JSON.
    """
    return orjson.loads(orjson.dumps(value))

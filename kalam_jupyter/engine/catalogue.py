"""The catalogue: durable JSON values by kind and name. Dialects keep their definitions here."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import orjson

_NONE: Mapping[str, Any] = {}


class Catalogue:
    """JSON values by (kind, name). Values must not be changed by who reads them.

    What the writer's transactions have changed is kept apart until it is committed: they see it, nobody
    else does, and a read never waits for the disk.

    Parameters
    ----------
    writing : callable
        Whether the calling thread is the writer.
    """

    def __init__(self, lock: threading.RLock, writing: Callable[[], bool]) -> None:
        self._lock = lock
        self._writing = writing
        self._kinds: dict[str, dict[str, Any]] = {}
        self._changed: dict[tuple[str, str], Any | None] = {}
        self._changes: Counter[str] = Counter()

    def get(self, kind: str, name: str) -> Any | None:
        """Return a value, or None."""
        if self._changed and self._writing() and (kind, name) in self._changed:
            return self._changed[kind, name]
        return self._kinds.get(kind, _NONE).get(name)

    def items(self, kind: str) -> list[tuple[str, Any]]:
        """Return (name, value) of a kind, sorted by name."""
        with self._lock:
            values = dict(self._kinds.get(kind, _NONE))
            if self._changed and self._writing():
                values.update({n: v for (k, n), v in self._changed.items() if k == kind})
        return sorted(((n, v) for n, v in values.items() if v is not None), key=lambda item: item[0])

    def names(self, kind: str) -> list[str]:
        """Return the names of a kind, sorted."""
        return [name for name, _ in self.items(kind)]

    def changes(self, kind: str) -> int:
        """Return a number that grows whenever a value of the kind changes."""
        return self._changes[kind]

    def kinds(self) -> list[str]:
        """Return the kinds that hold something, sorted."""
        with self._lock:
            return sorted(kind for kind, values in self._kinds.items() if values)

    def swap(self, kind: str, name: str, value: Any | None) -> Any | None:
        """Set a value (None removes it) and return the one before. For the transaction."""
        key = kind, name
        before = self._changed[key] if key in self._changed else self._kinds.get(kind, _NONE).get(name)
        self._changed[key] = value
        self._changes[kind] += 1
        return before

    def publish(self) -> None:
        """Show what was changed to everybody: it is committed."""
        if not self._changed:
            return
        for (kind, name), value in self._changed.items():
            values = self._kinds.setdefault(kind, {})
            if value is None:
                values.pop(name, None)
            else:
                values[name] = value
            self._changes[kind] += 1
        self._changed.clear()


def json_copy(value: Any) -> Any:
    """Return `value` as the log will give it back.

    Raises
    ------
    TypeError
        If it is not JSON.
    """
    return orjson.loads(orjson.dumps(value))

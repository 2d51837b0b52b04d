"""Schema registry: subjects, versions and ids of the schemas of topics."""

from __future__ import annotations

from typing import Protocol


class SchemaRegistry(Protocol):
    """Where formats find the schemas of the bytes they read."""

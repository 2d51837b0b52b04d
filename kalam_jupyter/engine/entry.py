"""Log entries: the operations of one transaction as JSON, with Arrow data beside them."""

from __future__ import annotations

from typing import Any


class EntryWriter:
    """Collects the operations of one transaction in the form in which the log keeps them."""

    def __init__(self) -> None:
        self.operations: list[Any] = []
        self.blobs: list[bytes] = []

    def add(self, operation: tuple[Any, ...]) -> None:
        """Add an operation: its name and arguments."""
        self.operations.append(operation)

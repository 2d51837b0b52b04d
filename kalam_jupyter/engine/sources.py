"""What one dialect shows of its streams and tables to the other, without an import between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

import pyarrow as pa

from kalam_jupyter.engine.history import Subscription
from kalam_jupyter.engine.relation import ChangeSet
from kalam_jupyter.engine.types import Schema


class SourceProvider(Protocol):
    """Streams and tables of one namespace, by lower-case name; see ``Engine.sources``."""

    def names(self) -> list[str]:
        """Return the names, sorted."""

    def schema(self, name: str) -> Schema | None:
        """Return the schema of a source; None if there is none of this name."""

    def kind(self, name: str) -> Literal["stream", "table"]:
        """Return what the source is."""

    def table(self, name: str) -> pa.Table:
        """Return all its rows as of now."""

    def follow(self, name: str) -> tuple[pa.Table, Subscription[ChangeSet]]:
        """Return `table`, and its changes from exactly there on.

        What is read is not what the engine's lock guards: it must not be held.
        """

    def subscribe(self, name: str, wake: Callable[[], None] | None = None) -> Subscription[ChangeSet]:
        """Follow its changes from now on."""

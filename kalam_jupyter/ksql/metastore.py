"""The metastore: sources (streams and tables) and custom types, by name.

A metastore is cheap to copy: a whole request is validated against a copy before any of it is executed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

from kalam_jupyter.engine.types import BIGINT, INTEGER, Column, DataType, Schema
from kalam_jupyter.ksql.errors import StatementError
from kalam_jupyter.ksql.formats.base import SerdeFormat
from kalam_jupyter.ksql.lang.types import resolve_type

SourceKind = Literal["STREAM", "TABLE"]
WindowType = Literal["TUMBLING", "HOPPING", "SESSION"]

ROWTIME = "ROWTIME"
ROWPARTITION = "ROWPARTITION"
ROWOFFSET = "ROWOFFSET"
WINDOWSTART = "WINDOWSTART"
WINDOWEND = "WINDOWEND"

_QUOTE_IT = "Hint: wrap the source name in double quotes to make it case-sensitive."

PSEUDO_COLUMNS = (Column(ROWTIME, BIGINT), Column(ROWPARTITION, INTEGER), Column(ROWOFFSET, BIGINT))
WINDOW_BOUNDS = (Column(WINDOWSTART, BIGINT), Column(WINDOWEND, BIGINT))
RESERVED_NAMES = frozenset(c.name for c in PSEUDO_COLUMNS + WINDOW_BOUNDS)


@dataclass(frozen=True)
class WindowInfo:
    """How the keys of a source are windowed: `size_ms` is None for sessions."""

    type: WindowType
    size_ms: int | None = None


@dataclass(frozen=True)
class TimestampColumn:
    """The TIMESTAMP property: where event time comes from."""

    name: str
    format: str | None = None


@dataclass(frozen=True)
class Source:
    """A stream or a table over a topic.

    Attributes
    ----------
    schema : Schema
        Key columns, then value columns in declaration order, header columns among them.
    headers : tuple of (column name, header key or None)
        The columns that are read from the record's headers; None takes all headers.
    statement : str
        The statement that made it.
    query_id : str or None
        The persistent query that the statement started.
    read_only : bool
        Whether it was declared SOURCE.
    """

    name: str
    kind: SourceKind
    schema: Schema
    topic: str
    key_format: SerdeFormat
    value_format: SerdeFormat
    window: WindowInfo | None = None
    timestamp: TimestampColumn | None = None
    headers: tuple[tuple[str, str | None], ...] = ()
    statement: str = ""
    query_id: str | None = None
    read_only: bool = False

    @property
    def is_stream(self) -> bool:
        """Whether it is a stream."""
        return self.kind == "STREAM"

    @cached_property
    def header_names(self) -> frozenset[str]:
        """Names of the header columns."""
        return frozenset(name for name, _ in self.headers)

    @cached_property
    def stored_schema(self) -> Schema:
        """The columns that are in the record's key and value: all but header columns."""
        return Schema(tuple(c for c in self.schema if c.name not in self.header_names))


@dataclass
class Metastore:
    """Sources and custom types, by name."""

    sources: dict[str, Source] = field(default_factory=dict)
    types: dict[str, DataType] = field(default_factory=dict)
    #: Sources that are always there: they can be read, and are not listed.
    system: dict[str, Source] = field(default_factory=dict)

    def copy(self) -> Metastore:
        """Return an independent copy."""
        return Metastore(dict(self.sources), dict(self.types), self.system)

    def get(self, name: str) -> Source | None:
        """Return the source called `name`."""
        return self.sources.get(name) or self.system.get(name)

    def put(self, source: Source) -> None:
        """Add or replace a source."""
        self.sources[source.name] = source

    def set_query(self, name: str, query_id: str | None) -> None:
        """Say which query writes a source."""
        self.sources[name] = replace(self.sources[name], query_id=query_id)

    def resolve_type(self, type_: DataType) -> DataType:
        """Return a type with the names of custom types replaced; StatementError if there is no such type."""
        try:
            return resolve_type(type_, lambda name: self.types.get(name.upper()) or self.types.get(name))
        except KeyError as missing:
            raise StatementError(
                f"Failed to prepare statement: Cannot resolve unknown type: {missing.args[0]}"
            ) from None

    def similar(self, name: str) -> list[Source]:
        """Return the sources whose name differs from `name` only by case."""
        return [s for s in self.sources.values() if s.name.upper() == name.upper() and s.name != name]

    def hint(self, name: str) -> str:
        """Return the ``Did you mean`` line for an unknown name, with its newline; empty if there is nothing
        to suggest.
        """
        found = self.similar(name)
        if not found:
            return ""
        if len(found) > 1:
            names = [f'"{s.name}" ({s.kind})' for s in found]
            listed = ", ".join(names[:-1]) + f", or {names[-1]}"
            return f"\nDid you mean {listed}? {_QUOTE_IT}"
        other = found[0].name
        if other == other.upper():
            return f"\nDid you mean {other}? Hint: try removing double quotes from the source name."
        return f'\nDid you mean "{other}"? {_QUOTE_IT}'

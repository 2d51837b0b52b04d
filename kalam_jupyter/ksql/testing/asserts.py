"""ASSERT VALUES, ASSERT NULL VALUES, ASSERT STREAM and ASSERT TABLE: statements of test scripts only."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from typing import Any

from kalam_jupyter.ksql import Ksql
from kalam_jupyter.ksql.analysis.layout import source_layout
from kalam_jupyter.ksql.errors import StatementError
from kalam_jupyter.ksql.lang import ast
from kalam_jupyter.ksql.metastore import ROWTIME, Source
from kalam_jupyter.ksql.operators.record import Record
from kalam_jupyter.ksql.runtime.reader import SourceReader
from kalam_jupyter.ksql.runtime.reports import Reporter
from kalam_jupyter.ksql.runtime.timestamps import timestamp_parser
from kalam_jupyter.ksql.statements.definitions import create_definition
from kalam_jupyter.ksql.statements.insert import row_values
from kalam_jupyter.ksql.statements.run import Run
from kalam_jupyter.ksql.statements.schemas import with_inferred_columns, with_schemas


class AssertionFailedError(Exception):
    """What a script asserts does not hold."""


class Unread:
    """The records of each source that no ASSERT has read yet."""

    def __init__(self, ksql: Ksql) -> None:
        self._ksql = ksql
        self._positions: dict[str, int] = {}
        self._waiting: defaultdict[str, deque[Record]] = defaultdict(deque)

    def next(self, source: Source) -> Record:
        """Return the next record of a source; AssertionFailedError if there is none."""
        waiting = self._waiting[source.name]
        if not waiting:
            waiting.extend(self._new(source))
        if not waiting:
            raise AssertionFailedError(f"Expected another record of {source.name}, but there is none.")
        return waiting.popleft()

    def _new(self, source: Source) -> Iterator[Record]:
        topic = self._ksql.engine.topic(source.topic)
        position = max(self._positions.get(source.name, 0), topic.start_sequence)
        self._positions[source.name] = topic.end_sequence
        reader = SourceReader(
            source, self._ksql.codec(source), Reporter("kalam test"), timestamp_parser(source)
        )
        for batch in topic.read(position, 1 << 30):
            yield from reader.read(batch)


def assert_values(run: Run, unread: Unread, s: ast.AssertValues) -> None:
    """Compare the listed columns of the next record.

    Raises
    ------
    AssertionFailedError
    KsqlError
        If the statement itself is wrong.
    """
    source = _source(run, s.source)
    expected = row_values(run, source, s.columns, s.values)
    record = unread.next(source)
    if record.row is None and set(expected) - {c.name for c in source.schema.key} - {ROWTIME}:
        raise AssertionFailedError(f"Expected values of {source.name}, but the record is a tombstone.")
    actual = _values(source, record)
    for name, value in expected.items():
        if value is None or actual[name] != value:
            raise AssertionFailedError(
                f"Expected record does not match actual of {source.name}: column {name}: expected {value!r}, "
                f"got {actual[name]!r}"
            )


def assert_tombstone(run: Run, unread: Unread, s: ast.AssertNullValues) -> None:
    """Compare the key of the next record, which must be a tombstone; raises as `assert_values` does."""
    source = _source(run, s.source)
    keys = [c.name for c in source.schema.key]
    names = s.columns or tuple(keys)
    strangers = [name for name in names if name not in keys]
    if strangers:
        raise StatementError(f"ASSERT NULL VALUES takes key columns only: {', '.join(strangers)}")
    expected = row_values(run, source, names, s.values)
    record = unread.next(source)
    if record.row is not None:
        raise AssertionFailedError(f"Expected a tombstone of {source.name}, but the record has values.")
    actual = _values(source, record)
    if any(value is None or actual[name] != value for name, value in expected.items()):
        raise AssertionFailedError(
            f"Expected key does not match actual of {source.name}: expected {expected!r}, got {actual!r}"
        )


def _source(run: Run, name: str) -> Source:
    source = run.source(name)
    if source is None:
        raise StatementError(f"Source {name} does not exist.{run.metastore.hint(name)}")
    return source


def _values(source: Source, record: Record) -> dict[str, Any]:
    found = dict(zip((c.name for c in source.schema.key), record.key or (), strict=False))
    if record.row is not None:
        found |= dict(zip((name for name, _ in source_layout(source).columns), record.row, strict=True))
    return found | {ROWTIME: record.ts}


def assert_source(run: Run, s: ast.AssertSource, text: str) -> None:
    """Compare a source with what a CREATE statement would declare.

    Raises
    ------
    AssertionFailedError
        At the first property that differs. What WITH does not say is compared by its default.
    """
    actual = _source(run, s.source.name)
    statement, inferred = with_inferred_columns(run, s.source)
    definition = create_definition(statement, text, run.metastore, run.config)
    expected = with_schemas(run, definition.source, inferred)
    for (name, want), (_, got) in zip(_properties(expected), _properties(actual), strict=True):
        if name == "window" and want is None:
            continue
        if want != got:
            raise AssertionFailedError(
                f"Expected {name} does not match actual for source {actual.name}. Expected: {want}, "
                f"actual: {got}"
            )


def _properties(source: Source) -> Iterator[tuple[str, Any]]:
    time = source.timestamp
    yield "type", source.kind
    yield "schema", ", ".join(f"`{c.name}` {c.type}{' KEY' if c.key else ''}" for c in source.schema)
    yield "Kafka topic", source.topic
    for side, serde in (("key", source.key_format), ("value", source.value_format)):
        yield f"{side} format", serde.info.name
        yield f"{side} format properties", dict(serde.info.properties)
        yield f"{side} wrapping", sorted(serde.features)
        yield f"{side} schema id", serde.schema_id
    yield "timestamp column", None if time is None else time.name
    yield "timestamp format", None if time is None else time.format
    yield "window", source.window

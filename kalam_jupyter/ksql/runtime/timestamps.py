"""Event time from a column: TIMESTAMP in a WITH clause, and TIMESTAMP_FORMAT where it is text."""

from __future__ import annotations

from collections.abc import Callable

from kalam_jupyter.engine.types import STRING, TIMESTAMP
from kalam_jupyter.ksql.metastore import Source
from kalam_jupyter.ksql.operators.record import Row
from kalam_jupyter.ksql.values.errors import EvaluationError


def timestamp_parser(source: Source) -> Callable[[str], int] | None:
    """Return the function from the text of a source's TIMESTAMP column to milliseconds; None where it has
    none.
    """
    if source.timestamp is None or source.timestamp.format is None:
        return None
    if source.schema.column(source.timestamp.name).type != STRING:
        return None
    from kalam_jupyter.ksql.values.java_parse import timestamp_pattern

    return timestamp_pattern(source.timestamp.format)


def timestamp_extractor(
    source: Source, parse: Callable[[str], int] | None
) -> Callable[[Row | None, Row], int] | None:
    """Return the function from a record's key and value to its event time; None without a TIMESTAMP column.

    It raises EvaluationError where the column holds no time that can be one.
    """
    if source.timestamp is None:
        return None
    name = source.timestamp.name
    column = source.schema.column(name)
    stored = source.stored_schema
    columns = stored.key if column.key else stored.value
    position = [c.name for c in columns].index(name)
    parse_text = None if column.type == TIMESTAMP else parse

    def extract(key: Row | None, value: Row) -> int:
        row = key if column.key else value
        moment = None if row is None else row[position]
        if moment is None:
            raise EvaluationError(f"the timestamp column {name} is null")
        ms: int = moment if parse_text is None else parse_text(moment)
        if ms < 0:
            raise EvaluationError(f"the timestamp column {name} is negative: {ms}")
        return ms

    return extract

"""Event time from a column of text: TIMESTAMP with a TIMESTAMP_FORMAT."""

from __future__ import annotations

from collections.abc import Callable

from kalam_jupyter.engine.types import STRING
from kalam_jupyter.ksql.metastore import Source


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

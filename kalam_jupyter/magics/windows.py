"""A chart of windowed rows goes over their windows, also where the SELECT leaves their start out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from kalam_jupyter.client import ClientError
from kalam_jupyter.magics.options import Options
from kalam_jupyter.magics.scan import blanked
from kalam_jupyter.widgets.encoding import encode

if TYPE_CHECKING:
    from kalam_jupyter.client import Connection, Result

_FROM = re.compile(r"\bFROM\s+([A-Za-z_]\w*)?", re.IGNORECASE)
_WINDOW = re.compile(r"\bWINDOW\s+(TUMBLING|HOPPING|SESSION)\b", re.IGNORECASE)


def over_windows(
    result: Result, connection: Connection, properties: Mapping[str, str] | None, options: Options
) -> Result:
    """Return a query's result with WINDOWSTART, if its rows are windowed and have no time of their own.

    The query is asked a second time then, so that errors of the first point into what was written.
    """
    rows = result.stream or result.table
    if rows is None or _has_x(result, options) or not _is_windowed(result.statement, connection):
        return result
    at = _FROM.search(blanked(result.statement))
    assert at is not None
    amended = f"{result.statement[: at.start()].rstrip()}, WINDOWSTART {result.statement[at.start() :]}"
    try:
        (again,) = connection.ksql(amended, properties=properties)
    except ClientError:  # a join of windowed sources, for one, has no single start
        return result
    if result.stream is not None:
        result.stream.close()
    return again


def _has_x(result: Result, options: Options) -> bool:
    """Whether a chart finds a time to the right, or nothing to draw."""
    rows = result.stream or result.table
    key = result.key if result.stream is None else result.stream.key
    try:
        return rows is None or encode(rows.schema, key, y=options.y, by=options.by).scale == "time"
    except ValueError:
        return True


def _is_windowed(statement: str, connection: Connection) -> bool:
    code = blanked(statement)
    if _WINDOW.search(code):
        return True
    source = _FROM.search(code)
    if source is None or source.group(1) is None:
        return False
    try:
        (described,) = connection.ksql(f"DESCRIBE {source.group(1)};")
    except ClientError:  # it was dropped meanwhile
        return False
    return bool((described.entity or {}).get("sourceDescription", {}).get("windowType"))

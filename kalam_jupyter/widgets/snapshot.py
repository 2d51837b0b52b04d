"""A live table as plain HTML and text: what a saved notebook, GitHub or a viewer without widgets shows."""

from __future__ import annotations

import html
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

#: A snapshot holds at most this many rows.
SNAPSHOT_ROWS = 50
#: 64-bit columns of ksqlDB that hold milliseconds since 1970.
EPOCH_COLUMNS = frozenset({"WINDOWSTART", "WINDOWEND", "ROWTIME"})
_TEXT_ROWS = 20
_NO_VALUE = "null"


def render(table: pa.Table, caption: str, *, rows: int | None = None) -> dict[str, str]:
    """Return the MIME bundle (``text/html`` and ``text/plain``) of a snapshot.

    Parameters
    ----------
    table : pyarrow.Table
        The rows to show, at most `SNAPSHOT_ROWS`.
    caption : str
        One line that says what is seen.
    rows : int, optional
        How many rows there are in all, when that is more than the table holds.
    """
    cells = [[cell_text(v, name) for v in _values(table[name])] for name in table.column_names]
    left = (table.num_rows if rows is None else rows) - table.num_rows
    if left > 0:
        caption = f"{caption} · {left:,} more"
    return {
        "text/html": _html(table.schema, cells, caption),
        "text/plain": _plain(table.column_names, cells, caption),
    }


def cell_text(value: Any, column: str = "") -> str:
    """Return a value as a cell shows it; times are UTC, floats have seven significant digits."""
    if value is None:
        return _NO_VALUE
    if column in EPOCH_COLUMNS and isinstance(value, int):
        value = datetime.fromtimestamp(value / 1000, UTC)
    if isinstance(value, float):
        return f"{value:.7g}"
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat(" ", "auto")
    if isinstance(value, bytes):
        return f"0x{value.hex()}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {cell_text(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(cell_text(v) for v in value) + "]"
    return str(value)


def _values(column: pa.ChunkedArray) -> list[Any]:
    values: list[Any] = column.to_pylist(maps_as_pydicts="lossy")
    return values


def _is_number(field: pa.Field) -> bool:
    types = pa.types
    number = types.is_integer(field.type) or types.is_floating(field.type) or types.is_decimal(field.type)
    return number and field.name not in EPOCH_COLUMNS


def _html(schema: pa.Schema, cells: Sequence[Sequence[str]], caption: str) -> str:
    sides = ["right" if _is_number(field) else "left" for field in schema]
    head = "".join(
        f'<th style="text-align:{side}">{html.escape(name)}</th>'
        for side, name in zip(sides, schema.names, strict=True)
    )
    body = "\n".join(
        "<tr>"
        + "".join(
            f'<td style="text-align:{side}">{html.escape(text)}</td>'
            for side, text in zip(sides, row, strict=True)
        )
        + "</tr>"
        for row in zip(*cells, strict=True)
    )
    return (
        '<div style="max-height:24em;overflow:auto">\n'
        '<table border="0" class="dataframe klt-snapshot">\n'
        f'<caption style="text-align:left;caption-side:bottom">{html.escape(caption)}</caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</div>"
    )


def _plain(names: Sequence[str], cells: Sequence[Sequence[str]], caption: str) -> str:
    shown = [[name, *column[-_TEXT_ROWS:]] for name, column in zip(names, cells, strict=True)]
    widths = [max(map(len, column)) for column in shown]
    lines = [
        "  ".join(t.ljust(w) for t, w in zip(row, widths, strict=True)) for row in zip(*shown, strict=True)
    ]
    return "\n".join([*(line.rstrip() for line in lines), caption])

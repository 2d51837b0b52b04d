"""What the notebook shows of a result."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kalam_jupyter.magics.entities import Answer, answer
from kalam_jupyter.magics.errors import UsageError
from kalam_jupyter.magics.scan import split_cell

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from kalam_jupyter.client import Result, Stream
    from kalam_jupyter.magics.options import Options
    from kalam_jupyter.widgets import LiveChart, LiveTable
    from kalam_jupyter.widgets.live_widget import LiveWidget


class Note:
    """A line for people, with warnings and preformatted text when there are any."""

    def __init__(self, title: str, text: str = "", warnings: Sequence[str] = ()) -> None:
        self.title, self.text, self.warnings = title, text, list(warnings)

    def __repr__(self) -> str:
        parts = [self.title, *(f"Warning: {w}" for w in self.warnings), self.text]
        return "\n".join(part for part in parts if part)

    def _repr_html_(self) -> str:
        lines = [f"<div>{html.escape(self.title)}</div>"] if self.title else []
        lines += [
            f'<div style="color:var(--jp-warn-color0,#b26a00)">⚠ {html.escape(w)}</div>'
            for w in self.warnings
        ]
        if self.text:
            lines.append(f'<pre style="white-space:pre-wrap">{html.escape(self.text)}</pre>')
        return "\n".join(lines)


def to_display(result: Result, options: Options) -> list[Any]:
    """Return the objects that show a result, the one people go on with last.

    Rows become a DataFrame (those of a PRINT, lines), a stream a running `LiveTable`, both a `LiveChart` with
    --plot; a listing becomes a DataFrame, all else a `Note`.
    """
    if result.stream is not None:
        return [live_widget(result.stream, options)]
    if result.table is not None and options.plot is not None:
        return [plot(result, result.table, options)]
    if result.table is not None:
        return [_printed(result.table) if _is_print(result) else result.frame()]
    if result.entity is not None:
        return _entity(answer(result.entity))
    if result.message:
        return [Note(result.message)]
    return [Note(f"{result.row_count:,} row{'s' * (result.row_count != 1)}")] if result.row_count else []


def _is_print(result: Result) -> bool:
    statement = next(split_cell(result.statement), None)
    return result.dialect == "ksql" and statement is not None and statement.word == "PRINT"


def _printed(table: pa.Table) -> Note:
    """Return the records of a PRINT as lines: a cell of a DataFrame would cut them."""
    return Note("" if table.num_rows else "no records", "\n".join(table.column(0).to_pylist()))


def live_widget(stream: Stream, options: Options) -> LiveWidget:
    """Put a stream into a live table or, with --plot, a live chart.

    Raises
    ------
    UsageError
        If a column that an option names is not there; the stream is closed then.
    """
    if options.plot is None:
        return live_table(stream, options)
    return live_chart(stream, options, options.rows)


def plot(result: Result, table: pa.Table, options: Options) -> LiveChart:
    """Draw a result.

    Raises
    ------
    UsageError
        If the options do not fit its columns.
    """
    from kalam_jupyter.client.table_stream import TableStream

    stream = TableStream(table, result.key, sql=result.statement.strip(), dialect=result.dialect)
    chart = live_chart(stream, options, max(options.rows, table.num_rows))
    chart.wait()
    return chart


def live_chart(stream: Stream, options: Options, rows: int) -> LiveChart:
    """Put a stream into a live chart that retains so many rows; UsageError as `live_widget`."""
    from kalam_jupyter.widgets import LiveChart

    try:
        return LiveChart(
            stream,
            kind=options.plot or None,
            x=options.x,
            y=options.y,
            by=options.by,
            max_rows=rows,
            height=options.height,
        )
    except ValueError as error:
        stream.close()
        raise UsageError(f"--plot: {error}") from None


def live_table(stream: Stream, options: Options) -> LiveTable:
    """Put a stream into a live table.

    Raises
    ------
    UsageError
        If there is no column to sort by; the stream is closed then.
    """
    from kalam_jupyter.widgets import LiveTable

    sort = options.sort
    if sort is not None:
        columns = {name.lower(): name for name in stream.schema.names}
        if sort[0].lower() not in columns:
            stream.close()
            hint = UsageError.near(sort[0], columns.values())
            raise UsageError(f"--sort: there is no column '{sort[0]}'. {hint}".rstrip())
        sort = columns[sort[0].lower()], sort[1]
    return LiveTable(stream, max_rows=options.rows, height=options.height, sort=sort)


def listing(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return rows as a DataFrame that is shown whole."""
    from kalam_jupyter.magics.listing import Listing

    return Listing(list(rows))


def _entity(made: Answer) -> list[Any]:
    shown: list[Any] = []
    if made.title or made.text or made.warnings:
        shown.append(Note(made.title, made.text, made.warnings))
    if made.rows is not None:
        shown.append(listing(made.rows) if made.rows else Note("None."))
    return shown

"""A chart in the notebook that keeps moving after its cell has returned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import traitlets as t

from kalam_jupyter.widgets import _assets, chart_svg
from kalam_jupyter.widgets.encoding import Encoding, encode
from kalam_jupyter.widgets.live_widget import LiveWidget

if TYPE_CHECKING:
    from kalam_jupyter.client.stream import Stream


class LiveChart(LiveWidget):
    """A stream, drawn live.

    A stream with a key draws the latest version of each row: an aggregate moves, a window grows until
    it closes. One without a key draws its last rows.

    Parameters
    ----------
    stream : Stream
        Belongs to the chart from now on.
    kind : {"line", "bar", "area", "points"}, optional
        Bars over categories, lines otherwise.
    x : str, optional
        The horizontal column: numbers, times or categories. Without it the window's start, a column of
        times, the key, or the order in which the rows came.
    y : str or sequence of str, optional
        Columns of numbers. Without it all that are neither `x` nor key.
    by : str or sequence of str, optional
        One series for each of their values. Without it the rest of the key. The chart shows the
        first ten series and says how many there are besides.
    max_rows : int
        Rows retained, here and in the browser.
    height : int
        Of the drawing, in pixels.

    Attributes
    ----------
    status : {"running", "paused", "stopped", "finished", "failed"}
    error : str
        Why it failed, "" otherwise.
    encoding : Encoding
        What is drawn.

    Raises
    ------
    ValueError
        If a column is not there or cannot be drawn, or `kind` is unknown.
    """

    _esm: ClassVar[str] = _assets.esm("flechette", "common", "live", "live_chart")
    _css: ClassVar[str] = _assets.css("common", "live_chart")

    kind = t.Unicode().tag(sync=True)
    x = t.Unicode().tag(sync=True)
    y = t.List(t.Unicode()).tag(sync=True)
    by = t.List(t.Unicode()).tag(sync=True)
    scale = t.Unicode().tag(sync=True)

    def __init__(
        self,
        stream: Stream,
        *,
        kind: str | None = None,
        x: str | None = None,
        y: str | Sequence[str] | None = None,
        by: str | Sequence[str] | None = None,
        max_rows: int = 5_000,
        height: int = 280,
    ) -> None:
        self.encoding: Encoding = encode(stream.schema, stream.key, kind=kind, x=x, y=y, by=by)
        super().__init__(
            stream,
            max_rows=max_rows,
            height=height,
            kind=self.encoding.kind,
            x=self.encoding.x,
            y=list(self.encoding.y),
            by=list(self.encoding.by),
            scale=self.encoding.scale,
        )

    def _snapshot(self) -> dict[str, str]:
        bundle = super()._snapshot()
        table = self.table()
        first = self.stats.rows_in - table.num_rows + 1
        picture = chart_svg.draw(table, self.encoding, height=self.height, first_row=first)
        return {**bundle, "text/html": chart_svg.image(picture, self.stream.sql, self._caption)}

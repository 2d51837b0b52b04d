"""A live chart as a still picture, for saved notebooks. Its greys are legible on light and dark."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise

import pyarrow as pa
import pyarrow.compute as pc

from kalam_jupyter.widgets.encoding import Encoding
from kalam_jupyter.widgets.snapshot import cell_text

#: As in `live_chart.js`.
MAX_SERIES = 10
_COLOURS = (
    "#3b82f6", "#f08a24", "#1fa97c", "#e0529c", "#8b6cf0",
    "#17a2bb", "#c99700", "#e05a4f", "#6fa02e", "#7b8794",
)  # fmt: skip
_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 760, 58, 14, 22, 32
_INK, _GRID = "#7d8590", "#80808040"
_DAY = 86_400_000
_TIME_STEPS = (
    *(n * unit for unit in (1, 10, 100) for n in (1, 2, 5)),
    *(n * unit for unit in (1_000, 60_000) for n in (1, 2, 5, 10, 15, 30)),
    *(n * 3_600_000 for n in (1, 2, 3, 6, 12)),
    *(n * _DAY for n in (1, 2, 7, 14, 30, 90, 180, 365, 730, 1825, 3650)),
)  # fmt: skip


@dataclass
class _Series:
    name: str
    points: list[tuple[float, float | None]] = field(default_factory=list)


@dataclass(frozen=True)
class _Axis:
    """A linear map from values to pixels; `step` is the distance of its ticks."""

    low: float
    high: float
    start: float
    end: float
    step: float = 1.0

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def image(svg: str, title: str, caption: str) -> str:
    """Return the HTML that shows a picture: an <img>, which viewers that remove inline SVG leave alone."""
    data = base64.b64encode(svg.encode()).decode()
    return (
        f'<figure class="klt-snapshot" style="margin:0;max-width:{_WIDTH}px">'
        f'<img style="width:100%" alt="{html.escape(title)}" src="data:image/svg+xml;base64,{data}"/>'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def draw(table: pa.Table, encoding: Encoding, *, height: int = 280, first_row: int = 1) -> str:
    """Return the rows of a table as an SVG document.

    Parameters
    ----------
    table : pyarrow.Table
    encoding : Encoding
        Of columns of the table.
    height : int
        Pixels, without the legend.
    first_row : int
        Number of the first row, for scale ``row``.
    """
    every, categories = collect(table, encoding, first_row)
    series = every[:MAX_SERIES]
    legend, lines = _legend(series, len(every) - len(series), height)
    full = height + 18 * lines
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {full}" '
        f'font-family="system-ui,sans-serif" font-size="11" fill="{_INK}">'
    ]
    if any(y is not None for s in series for _, y in s.points):
        x, y = _axes(series, encoding, categories, height)
        parts += _grid(x, y, encoding, categories)
        step = _step(series)
        for i, one in enumerate(series):
            parts += _marks(one, i, len(series), encoding, x, y, step)
    else:
        parts.append(f'<text x="{_WIDTH / 2}" y="{height / 2}" text-anchor="middle">no rows</text>')
    return "\n".join([*parts, *legend, "</svg>"])


def collect(table: pa.Table, encoding: Encoding, first_row: int = 1) -> tuple[list[_Series], dict[str, int]]:
    """Return the series of a table in the order in which they came, and each category's place on x.

    Times are milliseconds since 1970. A missing y is None: a gap. A row without x is nowhere.
    """
    categories: dict[str, int] = {}
    xs = _positions(table, encoding, categories, first_row)
    groups = [[cell_text(v, n) for v in table[n].to_pylist()] for n in encoding.by]
    labels = [" · ".join(values) for values in zip(*groups, strict=True)] if groups else None
    series: dict[str, _Series] = {}
    for name in encoding.y:
        values = pc.cast(table[name], pa.float64(), safe=False).to_pylist()
        for i, (x, y) in enumerate(zip(xs, values, strict=True)):
            if x is None:
                continue
            shown = name if labels is None else labels[i]
            if labels is not None and len(encoding.y) > 1:
                shown = f"{shown} · {name}"
            known = y is not None and math.isfinite(y)
            series.setdefault(shown, _Series(shown)).points.append((x, y if known else None))
    for one in series.values():
        if encoding.scale == "category":
            one.points = list(dict(one.points).items())  # the last one of each category
        one.points.sort(key=lambda point: point[0])
    return list(series.values()), categories


def _positions(
    table: pa.Table, encoding: Encoding, categories: dict[str, int], first_row: int
) -> Sequence[float | None]:
    if encoding.scale == "row":
        return range(first_row, first_row + table.num_rows)
    column = table[encoding.x]
    if encoding.scale == "category":
        texts = (cell_text(v, encoding.x) for v in column.to_pylist())
        return [categories.setdefault(text, len(categories)) for text in texts]
    if encoding.scale == "time" and not pa.types.is_integer(column.type):
        column = pc.cast(pc.cast(column, pa.timestamp("ms"), safe=False), pa.int64())
    found = pc.cast(column, pa.float64(), safe=False).to_pylist()
    return [x if x is not None and math.isfinite(x) else None for x in found]


def _axes(
    series: list[_Series], encoding: Encoding, categories: dict[str, int], height: int
) -> tuple[_Axis, _Axis]:
    xs = [x for s in series for x, _ in s.points]
    ys = [y for s in series for _, y in s.points if y is not None]
    low, high = min(xs), max(xs)
    if encoding.scale == "category":
        low, high = -0.5, len(categories) - 0.5
    elif encoding.kind == "bar":
        half = _step(series) / 2
        low, high = low - half, high + half
    low, high = apart(low, high)
    if encoding.kind in ("bar", "area"):
        ys.append(0.0)
    bottom, top = apart(min(ys), max(ys))
    step = nice_step((top - bottom) / max(2, height // 48))
    bottom, top = math.floor(bottom / step) * step, math.ceil(top / step) * step
    return _Axis(low, high, _LEFT, _WIDTH - _RIGHT), _Axis(bottom, top, height - _BOTTOM, _TOP, step)


def _step(series: list[_Series]) -> float:
    """The smallest distance between two places on x: what a bar may fill."""
    places = sorted({x for s in series for x, _ in s.points})
    return min((b - a for a, b in pairwise(places)), default=1.0)


def apart(low: float, high: float) -> tuple[float, float]:
    """Widen a range too narrow for floating-point ticks; zero stays an end of it."""
    size = max(abs(low), abs(high))
    if high - low > max(1e-9 * size, 1e-290):
        return low, high
    wide = max(1.0, 1e-6 * size)
    return low - wide * (low != 0), high + wide * (high != 0 or low == 0)


def nice_step(rough: float) -> float:
    """Return the next 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(n * power for n in (1, 2, 5, 10) if n * power >= rough * 0.999)


def ticks(low: float, high: float, step: float) -> Iterator[float]:
    """Yield the multiples of `step` in a range."""
    for n in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1):
        yield n * step


def number_text(value: float, step: float) -> str:
    """Return a number with as many decimals as its axis needs; millions are written short."""
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if abs(value) >= size:
            return f"{value / size:.6g}{unit}"
    return f"{value:,.{max(0, min(9, -math.floor(math.log10(step) + 1e-9)))}f}"


def time_text(ms: float, step: float) -> str:
    """Return a moment (UTC) as precisely as its axis needs."""
    moment = datetime.fromtimestamp(ms / 1000, UTC)
    if step >= _DAY or (ms % _DAY == 0 and step >= 60_000):
        return f"{moment:%Y-%m-%d}"
    if step >= 60_000:
        return f"{moment:%H:%M}"
    return f"{moment:%H:%M:%S}" + ("" if step >= 1000 else f".{moment.microsecond // 1000:03}")


def _grid(x: _Axis, y: _Axis, encoding: Encoding, categories: dict[str, int]) -> Iterator[str]:
    yield f'<text x="{_LEFT}" y="10">{html.escape(", ".join(encoding.y))}</text>'
    for value in ticks(y.low, y.high, y.step):
        at = y(value)
        yield f'<path d="M{_LEFT} {at:.1f}H{_WIDTH - _RIGHT}" stroke="{_GRID}"/>'
        yield f'<text x="{_LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{number_text(value, y.step)}</text>'
    for value, text in _x_ticks(x, encoding, categories):
        half = 3.2 * len(text)
        at = max(half, min(_WIDTH - half, x(value)))
        yield f'<text x="{at:.1f}" y="{y.start + 15:.1f}" text-anchor="middle">{html.escape(text)}</text>'
    name = f"{encoding.x} (UTC)" if encoding.scale == "time" else encoding.x or "row"
    yield f'<text x="{_WIDTH - _RIGHT}" y="{y.start + 29:.1f}" text-anchor="end">{html.escape(name)}</text>'


def _x_ticks(x: _Axis, encoding: Encoding, categories: dict[str, int]) -> Iterator[tuple[float, str]]:
    if encoding.scale == "category":
        room = (x.end - x.start) / max(1, len(categories))
        every = max(1, math.ceil(min(90, 7 * max(map(len, categories), default=1)) / room))
        yield from ((i, name[:16]) for name, i in categories.items() if i % every == 0)
        return
    rough = (x.high - x.low) / 7
    if encoding.scale == "time":
        step = next((s for s in _TIME_STEPS if s >= rough), nice_step(rough))
        yield from ((v, time_text(v, step)) for v in ticks(x.low, x.high, step))
        return
    step = nice_step(rough)
    yield from ((v, number_text(v, step)) for v in ticks(x.low, x.high, step))


def _marks(
    one: _Series, i: int, n: int, encoding: Encoding, x: _Axis, y: _Axis, step: float
) -> Iterator[str]:
    colour = _COLOURS[i % len(_COLOURS)]
    if encoding.kind == "bar":
        full = abs(x(x.low + step) - x.start) * 0.84
        width = max(1.0, full / n)
        bars = "".join(
            f"M{x(px) - full / 2 + i * full / n:.1f} {y(0):.1f}v{y(py) - y(0):.1f}h{width:.1f}V{y(0):.1f}z"
            for px, py in one.points
            if py is not None
        )
        yield f'<path d="{bars}" fill="{colour}"/>'
        return
    if encoding.kind == "points":
        dots = "".join(f"M{x(px):.1f} {y(py):.1f}h0" for px, py in one.points if py is not None)
        yield f'<path d="{dots}" stroke="{colour}" stroke-width="5" stroke-linecap="round" opacity=".75"/>'
        return
    for run in _runs(one.points):
        places = _thin([(x(px), y(py)) for px, py in run])
        line = "L".join(f"{px:.1f} {py:.1f}" for px, py in places)
        if encoding.kind == "area":
            base = f"L{places[-1][0]:.1f} {y(0):.1f}L{places[0][0]:.1f} {y(0):.1f}z"
            yield f'<path d="M{line}{base}" fill="{colour}" opacity=".25"/>'
        alone = "h0" if len(places) == 1 else ""
        yield (
            f'<path d="M{line}{alone}" fill="none" stroke="{colour}" stroke-width="{4 if alone else 1.8}" '
            'stroke-linejoin="round" stroke-linecap="round"/>'
        )


def _runs(points: list[tuple[float, float | None]]) -> Iterator[list[tuple[float, float]]]:
    """Cut a line at its gaps."""
    run: list[tuple[float, float]] = []
    for x, y in points:
        if y is not None:
            run.append((x, y))
        elif run:
            yield run
            run = []
    if run:
        yield run


def _thin(places: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Of the points of one column of pixels, keep the first, lowest, highest and last."""
    if len(places) <= 2 * _WIDTH:
        return places
    columns: dict[int, list[tuple[float, float]]] = {}
    for place in places:
        columns.setdefault(round(place[0]), []).append(place)
    kept: list[tuple[float, float]] = []
    for some in columns.values():
        chosen = {0, len(some) - 1}
        chosen |= {
            min(range(len(some)), key=lambda i: some[i][1]),
            max(range(len(some)), key=lambda i: some[i][1]),
        }
        kept += [some[i] for i in sorted(chosen)]
    return kept


def _legend(series: list[_Series], left: int, top: int) -> tuple[list[str], int]:
    parts, x, line = [], float(_LEFT), 0
    names = [
        (s.name if len(s.name) <= 40 else s.name[:39] + "…", c)
        for s, c in zip(series, _COLOURS, strict=False)
    ]
    if left:
        names.append((f"+ {left} more", "none"))
    for name, colour in names:
        width = 28 + 6.8 * len(name)
        if x + width > _WIDTH and x > _LEFT:
            x, line = float(_LEFT), line + 1
        y = top + 12 + 18 * line
        parts.append(f'<rect x="{x:.0f}" y="{y - 9}" width="10" height="10" rx="2" fill="{colour}"/>')
        parts.append(f'<text x="{x + 15:.0f}" y="{y}">{html.escape(name)}</text>')
        x += width
    return parts, line + 1 if names else 0

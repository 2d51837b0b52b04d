"""A query's operators as a picture: where each stands, and the SVG of it.

The same SVG is what the browser shows and what is saved. In the browser its colours are the theme's;
elsewhere they are greys legible on light and dark.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kalam_jupyter.widgets.readable import readable

WIDTH, HEIGHT, GAP_X, GAP_Y, MARGIN = 244, 57, 26, 28, 10
_DETAIL_CHARS = 33
_FG, _DIM, _LINE = "var(--klt-fg, #7d8590)", "var(--klt-dim, #7d8590)", "var(--klt-edge, #8c959f)"
_BG, _BRAND = "var(--klt-bg, none)", "var(--klt-brand, #3b82f6)"
# Every rule begins with the picture's class: style sheets of inline SVG are the whole page's.
_STYLE = f"""
.klt-svg text {{ font: 11px system-ui, sans-serif; fill: {_DIM}; font-variant-numeric: tabular-nums; }}
.klt-svg .kind {{ font-weight: 600; font-size: 12px; fill: {_FG}; }}
.klt-svg .box {{ fill: {_BG}; stroke: {_LINE}; stroke-width: 1.2; }}
.klt-svg .end .box {{ stroke: {_BRAND}; stroke-width: 1.6; }}
.klt-svg .edge {{ fill: none; stroke: {_LINE}; stroke-width: 1.6; }}
.klt-svg .tip {{ fill: {_LINE}; }}
.klt-svg .store {{ fill: none; stroke: {_DIM}; }}
"""


@dataclass(frozen=True)
class Layout:
    """Where nodes stand, in pixels.

    Attributes
    ----------
    places : mapping of node id to (x, y)
        Their left upper corners.
    width, height : int
        Of the picture.
    """

    places: Mapping[str, tuple[int, int]]
    width: int
    height: int


def lay_out(ids: Sequence[str], edges: Sequence[Sequence[str]]) -> Layout:
    """Place the nodes of an acyclic graph in layers: each above what reads it, inputs side by side."""
    inputs: dict[str, list[str]] = {i: [] for i in ids}
    outputs: dict[str, list[str]] = {i: [] for i in ids}
    for a, b in edges:
        inputs[b].append(a)
        outputs[a].append(b)
    below: dict[str, int] = {}
    for i in reversed(_sorted(ids, inputs)):
        below[i] = max((below[o] + 1 for o in outputs[i]), default=0)
    columns: dict[str, float] = {}
    taken = 0.0

    def place(i: str) -> float:
        nonlocal taken
        if i not in columns:
            above = [place(a) for a in inputs[i] if a not in columns]
            columns[i] = sum(above) / len(above) if above else taken
            if not above:
                taken += 1
        return columns[i]

    for i in ids:
        if not outputs[i]:
            place(i)
    layers = max(below.values(), default=0) + 1
    places = {
        i: (
            round(MARGIN + columns[i] * (WIDTH + GAP_X)),
            MARGIN + (layers - 1 - below[i]) * (HEIGHT + GAP_Y),
        )
        for i in ids
    }
    width = round(2 * MARGIN + max(taken, 1) * (WIDTH + GAP_X) - GAP_X)
    return Layout(places, width, 2 * MARGIN + layers * (HEIGHT + GAP_Y) - GAP_Y)


def _sorted(ids: Sequence[str], inputs: Mapping[str, Sequence[str]]) -> list[str]:
    """Inputs before what reads them."""
    found: dict[str, None] = {}

    def add(i: str) -> None:
        if i not in found:
            for a in inputs[i]:
                add(a)
            found[i] = None

    for i in ids:
        add(i)
    return list(found)


def draw(nodes: Sequence[Mapping[str, Any]], edges: Sequence[Sequence[str]]) -> str:
    """Return a topology as an SVG document.

    Parameters
    ----------
    nodes, edges
        As in `kalam_jupyter.ksql.plan.graph.TopologyData`.
    """
    layout = lay_out([n["id"] for n in nodes], edges)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="klt-svg" width="{layout.width}" '
        f'height="{layout.height}" viewBox="0 0 {layout.width} {layout.height}">',
        f"<style>{_STYLE}</style>",
    ]
    for a, b in edges:
        parts.append(_edge(a, layout.places[a], layout.places[b]))
    for node in nodes:
        parts += _node(node, *layout.places[node["id"]])
    return "\n".join([*parts, "</svg>"])


def _edge(a: str, start: tuple[int, int], end: tuple[int, int]) -> str:
    x1, y1 = start[0] + WIDTH / 2, start[1] + HEIGHT
    x2, y2 = end[0] + WIDTH / 2, end[1]
    bend = (y2 - 5 - y1) / 2
    path = f"M{x1:g} {y1:g}C{x1:g} {y1 + bend:g} {x2:g} {y2 - 5 - bend:g} {x2:g} {y2 - 5:g}"
    # On the side that the line does not bend to.
    side, anchor = (-8, "end") if x2 > x1 else (8, "start")
    return (
        f'<path class="edge" data-from="{_text(a)}" d="{path}"/>'
        f'<path class="tip" d="M{x2 - 4:g} {y2 - 7:g}h8l-4 7z"/>'
        f'<text class="rate" data-from="{_text(a)}" x="{x1 + side:g}" y="{y1 + 15:g}" '
        f'text-anchor="{anchor}"></text>'
    )


def _node(node: Mapping[str, Any], x: int, y: int) -> Iterator[str]:
    end = " end" if node["kind"] in ("SOURCE", "SINK") else ""
    yield f'<g class="node{end}" data-id="{_text(node["id"])}" transform="translate({x} {y})">'
    yield f"<title>{_text(spoken(node))}</title>"
    yield f'<rect class="box" width="{WIDTH}" height="{HEIGHT}" rx="7"/>'
    title = (
        node["label"] if node["kind"] in ("SOURCE", "SINK", "PROCESSOR") else node["kind"].replace("_", " ")
    )
    yield f'<text class="kind" x="12" y="18">{_text(_short(title, 26))}</text>'
    if node["stores"]:
        yield (
            f'<g class="store" transform="translate({WIDTH - 25} 7)"><ellipse cx="7" cy="3" rx="6" ry="2.4"/>'
            '<path d="M1 3v8c0 3.2 12 3.2 12 0V3M1 7c0 3.2 12 3.2 12 0"/></g>'
        )
    yield f'<text x="12" y="34">{_text(_short(_second_line(node), _DETAIL_CHARS))}</text>'
    yield f'<text class="count" x="12" y="50">{_text(figures(node))}</text>'
    yield "</g>"


def figures(node: Mapping[str, Any]) -> str:
    """Return how many records came and went."""
    if node["records_out"] is None:
        return ""
    if node["kind"] == "SINK":
        return f"{node['records_in']:,} written"
    text = f"{node['records_in']:,} in · {node['records_out']:,} out"
    return f"{text} · lag {node['lag']:,}" if node["lag"] else text


def spoken(node: Mapping[str, Any]) -> str:
    """Return a node in one line."""
    detail = readable(node["detail"])
    label = "" if node["label"] == node["kind"] else node["label"]
    return " · ".join(text for text in (node["kind"], label, detail, figures(node)) if text)


def _second_line(node: Mapping[str, Any]) -> str:
    if node["kind"] == "SOURCE":
        return f"{readable(node['detail']).split(' ')[0].lower()} on topic {node['topic']}".strip()
    if node["kind"] == "SINK":
        return f"topic {node['topic']}"
    return readable(node["detail"])


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _text(text: str) -> str:
    return html.escape(text)

"""A query's operators as a picture, with what goes through them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, ClassVar

import traitlets as t

from kalam_jupyter.client.errors import ClientError
from kalam_jupyter.widgets import _assets, chart_svg, topology_svg
from kalam_jupyter.widgets.readable import readable
from kalam_jupyter.widgets.shown import ShownWidget
from kalam_jupyter.widgets.sight import Sight

if TYPE_CHECKING:
    from kalam_jupyter.client import Connection
    from kalam_jupyter.ksql.plan.graph import TopologyData

#: Seconds between two readings of a query that runs.
EVERY_S = 1.0
#: The size above which a saved picture would be illegible in a notebook's column.
_PICTURE_WIDTH = 760


class Topology(ShownWidget):
    """The operators of a ksqlDB query, from its sources to its sink.

    Of a query that runs it shows the records that each operator took and emitted, how many a second, and how
    far the query is behind its topics. The picture is read anew every second while somebody sees it.

    Parameters
    ----------
    query : str
        The id of a persistent query or of a push query that runs; or a statement that would start one, which
        is not run.
    connection : Connection, optional
        The notebook's current one by default.

    Attributes
    ----------
    data : dict
        The last reading; see `kalam_jupyter.ksql.plan.graph.TopologyData`.
    state : str
        ``RUNNING``, ``PAUSED``, ``ERROR`` or ``ENDED``; "" for a statement.

    Raises
    ------
    ClientError
        If nothing runs under this id, or the statement starts no query.
    """

    _esm: ClassVar[str] = _assets.esm("common", "topology")
    _css: ClassVar[str] = _assets.css("common", "topology")

    title = t.Unicode().tag(sync=True)
    picture = t.Unicode().tag(sync=True)
    nodes = t.List(t.Dict()).tag(sync=True)
    edges = t.List(t.List(t.Unicode())).tag(sync=True)
    figures = t.Dict().tag(sync=True)
    state = t.Unicode().tag(sync=True)
    error = t.Unicode().tag(sync=True)

    def __init__(self, query: str, *, connection: Connection | None = None) -> None:
        if connection is None:
            from kalam_jupyter.client.connections import connections

            connection = connections.current
        self._connection = connection
        self.data: TopologyData = connection.topology(query)
        nodes = [{**node, "shown": readable(node["detail"])} for node in self.data["nodes"]]
        super().__init__(
            title=" ".join((self.data["statement"] or query).split()),
            picture=topology_svg.draw(self.data["nodes"], self.data["edges"]),
            nodes=nodes,
            edges=self.data["edges"],
            figures=_figures(self.data, None),
            state=self.data["state"],
            error=self.data["error"],
        )
        self._stopping, self._seen = threading.Event(), threading.Event()
        self._seen.set()
        self._sight = Sight()
        self.on_msg(self._on_message)
        if self.data["query_id"]:
            threading.Thread(target=self._watch, name=f"topology-{query}", daemon=True).start()

    def refresh(self) -> None:
        """Read the query anew; it is then ``ENDED`` if it is no more."""
        before = self.data
        try:
            self.data = self._connection.topology(before["query_id"])
        except ClientError:
            self.stop()
            self.figures = {i: {**f, "rate": 0} for i, f in self.figures.items()}
            self.state = "ENDED"
            self.update_snapshot()
            return
        with self.hold_trait_notifications():
            self.figures = _figures(self.data, before)
            self.state, self.error = self.data["state"], self.data["error"]

    def stop(self) -> None:
        """Read it no more; the query goes on."""
        self._stopping.set()
        self._seen.set()

    @property
    def ended(self) -> bool:
        """Whether it is read no more."""
        return self._stopping.is_set() or not self.data["query_id"]

    def _watch(self) -> None:
        while not self._stopping.wait(EVERY_S):
            self._seen.wait()
            if not self._stopping.is_set():
                self.refresh()

    def _on_message(self, _widget: object, content: dict[str, Any], _buffers: object) -> None:
        match content:
            case {"type": "visible", "page": str(page), "turn": int(turn), "value": bool(visible)}:
                seen = self._sight.tell(page, turn, visible) or self._stopping.is_set()
                (self._seen.set if seen else self._seen.clear)()

    # ---- display

    def _snapshot(self) -> dict[str, str]:
        return {"text/html": self._page(), "text/plain": self._text()}

    def _page(self) -> str:
        picture = topology_svg.draw(self.data["nodes"], self.data["edges"])
        width = topology_svg.lay_out([n["id"] for n in self.data["nodes"]], self.data["edges"]).width
        caption = " · ".join(text for text in (self.data["query_id"], self.state.lower(), self.error) if text)
        page = chart_svg.image(picture, self.title, caption)
        return page.replace(f"max-width:{_PICTURE_WIDTH}px", f"max-width:{min(width, _PICTURE_WIDTH)}px")

    def _text(self) -> str:
        lines = [self.title]
        for node in self.data["nodes"]:
            into = [b for a, b in self.data["edges"] if a == node["id"]]
            lines.append(f"  {topology_svg.spoken(node)}{' → ' + ', '.join(into) if into else ''}")
        return "\n".join(lines)


def _figures(now: TopologyData, before: TopologyData | None) -> dict[str, dict[str, Any]]:
    """Return the figures of every node, and how many records a second it emitted since the last reading."""
    seconds = 0.0 if before is None else (now["time_ms"] - before["time_ms"]) / 1000
    earlier = {} if before is None else {n["id"]: n["records_out"] or 0 for n in before["nodes"]}
    found = {}
    for node in now["nodes"]:
        out = node["records_out"]
        rate = 0 if out is None or seconds <= 0 else round((out - earlier.get(node["id"], out)) / seconds)
        found[node["id"]] = {"text": topology_svg.figures(node), "rate": rate, "lag": node["lag"] or 0}
    return found

"""A table in the notebook that keeps filling after its cell has returned."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import traitlets as t

from kalam_jupyter.widgets import _assets, snapshot
from kalam_jupyter.widgets.live_widget import LiveWidget

if TYPE_CHECKING:
    from kalam_jupyter.client.stream import Stream


class LiveTable(LiveWidget):
    """The rows of a stream, shown live.

    A stream with a key shows the latest version of each row; one without shows its last rows.

    Parameters
    ----------
    stream : Stream
        Belongs to the table from now on.
    max_rows : int
        Rows retained, here and in the browser.
    height : int
        Of the scrolling part, in pixels.
    sort : (str, "asc" or "desc"), optional
        Column to sort by at first.

    Attributes
    ----------
    status : {"running", "paused", "stopped", "finished", "failed"}
    error : str
        Why it failed, "" otherwise.

    Raises
    ------
    ValueError
        If there is no column to sort by.
    """

    _esm: ClassVar[str] = _assets.esm("flechette", "common", "live", "live_table")
    _css: ClassVar[str] = _assets.css("common", "live_table")

    sort = t.List(t.Unicode(), allow_none=True, default_value=None).tag(sync=True)

    def __init__(
        self,
        stream: Stream,
        *,
        max_rows: int = 5_000,
        height: int = 320,
        sort: tuple[str, str] | None = None,
    ) -> None:
        if sort is not None and sort[0] not in stream.schema.names:
            raise ValueError(f"no column '{sort[0]}' to sort by; there are {', '.join(stream.schema.names)}")
        order = None if sort is None else list(sort)
        super().__init__(stream, max_rows=max_rows, height=height, sort=order)

    def _snapshot(self) -> dict[str, str]:
        if not self.sort:
            return super()._snapshot()
        name, direction = self.sort
        table = self.table().sort_by([(name, f"{direction}ending")])
        return snapshot.render(table.slice(0, snapshot.SNAPSHOT_ROWS), self._caption)

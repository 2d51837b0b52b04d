"""How our widgets are displayed: a view for a front end with a kernel, and beside it what is saved.

The *snapshot* is an output of its own, plain HTML. A view hides the snapshot of its widget wherever both are
in one page; where no view can be (another kernel, none at all, GitHub, nbconvert) the snapshot is seen.
Were they one output, JupyterLab would show "model not found" in its place as soon as a new kernel runs.
"""

from __future__ import annotations

import uuid
from typing import Any

import anywidget
import traitlets as t
from IPython.display import DisplayHandle

_VIEW = "application/vnd.jupyter.widget-view+json"
# JupyterLab's line about a model that is gone, right above the snapshot that stands for it.
_STYLE = (
    '<style>.jp-OutputArea-child:has(+ .jp-OutputArea-child [data-klt="{uid}"])'
    ":not(:has(.klt-live)){{display:none}}</style>"
)


class ShownWidget(anywidget.AnyWidget):
    """A widget with a snapshot. Abstract: subclasses say what is in it.

    Attributes
    ----------
    uid : str
        Names the widget in the page: its view finds its rows and its snapshot by it.
    """

    uid = t.Unicode().tag(sync=True)

    def __init__(self, **traits: Any) -> None:
        super().__init__(uid=uuid.uuid4().hex, **traits)
        self._handle: DisplayHandle | None = None

    def _snapshot(self) -> dict[str, str]:
        """Return ``text/html`` and ``text/plain`` of this moment."""
        raise NotImplementedError

    def _saved(self) -> dict[str, str]:
        """Return the snapshot as the view can find it."""
        bundle = self._snapshot()
        page = f'{_STYLE.format(uid=self.uid)}<div data-klt="{self.uid}">\n{bundle["text/html"]}\n</div>'
        return {**bundle, "text/html": page}

    def _view(self) -> tuple[dict[str, Any], dict[str, Any]]:
        bundle: Any = self._repr_mimebundle_() or {}
        # anywidget gives (data, metadata), ipywidgets only data.
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        return {_VIEW: data[_VIEW]} if _VIEW in data else {}, metadata

    def _ipython_display_(self) -> None:
        view, metadata = self._view()
        if view:
            DisplayHandle().display(view, metadata=metadata, raw=True)
        self._handle = DisplayHandle()
        self._handle.display(self._saved(), raw=True)

    def update_snapshot(self) -> None:
        """Put this moment into the saved output."""
        if self._handle is not None:
            self._handle.update(self._saved(), raw=True)

"""Whether anybody can see a widget, as its pages tell it."""

from __future__ import annotations

import threading


class Sight:
    """What the pages of one widget said last, whatever order their messages are handled in.

    JupyterLab sends a page's first messages to the kernel's main shell, where they wait behind the cells of a
    Run All, and later ones to a subshell, which handles them at once. So each says which of its page's it is.

    Attributes
    ----------
    seen : bool
        True until a page said otherwise.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._said: dict[str, tuple[int, bool]] = {}  # by page: its newest message and what that was
        self.seen = True

    def tell(self, page: str, turn: int, visible: bool) -> bool:
        """Take in the message number `turn` of a page, counted from 1; return `seen`."""
        with self._lock:
            if page not in self._said or turn > self._said[page][0]:
                self._said[page] = (turn, visible)
                self.seen = any(shown for _, shown in self._said.values())
            return self.seen

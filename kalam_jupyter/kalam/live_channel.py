"""One subscription at the engine for all live queries of a table: the writer tells one, it tells all."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kalam_jupyter.engine.history import Subscription

Wake = Callable[[], None]


class Channel:
    """Who wants to hear that a table (of one owner) changed.

    Parameters
    ----------
    subscribe : callable
        Subscribes at the engine, given what to call; used while somebody listens.
    """

    def __init__(self, subscribe: Callable[[Wake], Subscription[Any]]) -> None:
        self._subscribe = subscribe
        self._subscription: Subscription[Any] | None = None
        self._listeners: dict[Wake, int] = {}
        self._lock = threading.Lock()

    def listen(self, wake: Wake) -> None:
        """Have `wake` called, from the engine's writer, when something changed; it must not block.

        Raises
        ------
        NotFoundError
            If the table is gone.
        """
        with self._lock:
            if self._subscription is None:
                self._subscription = self._subscribe(self._wake)
            self._listeners = {**self._listeners, wake: self._listeners.get(wake, 0) + 1}

    def unlisten(self, wake: Wake) -> None:
        """Undo one `listen`."""
        with self._lock:
            left = self._listeners.get(wake, 0) - 1
            self._listeners = {w: n for w, n in self._listeners.items() if w != wake}
            if left > 0:
                self._listeners[wake] = left
            if not self._listeners and self._subscription is not None:
                self._subscription.close()
                self._subscription = None

    def _wake(self) -> None:
        for wake in self._listeners:  # never changed in place
            wake()

"""What rows were before: so that a live query that is resumed is told of those alone that were its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from kalam_jupyter.engine.errors import NotFoundError, OverrunError

if TYPE_CHECKING:
    from kalam_jupyter.engine.history import Subscription
    from kalam_jupyter.engine.relation import ChangeSet

Row = tuple[Any, ...]
Wake = Callable[[], None]


class Past:
    """The versions of a table's rows since somebody first followed it, and for a while after the last left.

    Parameters
    ----------
    subscribe : callable
        Follows the table, given what to call.
    watched : callable
        Whether a live query follows the table now.
    now_ms : callable
    key, seq : int
        Where in a row its primary key and its `_seq` stand.
    """

    #: How long after the last live query has ended, in milliseconds; and how many versions.
    LINGER_MS, MOST = 60_000, 262_144

    def __init__(
        self,
        subscribe: Callable[[Wake], Subscription[ChangeSet]],
        watched: Callable[[], bool],
        now_ms: Callable[[], int],
        key: int,
        seq: int,
    ) -> None:
        self._watched, self._now_ms, self._key, self._seq = watched, now_ms, key, seq
        self._lock = threading.Lock()
        #: By primary key what rows were before each change, in order; None before an insert.
        self._before: dict[Any, list[Row | None]] = {}
        self._size = 0
        self._watched_at = now_ms()
        self._subscription = subscribe(self._arrived)

    @property
    def closed(self) -> bool:
        """Whether nobody came back in time."""
        return self._subscription.closed

    def close(self) -> None:
        """Forget everything. Idempotent."""
        self._subscription.close()
        self._forget()

    def _arrived(self) -> None:
        """Called for each change, by the engine's writer."""
        if not self.wanted():
            self._subscription.close()

    def wanted(self) -> bool:
        """Whether the table is followed, or was shortly before."""
        now = self._now_ms()
        if self._watched():
            self._watched_at = now
        return now - self._watched_at <= self.LINGER_MS

    def versions(self, rows: Sequence[Row], after: int) -> tuple[list[Row | None], list[bool]]:
        """Return what rows were when `after` was the newest `_seq`, and for which that is known.

        Parameters
        ----------
        rows : sequence of tuple
            As they are now; each was changed since.
        """
        with self._lock:
            self._read()
            before = self._before  # grows, and is never cut
        then: list[Row | None] = []
        known = []
        key, seq = self._key, self._seq
        for row in rows:
            found = next((v for v in reversed(before.get(row[key], ())) if v is None or v[seq] <= after), ...)
            then.append(None if found is ... else found)
            known.append(found is not ...)
        return then, known

    def _read(self) -> None:
        try:
            news = self._subscription.poll()
        except OverrunError:
            self._forget()
            news = []
        except NotFoundError:
            return
        for changes in news:
            for change in changes.changes():
                if change.new is not None:
                    self._before.setdefault(change.new[self._key], []).append(change.old)
                    self._size += 1
        if self._size > self.MOST:
            self._forget()

    def _forget(self) -> None:
        self._before, self._size = {}, 0

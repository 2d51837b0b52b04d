"""A stream whose rows are brought by a thread of its own: what HTTP and WebSocket streams share."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

import numpy as np
import pyarrow as pa

from kalam_jupyter.changes import Changes
from kalam_jupyter.client.errors import ClientError
from kalam_jupyter.client.stream import Stream

#: Rows that wait to be polled before the bringing thread stops reading: the server then stops, too.
MAX_WAITING = 100_000


class BufferedStream(Stream):
    """Hands out what `_push` brought. Subclasses bring rows and end the exchange in `_abort`."""

    def __init__(self, sql: str) -> None:
        self.sql = sql
        self._items: deque[Changes] = deque()
        self._waiting = 0
        self._ended = False
        self._behind: int | None = None
        self._news = False
        self._changed = threading.Condition()
        self._callback: Callable[[], None] | None = None

    @property
    def finished(self) -> bool:
        """See `Stream`."""
        return self._ended and not self._items

    def poll(self, max_rows: int = 1000) -> Changes | None:
        """See `Stream`: small pieces that came one after the other are put together."""
        with self._changed:
            taken: list[Changes] = []
            room = max_rows
            while self._items and room > 0 and (not taken or self._items[0].initial == taken[0].initial):
                item = self._items.popleft()
                if item.num_rows > room:
                    self._items.appendleft(_slice(item, room, item.num_rows - room))
                    item = _slice(item, 0, room)
                taken.append(item)
                room -= item.num_rows
            self._waiting -= max_rows - room
            self._news = False
            self._changed.notify_all()
        self._took()
        return _joined(taken) if taken else None

    def wait(self, timeout: float | None = None) -> bool:
        """See `Stream`."""
        with self._changed:
            return self._changed.wait_for(lambda: bool(self._items) or self._ended or self._news, timeout)

    def behind(self) -> int | None:
        """See `Stream`: what the server said last."""
        return self._behind

    def close(self) -> None:
        """See `Stream`."""
        with self._changed:
            self._ended = True
            self._items.clear()
            self._waiting = 0
            self._changed.notify_all()
        self._abort()
        self._wake()

    def on_wake(self, callback: Callable[[], None] | None) -> None:
        """See `Stream`."""
        self._callback = callback

    # ---- for subclasses

    def _abort(self) -> None:
        """End the exchange; called once or more, from any thread."""
        raise NotImplementedError

    def _took(self) -> None:
        """Called after each poll: there may be room again."""

    def _push(self, changes: Changes) -> None:
        with self._changed:
            if self._ended:
                return
            self._items.append(changes)
            self._waiting += changes.num_rows
            self._changed.notify_all()
        self._wake()

    def _said(self, behind: int) -> None:
        """Take what the server says is still to be read; who waits is told when that is nothing."""
        with self._changed:
            self._news = self._news or (behind == 0 and self._behind != 0)
            self._behind = behind
            self._changed.notify_all()

    @property
    def _is_full(self) -> bool:
        return self._waiting >= MAX_WAITING and not self._ended

    def _wait_for_room(self) -> None:
        """Block the bringing thread until rows were polled."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_full)

    def _end(self, message: str = "", error: ClientError | None = None) -> None:
        with self._changed:
            if not self._ended:
                self.message, self.error, self._ended = message, error, True
            self._changed.notify_all()
        self._wake()

    def _wake(self) -> None:
        if self._callback is not None:
            self._callback()

    def all_rows(self) -> pa.Table:
        """Return all rows of a query that ends; raise its error if it failed."""
        batches = []
        while not self.finished:
            changes = self.poll(MAX_WAITING)
            if changes is not None:
                batches.append(changes.batch)
            elif not self._ended:
                self.wait()
        if self.error is not None:
            raise self.error
        return pa.Table.from_batches(batches, schema=self.schema)


def _slice(changes: Changes, start: int, length: int) -> Changes:
    return Changes(changes.batch.slice(start, length), changes.kinds[start : start + length], changes.initial)


def _joined(items: list[Changes]) -> Changes:
    if len(items) == 1:
        return items[0]
    table = pa.Table.from_batches([i.batch for i in items]).combine_chunks()
    kinds = np.concatenate([i.kinds for i in items])
    return Changes(table.to_batches()[0], kinds, items[0].initial)

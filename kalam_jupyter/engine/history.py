"""Shared history and the cursors on it.

A topic's batches and a relation's changes are both a history: items in order, numbered by what they
hold (records, changes), dropped from the front. A `Subscription` is a cursor on a history, not a
queue: a reader that is slow, or gone, costs the writer nothing.
"""

from __future__ import annotations

import threading
import weakref
from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import Any, Generic, Literal, TypeVar

from kalam_jupyter.engine.errors import EngineError, OverrunError

T = TypeVar("T")
Start = Literal["earliest", "latest"] | int


class History(Generic[T]):
    """Items in order; each covers the numbers ``[start, next start)``.

    Everything here runs under its lock: the engine's, unless it holds only what is committed.
    """

    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self.items: list[T] = []
        self.starts: list[int] = []
        self.end = 0
        self.closed_by: Exception | None = None
        self._subscriptions: weakref.WeakSet[Subscription[T]] = weakref.WeakSet()
        self._notified: weakref.WeakSet[Subscription[T]] = weakref.WeakSet()

    @property
    def start(self) -> int:
        """Number of the first record that can still be read."""
        return self.starts[0] if self.starts else self.end

    @property
    def subscribed(self) -> bool:
        """Whether anybody reads."""
        return len(self._subscriptions) > 0

    def push(self, item: T, count: int) -> None:
        """Append an item that covers `count` numbers."""
        self.items.append(item)
        self.starts.append(self.end)
        self.end += count

    def pop_to(self, length: int) -> None:
        """Undo: keep the first `length` items."""
        if length < len(self.items):
            self.end = self.starts[length]
            del self.items[length:], self.starts[length:]

    def drop_front(self, count: int) -> None:
        """Forget the first `count` items."""
        if count:
            del self.items[:count], self.starts[:count]

    def find(self, number: int) -> int:
        """Index of the item that covers `number`; the number of items when it is the end."""
        return len(self.items) if number >= self.end else bisect_right(self.starts, number) - 1

    def read_from(self, cursor: int, limit: int) -> tuple[list[T], int]:
        """Return items from `cursor` on that cover at most `limit` numbers, and the next cursor.

        The first comes whole, however many it covers.

        Raises
        ------
        OverrunError
            If `cursor` lies before what is retained.
        """
        if self.closed_by is not None:
            raise self.closed_by
        if cursor < self.start:
            raise OverrunError(self.start - cursor)
        found: list[T] = []
        items, starts, n = self.items, self.starts, len(self.items)
        i = self.find(cursor)
        while i < n:
            stop = starts[i + 1] if i + 1 < n else self.end
            if found and stop - cursor > limit:
                break
            found.append(items[i])
            limit -= stop - cursor
            cursor = stop
            i += 1
        return found, cursor

    def subscribe(
        self, start: Start = "latest", wake: Callable[[], None] | None = None, *, quiet: bool = False
    ) -> Subscription[T]:
        """Put a cursor at the earliest, the latest or a given number.

        A `quiet` one is never told that something arrived, so that the writer does not pay for it:
        for readers that hear of it from somebody else who reads the same history.
        """
        with self._lock:
            cursor = self.start if start == "earliest" else self.end if start == "latest" else start
            subscription = Subscription(self, cursor, wake, quiet)
            self._subscriptions.add(subscription)
            if not quiet:
                self._notified.add(subscription)
            return subscription

    def unsubscribe(self, subscription: Subscription[T]) -> None:
        """Forget a cursor."""
        with self._lock:
            self._subscriptions.discard(subscription)
            self._notified.discard(subscription)

    def close(self, reason: Exception) -> None:
        """Say that there is no more to come; readers get `reason` raised."""
        self.closed_by = reason

    def reopen(self) -> None:
        """Undo `close`."""
        self.closed_by = None

    def cursors(self) -> list[int]:
        """Return where everybody is who reads."""
        with self._lock:
            return [s.position for s in self._subscriptions]

    def subscriptions(self) -> Iterator[Subscription[T]]:
        """Iterate over the cursors to be told that something arrived."""
        with self._lock:
            return iter(list(self._notified) if self._notified else ())


class Subscription(Generic[T]):
    """A cursor on a history.

    Attributes
    ----------
    wake : callable or None
        Called by the writer, without arguments, when something arrived; it must not block.
    """

    __slots__ = ("__weakref__", "_arrived", "_cursor", "_history", "closed", "wake")

    def __init__(
        self, history: History[T], cursor: int, wake: Callable[[], None] | None, quiet: bool = False
    ) -> None:
        self._history = history
        self._cursor = cursor
        self._arrived = None if quiet else threading.Event()
        self.wake = wake
        self.closed = False

    @property
    def position(self) -> int:
        """Number of the next record or change to read."""
        return self._cursor

    @property
    def lag(self) -> int:
        """How many records or changes are waiting."""
        return 0 if self.closed else max(0, self._history.end - self._cursor)

    def poll(self, max_records: int = 65_536) -> list[T]:
        """Return what has arrived, without waiting; empty when nothing has, or after `close`.

        Raises
        ------
        OverrunError
            When history moved past the cursor. The next poll goes on with what is retained.
        NotFoundError
            When the topic or relation was dropped.
        """
        if self.closed:
            return []
        with self._history._lock:
            try:
                items, self._cursor = self._history.read_from(self._cursor, max_records)
            except OverrunError:
                self._cursor = self._history.start
                raise
            return items

    def peek(self, max_records: int = 65_536) -> tuple[list[T], int]:
        """Return what `poll` would, and where the cursor would then be; it stays where it is.

        Raises
        ------
        OverrunError, NotFoundError
            As `poll`.
        """
        with self._history._lock:
            return self._history.read_from(self._cursor, max_records)

    def skip_to(self, position: int) -> None:
        """Take records as read, up to what another reader of the same history has come to."""
        self._cursor = max(self._cursor, position)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until `poll` has something to say; False when `timeout` seconds passed first.

        Raises
        ------
        EngineError
            If the subscription is quiet.
        """
        if self.ready:
            return True
        arrived = self._arrived
        if arrived is None:
            raise EngineError("a quiet subscription is never told that something arrived")
        arrived.clear()
        if self.ready:
            return True
        arrived.wait(timeout)
        return self.ready

    @property
    def ready(self) -> bool:
        """Whether `poll` has something to say: records, or that there are no more to come."""
        return self.closed or self.lag > 0 or self._history.closed_by is not None

    def notify(self) -> None:
        """Tell the reader that something arrived (called by the writer)."""
        if self._arrived is not None:
            self._arrived.set()
        if self.wake is not None:
            self.wake()

    def close(self) -> None:
        """Stop reading. Wakes whoever waits."""
        self.closed = True
        self._history.unsubscribe(self)
        if self._arrived is not None:
            self._arrived.set()

    def __enter__(self) -> Subscription[T]:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

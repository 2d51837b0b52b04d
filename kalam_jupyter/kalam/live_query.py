"""One live query: a snapshot in batches, then every change, without loss or repetition.

A live query is a cursor on its relation's change history, so a slow client costs nothing and holds nobody
up. What a change looks like is worked out once for all live queries of the same table, owner and text
(`LiveShape`), and one subscription at the engine wakes all live queries of a table (`Channel`).

The row contents are those of the contract (WebSocket section 9), with one difference: a row that leaves
the filter is delivered as a delete, so that initial rows plus changes always equal a fresh SELECT.
"""

from __future__ import annotations

import contextlib
import threading
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from kalam_jupyter.engine.errors import NotFoundError, OverrunError
from kalam_jupyter.engine.relation import ChangeSet
from kalam_jupyter.engine.types import to_arrow
from kalam_jupyter.kalam.errors import KalamError
from kalam_jupyter.kalam.live_channel import Channel
from kalam_jupyter.kalam.live_message import LiveChange, LiveMessage
from kalam_jupyter.kalam.live_opening import LiveOptions, Opening
from kalam_jupyter.kalam.live_shape import LiveShape
from kalam_jupyter.kalam.live_sql import LiveSelect

if TYPE_CHECKING:
    from kalam_jupyter.kalam.auth import Session
    from kalam_jupyter.kalam.live import LiveQueries

Row = tuple[Any, ...]
#: Where a live query stands: its shape, and its cursor.
Stand = tuple[LiveShape, int]


class LiveQuery:
    """One subscription.

    Attributes
    ----------
    id : str
        The client's subscription id.
    live_id : str
        ``<user>-<connection>-<subscription>``, as in `system.live`.
    columns : tuple of ResultColumn
    select : LiveSelect
    channel : Channel
        Tells that the table changed; shared by all live queries of the table.
    closed : bool
        Closed by `close`, or killed.
    restarted : bool
        Whether the last `poll` fell behind, and began again from a new snapshot.
    """

    # A server holds many thousands of them.
    __slots__ = (
        "_batch_number",
        "_lock",
        "_on_wake",
        "_opening",
        "_pending",
        "_registry",
        "_seen_seq",
        "_sent",
        "_shape",
        "_subscription",
        "_waiting",
        "channel",
        "closed",
        "connection_id",
        "created_at",
        "delivered",
        "id",
        "last_update",
        "options",
        "restarted",
        "select",
        "session",
        "sql",
    )

    def __init__(
        self,
        registry: LiveQueries,
        session: Session,
        subscription_id: str,
        connection_id: str,
        sql: str,
        options: LiveOptions,
        shape: LiveShape,
        channel: Channel,
        select: LiveSelect,
        *,
        at_once: bool = False,
    ) -> None:
        self._registry, self._shape, self.channel, self.select = registry, shape, channel, select
        self.session, self.id, self.connection_id = session, subscription_id, connection_id
        self.sql, self.options = sql, options
        self.created_at = self.last_update = registry.now_ms()
        self.delivered = 0
        self.closed = self.restarted = False
        self._on_wake: Callable[[], None] | None = None
        self._waiting: threading.Event | None = None
        self._lock = threading.Lock()
        self._subscription, found = shape.begin(options.from_seq, read=options.initial, at_once=at_once)
        try:
            opening = found.opening(shape, select, options, at_once=at_once)
        except BaseException:
            self._subscription.close()
            raise
        #: Until all of its rows were fetched.
        self._opening: Opening | None = opening
        self._pending: Sequence[LiveChange] = (*opening.missed, *opening.pending)
        self._seen_seq = opening.newest
        self._sent = self._batch_number = 0

    @property
    def on_wake(self) -> Callable[[], None] | None:
        """Called when something arrived or the query ended, from the engine's writer; must not block."""
        return self._on_wake

    @on_wake.setter
    def on_wake(self, callback: Callable[[], None] | None) -> None:
        before, self._on_wake = self._on_wake, callback
        if callback is not None and not self.closed:
            with contextlib.suppress(NotFoundError):  # the table is gone, which `poll` will notice
                self.channel.listen(callback)
        if before is not None:
            self.channel.unlisten(before)

    @property
    def live_id(self) -> str:
        """``<user>-<connection>-<subscription>``."""
        return f"{self.session.user_id}-{self.connection_id}-{self.id}"

    @property
    def namespace(self) -> str:
        """Namespace of the table."""
        return self.select.namespace

    @property
    def table_name(self) -> str:
        """Name of the table."""
        return self.select.table

    @property
    def table(self) -> str:
        """``namespace.table``."""
        return f"{self.select.namespace}.{self.select.table}"

    def options_json(self) -> dict[str, Any]:
        """Return the options as the client gave them."""
        options = self.options
        return {"batch_size": options.batch_size, "last_rows": options.last_rows, "from": options.from_seq}

    # ---- what goes out

    @property
    def columns(self) -> Any:
        """The projected columns."""
        return self._shape.columns

    @property
    def loading(self) -> bool:
        """Whether the snapshot has rows that were not fetched yet; no change is delivered before."""
        return self._opening is not None and self._sent < len(self._opening.rows)

    def start(self) -> Sequence[LiveMessage]:
        """Return the first messages, see `Opening.messages`. Shared with all that begin alike."""
        with self._lock:
            opening = self._opening
            assert opening is not None and not self._batch_number, "a live query starts once"
            self._sent, self._pending = opening.first, opening.pending
            if not self.loading:
                self._opening = None
            return opening.messages

    def next_batch(self, last_seq: int | None = None) -> LiveMessage:
        """Return the next `initial_data_batch` message: the rows after `last_seq`, or after the last batch.

        Raises
        ------
        KalamError
            ``BATCH_FETCH_FAILED`` for a subscription without initial data.
        """
        if not self.options.initial:
            raise KalamError(
                "BATCH_FETCH_FAILED",
                f"Invalid operation: Subscription {self.id} was created without initial data loading",
            )
        with self._lock:
            self._batch_number += 1
            number, opening = self._batch_number, self._opening
            if opening is None:
                control = {"batch_num": number, "has_more": False, "status": "ready", "last_seq_id": None}
                return LiveMessage("initial_data_batch", {"rows": [], "batch_control": control})
            if last_seq is not None and not self.select.order_by:
                self._sent = bisect_right(opening.rows, last_seq, key=lambda row: self._shape.seq(row) or 0)
            sent, self._sent = self._sent, min(self._sent + self.options.page, len(opening.rows))
            end = self._sent
            if not self.loading:
                self._opening = None
        return opening.batch(sent, end, number)

    def snapshot(self) -> pa.Table:
        """Return all initial rows at once, projected, and go live: for readers in this process."""
        with self._lock:
            rows = () if self._opening is None else self._opening.rows[self._sent :]
            self._opening = None
        return self.to_arrow([self._shape.project(row) for row in rows])

    def to_arrow(self, rows: Sequence[Row]) -> pa.Table:
        """Return projected rows (see `LiveChange.new`) as an Arrow table of `columns`."""
        lists = zip(*rows, strict=True) if rows else [()] * len(self.columns)
        arrays = [to_arrow(list(v), c.type) for v, c in zip(lists, self.columns, strict=True)]
        return pa.Table.from_arrays(arrays, names=[c.name for c in self.columns])

    def poll(self, max_changes: int = 65_536) -> list[LiveChange]:
        """Return the changes that arrived, without waiting; none while the snapshot is loading.

        When history moved past a slow reader, the difference between what it has seen and what is there
        now is delivered instead: nothing is lost and nothing is repeated.
        """
        with self._lock:
            if self.closed or self.loading:
                return []
            found, self._pending = list(self._pending), ()
            self.restarted = False
            try:
                for changes in self._subscription.poll(max_changes):
                    self._follow_schema(changes)
                    found.extend(self._shape.changes(changes))
            except OverrunError:
                found.extend(self._resync())
            except NotFoundError:
                self.close()
            if found:
                self._deliver(len(found), newest(found), self._registry.now_ms())
            return found

    def _deliver(self, count: int, seq: int, now_ms: int) -> None:
        if seq > self._seen_seq:
            self._seen_seq = seq
        self.delivered += count
        self.last_update = now_ms

    @property
    def stand(self) -> Stand | None:
        """Equal for live queries whose next `poll` returns the same; None if no other's can."""
        if self._pending or self.closed or self.loading or not self._shape.shared:
            return None
        return self._shape, self._subscription.position

    def follow(self, before: Stand, after: int, count: int = 0, seq: int = 0, now_ms: int = 0) -> bool:
        """Take what was found from a stand up to a position: `count` changes, the newest of them `seq`.

        Returns
        -------
        bool
            False if this one is elsewhere by now.
        """
        with self._lock:
            if self.stand != before:
                return False
            self._subscription.skip_to(after)
            if count:
                self._deliver(count, seq, now_ms)
            return True

    @property
    def needs(self) -> tuple[int, Any] | None:
        """See `LiveShape.needs`."""
        return self._shape.needs

    def peek(self) -> tuple[list[ChangeSet], int] | None:
        """Return the changes that were not looked at yet, and where they end.

        None if there is more to it: the table has another definition, or history moved past.
        """
        if self._shape.outdated():
            return None
        try:
            return self._subscription.peek()
        except (OverrunError, NotFoundError):
            return None

    def _follow_schema(self, changes: ChangeSet) -> None:
        """Go over to the table's new definition with the first change made under it."""
        if not self._shape.outdated():
            return
        shape = self._registry.reshape(self)
        if shape is not None and shape.fits(changes):
            self._shape = shape

    def _resync(self) -> list[LiveChange]:
        """Catch up by `_seq`: what changed since the last change that was seen."""
        self._subscription.close()
        self._subscription, found = self._shape.begin(self._seen_seq, read=True)
        self._seen_seq = found.newest
        self.restarted = True
        rows = [self._shape.caught_up(row) for row in found.rows]
        return sorted([*found.gone, *rows], key=lambda change: change.seq or 0)

    @property
    def lag(self) -> int:
        """How many changes of the table were not looked at yet."""
        return self._subscription.lag

    @property
    def light(self) -> bool:
        """Whether `poll` takes microseconds while `lag` is small: it may then run anywhere."""
        return self._shape.light

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until `poll` may have something; False when `timeout` seconds passed first."""
        if self.ready:
            return True
        arrived = threading.Event()
        try:
            self.channel.listen(arrived.set)
        except NotFoundError:
            return True
        self._waiting = arrived
        try:
            if not self.ready:
                arrived.wait(timeout)
        finally:
            self.channel.unlisten(arrived.set)
        return self.ready

    @property
    def ready(self) -> bool:
        """Whether `poll` may have something."""
        return bool(self._pending) or self.closed or self._subscription.ready

    def close(self) -> None:
        """End the subscription. Idempotent."""
        if self.closed:
            return
        self.closed = True
        self._subscription.close()
        self._registry.remove(self)
        callback, self.on_wake = self._on_wake, None
        if self._waiting is not None:
            self._waiting.set()
        if callback is not None:
            callback()


def newest(found: Sequence[LiveChange]) -> int:
    """Return the greatest `_seq` of changes."""
    return max(change.seq or 0 for change in found)

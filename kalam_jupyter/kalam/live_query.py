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
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from kalam_jupyter.engine.errors import NotFoundError, OverrunError
from kalam_jupyter.engine.relation import ChangeSet
from kalam_jupyter.engine.types import to_arrow
from kalam_jupyter.kalam.errors import KalamError
from kalam_jupyter.kalam.live_change import LiveChange
from kalam_jupyter.kalam.live_channel import Channel
from kalam_jupyter.kalam.live_shape import LiveShape
from kalam_jupyter.kalam.live_sql import LiveSelect

if TYPE_CHECKING:
    from kalam_jupyter.engine.history import Subscription
    from kalam_jupyter.kalam.auth import Session
    from kalam_jupyter.kalam.live import LiveQueries

Row = tuple[Any, ...]
#: Where a live query stands: its shape, the snapshot it began with (0 once that is past), its cursor.
Stand = tuple[LiveShape, int, int]
_UINT32 = 2**32


@dataclass(frozen=True)
class LiveOptions:
    """Options of a subscription; `initial` says whether there was an options object at all."""

    batch_size: int = 1000
    last_rows: int | None = None
    from_seq: int | None = None
    initial: bool = True

    @classmethod
    def parse(cls, value: Any, batch_size: int) -> LiveOptions:
        """Read the `options` of a subscribe message.

        Raises
        ------
        ValueError
            If an option is not of its type: the message is malformed.
        """
        if value is None:
            return cls(batch_size, initial=False)
        if not isinstance(value, dict):
            raise ValueError("options must be an object")

        def number(*names: str) -> int | None:
            for name in names:
                found = value.get(name)
                if found is not None:
                    if (
                        isinstance(found, bool)
                        or not isinstance(found, int)
                        or (found < 0 and name != "from")
                    ):
                        raise ValueError(f"options.{name} must be a number")
                    return found
            return None

        size, last = number("batch_size"), number("last_rows")
        if last is not None and last >= _UINT32:
            raise ValueError("options.last_rows must be an unsigned 32-bit number")
        return cls(batch_size if size is None else size, last, number("from", "from_seq_id"))


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
    """

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
    ) -> None:
        self._registry, self._shape, self.channel, self.select = registry, shape, channel, select
        self.session, self.id, self.connection_id = session, subscription_id, connection_id
        self.sql, self.options = sql, options
        self.live_id = f"{session.user_id}-{connection_id}-{subscription_id}"
        self.created_at = self.last_update = registry.now_ms()
        self.delivered = 0
        self.closed = False
        self._on_wake: Callable[[], None] | None = None
        self._waiting: threading.Event | None = None
        self._lock = threading.Lock()
        self._subscription: Subscription[ChangeSet] = shape.subscribe(None)
        self._batch_number = 0
        self._pending: list[LiveChange] = []
        self._rows: list[Row] = []
        self._sent = 0
        self._seen_seq = 0
        self._position = 0
        try:
            self._start()
        except BaseException:
            self._subscription.close()
            raise

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

    def _start(self) -> None:
        """Take the snapshot the subscription begins with."""
        shape, options = self._shape, self.options
        self._position, rows, gone, newest = shape.snapshot(options.from_seq, read=options.initial)
        self._seen_seq = newest
        if not options.initial:
            return
        if options.from_seq is not None:
            self._rows, self._pending = self._since(rows, gone)
            return
        if options.last_rows is not None:
            rows = rows[len(rows) - min(options.last_rows, len(rows)) :]
        self._rows = self._shaped(rows if options.batch_size else [])

    def _since(self, rows: list[Row], gone: list[LiveChange]) -> tuple[list[Row], list[LiveChange]]:
        """Split what a resumed query missed into initial rows and the changes behind them.

        Both in the order of `_seq`, over all: a client resumes from the greatest it has seen, wherever
        the connection broke. So rows younger than the first delete come as changes, like it.
        """
        if not gone:
            return rows, []
        seq = self._shape.seq
        first = bisect_right(rows, gone[0].seq or 0, key=lambda row: seq(row) or 0)
        return rows[:first], self._in_order(rows[first:], gone)

    def _in_order(self, rows: list[Row], gone: list[LiveChange]) -> list[LiveChange]:
        found = [*(self._shape.caught_up(row) for row in rows), *gone]
        return sorted(found, key=lambda change: change.seq or 0)

    def _shaped(self, rows: list[Row]) -> list[Row]:
        """Apply a written ORDER BY and LIMIT to the initial rows."""
        for name, descending in reversed(self.select.order_by):
            index = self._shape.row_schema.index.get(name)
            if index is None:
                raise KalamError(
                    "SUBSCRIPTION_FAILED", f"Execution error: Schema error: No field named {name}."
                )
            i = index
            rows = sorted(
                rows, key=lambda r: (r[i] is None, r[i]) if r[i] is not None else (True,), reverse=descending
            )
        return rows if self.select.limit is None else rows[: self.select.limit]

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
        return self._sent < len(self._rows)

    @cached_property
    def _first(self) -> tuple[list[Row], dict[str, Any]]:
        return self._page()

    def _page(self) -> tuple[list[Row], dict[str, Any]]:
        size = (
            self.options.batch_size
            if self.options.last_rows is None
            else max(self.options.batch_size, self.options.last_rows)
        )
        page = self._rows[self._sent : self._sent + max(size, 1)] if self._rows else []
        self._sent += len(page)
        more = self._sent < len(self._rows)
        number = self._batch_number
        status = "ready" if not more else "loading" if number == 0 else "loading_batch"
        last = self._shape.seq(page[-1]) if page else None
        if not more:
            self._rows, self._sent = [], 0
        return page, {"batch_num": number, "has_more": more, "status": status, "last_seq_id": last}

    def ack(self) -> dict[str, Any]:
        """Return the `subscription_ack` message."""
        control = {"batch_num": 0, "has_more": False, "status": "ready", "last_seq_id": None}
        if self.options.initial:
            with self._lock:
                control = self._first[1]
        return {
            "type": "subscription_ack",
            "subscription_id": self.id,
            "total_rows": 0,
            "batch_control": control,
            "schema": [c.json(i) for i, c in enumerate(self.columns)],
        }

    def initial(self) -> dict[str, Any] | None:
        """Return the first `initial_data_batch` message; None when the client asked for none."""
        if not self.options.initial:
            return None
        with self._lock:
            page, control = self._first
        return self._batch(page, control)

    def next_batch(self, last_seq: int | None = None) -> dict[str, Any]:
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
            _ = self._first
            self._batch_number += 1
            if last_seq is not None and self._rows and not self.select.order_by:
                self._sent = bisect_right(self._rows, last_seq, key=lambda row: self._shape.seq(row) or 0)
            page, control = self._page()
        return self._batch(page, control)

    def _batch(self, page: list[Row], control: dict[str, Any]) -> dict[str, Any]:
        rows = [self._shape.initial_row(row) for row in page]
        return {
            "type": "initial_data_batch",
            "subscription_id": self.id,
            "rows": rows,
            "batch_control": control,
        }

    def snapshot(self) -> pa.Table:
        """Return all initial rows at once, projected, and go live: for readers in this process."""
        with self._lock:
            rows, self._rows, self._sent = self._rows[self._sent :], [], 0
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
            found, self._pending = self._pending, []
            try:
                for changes in self._subscription.poll(max_changes):
                    if changes.position > self._position:
                        self._follow_schema(changes)
                        found.extend(self._shape.changes(changes))
                if not self._subscription.lag:
                    self._position = 0  # what is yet to come is younger than the snapshot
            except OverrunError:
                found.extend(self._resync())
            except NotFoundError:
                self.close()
            self._deliver(found)
            return found

    def _deliver(self, found: Sequence[LiveChange]) -> None:
        if found:
            self._seen_seq = max(self._seen_seq, max(c.seq or 0 for c in found))
            self.delivered += len(found)
            self.last_update = self._registry.now_ms()

    @property
    def stand(self) -> Stand | None:
        """Equal for live queries whose next `poll` returns the same; None if no other's can."""
        if self._pending or self.closed or self.loading:
            return None
        return self._shape, self._position, self._subscription.position

    def follow(self, before: Stand, after: Stand, found: Sequence[LiveChange]) -> bool:
        """Take what a live query with the same stand polled; False if this one is elsewhere by now."""
        with self._lock:
            if self.stand != before:
                return False
            self._subscription.skip_to(after[2])
            self._position = after[1]
            self._deliver(found)
            return True

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
        self._subscription = self._shape.subscribe(None)
        self._position, rows, gone, newest = self._shape.snapshot(self._seen_seq, read=True)
        self._seen_seq = newest
        return self._in_order(rows, gone)

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
        if self._ready():
            return True
        arrived = threading.Event()
        try:
            self.channel.listen(arrived.set)
        except NotFoundError:
            return True
        self._waiting = arrived
        try:
            if not self._ready():
                arrived.wait(timeout)
        finally:
            self.channel.unlisten(arrived.set)
        return self._ready()

    def _ready(self) -> bool:
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

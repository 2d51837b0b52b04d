"""What live queries begin with, worked out once for all that begin alike."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any

from kalam_jupyter.kalam.errors import KalamError, TakesLongError
from kalam_jupyter.kalam.live_message import LiveChange, LiveMessage

if TYPE_CHECKING:
    from kalam_jupyter.kalam.live_shape import LiveShape
    from kalam_jupyter.kalam.live_sql import LiveSelect

Row = tuple[Any, ...]
#: So many rows are read and encoded in a fraction of a millisecond.
FEW_ROWS = 128
_UINT32 = 2**32


@dataclass(frozen=True, slots=True)
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
            return _same(batch_size, None, None, False)
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
        return _same(batch_size if size is None else size, last, number("from", "from_seq_id"), True)

    @property
    def page(self) -> int:
        """Rows of a batch."""
        return max(self.batch_size, self.last_rows or 0, 1)


@lru_cache(256)
def _same(batch_size: int, last_rows: int | None, from_seq: int | None, initial: bool) -> LiveOptions:
    """Return the options, one object for all who give the same."""
    return LiveOptions(batch_size, last_rows, from_seq, initial)


@dataclass(frozen=True, eq=False)
class Found:
    """What there is when a live query begins. Shared, so nobody changes it.

    Attributes
    ----------
    rows : list of tuple
        Matching rows in `_seq` order.
    gone : list of LiveChange
        Deletes of rows that vanished, or left the filter, after the `_seq` asked for. A client resumes
        from the greatest it has seen, wherever the connection breaks. So what comes must ascend, and those
        that are older than a row have a `_seq` below that of all rows.
    newest : int
        The greatest `_seq` there is.
    """

    rows: Sequence[Row] = ()
    gone: Sequence[LiveChange] = ()
    newest: int = 0
    openings: dict[Any, Opening] = field(default_factory=dict)

    def opening(
        self, shape: LiveShape, select: LiveSelect, options: LiveOptions, *, at_once: bool = False
    ) -> Opening:
        """Return what a live query with these options begins with.

        Raises
        ------
        KalamError
            If a written ORDER BY names no column.
        TakesLongError
            If it has to be worked out, but should be had `at_once`.
        """
        key = (options, select.order_by, select.limit)
        opening = self.openings.get(key)
        if opening is None:
            if at_once and len(self.rows) + len(self.gone) > FEW_ROWS:
                raise TakesLongError
            opening = self.openings[key] = Opening(self, shape, select, options)
        return opening


class Opening:
    """The initial rows and first messages of live queries of one shape, with the same options, at one moment.

    Attributes
    ----------
    newest : int
        See `Found`.
    rows : sequence of tuple
        Initial rows, in the order in which they are sent.
    missed, pending : list of LiveChange
        Deletes that a resumed query missed, to be told before and after the rows.
    first : int
        Rows of the first batch.
    """

    def __init__(self, found: Found, shape: LiveShape, select: LiveSelect, options: LiveOptions) -> None:
        self._shape, self._options = shape, options
        self.newest = found.newest
        self.rows: Sequence[Row] = ()
        self.missed: Sequence[LiveChange] = ()
        self.pending: Sequence[LiveChange] = ()
        if not options.initial:
            pass
        elif options.from_seq is not None:
            self.rows = found.rows
            first = (shape.seq(found.rows[0]) or 0) if found.rows else 0
            self.missed = [change for change in found.gone if (change.seq or 0) < first]
            self.pending = found.gone[len(self.missed) :]
        else:
            rows = found.rows
            if options.last_rows is not None:
                rows = rows[len(rows) - min(options.last_rows, len(rows)) :]
            self.rows = _shaped(shape, select, rows if options.batch_size else ())
        self.first = min(options.page, len(self.rows))

    def control(self, sent: int, end: int, number: int) -> dict[str, Any]:
        """Return the `batch_control` of the batch of `rows[sent:end]`."""
        more = end < len(self.rows)
        status = "ready" if not more else "loading" if number == 0 else "loading_batch"
        last = self._shape.seq(self.rows[end - 1]) if end > sent else None
        return {"batch_num": number, "has_more": more, "status": status, "last_seq_id": last}

    def batch(self, sent: int, end: int, number: int) -> LiveMessage:
        """Return the `initial_data_batch` message of `rows[sent:end]`."""
        rows = [self._shape.initial_row(row) for row in self.rows[sent:end]]
        return LiveMessage(
            "initial_data_batch", {"rows": rows, "batch_control": self.control(sent, end, number)}
        )

    @cached_property
    def messages(self) -> tuple[LiveMessage, ...]:
        """The `subscription_ack`, and the first `initial_data_batch` if the client asked for one.

        Between them stand deletes that a resumed query missed, see `Found.gone`.
        """
        body = {
            "total_rows": 0,
            "batch_control": self.control(0, self.first, 0),
            "schema": [c.json(i) for i, c in enumerate(self._shape.columns)],
        }
        ack = LiveMessage("subscription_ack", body)
        if not self._options.initial:
            return (ack,)
        return (ack, *(change.told for change in self.missed), self.batch(0, self.first, 0))


def _shaped(shape: LiveShape, select: LiveSelect, rows: Sequence[Row]) -> Sequence[Row]:
    """Apply a written ORDER BY and LIMIT to the initial rows."""
    for name, descending in reversed(select.order_by):
        index = shape.row_schema.index.get(name)
        if index is None:
            raise KalamError("SUBSCRIPTION_FAILED", f"Execution error: Schema error: No field named {name}.")
        i = index
        rows = sorted(
            rows, key=lambda r: (r[i] is None, r[i]) if r[i] is not None else (True,), reverse=descending
        )
    return rows if select.limit is None else rows[: select.limit]


class Kept:
    """What was found lately, for those who begin alike while it is still so.

    Bounded over all tables: by number, and by the rows held.
    """

    MOST, MOST_ROWS = 64, 50_000

    def __init__(self) -> None:
        self._lock = Lock()
        self._found: OrderedDict[Any, tuple[Any, Found]] = OrderedDict()
        self._rows = 0

    def get(self, key: Any, version: object) -> Found | None:
        """Return what was found under `key`, if that was in this `version`."""
        found = self._found.get(key)
        return found[1] if found is not None and found[0]() is version else None

    def put(self, key: Any, version: Any, found: Found) -> None:
        """Keep what was found; `version` is a weak reference to what it was found in."""
        with self._lock:
            self._drop(key)
            self._found[key] = (version, found)
            self._rows += len(found.rows)
            while len(self._found) > self.MOST or (self._rows > self.MOST_ROWS and self._found):
                self._drop(next(iter(self._found)))

    def _drop(self, key: Any) -> None:
        before = self._found.pop(key, None)
        if before is not None:
            self._rows -= len(before[1].rows)

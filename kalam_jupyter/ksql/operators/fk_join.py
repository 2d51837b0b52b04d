"""Foreign-key join: every row of the left table subscribes to the row of the right table that its expression
names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kalam_jupyter.ksql.operators.joins import LEFT, JoinShape
from kalam_jupyter.ksql.operators.record import Key, Record, Row, key_order, store_key


class ForeignKeyJoin:
    """INNER or LEFT join of a left table's expression with the right table's primary key; keyed as the left
    table.

    As in Kafka Streams nobody remembers whether a row was joined before: one that had subscribed and now
    finds no row gives a tombstone.

    Parameters
    ----------
    foreign_key : callable
        From left flat row to the right key, a tuple; None where it is NULL.
    """

    def __init__(self, shape: JoinShape, foreign_key: Callable[[Row], Key | None]) -> None:
        self._shape = shape
        self._foreign_key = foreign_key
        # left key -> (row, timestamp, foreign key, key); right key -> (row, timestamp); foreign key -> left
        # keys
        self._left: dict[Any, tuple[Row, int, Any, Key]] = {}
        self._right: dict[Any, tuple[Row, int]] = {}
        self._subscribers: dict[Any, dict[Any, None]] = {}

    def process(self, side: int, records: list[Record]) -> list[Record]:
        """Apply changes of one side."""
        out: list[Record] = []
        for r in records:
            if r.key is not None:
                if side == LEFT:
                    self._left_change(r, out)
                else:
                    self._right_change(r, out)
        return out

    def _left_change(self, r: Record, out: list[Record]) -> None:
        assert r.key is not None
        key = store_key(r.key)
        before = self._left.pop(key, None)
        if before is not None and before[2] is not None:
            subscribers = self._subscribers[before[2]]
            subscribers.pop(key, None)
            if not subscribers:
                del self._subscribers[before[2]]
        old = None if before is None else self._joined(before)
        subscribed = before is not None and (before[2] is not None or self._shape.kind == "LEFT")
        if r.row is None:
            if subscribed:
                out.append(Record(r.key, None, r.ts, None, r.headers, old))
            return
        foreign = self._foreign_key(r.row)
        hashed = None if foreign is None else store_key(foreign)
        after = self._left[key] = (r.row, r.ts, hashed, r.key)
        if hashed is not None:
            self._subscribers.setdefault(hashed, {})[key] = None
        new = self._joined(after)
        if new is not None or old is not None or (subscribed and foreign is not None):
            ts = r.ts if new is None else new[-1]
            out.append(Record(r.key, new, ts, None, r.headers, old))

    def _right_change(self, r: Record, out: list[Record]) -> None:
        assert r.key is not None
        key = store_key(r.key)
        subscribers = sorted(self._subscribers.get(key, ()), key=key_order)
        before = [self._joined(self._left[k]) for k in subscribers]
        if r.row is None:
            self._right.pop(key, None)
        else:
            self._right[key] = (r.row, r.ts)
        for left_key, old in zip(subscribers, before, strict=True):
            left = self._left[left_key]
            new = self._joined(left)
            ts = max(left[1], r.ts)
            if new is not None:
                new = (*new[:-1], ts)
            out.append(Record(left[3], new, ts, None, r.headers, old))

    def _joined(self, left: tuple[Row, int, Any, Key]) -> Row | None:
        row, ts, foreign, key = left
        right = None if foreign is None else self._right.get(foreign)
        if right is None:
            return self._shape.row(row, None, key, ts) if self._shape.kind == "LEFT" else None
        return self._shape.row(row, right[0], key, max(ts, right[1]))

    def checkpoint(self) -> Any:
        """Both sides and the subscriptions."""
        return (self._left, self._right, self._subscribers)

    def restore(self, state: Any) -> None:
        """Continue from `checkpoint`."""
        self._left, self._right, self._subscribers = state

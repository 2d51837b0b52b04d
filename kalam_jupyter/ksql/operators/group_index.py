"""From groups to slots: a hash table in arrays, so that a batch of rows is looked up at once.

A group is a number for its key and the start of its window (0 without windows). A single integer key is its
own number; other keys are numbered as they come.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kalam_jupyter.engine.batch import Int64s
from kalam_jupyter.engine.types import BIGINT, INTEGER, Column
from kalam_jupyter.ksql.operators.column_batch import ColumnBatch
from kalam_jupyter.ksql.operators.group_states import GroupStates
from kalam_jupyter.ksql.operators.grouping import Grouping
from kalam_jupyter.ksql.operators.record import Key, store_key
from kalam_jupyter.ksql.operators.running import resized

_EMPTY = -1
#: The window start of a slot that no group has.
_DEAD = (1 << 63) - 1
_MASK = (1 << 64) - 1
#: A table has at least so many places for each group.
FULL = 3
#: Most groups that the row form finds without the table.
RECENT = 65_536
_BY_NUMBER, _BY_START, _MIX = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0xD6E8FEB86659FD93


class GroupIndex:
    """The slots of the groups of `states`; groups that are new get one.

    Parameters
    ----------
    states : GroupStates
    key : sequence of Column
        The columns of the groups' keys.
    """

    def __init__(self, states: GroupStates, key: Sequence[Column]) -> None:
        self._states = states
        self._direct = len(key) == 1 and key[0].type in (INTEGER, BIGINT)
        self._ids: dict[Any, int] = {}
        self._next_id = 0
        # slots by start and key, of groups that the row form met lately: hashing in C instead of in Python
        self._recent: dict[int, dict[Key, int]] = {}
        self._num_recent = 0
        self._numbers: Int64s = np.zeros(0, dtype=np.int64)
        self._starts: Int64s = np.zeros(0, dtype=np.int64)
        self._resize(states.capacity)
        self._build(1)

    def slot(self, key: Key, start: int, timestamp: int) -> int:
        """Return the slot of one group; `timestamp` is a new one's."""
        recent = self._recent.get(start)
        if recent is None:
            recent = self._recent[start] = {}
        try:
            slot = recent.get(key)
        except TypeError:  # a list or a map in the key
            return self._find(store_key(key), start, timestamp)
        if slot is None:
            slot = self._find(key, start, timestamp)
            if self._num_recent == RECENT:
                self._forget_recent()
                recent = self._recent[start] = {}
            recent[key] = slot
            self._num_recent += 1
        return slot

    def _forget_recent(self) -> None:
        self._recent = {}
        self._num_recent = 0

    def _find(self, key: Key, start: int, timestamp: int) -> int:
        number: int = key[0] if self._direct else self._number(key)
        h = (number * _BY_NUMBER & _MASK) ^ (start * _BY_START & _MASK)
        h = (h ^ h >> 32) * _MIX & _MASK
        at, table, numbers, starts = h >> self._shift, self._table_view, self._numbers_view, self._starts_view
        while (slot := table[at]) != _EMPTY:
            if numbers[slot] == number and starts[slot] == start:
                return slot
            at = at + 1 & self._last
        slot = self._states.new_one(timestamp)
        if slot >= len(numbers):
            self._grow()
        table[at], self._numbers_view[slot], self._starts_view[slot] = slot, number, start
        self._used += 1
        if FULL * self._used > len(self._table):
            self._build(1)
        return slot

    def slots(self, batch: ColumnBatch, starts: Int64s | None, timestamp: int) -> Int64s:
        """Return the slot of each row's group; `timestamp` is that of new ones.

        `starts` is None in an aggregation without windows, whose groups all start at 0.
        """
        n = batch.num_rows
        numbers = self._batch_numbers(batch)
        if FULL * (self._used + n) > len(self._table):
            self._build(n)
        out = np.empty(n, dtype=np.int64)
        rows, at = np.arange(n), self._places(numbers, starts)
        while len(rows):
            rows, at = self._look(out, rows, at, numbers, starts)
            rows, at = self._claim(out, rows, at, numbers, starts, timestamp)
        return out

    def _look(
        self, out: Int64s, rows: Int64s, at: Int64s, numbers: Int64s, starts: Int64s | None
    ) -> tuple[Int64s, Int64s]:
        """Find rows' groups from their places on; return the rows that have none, and their empty places."""
        empty_rows, empty_at = [], []
        if len(rows) < len(numbers):
            numbers, starts = numbers.take(rows), None if starts is None else starts.take(rows)
        while len(rows):
            found = self._table.take(at)
            out[rows] = found
            other = self._numbers.take(found) != numbers
            if starts is not None:
                other |= self._starts.take(found) != starts
            none = found == _EMPTY
            empty = np.flatnonzero(none)
            empty_rows.append(rows.take(empty))
            empty_at.append(at.take(empty))
            on = np.flatnonzero(other & ~none)
            rows, at = rows.take(on), at.take(on) + 1 & self._last
            numbers, starts = numbers.take(on), None if starts is None else starts.take(on)
        return np.concatenate(empty_rows), np.concatenate(empty_at)

    def _claim(
        self, out: Int64s, rows: Int64s, at: Int64s, numbers: Int64s, starts: Int64s | None, timestamp: int
    ) -> tuple[Int64s, Int64s]:
        """Give one row at each empty place a slot there; return the others, who have to look again."""
        claims = -2 - rows
        self._table[at] = claims
        won = self._table.take(at) == claims
        winners = np.flatnonzero(won)
        slots = self._new(len(winners), timestamp)
        winning = rows.take(winners)
        self._table[at.take(winners)] = out[winning] = slots
        self._numbers[slots] = numbers.take(winning)
        self._starts[slots] = 0 if starts is None else starts.take(winning)
        self._used += len(slots)
        losers = np.flatnonzero(~won)
        return rows.take(losers), at.take(losers)

    def _new(self, count: int, timestamp: int) -> Int64s:
        slots = self._states.new(count, timestamp)
        self._grow()
        return slots

    def _grow(self) -> None:
        if self._states.capacity > len(self._numbers):
            self._resize(self._states.capacity)

    def _resize(self, capacity: int) -> None:
        self._numbers = resized(self._numbers, capacity)
        self._starts = resized(self._starts, capacity, _DEAD)
        # the row form reads and writes single items of the same memory, faster than numpy does
        self._numbers_view, self._starts_view = self._numbers.data, self._starts.data

    def _number(self, key: Any) -> int:
        number = self._ids.get(key)
        if number is None:
            number = self._ids[key] = self._next_id
            self._next_id += 1
        return number

    def _batch_numbers(self, batch: ColumnBatch) -> Int64s:
        if self._direct:
            return np.asarray(batch.key[0]).astype(np.int64, copy=False)
        grouping = Grouping.of(batch.key)
        keys = batch.take(grouping.first).key_rows()
        numbers = [self._number(store_key(k)) for k in keys]
        return np.array(numbers, dtype=np.int64)[grouping.codes]

    def _places(self, numbers: Int64s, starts: Int64s | None) -> Int64s:
        h = numbers.view(np.uint64) * np.uint64(_BY_NUMBER)
        if starts is not None:
            h ^= starts.view(np.uint64) * np.uint64(_BY_START)
        h ^= h >> np.uint64(32)
        h *= np.uint64(_MIX)
        h >>= np.uint64(self._shift)
        return h.view(np.int64)

    def _build(self, more: int) -> None:
        """Make the table anew, with room for so many more groups."""
        live = np.flatnonzero(self._starts != _DEAD)
        bits = max(int(2 * FULL * (len(live) + more)).bit_length(), 8)
        self._shift = 64 - bits
        self._table = np.full(1 << bits, _EMPTY, dtype=np.int64)
        self._table_view, self._last = self._table.data, len(self._table) - 1
        self._used = len(live)
        at = self._places(self._numbers.take(live), self._starts.take(live))
        while len(live):
            free = np.flatnonzero(self._table.take(at) == _EMPTY)
            self._table[at.take(free)] = live.take(free)
            rest = np.flatnonzero(self._table.take(at) != live)
            live, at = live.take(rest), at.take(rest) + 1 & self._last

    def oldest(self) -> int:
        """Return the earliest start of a window; a very late time if there is none."""
        return int(self._starts.min(initial=_DEAD))

    def forget(self, limit: int) -> None:
        """Release the groups of windows that start at `limit` or before."""
        gone = np.flatnonzero(self._starts <= limit)
        self._starts[gone] = _DEAD
        self._states.release(gone)
        self._forget_recent()
        live = np.count_nonzero(self._starts != _DEAD)
        if len(self._ids) > 1024 + 2 * live:
            numbers = set(self._numbers[self._starts != _DEAD].tolist())
            self._ids = {key: number for key, number in self._ids.items() if number in numbers}

    def checkpoint(self) -> Any:
        """All of it, and the states, as plain data."""
        arrays = (self._numbers.copy(), self._starts.copy())
        return (*arrays, dict(self._ids), self._next_id, self._states.checkpoint())

    def restore(self, state: Any) -> None:
        """Continue from `checkpoint`."""
        numbers, starts, ids, self._next_id, states = state
        self._states.restore(states)
        self._numbers, self._starts = numbers, starts
        self._resize(max(self._states.capacity, len(numbers)))
        self._ids = dict(ids)
        self._forget_recent()
        self._build(1)

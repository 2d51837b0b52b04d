"""Running values by group over columns: the arithmetic of the row form, in the same order, so that results
are equal to the last bit.

A running value at a row is what its group's fold is after that row. Scans go by rank (the first rows of all
groups at once, then the second rows, ...) while groups that still have rows are many, and group by group
when they are few; either way each group is folded from left to right.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from kalam_jupyter.engine.batch import Int64s
from kalam_jupyter.ksql.operators.record import hashable

#: Groups from which on a step takes a row of each.
FEW_GROUPS = 16


class Grouping:
    """Which group each row is in.

    Attributes
    ----------
    codes : numpy int64 array
        Number of each row's group.
    first : numpy int64 array
        First row of each group.
    """

    def __init__(self, codes: Int64s, first: Int64s) -> None:
        self.codes = codes
        self.first = first

    @classmethod
    def of(cls, arrays: Sequence[pa.Array], numbers: Sequence[Int64s] = ()) -> Grouping:
        """Group rows by the distinct combinations of columns without NULLs, in order of appearance."""
        parts = [*map(_codes, arrays), *map(_number_codes, numbers)]
        codes, size = parts[0] if parts else (np.zeros(0, dtype=np.int64), 0)
        for part, count in parts[1:]:
            if size * count > 1 << 62:
                codes, uniques = pd.factorize(codes)
                size = len(uniques)
            codes, size = codes * count + part, size * count
        if len(parts) > 1:
            codes, uniques = pd.factorize(codes)
            size = len(uniques)
        n = len(codes)
        first = np.empty(size, dtype=np.int64)
        first[codes[::-1]] = np.arange(n - 1, -1, -1)
        return cls(codes.astype(np.int64, copy=False), first)

    @classmethod
    def of_slots(cls, slots: Int64s, bound: int) -> tuple[Grouping, Int64s]:
        """Group rows by their slots, which are below `bound`; return the groups' slots, too."""
        n = len(slots)
        order = _order(slots, bound)
        ordered = slots.take(order)
        begins = np.ones(n, dtype=np.bool_)
        np.not_equal(ordered[1:], ordered[:-1], out=begins[1:])
        starts = np.flatnonzero(begins)
        codes = np.empty(n, dtype=np.int64)
        ordered_codes = np.cumsum(begins) - 1
        codes[order] = ordered_codes
        grouping = cls(codes, order.take(starts))
        grouping._order, grouping._starts, grouping._ordered_codes = order, starts, ordered_codes
        grouping.counts = np.diff(starts, append=n)
        return grouping, ordered.take(starts)

    @property
    def groups(self) -> int:
        """How many groups there are."""
        return len(self.first)

    @cached_property
    def counts(self) -> Int64s:
        """Number of rows of each group."""
        return np.bincount(self.codes, minlength=self.groups)

    @cached_property
    def _order(self) -> Int64s:
        return _order(self.codes, self.groups)

    @cached_property
    def _starts(self) -> Int64s:
        """Where each group begins in `_order`."""
        return np.cumsum(self.counts) - self.counts

    @cached_property
    def _ordered_codes(self) -> Int64s:
        return self.codes.take(self._order)

    @cached_property
    def rank(self) -> Int64s:
        """Number of each row within its group, from 0."""
        out = np.empty(len(self.codes), dtype=np.int64)
        out[self._order] = np.arange(len(self.codes)) - self._starts.take(self._ordered_codes)
        return out

    @cached_property
    def _steps(self) -> tuple[list[tuple[Int64s, Int64s]], list[tuple[int, Int64s]]]:
        """How to scan: (groups, their next rows) while groups are many, then (group, all its other rows)."""
        most = int(self.counts.max(initial=0))
        by_count = _order(most - self.counts, most + 1)
        ascending = (most - self.counts).take(by_count)
        many: list[tuple[Int64s, Int64s]] = []
        while True:
            rank = len(many)
            longer = int(np.searchsorted(ascending, most - rank, side="left"))
            groups = by_count[:longer]
            if longer < FEW_GROUPS:
                break
            many.append((groups, self._order.take(self._starts.take(groups) + rank)))
        few = []
        for group in groups.tolist():
            start = self._starts[group]
            few.append((group, self._order[start + rank : start + self.counts[group]]))
        return many, few

    def last(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the value in each group's last row."""
        last: npt.NDArray[Any] = values.take(self._last_rows)
        return last

    @cached_property
    def _last_rows(self) -> Int64s:
        return self._order.take(self._starts + self.counts - 1)

    def running_sum(self, values: Int64s, start: Int64s) -> Int64s:
        """Return running sums of 64-bit integers, which wrap; `start` holds each group's sum before."""
        ordered = np.cumsum(values.take(self._order))
        before = np.concatenate(([0], ordered)).take(self._starts) - start
        out = np.empty_like(ordered)
        out[self._order] = ordered - before.take(self._ordered_codes)
        return out

    def running_max(self, values: Int64s, start: Int64s) -> Int64s:
        """Return running maxima, `start` holding each group's before; quick where values ascend."""
        if len(values) and (values[1:] >= values[:-1]).all():
            return np.maximum(values, start.take(self.codes))
        return self.scan(np.maximum, values, start)

    def scan(self, function: np.ufunc, values: npt.NDArray[Any], start: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return running values of a fold by a binary function; `start` holds each group's value before."""
        out = np.empty_like(values)
        state = start.copy()
        many, few = self._steps
        for groups, rows in many:
            state[groups] = out[rows] = function(state.take(groups), values.take(rows))
        for group, rows in few:
            out[rows] = function.accumulate(np.concatenate((state[group : group + 1], values[rows])))[1:]
        return out


def _order(numbers: Int64s, bound: int) -> Int64s:
    """Return where the numbers, which are below `bound`, are in ascending order; equal ones stay in order."""
    # numpy sorts 16-bit integers by radix: ten times faster
    order = np.argsort(numbers.astype(np.uint16), kind="stable")
    if bound > 1 << 32:
        return np.argsort(numbers, kind="stable")
    if bound > 1 << 16:
        order = order.take(np.argsort((numbers >> 16).astype(np.uint16).take(order), kind="stable"))
    return order


def _codes(array: pa.Array) -> tuple[Int64s, int]:
    if pa.types.is_nested(array.type):
        # Arrow encodes no structs and lists
        seen: dict[Any, int] = {}
        codes = [seen.setdefault(hashable(value), len(seen)) for value in array.to_pylist()]
        return np.array(codes, dtype=np.int64), len(seen)
    encoded = array.dictionary_encode()
    return encoded.indices.to_numpy().astype(np.int64), len(encoded.dictionary)


def _number_codes(numbers: Int64s) -> tuple[Int64s, int]:
    codes, uniques = pd.factorize(numbers)
    return codes, len(uniques)

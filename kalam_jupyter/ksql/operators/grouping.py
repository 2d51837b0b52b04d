"""Running values by group over columns: the arithmetic of the row form, in the same order, so that results
are equal to the last bit.

A running value at a row is what its group's fold is after that row. Scans go by rank (the first rows of all
groups at once, then the second
rows, ...) where groups are many, and group by group where they are few; either way each group is folded from
left to right.
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
        combined: Any = np.zeros(len(arrays[0]) if arrays else len(numbers[0]), dtype=np.int64)
        size = 1
        for part, count in map(_codes, (*arrays, *map(pa.array, numbers))):
            if size * count > 1 << 62:
                combined, uniques = pd.factorize(combined)
                size = len(uniques)
            combined = combined * count + part
            size *= count
        codes, uniques = pd.factorize(combined)
        n = len(codes)
        first = np.empty(len(uniques), dtype=np.int64)
        first[codes[::-1]] = np.arange(n - 1, -1, -1)
        return cls(codes.astype(np.int64, copy=False), first)

    @property
    def groups(self) -> int:
        """How many groups there are."""
        return len(self.first)

    @cached_property
    def _order(self) -> Int64s:
        return np.argsort(self.codes, kind="stable")

    @cached_property
    def _counts(self) -> Int64s:
        return np.bincount(self.codes, minlength=self.groups)

    @cached_property
    def _starts(self) -> Int64s:
        """Where each group begins in `_order`."""
        return np.concatenate(([0], np.cumsum(self._counts)[:-1]))

    @cached_property
    def rank(self) -> Int64s:
        """Number of each row within its group, from 0."""
        out = np.empty(len(self.codes), dtype=np.int64)
        out[self._order] = np.arange(len(self.codes)) - np.repeat(self._starts, self._counts)
        return out

    @cached_property
    def _by_rank(self) -> list[Int64s]:
        order = np.argsort(self.rank, kind="stable")
        return np.split(order, np.cumsum(np.bincount(self.rank))[:-1])

    def last(self, values: npt.NDArray[Any]) -> list[Any]:
        """Return the value in each group's last row."""
        out = np.empty(self.groups, dtype=values.dtype)
        out[self.codes] = values
        found: list[Any] = out.tolist()
        return found

    def running_sum(self, values: Int64s, start: Int64s) -> Int64s:
        """Return running sums of 64-bit integers, which wrap; `start` holds each group's sum before."""
        ordered = np.cumsum(values[self._order])
        before = np.concatenate(([0], ordered))[self._starts] - start
        out = np.empty_like(ordered)
        out[self._order] = ordered - np.repeat(before, self._counts)
        return out

    def scan(self, function: np.ufunc, values: npt.NDArray[Any], start: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return running values of a fold by a binary function; `start` holds each group's value before."""
        out = np.empty_like(values)
        if int(self._counts.max(initial=0)) <= self.groups:
            state = start.copy()
            for rows in self._by_rank:
                codes = self.codes[rows]
                state[codes] = out[rows] = function(state[codes], values[rows])
            return out
        ends = self._starts + self._counts
        for group, (low, high) in enumerate(zip(self._starts.tolist(), ends.tolist(), strict=True)):
            rows = self._order[low:high]
            folded = function.accumulate(np.concatenate((start[group : group + 1], values[rows])))
            out[rows] = folded[1:]
        return out


def _codes(array: pa.Array) -> tuple[Int64s, int]:
    encoded = array.dictionary_encode()
    return encoded.indices.to_numpy().astype(np.int64), max(len(encoded.dictionary), 1)

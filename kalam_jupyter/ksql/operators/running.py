"""States of one aggregate by slot, for both forms: arrays where they are numbers, Python objects elsewhere.

Vocabulary
----------
slot
    Number of a group's place in the arrays; the places of forgotten groups are used again.
accumulator
    One aggregate call's state in all slots. The row form reads and writes one slot in the terms of the
    aggregate's own functions; the column form takes a batch at once and gives each row's running result.
    Slots that no group has are clear.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from kalam_jupyter.engine.batch import Int64s
from kalam_jupyter.engine.types import BIGINT, DOUBLE, INTEGER, DataType, from_arrow, to_arrow
from kalam_jupyter.ksql.functions.definitions import Aggregation
from kalam_jupyter.ksql.operators.grouping import Grouping


class Accumulator:
    """Any aggregate: states are Python objects.

    Attributes
    ----------
    columnar : bool
        Whether it takes batches: aggregates of at most one argument do.
    """

    def __init__(self, function: Aggregation) -> None:
        self.function = function
        self.columnar = len(function.columns) <= 1 and function.type is not None
        self._states: list[Any] = []

    @property
    def stores(self) -> list[Any]:
        """What holds states by slot; others after `resize` and `restore`."""
        return [self._states]

    @property
    def fold(self) -> str:
        """Python that takes a row into slot `s` and leaves the slot's state in `x` (see `GroupStates.fold`).

        `a` and `b` are the stores, `add` and `merge` the aggregate's functions, `values` the arguments,
        `value` the first of them, `i` the number of the aggregate.
        """
        return "x = a{i}[s] = add{i}(a{i}[s], {values})"

    def resize(self, capacity: int) -> None:
        """Make room for so many slots."""
        self._states += [None] * (capacity - len(self._states))

    def load(self, slot: int) -> Any:
        """Return a slot's state, as the aggregate's functions know it."""
        return self._states[slot]

    def save(self, slot: int, state: Any) -> None:
        """Set a slot's state."""
        self._states[slot] = state

    def clear(self, slots: Int64s) -> None:
        """Make these slots those of empty groups."""
        for slot in slots.tolist():
            self.open(slot)

    def open(self, slot: int) -> None:
        """Make a clear slot that of an empty group."""
        self._states[slot] = self.function.initial()

    def run(self, slots: Int64s, grouping: Grouping, values: pa.Array | None) -> pa.Array:
        """Fold rows into their groups' slots; return each row's running result."""
        add, result, type_ = self.function.add, self.function.result, self.function.type
        assert type_ is not None
        out = []
        at = slots[grouping.codes].tolist()
        lists = [] if values is None else [from_arrow(values, _argument(self.function))]
        for slot, *arguments in zip(at, *lists, strict=True):
            state = add(self.load(slot), *arguments)
            self.save(slot, state)
            out.append(result(state))
        return to_arrow(out, type_)

    def checkpoint(self, size: int) -> Any:
        """Return the states of the first `size` slots as plain data."""
        return self._states[:size]

    def restore(self, states: Any) -> None:
        """Continue from `checkpoint`."""
        self._states = list(states)


class _ArrayAccumulator(Accumulator):
    """State is a few numbers a slot, each in an array of its own.

    The row form reads and writes single items through views of the arrays: that is faster than numpy.
    """

    dtypes: ClassVar[tuple[Any, ...]] = (np.int64,)

    def __init__(self, function: Aggregation) -> None:
        super().__init__(function)
        self._arrays = [np.zeros(0, dtype=d) for d in self._dtypes()]
        self._views = [a.data for a in self._arrays]

    def _dtypes(self) -> tuple[Any, ...]:
        return self.dtypes

    @property
    def stores(self) -> list[Any]:
        return self._views

    def resize(self, capacity: int) -> None:
        size = len(self._arrays[0])
        self._arrays = [resized(a, capacity) for a in self._arrays]
        self._views = [a.data for a in self._arrays]
        self.clear(np.arange(size, capacity))

    def open(self, slot: int) -> None:
        """Nothing to do: the state of an empty group is that of a clear slot."""

    def load(self, slot: int) -> Any:
        return self._views[0][slot]

    def save(self, slot: int, state: Any) -> None:
        self._views[0][slot] = state

    def clear(self, slots: Int64s) -> None:
        for array in self._arrays:
            array[slots] = 0

    def checkpoint(self, size: int) -> Any:
        return [a[:size].copy() for a in self._arrays]

    def restore(self, states: Any) -> None:
        self._arrays = [np.array(a) for a in states]
        self._views = [a.data for a in self._arrays]


class _Count(_ArrayAccumulator):
    @property
    def fold(self) -> str:
        if not self.function.columns:
            return super().fold
        return "x = a{i}[s]\nif {value} is not None: x = a{i}[s] = x + 1"

    def run(self, slots: Int64s, grouping: Grouping, values: pa.Array | None) -> pa.Array:
        return pa.array(_running_count(self._arrays[0], slots, grouping, values))


class _Sum(_ArrayAccumulator):
    @property
    def fold(self) -> str:
        # a value merges like the sum of one value: a call less than `add`
        return "x, v = a{i}[s], {value}\nif v is not None: x = a{i}[s] = merge{i}(x, v)"

    def _dtypes(self) -> tuple[Any, ...]:
        return (_sum_dtype(self.function),)

    def run(self, slots: Int64s, grouping: Grouping, values: pa.Array | None) -> pa.Array:
        out = _running_sum(self._arrays[0], slots, grouping, values, self.function.types[0])
        return pa.array(out.astype(np.int32) if self.function.type == INTEGER else out)


class _Average(_ArrayAccumulator):
    @property
    def fold(self) -> str:
        return "x = a{i}[s], b{i}[s] = add{i}([a{i}[s], b{i}[s]], {value})"

    def _dtypes(self) -> tuple[Any, ...]:
        return (_sum_dtype(self.function), np.int64)

    def load(self, slot: int) -> Any:
        return [self._views[0][slot], self._views[1][slot]]

    def save(self, slot: int, state: Any) -> None:
        self._views[0][slot], self._views[1][slot] = state

    def run(self, slots: Int64s, grouping: Grouping, values: pa.Array | None) -> pa.Array:
        sums = _running_sum(self._arrays[0], slots, grouping, values, self.function.types[0])
        counts = _running_count(self._arrays[1], slots, grouping, values)
        if sums.dtype == np.int64 and _beyond_doubles(sums):
            # Python divides big integers exactly rounded; numpy would round them to a double first.
            quotients = [s / n if n else 0.0 for s, n in zip(sums.tolist(), counts.tolist(), strict=True)]
            return pa.array(quotients, type=pa.float64())
        return pa.array(np.divide(sums, counts, out=np.zeros(len(sums)), where=counts != 0))


class _Extreme(_ArrayAccumulator):
    """MIN and MAX of numbers: a value, and whether there is one."""

    @property
    def fold(self) -> str:
        add = "x = add{i}(a{i}[s] if b{i}[s] else None, {value})"
        return f"{add}\nif x is not None: a{{i}}[s], b{{i}}[s] = x, True"

    def __init__(self, function: Aggregation) -> None:
        super().__init__(function)
        type_ = function.types[0]
        assert type_ is not None
        self._type = type_
        self._fold = np.maximum if function.name.upper() == "MAX" else np.minimum
        largest = self._fold is np.maximum
        self._neutral: Any
        if type_ == DOUBLE:
            self._neutral = -np.inf if largest else np.inf
        else:
            limits = np.iinfo(np.int32 if type_ == INTEGER else np.int64)
            self._neutral = limits.min if largest else limits.max

    def _dtypes(self) -> tuple[Any, ...]:
        return (_NUMPY[self.function.types[0]], np.bool_)

    def load(self, slot: int) -> Any:
        return self._views[0][slot] if self._views[1][slot] else None

    def save(self, slot: int, state: Any) -> None:
        known = state is not None
        self._views[0][slot], self._views[1][slot] = state if known else self._neutral, known

    def clear(self, slots: Int64s) -> None:
        self._arrays[0][slots] = self._neutral
        self._arrays[1][slots] = False

    def run(self, slots: Int64s, grouping: Grouping, values: pa.Array | None) -> pa.Array:
        assert values is not None
        numbers = _filled(values, self._neutral)
        best, known = self._arrays
        before = best.take(slots)
        if self._type == DOUBLE and (np.isnan(numbers).any() or np.isnan(before).any()):
            return super().run(slots, grouping, values)
        out = grouping.scan(self._fold, numbers, before)
        best[slots] = grouping.last(out)
        if not values.null_count:
            known[slots] = True
            return pa.array(out, type=self._type.arrow)
        seen = grouping.scan(np.logical_or, _valid(values), known[slots])
        known[slots] = grouping.last(seen)
        return pa.array(out, mask=~seen, type=self._type.arrow)


_NUMPY: dict[DataType | None, Any] = {INTEGER: np.int32, BIGINT: np.int64, DOUBLE: np.float64}
_NUMERIC: dict[str, type[Accumulator]] = {"SUM": _Sum, "AVG": _Average, "MIN": _Extreme, "MAX": _Extreme}


def accumulator(function: Aggregation) -> Accumulator:
    """Return the accumulator of an aggregate, by the function alone: states can be handed on."""
    name = function.name.upper()
    if name == "COUNT":
        return _Count(function)
    numeric = function.types and function.types[0] in _NUMPY
    return _NUMERIC.get(name, Accumulator)(function) if numeric else Accumulator(function)


def _argument(function: Aggregation) -> DataType:
    type_ = function.types[0]
    assert type_ is not None
    return type_


def _sum_dtype(function: Aggregation) -> Any:
    return np.float64 if function.types[0] == DOUBLE else np.int64


def resized(array: Any, capacity: int, filler: Any = 0) -> Any:
    """Return the array with more room behind."""
    grown = np.full(capacity, filler, dtype=array.dtype)
    grown[: len(array)] = array
    return grown


def _valid(values: pa.Array) -> Any:
    return values.is_valid().to_numpy(zero_copy_only=False)


def _filled(values: pa.Array, filler: Any) -> Any:
    """Return a column as numpy, NULLs replaced."""
    if values.null_count:
        values = values.fill_null(filler)
    return values.to_numpy(zero_copy_only=False)


def _beyond_doubles(sums: Any) -> bool:
    exact = 1 << 53
    return bool(len(sums)) and not (-exact <= int(sums.min()) and int(sums.max()) <= exact)


def _running_count(state: Any, slots: Int64s, grouping: Grouping, values: pa.Array | None) -> Any:
    before = state.take(slots)
    if values is None or not values.null_count:
        out = grouping.rank + 1
        out += before.take(grouping.codes)
        state[slots] = before + grouping.counts
    else:
        out = grouping.running_sum(_valid(values).astype(np.int64), before)
        state[slots] = grouping.last(out)
    return out


def _running_sum(
    state: Any, slots: Int64s, grouping: Grouping, values: pa.Array | None, type_: DataType | None
) -> Any:
    assert values is not None
    if type_ == DOUBLE:
        # A NULL adds nothing: a sum that began at 0.0 is never -0.0, so adding 0.0 changes no bit of it.
        out = grouping.scan(np.add, _filled(values, 0.0), state.take(slots))
    else:
        out = grouping.running_sum(_filled(values, 0).astype(np.int64), state.take(slots))
        if type_ == INTEGER:
            out = out.astype(np.int32).astype(np.int64)
    state[slots] = grouping.last(out)
    return out

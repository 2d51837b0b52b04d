"""State of aggregates by slot, for both forms: arrays where the state is numbers, Python objects elsewhere.

Vocabulary
----------
slot
    Number of a group's place in the arrays; the places of forgotten groups are used again.
accumulator
    One aggregate call's state in all slots. The row form reads and writes one slot in the terms of the
    aggregate's own functions; the column form takes a batch at once and gives each row's running result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from kalam_jupyter.engine.batch import Int64s
from kalam_jupyter.engine.types import BIGINT, DOUBLE, INTEGER, DataType, from_arrow, to_arrow
from kalam_jupyter.ksql.functions.registry import Aggregation
from kalam_jupyter.ksql.operators.grouping import Grouping
from kalam_jupyter.ksql.operators.record import Row


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

    def resize(self, capacity: int) -> None:
        """Make room for so many slots."""
        self._states += [None] * (capacity - len(self._states))

    def load(self, slot: int) -> Any:
        """Return a slot's state, as the aggregate's functions know it."""
        return self._states[slot]

    def save(self, slot: int, state: Any) -> None:
        """Set a slot's state."""
        self._states[slot] = state

    def folder(self, arguments: Callable[[Row], Row]) -> Callable[[int, Row], Any]:
        """Return the function that takes a row into a slot and gives the slot's result."""
        add, result, load, save = self.function.add, self.function.result, self.load, self.save

        def fold(slot: int, row: Row) -> Any:
            state = add(load(slot), *arguments(row))
            save(slot, state)
            return result(state)

        return fold

    def clear(self, slots: Int64s) -> None:
        """Make these slots those of empty groups."""
        initial = self.function.initial
        for slot in slots.tolist():
            self._states[slot] = initial()

    def clear_one(self, slot: int) -> None:
        """Make a slot that of an empty group."""
        self.save(slot, self.function.initial())

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

    def resize(self, capacity: int) -> None:
        self._arrays = [resized(a, capacity) for a in self._arrays]
        self._views = [a.data for a in self._arrays]

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
    def folder(self, arguments: Callable[[Row], Row]) -> Callable[[int, Row], Any]:
        if self.function.columns:
            return super().folder(arguments)

        def fold(slot: int, row: Row) -> int:
            counts = self._views[0]
            counts[slot] = count = counts[slot] + 1
            return count

        return fold

    def run(self, slots: Int64s, grouping: Grouping, values: pa.Array | None) -> pa.Array:
        return pa.array(_running_count(self._arrays[0], slots, grouping, values))


class _Sum(_ArrayAccumulator):
    def _dtypes(self) -> tuple[Any, ...]:
        return (_sum_dtype(self.function),)

    def folder(self, arguments: Callable[[Row], Row]) -> Callable[[int, Row], Any]:
        add = self.function.add

        def fold(slot: int, row: Row) -> Any:
            sums = self._views[0]
            sums[slot] = total = add(sums[slot], *arguments(row))
            return total

        return fold

    def run(self, slots: Int64s, grouping: Grouping, values: pa.Array | None) -> pa.Array:
        out = _running_sum(self._arrays[0], slots, grouping, values, self.function.types[0])
        return pa.array(out.astype(np.int32) if self.function.type == INTEGER else out)


class _Average(_ArrayAccumulator):
    def _dtypes(self) -> tuple[Any, ...]:
        return (_sum_dtype(self.function), np.int64)

    def load(self, slot: int) -> Any:
        return [self._views[0][slot], self._views[1][slot]]

    def save(self, slot: int, state: Any) -> None:
        self._views[0][slot], self._views[1][slot] = state

    def folder(self, arguments: Callable[[Row], Row]) -> Callable[[int, Row], Any]:
        add, result = self.function.add, self.function.result

        def fold(slot: int, row: Row) -> Any:
            sums, counts = self._views
            sums[slot], counts[slot] = state = add([sums[slot], counts[slot]], *arguments(row))
            return result(state)

        return fold

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


class GroupStates:
    """The groups of one aggregation, by slot: their largest timestamps and all aggregates' states.

    Parameters
    ----------
    functions : sequence of Aggregation
    arguments : sequence of callable
        From a flat row to each call's arguments, as a tuple.
    columns : sequence of callable or None
        From a column batch to each call's argument (None: it has none); None where the row form must do it.
    """

    def __init__(
        self,
        functions: Sequence[Aggregation],
        arguments: Sequence[Callable[[Row], Row]],
        columns: Sequence[Callable[[Any], pa.Array] | None] | None = None,
    ) -> None:
        self._accumulators = [accumulator(f) for f in functions]
        self._columns = columns
        self.columnar = columns is not None and all(a.columnar for a in self._accumulators)
        self._folders = [a.folder(f) for a, f in zip(self._accumulators, arguments, strict=True)]
        self.types = tuple(f.type for f in functions if f.type is not None)
        self.timestamps: Int64s = np.zeros(0, dtype=np.int64)
        self._size = 0
        self._free: Int64s = np.zeros(0, dtype=np.int64)
        self._num_free = 0
        self._resize(64)

    @property
    def capacity(self) -> int:
        """For how many slots there is room."""
        return len(self.timestamps)

    def _resize(self, capacity: int) -> None:
        self.timestamps = resized(self.timestamps, capacity)
        self._times = self.timestamps.data
        for a in self._accumulators:
            a.resize(capacity)

    def new(self, count: int, timestamp: int) -> Int64s:
        """Return slots of new groups."""
        reused = min(count, self._num_free)
        kept = self._num_free - reused
        end = self._size + count - reused
        if end > self.capacity:
            self._resize(max(2 * self.capacity, end))
        slots = np.concatenate((self._free[kept : self._num_free], np.arange(self._size, end)))
        self._num_free, self._size = kept, end
        self.timestamps[slots] = timestamp
        for a in self._accumulators:
            a.clear(slots)
        return slots

    def new_one(self, timestamp: int) -> int:
        """Return the slot of a new group."""
        if self._num_free:
            self._num_free -= 1
            slot: int = self._free.item(self._num_free)
        else:
            slot = self._size
            if slot == self.capacity:
                self._resize(2 * slot)
            self._size += 1
        self._times[slot] = timestamp
        for a in self._accumulators:
            a.clear_one(slot)
        return slot

    def release(self, slots: Int64s) -> None:
        """Forget groups."""
        self._free = np.concatenate((self._free[: self._num_free], slots))
        self._num_free = len(self._free)
        for a in self._accumulators:
            a.clear(slots)

    def fold(self, slot: int, row: Row, ts: int) -> tuple[Row, int]:
        """Take a row into a group; return the group's values and its largest timestamp."""
        largest: int = self._times[slot]
        if ts > largest:
            self._times[slot] = largest = ts
        return tuple([fold(slot, row) for fold in self._folders]), largest

    def evaluate(self, batch: Any) -> list[pa.Array | None]:
        """Return the argument columns: before any state changes, so that a batch can still be refused."""
        assert self._columns is not None
        return [None if column is None else column(batch) for column in self._columns]

    def run(
        self, grouping: Grouping, slots: Int64s, ts: Int64s, arguments: Sequence[pa.Array | None]
    ) -> tuple[list[pa.Array], Int64s]:
        """Fold rows into their groups' slots; return running results and running largest timestamps."""
        out = [
            a.run(slots, grouping, values) for a, values in zip(self._accumulators, arguments, strict=True)
        ]
        largest = grouping.running_max(ts, self.timestamps.take(slots))
        self.timestamps[slots] = grouping.last(largest)
        return out, largest

    def checkpoint(self) -> Any:
        """All of it as plain data."""
        size = self._size
        states = [a.checkpoint(size) for a in self._accumulators]
        return (self.timestamps[:size].copy(), self._free[: self._num_free].copy(), states)

    def restore(self, state: Any) -> None:
        """Continue from `checkpoint`."""
        timestamps, free, states = state
        self.timestamps, self._free = np.array(timestamps), np.array(free)
        self._size, self._num_free = len(timestamps), len(self._free)
        for a, part in zip(self._accumulators, states, strict=False):
            a.restore(part)
        self._resize(max(64, self._size))
        for a in self._accumulators[len(states) :]:  # CREATE OR REPLACE added them
            a.clear(np.arange(self._size))

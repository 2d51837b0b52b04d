"""The groups of one aggregation, by slot: their largest timestamps and the states of all its aggregates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from textwrap import indent
from typing import Any

import numpy as np
import pyarrow as pa

from kalam_jupyter.engine.batch import Int64s
from kalam_jupyter.ksql.functions.definitions import Aggregation
from kalam_jupyter.ksql.operators.grouping import Grouping
from kalam_jupyter.ksql.operators.record import Row
from kalam_jupyter.ksql.operators.running import Accumulator, accumulator, resized
from kalam_jupyter.ksql.values.convert import identity

#: An argument of an aggregate: a position in the flat row, or a function of it.
Argument = int | Callable[[Row], Any]
#: Of a slot, a flat row and its timestamp.
Fold = Callable[[int, Row, int], tuple[Row, int]]


class GroupStates:
    """States of groups.

    Parameters
    ----------
    functions : sequence of Aggregation
    arguments : sequence of sequences of Argument
        Of each call.
    columns : sequence of callable or None
        From a column batch to each call's argument (None: it has none); None where the row form must do it.

    Attributes
    ----------
    fold : callable
        Takes a row into a slot; returns the group's values and its largest timestamp. It is another one
        after `new_one`, so that nobody may keep it.
    """

    def __init__(
        self,
        functions: Sequence[Aggregation],
        arguments: Sequence[Sequence[Argument]],
        columns: Sequence[Callable[[Any], pa.Array] | None] | None = None,
    ) -> None:
        self._accumulators = [accumulator(f) for f in functions]
        self._columns = columns
        self.columnar = columns is not None and all(a.columnar for a in self._accumulators)
        self._bind_fold = _fold_factory(self._accumulators, arguments)
        self.fold: Fold
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
        self.fold = self._bind_fold(self._times, [a.stores for a in self._accumulators])

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
            a.open(slot)
        return slot

    def release(self, slots: Int64s) -> None:
        """Forget groups."""
        self._free = np.concatenate((self._free[: self._num_free], slots))
        self._num_free = len(self._free)
        for a in self._accumulators:
            a.clear(slots)

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


def _fold_factory(
    accumulators: Sequence[Accumulator], arguments: Sequence[Sequence[Argument]]
) -> Callable[[Any, Sequence[Sequence[Any]]], Fold]:
    """Return a function from the timestamps and all accumulators' stores to `GroupStates.fold`.

    It is one generated function: calls from one small function to the next would take most of the time.
    """
    names: dict[str, Any] = {}
    lines = ["t = times[s]", "if ts > t: times[s] = t = ts"]
    for i, (a, given) in enumerate(zip(accumulators, arguments, strict=True)):
        codes = []
        for j, argument in enumerate(given):
            if isinstance(argument, int):
                codes.append(f"r[{argument}]")
            else:
                names[f"argument{i}_{j}"] = argument
                codes.append(f"argument{i}_{j}(r)")
        function = a.function
        names |= {f"add{i}": function.add, f"merge{i}": function.merge, f"result{i}": function.result}
        lines.append(a.fold.format(i=i, values=", ".join(codes), value=codes[0] if codes else "None"))
        lines.append(f"y{i} = x" if function.result is identity else f"y{i} = result{i}(x)")
    lines.append(f"return ({''.join(f'y{i}, ' for i in range(len(accumulators)))}), t")
    stores = [
        f"{name}{i}" for i, a in enumerate(accumulators) for name, _ in zip("ab", a.stores, strict=False)
    ]
    body = indent("\n".join(lines), "  ")
    source = f"def bind(times, {', '.join(stores)}):\n def fold(s, r, ts):\n{body}\n return fold\n"
    exec(compile(source, "<ksql aggregation>", "exec"), names)
    bind = names["bind"]
    return lambda times, stores: bind(times, *(store for pair in stores for store in pair))

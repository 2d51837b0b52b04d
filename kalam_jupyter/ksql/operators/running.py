"""Aggregates over column batches: each row's running result, in arrival order, with the state kept where the
row form keeps it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from kalam_jupyter.engine.types import BIGINT, DOUBLE, INTEGER, DataType, from_arrow, to_arrow
from kalam_jupyter.ksql.functions.registry import Aggregation
from kalam_jupyter.ksql.operators.column_batch import Codes, ranks
from kalam_jupyter.ksql.values.errors import AggregationError

#: From (states by group, codes, argument or None) to the running results; updates the states.
Running = Callable[[list[Any], Codes, pa.Array | None], pa.Array]


def running_aggregate(function: Aggregation) -> Running | None:
    """Return the columnar form of an aggregate; None if it takes several arguments."""
    if len(function.columns) > 1 or function.type is None:
        return None
    type_ = function.types[0] if function.types else None
    special = _SPECIAL.get((function.name.upper(), type_))
    if function.name.upper() == "COUNT":
        return _count
    return special(function) if special is not None else _generic(function)


def _count(states: list[Any], codes: Codes, values: pa.Array | None) -> pa.Array:
    groups = len(states)
    before = np.array(states, dtype=np.int64)
    if values is None or not values.null_count:
        out = ranks(codes, groups) + before[codes]
        states[:] = (before + np.bincount(codes, minlength=groups)).tolist()
        return pa.array(out)
    counts = states
    result = []
    for c, valid in zip(codes.tolist(), values.is_valid().to_pylist(), strict=True):
        if valid:
            counts[c] += 1
        result.append(counts[c])
    return pa.array(result, type=pa.int64())


def _numbers(values: pa.Array | None) -> list[Any]:
    assert values is not None
    return values.to_pylist() if values.null_count else values.to_numpy(zero_copy_only=False).tolist()


def _sum_double(function: Aggregation) -> Running:
    def run(states: list[Any], codes: Codes, values: pa.Array | None) -> pa.Array:
        out = []
        append = out.append
        for c, v in zip(codes.tolist(), _numbers(values), strict=True):
            if v is not None:
                states[c] += v
            append(states[c])
        return pa.array(out, type=pa.float64())

    return run


def _sum_integer(bits: int) -> Callable[[Aggregation], Running]:
    low, high, modulus = -(1 << bits - 1), (1 << bits - 1) - 1, 1 << bits

    def make(function: Aggregation) -> Running:
        arrow = pa.int32() if bits == 32 else pa.int64()

        def run(states: list[Any], codes: Codes, values: pa.Array | None) -> pa.Array:
            out = []
            append = out.append
            for c, v in zip(codes.tolist(), _numbers(values), strict=True):
                if v is not None:
                    total = states[c] + v
                    if not low <= total <= high:
                        total = (total - low) % modulus + low
                    states[c] = total
                append(states[c])
            return pa.array(out, type=arrow)

        return run

    return make


def _avg(bits: int) -> Callable[[Aggregation], Running]:
    low, high, modulus = -(1 << bits - 1), (1 << bits - 1) - 1, 1 << bits
    whole = bits < 128

    def make(function: Aggregation) -> Running:
        def run(states: list[Any], codes: Codes, values: pa.Array | None) -> pa.Array:
            sums, counts = [s[0] for s in states], [s[1] for s in states]
            out = []
            append = out.append
            for c, v in zip(codes.tolist(), _numbers(values), strict=True):
                if v is not None:
                    total = sums[c] + v
                    if whole and not low <= total <= high:
                        total = (total - low) % modulus + low
                    sums[c] = total
                    counts[c] += 1
                n = counts[c]
                append(sums[c] / n if n else 0.0)
            states[:] = [[s, n] for s, n in zip(sums, counts, strict=True)]
            return pa.array(out, type=pa.float64())

        return run

    return make


def _generic(function: Aggregation) -> Running:
    """Any aggregate of one argument, by its own functions; only rows are saved."""
    add, result, type_ = function.add, function.result, function.type
    argument = function.types[0] if function.types else None
    assert type_ is not None

    def run(states: list[Any], codes: Codes, values: pa.Array | None) -> pa.Array:
        out = []
        if values is None or argument is None:
            for c in codes.tolist():
                states[c] = add(states[c])
                out.append(result(states[c]))
        else:
            for c, v in zip(codes.tolist(), from_arrow(values, argument), strict=True):
                states[c] = add(states[c], v)
                out.append(result(states[c]))
        return to_arrow(out, type_)

    return run


_SPECIAL: dict[tuple[str, DataType | None], Callable[[Aggregation], Running]] = {
    ("SUM", DOUBLE): _sum_double,
    ("SUM", INTEGER): _sum_integer(32),
    ("SUM", BIGINT): _sum_integer(64),
    ("AVG", DOUBLE): _avg(128),
    ("AVG", INTEGER): _avg(32),
    ("AVG", BIGINT): _avg(64),
}


class ColumnAggregator:
    """All aggregate calls of one query, over columns.

    Parameters
    ----------
    functions : sequence of Running
    arguments : sequence of callable or None
        From a column batch to the argument's column.
    types : sequence of DataType
        Of the results.
    """

    def __init__(
        self,
        functions: Sequence[Running],
        arguments: Sequence[Callable[[Any], pa.Array] | None],
        types: Sequence[DataType],
    ) -> None:
        self._calls = list(zip(functions, arguments, strict=True))
        self.types = tuple(types)

    def evaluate(self, batch: Any) -> list[pa.Array | None]:
        """Return the argument columns: before any state changes, so that a batch can still be refused."""
        return [None if argument is None else argument(batch) for _, argument in self._calls]

    def run(
        self, groups: Sequence[list[Any]], codes: Codes, arguments: Sequence[pa.Array | None]
    ) -> list[pa.Array]:
        """Fold the rows into the groups' states (lists, one item per call) and return the running results."""
        out = []
        try:
            for i, (function, _) in enumerate(self._calls):
                states = [g[i] for g in groups]
                out.append(function(states, codes, arguments[i]))
                for g, state in zip(groups, states, strict=True):
                    g[i] = state
        except AggregationError:
            raise
        return out

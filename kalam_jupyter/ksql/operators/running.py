"""Aggregates over column batches: each row's running result, the state kept where the row form keeps it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from kalam_jupyter.engine.types import BIGINT, DOUBLE, INTEGER, DataType, from_arrow, to_arrow
from kalam_jupyter.ksql.functions.registry import Aggregation
from kalam_jupyter.ksql.operators.grouping import Grouping

#: From (states by group, grouping, argument or None) to the running results; updates the states.
Running = Callable[[list[Any], Grouping, pa.Array | None], pa.Array]


def running_aggregate(function: Aggregation) -> Running | None:
    """Return the column form of an aggregate; None if it takes several arguments."""
    if len(function.columns) > 1 or function.type is None:
        return None
    name = function.name.upper()
    if name == "COUNT":
        return _count
    type_ = function.types[0] if function.types else None
    special = _SPECIAL.get((name, type_))
    return special(function) if special is not None else _generic(function)


def _valid(values: pa.Array) -> Any:
    return values.is_valid().to_numpy(zero_copy_only=False)


def _filled(values: pa.Array, filler: Any) -> Any:
    """Return a column as numpy, NULLs replaced."""
    if values.null_count:
        values = values.fill_null(filler)
    return values.to_numpy(zero_copy_only=False)


def _running_count(states: list[Any], grouping: Grouping, values: pa.Array | None) -> Any:
    before = np.array(states, dtype=np.int64)
    if values is None or not values.null_count:
        return grouping.rank + 1 + before[grouping.codes]
    return grouping.running_sum(_valid(values).astype(np.int64), before)


def _count(states: list[Any], grouping: Grouping, values: pa.Array | None) -> pa.Array:
    out = _running_count(states, grouping, values)
    states[:] = grouping.last(out)
    return pa.array(out)


def _sum_double(states: list[Any], grouping: Grouping, values: pa.Array | None) -> pa.Array:
    out = _running_double(states, grouping, values)
    states[:] = grouping.last(out)
    return pa.array(out)


def _running_double(states: list[Any], grouping: Grouping, values: pa.Array | None) -> Any:
    assert values is not None
    # A NULL adds nothing: a sum that began at 0.0 is never -0.0, so adding 0.0 changes no bit of it.
    return grouping.scan(np.add, _filled(values, 0.0), np.array(states, dtype=np.float64))


def _running_integer(states: list[Any], grouping: Grouping, values: pa.Array | None, bits: int) -> Any:
    assert values is not None
    added = _filled(values, 0).astype(np.int64)
    out = grouping.running_sum(added, np.array(states, dtype=np.int64))
    return out.astype(np.int32).astype(np.int64) if bits == 32 else out


def _sum_integer(bits: int) -> Running:
    def run(states: list[Any], grouping: Grouping, values: pa.Array | None) -> pa.Array:
        out = _running_integer(states, grouping, values, bits)
        states[:] = grouping.last(out)
        return pa.array(out.astype(np.int32) if bits == 32 else out)

    return run


def _avg(total: Callable[[list[Any], Grouping, pa.Array | None], Any]) -> Running:
    def run(states: list[Any], grouping: Grouping, values: pa.Array | None) -> pa.Array:
        sums = total([s[0] for s in states], grouping, values)
        counts = _running_count([s[1] for s in states], grouping, values)
        states[:] = [list(s) for s in zip(grouping.last(sums), grouping.last(counts), strict=True)]
        if sums.dtype == np.float64:
            return pa.array(np.divide(sums, counts, out=np.zeros(len(sums)), where=counts != 0))
        # Python divides big integers exactly rounded; numpy would round them to a double first.
        quotients = [s / n if n else 0.0 for s, n in zip(sums.tolist(), counts.tolist(), strict=True)]
        return pa.array(quotients, type=pa.float64())

    return run


def _extreme(fold: np.ufunc) -> Callable[[Aggregation], Running]:
    largest = fold is np.maximum

    def make(function: Aggregation) -> Running:
        type_ = function.types[0]
        assert type_ is not None
        generic = _generic(function)
        arrow = type_.arrow
        if type_ == DOUBLE:
            neutral: Any = -np.inf if largest else np.inf
        else:
            limits = np.iinfo(np.int32 if type_ == INTEGER else np.int64)
            neutral = limits.min if largest else limits.max

        def run(states: list[Any], grouping: Grouping, values: pa.Array | None) -> pa.Array:
            assert values is not None
            numbers = _filled(values, neutral)
            if type_ == DOUBLE and (np.isnan(numbers).any() or any(s is not None and s != s for s in states)):
                return generic(states, grouping, values)
            before = np.array([neutral if s is None else s for s in states], dtype=numbers.dtype)
            known = np.array([s is not None for s in states])
            out = grouping.scan(fold, numbers, before)
            seen = grouping.scan(np.logical_or, _valid(values), known)
            lasts, any_seen = grouping.last(out), grouping.last(seen)
            states[:] = [v if s else None for v, s in zip(lasts, any_seen, strict=True)]
            return pa.array(out, mask=~seen, type=arrow)

        return run

    return make


def _generic(function: Aggregation) -> Running:
    """Any aggregate of at most one argument, by its own functions."""
    add, result, type_ = function.add, function.result, function.type
    argument = function.types[0] if function.types else None
    assert type_ is not None

    def run(states: list[Any], grouping: Grouping, values: pa.Array | None) -> pa.Array:
        out = []
        codes = grouping.codes.tolist()
        if values is None or argument is None:
            for c in codes:
                states[c] = add(states[c])
                out.append(result(states[c]))
        else:
            for c, v in zip(codes, from_arrow(values, argument), strict=True):
                states[c] = add(states[c], v)
                out.append(result(states[c]))
        return to_arrow(out, type_)

    return run


_SPECIAL: dict[tuple[str, DataType | None], Callable[[Aggregation], Running]] = {
    ("SUM", DOUBLE): lambda f: _sum_double,
    ("SUM", INTEGER): lambda f: _sum_integer(32),
    ("SUM", BIGINT): lambda f: _sum_integer(64),
    ("AVG", DOUBLE): lambda f: _avg(_running_double),
    ("AVG", INTEGER): lambda f: _avg(lambda s, g, v: _running_integer(s, g, v, 32)),
    ("AVG", BIGINT): lambda f: _avg(lambda s, g, v: _running_integer(s, g, v, 64)),
    **{
        (name, type_): _extreme(fold)
        for name, fold in (("MIN", np.minimum), ("MAX", np.maximum))
        for type_ in (INTEGER, BIGINT, DOUBLE)
    },
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
        self, groups: Sequence[list[Any]], grouping: Grouping, arguments: Sequence[pa.Array | None]
    ) -> list[pa.Array]:
        """Fold the rows into the groups' states (lists, one item per call); return the running results."""
        out = []
        for i, (function, _) in enumerate(self._calls):
            states = [g[i] for g in groups]
            out.append(function(states, grouping, arguments[i]))
            for g, state in zip(groups, states, strict=True):
                g[i] = state
        return out

"""STDDEV_SAMPLE, STDDEV_SAMP and CORRELATION (function contract section 9)."""

from __future__ import annotations

import math
from collections.abc import Callable

from kalam_jupyter.engine import types as t
from kalam_jupyter.ksql.functions.aggregates_basic import sum_functions
from kalam_jupyter.ksql.functions.definitions import AggregateCall, AggregateParts
from kalam_jupyter.ksql.functions.registry import Library

functions = Library("AGGREGATE")

#: Count, sum, and sum of squared differences from the mean.
Spread = tuple[int, float, float]


def _spread(
    call: AggregateCall, mean: Callable[[float, int], float], result: Callable[[float], float]
) -> AggregateParts:
    type_ = call.types[0]
    plus, minus, zero = sum_functions(type_)

    def add(state: Spread, value: float | None) -> Spread:
        if value is None:
            return state
        n, total, m2 = state
        if n:
            delta = value * (n + 1) - (total + value)
            m2 += delta * delta / (float(n + 1) * n)
        return n + 1, plus(total, value), m2

    def undo(state: Spread, value: float | None) -> Spread:
        if value is None:
            return state
        n, total, m2 = state
        if n > 1:
            delta = value * (n + 1) - (total + value)
            m2 -= delta * delta / (float(n - 1) * n)
        return n - 1, minus(total, value), m2

    def merge(a: Spread, b: Spread) -> Spread:
        (na, sa, ma), (nb, sb, mb) = a, b
        if not na or not nb:
            return b if not na else a
        between = mean(sa, na) - mean(sb, nb)
        return na + nb, plus(sa, sb), ma + mb + float(na) * nb * between * between / (na + nb)

    return AggregateParts(
        lambda: (0, zero, 0.0),
        add,
        merge,
        undo,
        lambda state: result(state[2] / (state[0] - 1)) if state[0] > 1 else 0.0,
        t.Struct((("COUNT", t.BIGINT), ("SUM", type_ or t.DOUBLE), ("M2", t.DOUBLE))),
    )


def _exact_mean(total: float, count: int) -> float:
    return total / count


def _whole_mean(total: float, count: int) -> float:
    quotient = abs(total) // count
    return quotient if total >= 0 else -quotient


def _root(variance: float) -> float:
    return math.sqrt(variance) if variance >= 0 else math.nan


_NUMERIC = ("INT", "BIGINT", "DOUBLE")


@functions.aggregate(*(f"stddev_sample(value {x}) -> DOUBLE" for x in _NUMERIC))
def stddev_sample(call: AggregateCall) -> AggregateParts:
    """Sample standard deviation of the values that are not NULL; 0.0 for fewer than two."""
    return _spread(call, _exact_mean, _root)


@functions.aggregate(*(f"stddev_samp(value {x}) -> DOUBLE" for x in _NUMERIC))
def stddev_samp(call: AggregateCall) -> AggregateParts:
    """Deprecated: sample *variance* (as in ksqlDB) of the values that are not NULL; use STDDEV_SAMPLE."""
    return _spread(call, _exact_mean if call.types[0] == t.DOUBLE else _whole_mean, lambda variance: variance)


#: Count, and sums of x, y, x*x, y*y, x*y.
Moments = tuple[int, float, float, float, float, float]


@functions.aggregate(*(f"correlation(x {x}, y {x}) -> DOUBLE" for x in _NUMERIC))
def correlation(call: AggregateCall) -> AggregateParts:
    """Pearson's correlation of the pairs without NULL; NaN where it is not defined."""

    def change(state: Moments, x: float | None, y: float | None, sign: int) -> Moments:
        if x is None or y is None:
            return state
        a, b = float(x), float(y)
        n, sx, sy, sxx, syy, sxy = state
        return (
            n + sign,
            sx + sign * a,
            sy + sign * b,
            sxx + sign * a * a,
            syy + sign * b * b,
            sxy + sign * a * b,
        )

    def merge(p: Moments, q: Moments) -> Moments:
        n, sx, sy, sxx, syy, sxy = (a + b for a, b in zip(p, q, strict=True))
        return int(n), sx, sy, sxx, syy, sxy

    return AggregateParts(
        lambda: (0, 0.0, 0.0, 0.0, 0.0, 0.0),
        lambda state, x, y: change(state, x, y, 1),
        merge,
        lambda state, x, y: change(state, x, y, -1),
        _pearson,
        t.Struct((("COUNT", t.BIGINT), *((name, t.DOUBLE) for name in ("SX", "SY", "SXX", "SYY", "SXY")))),
    )


def _pearson(state: Moments) -> float:
    n, sx, sy, sxx, syy, sxy = state
    covariance = n * sxy - sx * sy
    spread = (n * sxx - sx * sx) * (n * syy - sy * sy)
    if spread > 0:
        return covariance / math.sqrt(spread)
    return (
        math.nan
        if spread != 0 or covariance == 0 or covariance != covariance
        else math.copysign(math.inf, covariance)
    )

"""COLLECT_LIST, COLLECT_SET, HISTOGRAM, ATTR and COUNT_DISTINCT (function contract section 9)."""

from __future__ import annotations

import hashlib
import math
from typing import Any

from kalam_jupyter.engine import types as t
from kalam_jupyter.ksql.errors import KsqlError
from kalam_jupyter.ksql.functions.collections_ import freeze
from kalam_jupyter.ksql.functions.definitions import AggregateCall, AggregateParts
from kalam_jupyter.ksql.functions.registry import Library

functions = Library("AGGREGATE")

#: State of ATTR: values and how often they are there.
Entries = dict[Any, tuple[Any, int]]

#: HISTOGRAM counts no more keys than this.
MAX_HISTOGRAM_KEYS = 1000


def _limit(call: AggregateCall) -> int:
    """The property ``ksql.functions.<name>.limit``; a negative one means none."""
    text = call.config.get("limit", -1)
    try:
        limit = int(text)
    except (TypeError, ValueError):
        raise KsqlError(f"The limit of a collection must be a whole number, not {text!r}") from None
    return limit if limit >= 0 else 2**31 - 1


@functions.aggregate("collect_list(value T) -> ARRAY<T>")
def collect_list(call: AggregateCall) -> AggregateParts:
    """All values in order of arrival, NULLs too.

    ``ksql.functions.collect_list.limit`` ends the list; later values are ignored.
    """
    limit = _limit(call)

    def add(state: list[Any], value: Any) -> list[Any]:
        if len(state) < limit:
            state.append(value)
        return state

    def undo(state: list[Any], value: Any) -> list[Any]:
        for i in range(len(state) - 1, -1, -1):
            if state[i] == value:
                del state[i]
                break
        return state

    return AggregateParts(list, add, lambda a, b: (a + b)[:limit], undo, list)


@functions.aggregate("collect_set(value T) -> ARRAY<T>")
def collect_set(call: AggregateCall) -> AggregateParts:
    """Distinct values in order of first arrival; NULL counts once.

    ``ksql.functions.collect_set.limit`` ends the set; later values are ignored.
    """
    limit = _limit(call)

    def add(state: dict[Any, Any], value: Any) -> dict[Any, Any]:
        if len(state) < limit:
            state.setdefault(freeze(value), value)
        return state

    def merge(a: dict[Any, Any], b: dict[Any, Any]) -> dict[Any, Any]:
        for value in b.values():
            add(a, value)
        return a

    return AggregateParts(dict, add, merge, None, lambda state: list(state.values()))


@functions.aggregate("histogram(value STRING) -> MAP<STRING, BIGINT>")
def histogram(call: AggregateCall) -> AggregateParts:
    """How often each text occurs, for the first 1000 different ones; NULL counts as ``null``."""

    def add(state: dict[str, int], value: str | None, times: int = 1) -> dict[str, int]:
        key = "null" if value is None else value
        if key in state:
            state[key] += times
        elif len(state) < MAX_HISTOGRAM_KEYS:
            state[key] = times
        return state

    def undo(state: dict[str, int], value: str | None) -> dict[str, int]:
        key = "null" if value is None else value
        count = state.get(key, 0) - 1
        if count > 0:
            state[key] = count
        else:
            state.pop(key, None)
        return state

    def merge(a: dict[str, int], b: dict[str, int]) -> dict[str, int]:
        for key, times in b.items():
            add(a, key, times)
        return a

    return AggregateParts(dict, lambda state, value: add(state, value), merge, undo, dict)


@functions.aggregate("attr(value T) -> T")
def attr(call: AggregateCall) -> AggregateParts:
    """The value, if all records have the same one (NULL is a value); else NULL."""

    def change(state: Entries, value: Any, by: int) -> Entries:
        key = freeze(value)
        count = state.get(key, (None, 0))[1] + by
        if count > 0:
            state[key] = (value, count)
        else:
            state.pop(key, None)
        return state

    def merge(a: Entries, b: Entries) -> Entries:
        for value, count in b.values():
            change(a, value, count)
        return a

    def result(state: Entries) -> Any:
        return next(iter(state.values()))[0] if len(state) == 1 else None

    entry = t.Struct((("ENTRY", call.types[0] or t.STRING), ("COUNT", t.BIGINT)))
    return AggregateParts(
        dict,
        lambda state, value: change(state, value, 1),
        merge,
        lambda state, value: change(state, value, -1),
        result,
        t.Array(entry),
    )


_PRECISION = 14
_REGISTERS = 1 << _PRECISION
_REST = 64 - _PRECISION
#: Up to this many different values are counted exactly.
EXACT_DISTINCT = 4096


def _canonical(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(sorted(f"{_canonical(k)}:{_canonical(v)}" for k, v in value.items())) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_canonical, value)) + "]"
    return repr(value)


def _hash(value: Any) -> int:
    data = _canonical(value).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")


class _HyperLogLog:
    """Functions on a state ``[registers, sum of 2**-register, number of empty registers]``."""

    @staticmethod
    def empty() -> list[Any]:
        return [bytearray(_REGISTERS), float(_REGISTERS), _REGISTERS]

    @staticmethod
    def raise_to(state: list[Any], index: int, rank: int) -> None:
        before = state[0][index]
        if rank > before:
            state[0][index] = rank
            state[1] += 2.0**-rank - 2.0**-before
            state[2] -= before == 0

    @classmethod
    def add(cls, state: list[Any], hashed: int) -> None:
        rest = hashed & ((1 << _REST) - 1)
        cls.raise_to(state, hashed >> _REST, _REST - rest.bit_length() + 1)

    @staticmethod
    def estimate(state: list[Any]) -> int:
        raw = 0.7213 / (1 + 1.079 / _REGISTERS) * _REGISTERS * _REGISTERS / state[1]
        if raw <= 2.5 * _REGISTERS and state[2]:
            raw = _REGISTERS * math.log(_REGISTERS / state[2])
        return round(float(raw))


@functions.aggregate("count_distinct(value ANY) -> BIGINT")
def count_distinct(call: AggregateCall) -> AggregateParts:
    """Number of different values, NULLs ignored: exact up to 4096, then estimated within about one per
    cent."""

    def dense(hashes: set[int]) -> list[Any]:
        state = _HyperLogLog.empty()
        for h in hashes:
            _HyperLogLog.add(state, h)
        return state

    def add_hash(state: set[int] | list[Any], hashed: int) -> set[int] | list[Any]:
        if isinstance(state, list):
            _HyperLogLog.add(state, hashed)
            return state
        state.add(hashed)
        return dense(state) if len(state) > EXACT_DISTINCT else state

    def add(state: set[int] | list[Any], value: Any) -> set[int] | list[Any]:
        return state if value is None else add_hash(state, _hash(value))

    def merge(a: set[int] | list[Any], b: set[int] | list[Any]) -> set[int] | list[Any]:
        if isinstance(b, set):
            for hashed in b:
                a = add_hash(a, hashed)
            return a
        a = dense(a) if isinstance(a, set) else a
        for index, rank in enumerate(b[0]):
            _HyperLogLog.raise_to(a, index, rank)
        return a

    def result(state: set[int] | list[Any]) -> int:
        return len(state) if isinstance(state, set) else _HyperLogLog.estimate(state)

    return AggregateParts(set, add, merge, None, result, t.Array(t.INTEGER))

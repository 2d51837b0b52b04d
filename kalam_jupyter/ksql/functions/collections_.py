"""Functions of arrays and maps (function contract section 5). Elements are equal by value."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

from kalam_jupyter.engine import types as t
from kalam_jupyter.ksql.functions.definitions import Binding
from kalam_jupyter.ksql.functions.registry import Library
from kalam_jupyter.ksql.values.compare import greater_function, sort_key
from kalam_jupyter.ksql.values.errors import EvaluationError
from kalam_jupyter.ksql.values.render import cast_text
from kalam_jupyter.ksql.values.text import map_order

functions = Library("COLLECTION")

#: No function makes a longer array.
MAX_SERIES = 10_000_000


def freeze(value: Any) -> Any:
    """Return something hashable that is equal exactly for equal values of one type."""
    if isinstance(value, list):
        return tuple(map(freeze, value))
    if isinstance(value, tuple):
        return tuple(map(freeze, value))
    if isinstance(value, dict):
        return frozenset((freeze(k), freeze(v)) for k, v in value.items())
    return value


def distinct(values: Iterable[Any]) -> list[Any]:
    """Return the values without repetitions, in order of first appearance."""
    seen: dict[Any, Any] = {}
    for value in values:
        seen.setdefault(freeze(value), value)
    return list(seen.values())


@functions.scalar("array_length(array ARRAY<T>) -> INT", examples=[("ARRAY_LENGTH(ARRAY[1, 2])", "2")])
def array_length(array: list[Any]) -> int:
    """Number of elements."""
    return len(array)


@functions.scalar(
    "array_contains(array ARRAY<T>, value T) -> BOOLEAN",
    nulls=True,
    examples=[("ARRAY_CONTAINS(ARRAY[1, 2], 2)", "true")],
)
def array_contains(array: list[Any] | None, value: Any) -> bool:
    """Whether an element equals the value; a NULL value equals a NULL element. False for a NULL array."""
    return array is not None and value in array


@functions.scalar(
    "array_concat(left ARRAY<T>, right ARRAY<T>) -> ARRAY<T>",
    nulls=True,
    examples=[("ARRAY_CONCAT(ARRAY[1, 2], ARRAY[2])", "[1, 2, 2]")],
)
def array_concat(left: list[Any] | None, right: list[Any] | None) -> list[Any] | None:
    """All elements of both arrays; of one where the other is NULL."""
    if left is None or right is None:
        return right if left is None else left
    return left + right


@functions.scalar(
    "array_union(left ARRAY<T>, right ARRAY<T>) -> ARRAY<T>",
    examples=[("ARRAY_UNION(ARRAY[1, 2, 1], ARRAY[3, 2])", "[1, 2, 3]")],
)
def array_union(left: list[Any], right: list[Any]) -> list[Any]:
    """Distinct elements of both arrays, in order of first appearance."""
    return distinct(itertools.chain(left, right))


@functions.scalar(
    "array_intersect(left ARRAY<T>, right ARRAY<T>) -> ARRAY<T>",
    examples=[("ARRAY_INTERSECT(ARRAY[1, 2, 1], ARRAY[1])", "[1]")],
)
def array_intersect(left: list[Any], right: list[Any]) -> list[Any]:
    """Distinct elements that both arrays have, in the order of the first."""
    others = set(map(freeze, right))
    return distinct(v for v in left if freeze(v) in others)


@functions.scalar(
    "array_except(left ARRAY<T>, right ARRAY<T>) -> ARRAY<T>",
    examples=[("ARRAY_EXCEPT(ARRAY[1, 2, 1], ARRAY[2])", "[1]")],
)
def array_except(left: list[Any], right: list[Any]) -> list[Any]:
    """Distinct elements of the first array that the second has not."""
    others = set(map(freeze, right))
    return distinct(v for v in left if freeze(v) not in others)


@functions.scalar(
    "array_distinct(array ARRAY<T>) -> ARRAY<T>", examples=[("ARRAY_DISTINCT(ARRAY[1, 2, 1])", "[1, 2]")]
)
def array_distinct(array: list[Any]) -> list[Any]:
    """Elements without repetitions, in order of first appearance; one NULL is kept."""
    return distinct(array)


@functions.scalar(
    "array_remove(array ARRAY<T>, value T) -> ARRAY<T>",
    nulls=True,
    examples=[("ARRAY_REMOVE(ARRAY[1, 2, 1], 1)", "[2]")],
)
def array_remove(array: list[Any] | None, value: Any) -> list[Any] | None:
    """Elements that do not equal the value; a NULL value removes NULLs."""
    return None if array is None else [v for v in array if v != value]


_JOINABLE = (t.BOOLEAN, t.INTEGER, t.BIGINT, t.DOUBLE, t.STRING)


@functions.scalar(
    "array_join(array ARRAY<T>) -> STRING",
    "array_join(array ARRAY<T>, delimiter STRING) -> STRING",
    nulls=True,
    specialize=True,
    examples=[("ARRAY_JOIN(ARRAY[1, NULL, 2], '; ')", "1; null; 2"), ("ARRAY_JOIN(ARRAY['a', 'b'])", "a,b")],
)
def array_join(binding: Binding) -> Callable[..., str | None]:
    """Elements as text with a delimiter (a comma) between; NULL elements print as ``null``, a NULL
    delimiter is empty.

    Elements must be BOOLEAN, numbers or STRING; others fail.
    """
    type_ = binding.types[0]
    element = type_.element if isinstance(type_, t.Array) else t.STRING
    render = cast_text(element) if element in _JOINABLE or isinstance(element, t.Decimal) else None

    def join(array: list[Any] | None, delimiter: str | None = ",") -> str | None:
        if array is None:
            return None
        if render is None:
            raise EvaluationError(f"ARRAY_JOIN does not take elements of type {element}")
        return (delimiter or "").join("null" if v is None else render(v) for v in array)

    return join


_COMPARABLE = (t.BOOLEAN, t.INTEGER, t.BIGINT, t.DOUBLE, t.STRING, t.BYTES, t.DATE, t.TIME, t.TIMESTAMP)


def _element(binding: Binding) -> t.DataType:
    """The element type of the first argument, which must have an order."""
    type_ = binding.types[0]
    element = type_.element if isinstance(type_, t.Array) else t.STRING
    if element not in _COMPARABLE and not isinstance(element, t.Decimal):
        raise EvaluationError(f"Elements of type {element} have no order")
    return element


def _best(better: Callable[[Any, Any], bool]) -> Callable[[list[Any]], Any]:
    def best(array: list[Any]) -> Any:
        found = None
        for value in array:
            if value is not None and (found is None or better(value, found)):
                found = value
        return found

    return best


def _ordered(make: Callable[[t.DataType], Callable[..., Any]]) -> Callable[[Binding], Callable[..., Any]]:
    """Specialise on an element type with an order; for one without, every call fails."""

    def specialize(binding: Binding) -> Callable[..., Any]:
        try:
            return make(_element(binding))
        except EvaluationError as error:
            message = str(error)

            def fail(*_: Any) -> Any:
                raise EvaluationError(message)

            return fail

    return specialize


def _least(type_: t.DataType) -> Callable[..., Any]:
    greater = greater_function(type_)
    return _best(lambda a, b: greater(b, a))


def _sorter(type_: t.DataType) -> Callable[..., Any]:
    key = sort_key(type_)

    def sort(array: list[Any], direction: str = "ASC") -> list[Any] | None:
        reverse = _DIRECTIONS.get(direction.upper())
        if reverse is None:
            return None
        values = sorted((v for v in array if v is not None), key=key, reverse=reverse)
        return values + [None] * (len(array) - len(values))

    return sort


_DIRECTIONS = {"ASC": False, "ASCENDING": False, "DESC": True, "DESCENDING": True}
for _signatures, _make, _text, _example in (
    (
        ("array_max(array ARRAY<T>) -> T",),
        lambda type_: _best(greater_function(type_)),
        "Largest element, NULLs ignored; NULL if there is none. false is less than true.",
        ("ARRAY_MAX(ARRAY[1, 3, 2])", "3"),
    ),
    (
        ("array_min(array ARRAY<T>) -> T",),
        _least,
        "Smallest element, NULLs ignored; NULL if there is none. false is less than true.",
        ("ARRAY_MIN(ARRAY[3, 1, 2])", "1"),
    ),
    (
        (
            "array_sort(array ARRAY<T>) -> ARRAY<T>",
            "array_sort(array ARRAY<T>, direction STRING) -> ARRAY<T>",
        ),
        _sorter,
        "Elements in order, ascending or as ASC, ASCENDING, DESC, DESCENDING says; NULLs come last in both. "
        "NULL for any other direction.",
        ("ARRAY_SORT(ARRAY[3, NULL, 1], 'desc')", "[3, 1, null]"),
    ),
):
    _specialize = _ordered(_make)
    _specialize.__doc__ = _text
    functions.scalar(*_signatures, specialize=True, examples=[_example])(_specialize)


@functions.scalar(
    "slice(array ARRAY<T>, from INT, to INT) -> ARRAY<T>",
    nulls=True,
    examples=[("SLICE(ARRAY['a', 'b', 'c'], 2, 3)", "[b, c]")],
)
def slice_(array: list[Any] | None, from_: int | None, to: int | None) -> list[Any] | None:
    """Elements from one position to another (from 1, both included); NULL bounds are the ends.

    NULL if a position is out of range.
    """
    if array is None:
        return None
    start = 0 if from_ is None else from_ - 1
    end = len(array) if to is None else to
    return array[start:end] if 0 <= start <= end <= len(array) else None


@functions.scalar(
    "generate_series(start INT, end INT) -> ARRAY<INT>",
    "generate_series(start BIGINT, end BIGINT) -> ARRAY<BIGINT>",
    "generate_series(start INT, end INT, step INT) -> ARRAY<INT>",
    "generate_series(start BIGINT, end BIGINT, step INT) -> ARRAY<BIGINT>",
    examples=[("GENERATE_SERIES(5, 1, -2)", "[5, 3, 1]"), ("GENERATE_SERIES(1, 3)", "[1, 2, 3]")],
)
def generate_series(start: int, end: int, step: int | None = None) -> list[int]:
    """Whole numbers from one to another, both included, in steps of 1 or -1 or as given.

    A step of 0 or in the wrong direction fails.
    """
    by = step if step is not None else (1 if end >= start else -1)
    if by == 0 or (end - start) * by < 0:
        raise EvaluationError(f"GENERATE_SERIES step must lead from {start} to {end}, {by} does not")
    if (end - start) // by >= MAX_SERIES:
        raise EvaluationError(f"GENERATE_SERIES would make more than {MAX_SERIES} elements")
    return list(range(start, end + (1 if by > 0 else -1), by))


@functions.scalar(
    *(
        f"entries(map MAP<STRING, {x}>, sorted BOOLEAN) -> ARRAY<STRUCT<K STRING, V {x}>>"
        for x in ("INT", "BIGINT", "DOUBLE", "BOOLEAN", "STRING")
    ),
    examples=[("ENTRIES(MAP('b' := 1, 'a' := 2), TRUE)", "[Struct{K=a,V=2}, Struct{K=b,V=1}]")],
)
def entries(mapping: dict[str, Any], sorted_: bool) -> list[tuple[str, Any]]:
    """Entries of a map as structs of K and V, sorted by key if asked."""
    keys = sorted(mapping, key=sort_key(t.STRING)) if sorted_ else map_order(mapping)
    return [(k, mapping[k]) for k in keys]


@functions.scalar(
    "as_map(keys ARRAY<STRING>, values ARRAY<T>) -> MAP<STRING, T>",
    examples=[("AS_MAP(ARRAY['a', 'b'], ARRAY[1, 2])['b']", "2")],
)
def as_map(keys: list[str], values: list[Any]) -> dict[str, Any]:
    """Map of keys to the values at the same positions.

    Missing values are NULL, surplus ones ignored; of a repeated key the last value wins.
    """
    return dict(itertools.islice(itertools.zip_longest(keys, values[: len(keys)]), len(keys)))


@functions.scalar(
    "map_keys(map MAP<STRING, V>) -> ARRAY<STRING>", examples=[("MAP_KEYS(MAP('a' := 1))", "[a]")]
)
def map_keys(mapping: dict[str, Any]) -> list[str]:
    """Keys of a map, in the order of a Java HashMap."""
    return map_order(mapping)


@functions.scalar(
    "map_values(map MAP<STRING, V>) -> ARRAY<V>", examples=[("MAP_VALUES(MAP('a' := 1))", "[1]")]
)
def map_values(mapping: dict[str, Any]) -> list[Any]:
    """Values of a map, in the order of MAP_KEYS."""
    return [mapping[k] for k in map_order(mapping)]


@functions.scalar(
    "map_union(left MAP<STRING, V>, right MAP<STRING, V>) -> MAP<STRING, V>",
    nulls=True,
    examples=[("MAP_UNION(MAP('a' := 1), MAP('a' := 2))['a']", "2")],
)
def map_union(left: dict[str, Any] | None, right: dict[str, Any] | None) -> dict[str, Any] | None:
    """Entries of both maps, those of the second winning; one map where the other is NULL."""
    if left is None or right is None:
        return right if left is None else left
    return {**left, **right}

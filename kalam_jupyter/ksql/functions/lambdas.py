"""TRANSFORM, FILTER and REDUCE (function contract 5.1). If the lambda fails for an element, the whole
call fails.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kalam_jupyter.ksql.functions.registry import Library
from kalam_jupyter.ksql.functions.strings import MAX_PADDING
from kalam_jupyter.ksql.values.errors import EvaluationError
from kalam_jupyter.ksql.values.text import map_order

functions = Library("LAMBDA")


def _no_nulls(mapping: dict[Any, Any]) -> dict[Any, Any]:
    """Java's collector to a map refuses NULL values."""
    if None in mapping.values():
        raise EvaluationError("A map function may not give NULL values")
    return mapping


@functions.scalar(
    "transform(array ARRAY<T>, function LAMBDA(T) => R) -> ARRAY<R>",
    examples=[("TRANSFORM(ARRAY[1, 2], x => x * 10)", "[10, 20]")],
)
def transform_array(array: list[Any], function: Callable[[Any], Any]) -> list[Any]:
    """A function's value for each element of an array, or for each key and value of a map.

    Equal keys and NULL values of the resulting map fail.
    """
    return [function(v) for v in array]


@functions.scalar(
    "transform(map MAP<K, V>, key LAMBDA(K, V) => R, value LAMBDA(K, V) => T) -> MAP<R, T>",
    examples=[("TRANSFORM(MAP('a' := 1), (k, v) => UCASE(k), (k, v) => v + 1)['A']", "2")],
)
def transform_map(
    mapping: dict[Any, Any], key: Callable[[Any, Any], Any], value: Callable[[Any, Any], Any]
) -> dict[Any, Any]:
    """A function's key and another's value for each entry of a map."""
    result = {key(k, v): value(k, v) for k, v in mapping.items()}
    if len(result) < len(mapping):
        raise EvaluationError("TRANSFORM made the same key twice")
    return _no_nulls(result)


@functions.scalar(
    "filter(array ARRAY<T>, predicate LAMBDA(T) => BOOLEAN) -> ARRAY<T>",
    examples=[("FILTER(ARRAY[1, 2, 3], x => x > 1)", "[2, 3]")],
)
def filter_array(array: list[Any], predicate: Callable[[Any], bool]) -> list[Any]:
    """Elements of an array, or entries of a map, for which a condition holds.

    A kept entry with a NULL value fails.
    """
    return [v for v in array if _holds(predicate(v))]


@functions.scalar(
    "filter(map MAP<K, V>, predicate LAMBDA(K, V) => BOOLEAN) -> MAP<K, V>",
    examples=[("FILTER(MAP('a' := 1, 'b' := 2), (k, v) => v > 1)['b']", "2")],
)
def filter_map(mapping: dict[Any, Any], predicate: Callable[[Any, Any], bool]) -> dict[Any, Any]:
    """Entries of a map for which a condition holds."""
    return _no_nulls({k: v for k, v in mapping.items() if _holds(predicate(k, v))})


def _holds(condition: bool | None) -> bool:
    if condition is None:
        raise EvaluationError("The condition of FILTER is NULL")
    return condition


def _bounded(state: Any) -> Any:
    """Return a state, unless it grows from element to element until it takes all memory."""
    if isinstance(state, (str, bytes, list, dict)) and len(state) > MAX_PADDING:
        raise EvaluationError(f"REDUCE makes at most {MAX_PADDING} characters, bytes or elements")
    return state


@functions.scalar(
    "reduce(array ARRAY<T>, initial S, reducer LAMBDA(S, T) => S) -> S",
    nulls=True,
    examples=[("REDUCE(ARRAY[1, 2, 3], 10, (s, x) => s + x)", "16")],
)
def reduce_array(array: list[Any] | None, initial: Any, reducer: Callable[[Any, Any], Any]) -> Any:
    """One value of all elements, from the left; the function gets the state and an element (or a key and a
    value).

    A NULL initial state gives NULL, a NULL collection the initial state.
    """
    if initial is not None:
        for value in array or ():
            initial = _bounded(reducer(initial, value))
    return initial


@functions.scalar(
    "reduce(map MAP<K, V>, initial S, reducer LAMBDA(S, K, V) => S) -> S",
    nulls=True,
    examples=[("REDUCE(MAP('a' := 1), 10, (s, k, v) => s + v)", "11")],
)
def reduce_map(mapping: dict[Any, Any] | None, initial: Any, reducer: Callable[[Any, Any, Any], Any]) -> Any:
    """One value of all entries of a map, in the order of a Java HashMap."""
    if initial is not None and mapping:
        for key in map_order(mapping):
            initial = _bounded(reducer(initial, key, mapping[key]))
    return initial

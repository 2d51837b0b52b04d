"""EXPLODE and CUBE_EXPLODE (function contract section 10)."""

from __future__ import annotations

import itertools
from typing import Any

from kalam_jupyter.engine import types as t
from kalam_jupyter.ksql.functions.registry import Library
from kalam_jupyter.ksql.values.errors import EvaluationError

functions = Library("TABLE")

#: CUBE_EXPLODE takes no more elements than this.
MAX_CUBE = 20


def _element(types: tuple[t.DataType | None, ...]) -> t.DataType | None:
    return types[0].element if isinstance(types[0], t.Array) else None


@functions.table("explode(input ARRAY<DECIMAL>)", returns=_element, nulls=True)
def explode_decimals(values: list[Any] | None) -> list[Any]:
    """One row for each element of an array, NULL elements too; none for a NULL or empty array."""
    return [] if values is None else values


@functions.table("explode(list ARRAY<T>) -> T", nulls=True)
def explode(values: list[Any] | None) -> list[Any]:
    """One row for each element of an array."""
    return [] if values is None else values


@functions.table("cube_explode(list ARRAY<T>) -> ARRAY<T>", nulls=True)
def cube_explode(values: list[Any] | None) -> list[list[Any]]:
    """One row for each subset of the elements: arrays with the others NULL, from all NULL to all there.

    The first element changes slowest. NULL elements do not double the rows; more than 20 elements fail,
    NULL gives no rows.
    """
    if values is None:
        return []
    if len(values) > MAX_CUBE:
        raise EvaluationError(f"CUBE_EXPLODE takes at most {MAX_CUBE} elements, not {len(values)}")
    choices = [(None,) if v is None else (None, v) for v in values]
    return [list(row) for row in itertools.product(*choices)]

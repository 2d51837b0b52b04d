"""COALESCE, IFNULL, NULLIF and AS_VALUE (function contract section 8)."""

from __future__ import annotations

from typing import Any

from kalam_jupyter.ksql.functions.registry import Library

functions = Library("OTHER")


@functions.scalar(
    "COALESCE(first T, others T...) -> T", nulls=True, examples=[("COALESCE(NULL, 'a', 'b')", "a")]
)
def coalesce(*values: Any) -> Any:
    """First argument that is not NULL; all have one type."""
    return next((v for v in values if v is not None), None)


@functions.scalar("ifnull(value T, alternative T) -> T", nulls=True, examples=[("IFNULL(NULL, 'a')", "a")])
def ifnull(value: Any, alternative: Any) -> Any:
    """The first argument, or the second where the first is NULL."""
    return alternative if value is None else value


@functions.scalar("nullif(value T, other T) -> T", nulls=True, examples=[("NULLIF('a', 'b')", "a")])
def nullif(value: Any, other: Any) -> Any:
    """NULL where both arguments are equal, else the first."""
    return None if value == other else value


@functions.scalar("as_value(key T) -> T", nulls=True, examples=[("AS_VALUE('a')", "a")])
def as_value(key: Any) -> Any:
    """The argument: copies a key column into the value."""
    return key

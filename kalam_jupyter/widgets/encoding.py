"""Which columns of a stream a chart draws, and how.

An *encoding* names the horizontal column `x`, the columns drawn, `y`, and the columns `by` whose values
make one series each. What the user leaves open is filled in from the schema, as somebody who knows
streams would draw it: event time to the right, one series per key.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

import pyarrow as pa

from kalam_jupyter.widgets.snapshot import EPOCH_COLUMNS

Kind = Literal["line", "bar", "area", "points"]
Scale = Literal["time", "linear", "category", "row"]
KINDS: tuple[Kind, ...] = ("line", "bar", "area", "points")
_WINDOW_BOUNDS = ("WINDOWSTART", "WINDOWEND")


@dataclass(frozen=True)
class Encoding:
    """How rows become marks.

    Attributes
    ----------
    kind : {"line", "bar", "area", "points"}
    x : str
        "" with scale ``row``: rows are drawn in the order in which they came.
    scale : {"time", "linear", "category", "row"}
        Of the horizontal axis.
    y : tuple of str
        Numeric columns.
    by : tuple of str
    """

    kind: Kind
    x: str
    scale: Scale
    y: tuple[str, ...]
    by: tuple[str, ...]


def encode(
    schema: pa.Schema,
    key: Sequence[str],
    *,
    kind: str | None = None,
    x: str | None = None,
    y: str | Sequence[str] | None = None,
    by: str | Sequence[str] | None = None,
) -> Encoding:
    """Complete what the user said about a chart of a stream.

    Raises
    ------
    ValueError
        If a column is not there or is no number, the kind is unknown, or nothing can be drawn.
    """
    if kind is not None and kind not in KINDS:
        raise ValueError(f"'{kind}' is no kind of chart; there are {', '.join(KINDS)}")
    ys = tuple(_column(schema, name) for name in _names(y))
    groups = tuple(_column(schema, name) for name in _names(by))
    at = _column(schema, x) if x else _default_x(schema, key, {*ys, *groups})
    scale = _scale(schema, at)
    if by is None and at:
        groups = tuple(k for k in key if k != at and k not in _WINDOW_BOUNDS and k not in ys)
    if y is None:
        taken = {at, *groups, *key}
        ys = tuple(f.name for f in schema if _is_number(f) and f.name not in taken)
    for name in ys:
        if not _is_number(schema.field(name)):
            raise ValueError(f"column '{name}' holds {schema.field(name).type}, not numbers, and cannot be y")
    if not ys:
        raise ValueError("no column with numbers to draw; a chart needs one for y")
    chosen = next((k for k in KINDS if k == kind), "bar" if scale == "category" else "line")
    return Encoding(chosen, at, scale, ys, groups)


def _names(given: str | Sequence[str] | None) -> Iterable[str]:
    return () if given is None else (given,) if isinstance(given, str) else given


def _column(schema: pa.Schema, name: str) -> str:
    """Find a column: by its name, or by the one it has when letters are taken for alike."""
    if name in schema.names:
        return name
    alike = [n for n in schema.names if n.lower() == name.lower()]
    if len(alike) == 1:
        return str(alike[0])
    near = get_close_matches(name.lower(), [n.lower() for n in schema.names], 1)
    hint = next((f"; did you mean {n}?" for n in schema.names if [n.lower()] == near), "")
    raise ValueError(f"no column '{name}'; there are {', '.join(schema.names)}{hint}")


def _default_x(schema: pa.Schema, key: Sequence[str], taken: set[str]) -> str:
    """Event time; else the key of a table; else "", the order of arrival."""
    for name in ("WINDOWSTART", "ROWTIME", "WINDOWEND"):
        if name in schema.names and name not in taken:
            return name
    times = (f.name for f in schema if _is_time(f) and f.name not in taken)
    keys = (name for name in key if name not in taken)
    return next(times, None) or next(keys, None) or ""


def _scale(schema: pa.Schema, x: str) -> Scale:
    if not x:
        return "row"
    field = schema.field(x)
    return "time" if _is_time(field) else "linear" if _is_number(field) else "category"


def _is_time(field: pa.Field) -> bool:
    types = pa.types
    epoch = field.name in EPOCH_COLUMNS and types.is_integer(field.type)
    return bool(epoch or types.is_timestamp(field.type) or types.is_date(field.type))


def _is_number(field: pa.Field) -> bool:
    types = pa.types
    number = types.is_integer(field.type) or types.is_floating(field.type) or types.is_decimal(field.type)
    return bool(number) and field.name not in EPOCH_COLUMNS

"""From the type that a record was written with to the columns of its reader.

Fields are matched by exact name, else by upper-cased name; missing ones are null, strangers are left out.
Integers widen, decimals take the reader's scale where nothing is lost, STRING columns take any scalar's text.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from kalam_jupyter.engine import types as t
from kalam_jupyter.ksql.formats.base import SerdeError
from kalam_jupyter.ksql.formats.json_exact import plain_text
from kalam_jupyter.ksql.formats.text import fit_decimal
from kalam_jupyter.ksql.values.numbers import double_text

Adapter = Callable[[Any], Any]

_WIDER: dict[tuple[str, str], Adapter] = {
    ("INTEGER", "BIGINT"): int,
    ("INTEGER", "DOUBLE"): float,
    ("BIGINT", "DOUBLE"): float,
    ("BOOLEAN", "STRING"): plain_text,
    ("INTEGER", "STRING"): str,
    ("BIGINT", "STRING"): str,
    ("DOUBLE", "STRING"): double_text,
}


def adapter(source: t.DataType, target: t.DataType) -> Adapter | None:
    """Return the conversion of non-null values of `source` to `target`; None if they are the same.

    Raises
    ------
    SerdeError
        If values of `source` cannot be read as `target`.
    """
    if source == target:
        return None
    match source, target:
        case t.Struct(), t.Struct():
            return _struct_adapter(source, target)
        case t.Array(element), t.Array(wanted):
            item = nullable(adapter(element, wanted))
            return lambda v: [item(x) for x in v]
        case t.Map(_, value), t.Map(_, wanted):
            item = nullable(adapter(value, wanted))
            return lambda v: {k: item(x) for k, x in v.items()}
        case t.Decimal(), t.Decimal():
            return lambda v: fit_decimal(v, target)
        case t.Primitive("INTEGER" | "BIGINT"), t.Decimal():
            return lambda v: fit_decimal(Decimal(v), target)
    found = _WIDER.get((str(source), str(target)))
    if found is None:
        raise SerdeError(f"Cannot read {source} as {target}")
    return found


def nullable(convert: Adapter | None) -> Adapter:
    """Return a conversion that leaves null alone."""
    if convert is None:
        return lambda v: v
    return lambda v: None if v is None else convert(v)


def _struct_adapter(source: t.Struct, target: t.Struct) -> Adapter:
    exact = source.index
    folded = {name.upper(): i for name, i in exact.items()}
    parts: list[tuple[int, Adapter] | None] = []
    for name, type_ in target.fields:
        i = exact.get(name, folded.get(name))
        parts.append(None if i is None else (i, nullable(adapter(source.fields[i][1], type_))))
    return lambda v: tuple([None if p is None else p[1](v[p[0]]) for p in parts])

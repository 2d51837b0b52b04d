"""The projection of a query: which result columns are its key, and what must be in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from kalam_jupyter.engine.types import Column, DataType
from kalam_jupyter.ksql.analysis.scope import NamedItem, duplicate_columns_error
from kalam_jupyter.ksql.errors import StatementError, listed
from kalam_jupyter.ksql.lang import ast
from kalam_jupyter.ksql.metastore import RESERVED_NAMES

KeyRole = Literal["key column", "partitioning expression", "grouping expression", "join expression"]


@dataclass(frozen=True)
class KeyPart:
    """One column of the result's key.

    Attributes
    ----------
    alternatives : tuple of Expression
        What a select item may be to stand for it; more than one only after joins.
    type : DataType
    synthetic : bool
        Whether a join made it up (ROWKEY).
    """

    alternatives: tuple[ast.Expression, ...]
    type: DataType
    synthetic: bool = False


@dataclass(frozen=True)
class ResultKey:
    """The key of a query's result, and what its parts are called in messages."""

    parts: tuple[KeyPart, ...]
    role: KeyRole
    #: How an expression is shown when it is missing.
    text: Callable[[ast.Expression], str] = str
    #: How a column is called when it is there twice.
    name_of: Callable[[ast.Expression], str] = str
    #: Of a foreign-key join: the name of the left source.
    foreign_key_source: str | None = None


@dataclass(frozen=True)
class Projection:
    """Result columns: `keys` maps each key part to its name; `values` are the others, in order."""

    keys: tuple[tuple[int, str], ...]
    values: tuple[NamedItem, ...]


def split(items: Sequence[NamedItem], key: ResultKey, sink: str, *, as_selected: bool = False) -> Projection:
    """Tell key columns from value columns in a persistent query's projection.

    Key columns keep the order of the key, or with `as_selected` that of the projection.

    Raises
    ------
    StatementError
        If a part of the key is missing, or is there twice, or a reserved name is used, or there are no
        values.
    """
    for item in items:
        if item.name in RESERVED_NAMES and not item.generated:
            raise reserved_name(item.name)
    chosen: list[tuple[int, list[NamedItem]]] = []
    missing: list[KeyPart] = []
    for position, part in enumerate(key.parts):
        found = next(
            (same for a in part.alternatives if (same := [i for i in items if i.expression == a])), []
        )
        if found:
            chosen.append((position, found))
        else:
            missing.append(part)
    if missing:
        raise _missing(key, missing, sink)
    for _, found in chosen:
        if len(found) > 1:
            raise _repeated(key, found)
    if as_selected:
        chosen.sort(key=lambda part: items.index(part[1][0]))
    used = {id(found[0]) for _, found in chosen}
    values = tuple(i for i in items if id(i) not in used)
    return Projection(tuple((position, found[0].name) for position, found in chosen), values)


def reserved_name(name: str) -> StatementError:
    """Return the error for a pseudo column that a persistent query selects without an alias."""
    return StatementError(f"Reserved column name in select: `{name}`. Please remove or alias the column.")


def check_columns(keys: Sequence[Column], values: Sequence[Column]) -> None:
    """Refuse columns that share a name."""
    for columns, side in ((keys, "key"), (values, "value"), ((*keys, *values), "value")):
        error = duplicate_columns_error(columns, side)
        if error is not None:
            raise error


def _missing(key: ResultKey, missing: Sequence[KeyPart], sink: str) -> StatementError:
    wanted = missing if key.role == "grouping expression" else key.parts
    if key.foreign_key_source is not None:
        names = [f"`{key.text(p.alternatives[0])}`" for p in missing]
        many = len(names) > 1
        return StatementError(
            f"Primary key column{'s' if many else ''} missing in projection. For foreign-key table-table "
            "joins, the projection must include all primary key columns from the left input table "
            f"(`{key.foreign_key_source}`). Missing column{'s' if many else ''}: {', '.join(names)}."
        )
    several = len(wanted) > 1
    if key.role == "join expression":
        alternatives = [key.text(a) for a in wanted[0].alternatives]
        names_text = listed(alternatives, "or")
        noun = f"join expression{'s' if len(alternatives) > 1 else ''}"
        example = alternatives[0]
    else:
        names = [key.text(p.alternatives[0]) for p in wanted]
        names_text = listed(names)
        noun = f"{key.role}{'s' if several else ''}"
        example = ", ".join(names)
    synthetic = any(p.synthetic for p in wanted)
    link = "See https://cnfl.io/2LV7ouS." if synthetic else ""
    tail = (
        f"\n{wanted[0].alternatives[0]} was added as a synthetic key column because the join criteria did "
        "not match any source column. This expression must be included in the projection and may be aliased."
        if synthetic
        else ""
    )
    subject = "Keys" if several and key.role != "join expression" else "Key"
    return StatementError(
        f"{subject} missing from projection (ie, SELECT). {link}\n"
        f"The query used to build `{sink}` must include the {noun} {names_text} in its projection "
        f"(eg, SELECT {example}...).{tail}"
    )


def _repeated(key: ResultKey, found: Sequence[NamedItem]) -> StatementError:
    if key.role == "grouping expression":
        names = listed([f"`{i.name}`" for i in found])
        what = f"The projection contains a key column more than once: {names}."
    else:
        name = key.name_of(found[0].expression)
        names = listed(sorted(i.name for i in found))
        what = f"The projection contains a key column (`{name}`) more than once, aliased as: {names}."
    return StatementError(
        f"{what}\nEach key column must only be in the projection once. If you intended to copy the key into "
        "the value, then consider using the AS_VALUE function to indicate which key reference should be "
        "copied."
    )

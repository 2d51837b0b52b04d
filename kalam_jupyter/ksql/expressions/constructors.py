"""Binding of what is made of parts that must agree in type: CASE, ARRAY, MAP and STRUCT."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kalam_jupyter.engine.types import BOOLEAN, Array, Map, Struct
from kalam_jupyter.ksql.errors import StatementError
from kalam_jupyter.ksql.expressions import bound as b
from kalam_jupyter.ksql.expressions.coercion import common_items
from kalam_jupyter.ksql.lang import ast

if TYPE_CHECKING:
    from kalam_jupyter.ksql.expressions.binder import Binder


def searched_case(binder: Binder, e: ast.SearchedCase) -> b.Bound:
    """Bind ``CASE WHEN condition THEN ..``."""
    conditions = [_when(binder, w.condition) for w in e.whens]
    return _case(binder, conditions, e.whens, e.default)


def simple_case(binder: Binder, e: ast.SimpleCase) -> b.Bound:
    """Bind ``CASE value WHEN other THEN ..``: comparisons of the value."""
    conditions = [binder.compare("=", e.operand, w.condition) for w in e.whens]
    return _case(binder, conditions, e.whens, e.default)


def _when(binder: Binder, e: ast.Expression) -> b.Bound:
    condition = binder.bind(e)
    if condition.type != BOOLEAN:
        raise StatementError(
            f"Invalid Case expression. WHEN operand type should be boolean.\nType for '{e}' is "
            f"{condition.type}"
        )
    return condition


def _case(
    binder: Binder, conditions: Sequence[b.Bound], whens: Sequence[ast.When], default: ast.Expression | None
) -> b.Bound:
    results = [binder.bind(w.result) for w in whens]
    other = None if default is None else binder.bind(default)
    types = [r.type for r in results if r.type is not None]
    if any(t != types[0] for t in types):
        raise StatementError("Invalid Case expression. Type for all 'THEN' clauses should be the same.")
    if other is not None and other.type is not None and types and other.type != types[0]:
        raise StatementError(
            "Invalid Case expression. Type for the default clause should be the same as for 'THEN' "
            "clauses. "
            f"THEN type: {types[0]}. DEFAULT type: {other.type}"
        )
    if other is not None and other.type is not None:
        types.append(other.type)
    if not types:
        raise StatementError("Invalid Case expression. All case branches have NULL type")
    return b.Case(type=types[0], branches=tuple(zip(conditions, results, strict=True)), default=other)


def array(binder: Binder, e: ast.ArrayConstructor) -> b.Bound:
    """Bind ``ARRAY[..]``."""
    if not e.items:
        raise StatementError(
            "Array constructor cannot be empty. Please supply at least one element "
            "(see https://github.com/confluentinc/ksql/issues/4239)."
        )
    items = [binder.bind(i) for i in e.items]
    if all(i.type is None for i in items):
        raise StatementError(
            "Cannot construct an array with all NULL elements (see "
            "https://github.com/confluentinc/ksql/issues/4239)."
            " As a workaround, you may cast a NULL value to the desired type."
        )
    type_, items = common_items(items, e.items)
    return b.ArrayOf(type=Array(type_), items=tuple(items), contains=binder.rules.contain)


def map_(binder: Binder, e: ast.MapConstructor) -> b.Bound:
    """Bind ``MAP(k := v, ..)``."""
    if not e.entries:
        raise StatementError(
            "Map constructor cannot be empty. Please supply at least one key value pair "
            "(see https://github.com/confluentinc/ksql/issues/4239)."
        )
    sides = []
    for side, word in ((0, "keys"), (1, "values")):
        expressions = [entry[side] for entry in e.entries]
        items = [binder.bind(i) for i in expressions]
        if all(i.type is None for i in items):
            raise StatementError(
                f"Cannot construct a map with all NULL {word} "
                "(see https://github.com/confluentinc/ksql/issues/4239). As a workaround, you may cast "
                "a NULL "
                f"{word[:-1]} to the desired type."
            )
        sides.append(common_items(items, expressions))
    (key_type, keys), (value_type, values) = sides
    return b.MapOf(
        type=Map(key_type, value_type), keys=tuple(keys), values=tuple(values), contains=binder.rules.contain
    )


def struct(binder: Binder, e: ast.StructConstructor) -> b.Bound:
    """Bind ``STRUCT(f := v, ..)``."""
    names = [name for name, _ in e.fields]
    if len(set(names)) != len(names):
        raise StatementError("Duplicate field names found in STRUCT: " + str(e))
    items = [binder.bind(i) for _, i in e.fields]
    for name, item in zip(names, items, strict=True):
        if item.type is None:
            raise StatementError(
                f"Can't infer a type of null for field `{name}`. Please explicitly cast it to a "
                "required type, "
                "e.g. CAST(null AS VARCHAR)."
            )
    fields = tuple((name, item.known_type) for name, item in zip(names, items, strict=True))
    return b.StructOf(type=Struct(fields), items=tuple(items), contains=binder.rules.contain)

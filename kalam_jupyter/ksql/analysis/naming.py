"""Names of key columns that are made of expressions."""

from __future__ import annotations

from collections.abc import Sequence

from kalam_jupyter.ksql.analysis.scope import NamedItem, Scope
from kalam_jupyter.ksql.lang import ast


def key_names(scope: Scope, expressions: Sequence[ast.Expression], items: Sequence[NamedItem]) -> list[str]:
    """Return the names of key columns made of expressions: as in the projection, else their own or a
    generated one.
    """
    by_expression = {i.expression: i.name for i in reversed(items)}
    taken = {c.name for s in scope.sources for c in s.source.schema} | {i.name for i in items}
    names, counter = [], 0
    for e in expressions:
        if e in by_expression:
            names.append(by_expression[e])
        elif isinstance(e, ast.ColumnRef):
            names.append(scope.column_name(e))
        elif isinstance(e, ast.Dereference):
            names.append(e.field_name)
        else:
            while f"KSQL_COL_{counter}" in taken:
                counter += 1
            names.append(f"KSQL_COL_{counter}")
            counter += 1
    return names

"""A query as analysis sees it: columns qualified and named, sources aliased; what messages quote."""

from __future__ import annotations

from dataclasses import replace

from kalam_jupyter.ksql.analysis.scope import NamedItem, Scope
from kalam_jupyter.ksql.lang import ast
from kalam_jupyter.ksql.metastore import Metastore


def analysed_query(query: ast.Query, metastore: Metastore, items: tuple[NamedItem, ...]) -> ast.Query:
    """Return `query` with everything that it leaves implicit written out.

    Parameters
    ----------
    items : tuple of NamedItem
        The result columns, as planned.
    """
    scope = Scope.of(query, metastore)

    def qualified(
        expressions: tuple[ast.Expression, ...] | None, clause: str
    ) -> tuple[ast.Expression, ...] | None:
        return None if expressions is None else tuple(scope.qualify(e, clause) for e in expressions)

    return replace(
        query,
        select=tuple(ast.SingleColumn(i.expression, i.name) for i in items),
        relation=_aliased(query.relation, scope),
        where=None if query.where is None else scope.qualify(query.where, "WHERE"),
        group_by=qualified(query.group_by, "GROUP BY"),
        partition_by=qualified(query.partition_by, "PARTITION BY"),
        having=None if query.having is None else scope.qualify(query.having, "HAVING"),
        emit=query.emit or "CHANGES",
    )


def _aliased(relation: ast.Relation, scope: Scope) -> ast.Relation:
    if isinstance(relation, ast.SourceRef):
        return replace(relation, alias=relation.label)
    return replace(
        relation,
        left=_aliased(relation.left, scope),
        right=replace(relation.right, alias=relation.right.label),
        criteria=scope.qualify(relation.criteria, "JOIN ON"),
    )

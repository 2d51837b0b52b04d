"""The sources of one query: resolution of column names, expansion of ``*``, naming of result columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from kalam_jupyter.engine.types import Column
from kalam_jupyter.ksql.errors import KsqlError, StatementError, listed
from kalam_jupyter.ksql.lang import ast
from kalam_jupyter.ksql.metastore import (
    PSEUDO_COLUMNS,
    RESERVED_NAMES,
    WINDOW_BOUNDS,
    Metastore,
    Source,
)

PSEUDO_NAMES = frozenset(c.name for c in PSEUDO_COLUMNS)
WINDOW_NAMES = frozenset(c.name for c in WINDOW_BOUNDS)


@dataclass(frozen=True)
class AliasedSource:
    """A source under the name that this query calls it."""

    alias: str
    source: Source

    def has(self, name: str) -> bool:
        """Whether a column, pseudo columns included, can be read from it."""
        if name in self.source.schema.index or name in PSEUDO_NAMES:
            return True
        return self.source.window is not None and name in WINDOW_NAMES


@dataclass(frozen=True)
class NamedItem:
    """One result column: expression, name, whether the name was written or the column made up."""

    expression: ast.Expression
    name: str
    aliased: bool = False
    generated: bool = False


@dataclass
class Scope:
    """The sources that a query reads, left to right."""

    sources: list[AliasedSource]
    #: Columns that joins add (ROWKEY) or table functions make, by name.
    synthetic: list[str] = field(default_factory=list)
    #: Whether the query has a WINDOW clause, whose bounds the SELECT list may name.
    window_clause: bool = False

    @classmethod
    def of(cls, query: ast.Query, metastore: Metastore) -> Scope:
        """Look up the sources of a query."""
        found = []
        for ref in query.sources:
            source = metastore.get(ref.name)
            if source is None:
                raise StatementError(
                    f"Exception while preparing statement: {ref.name} does not "
                    f"exist.{metastore.hint(ref.name)}",
                    **ref.position,
                )
            found.append(AliasedSource(ref.label, source))
        return cls(found, window_clause=query.window is not None and len(found) == 1)

    @property
    def is_join(self) -> bool:
        """Whether there are several sources."""
        return len(self.sources) > 1

    def by_alias(self, alias: str) -> AliasedSource | None:
        """Return the source called `alias` here."""
        return next((s for s in self.sources if s.alias == alias), None)

    # Resolution

    def qualify(self, node: Any, clause: str) -> Any:
        """Return `node` with every column qualified by the source it is in.

        Raises
        ------
        KsqlError
            If a name is ambiguous, or is in no source.
        """

        def change(e: ast.Expression) -> ast.Expression | None:
            if isinstance(e, ast.ColumnRef):
                return self._qualified(e, clause)
            return None

        return ast.rewrite(node, change)

    def _qualified(self, ref: ast.ColumnRef, clause: str) -> ast.ColumnRef:
        if ref.qualifier is not None:
            source = self.by_alias(ref.qualifier)
            if source is None:
                raise StatementError(
                    f"Failed to prepare statement: '{ref.qualifier}' is not a valid stream/table name or "
                    "alias.",
                    **ref.position,
                )
            if not source.has(ref.name):
                raise StatementError(
                    f"{ref.prefix}{clause} column '{ref.qualifier}.{ref.name}' cannot be resolved.",
                    **ref.position,
                )
            return ref
        found = [s for s in self.sources if s.has(ref.name)]
        if len(found) > 1:
            names = sorted(f"{s.alias}.{ref.name}" for s in found)
            raise StatementError(
                f"Exception while preparing statement: {ref.prefix}Column '{ref.name}' is ambiguous. "
                f"Could be {listed(names, 'or')}.",
                **ref.position,
            )
        if found:
            return ast.ColumnRef(ref.name, found[0].alias, location=ref.location)
        if ref.name in self.synthetic or (ref.name in WINDOW_NAMES and self.window_clause):
            return ref
        extra = ""
        if clause == "PARTITION BY":
            extra = (
                f" '{ref.name}' must be a column in the source schema since PARTITION BY is applied on "
                "the input."
            )
        raise StatementError(
            f"{ref.prefix}{clause} column '{ref.name}' cannot be resolved.{extra}", **ref.position
        )

    def internal(self, node: Any) -> Any:
        """Return qualified `node` with columns under their names in the flat row: bare, or ``alias_name`` in
        joins.
        """

        def change(e: ast.Expression) -> ast.Expression | None:
            if isinstance(e, ast.ColumnRef) and e.qualifier is not None:
                name = f"{e.qualifier}_{e.name}" if self.is_join else e.name
                return ast.ColumnRef(name, None, location=e.location)
            return None

        return ast.rewrite(node, change)

    # SELECT list

    def expand(
        self,
        items: Sequence[ast.SelectItem],
        struct_type: Any,
        *,
        leak_pseudo: bool = False,
        window_bounds: bool = False,
    ) -> list[NamedItem]:
        """Return the result columns of a SELECT list, qualified and named.

        Parameters
        ----------
        struct_type : callable
            From a qualified expression to its type, for ``expression->*``.
        leak_pseudo : bool
            Whether ``*`` over a join includes each source's pseudo columns.
        window_bounds : bool
            Whether ``*`` of a windowed source includes the window bounds: transient queries.
        """
        expanded: list[tuple[ast.Expression, str | None]] = []
        for item in items:
            match item:
                case ast.AllColumns(source=alias):
                    expanded.extend(self._all(alias, leak_pseudo, window_bounds))
                case ast.StructAll(base=base):
                    qualified = self.qualify(base, "SELECT")
                    for name, _ in struct_type(qualified).fields:
                        expanded.append((ast.Dereference(qualified, name), None))
                case ast.SingleColumn(expression=expression, alias=alias):
                    same = isinstance(expression, ast.ColumnRef) and expression.name == alias
                    if alias is not None and alias in RESERVED_NAMES and not same:
                        raise StatementError(
                            f"`{alias}` is a reserved column name. You cannot use it as an alias for a "
                            "column."
                        )
                    expanded.append((self.qualify(expression, "SELECT"), alias))
        return list(self._named(expanded))

    def _all(
        self, alias: str | None, leak_pseudo: bool, window_bounds: bool
    ) -> Iterator[tuple[ast.Expression, str | None]]:
        if alias is None:
            chosen = self.sources
            for name in self.synthetic:
                yield ast.ColumnRef(name), None
        else:
            found = self.by_alias(alias)
            if found is None:
                raise StatementError(
                    f"Failed to prepare statement: '{alias}' is not a valid stream/table name or alias."
                )
            chosen = [found]
        for s in chosen:
            extra: Iterable[Column] = PSEUDO_COLUMNS if leak_pseudo and self.is_join else ()
            with_bounds = (window_bounds or self.is_join) and s.source.window is not None
            bounds = WINDOW_BOUNDS if with_bounds else ()
            keys, values = s.source.schema.key, s.source.schema.value
            columns = (*values, *extra, *keys) if extra else (*keys, *bounds, *values)
            for column in columns:
                name = f"{s.alias}_{column.name}" if self.is_join else column.name
                yield ast.ColumnRef(column.name, s.alias), name

    def _named(self, items: Sequence[tuple[ast.Expression, str | None]]) -> Iterator[NamedItem]:
        of_sources = {c.name for s in self.sources for c in s.source.schema}
        taken = of_sources | {name for _, name in items if name is not None}
        counter = 0
        for e, name in items:
            if name is not None:
                yield NamedItem(e, name, aliased=True)
            elif isinstance(e, ast.ColumnRef):
                yield NamedItem(e, self.column_name(e))
            elif isinstance(e, ast.Dereference):
                unique, n = e.field_name, 0
                while unique in taken:
                    n += 1
                    unique = f"{e.field_name}_{n}"
                taken.add(unique)
                yield NamedItem(e, unique)
            else:
                while f"KSQL_COL_{counter}" in of_sources:
                    counter += 1
                yield NamedItem(e, f"KSQL_COL_{counter}")
                counter += 1

    def column_name(self, ref: ast.ColumnRef) -> str:
        """Return the result name of an unaliased column."""
        if self.is_join and ref.qualifier is not None:
            holders = sum(s.has(ref.name) for s in self.sources)
            if holders > 1:
                return f"{ref.qualifier}_{ref.name}"
        return ref.name


def duplicate_columns_error(columns: Sequence[Column], side: str) -> KsqlError | None:
    """Return the error for columns of one side (key or value) that share a name, if any do."""
    seen: set[str] = set()
    for column in columns:
        if column.name in seen:
            return StatementError(f"Duplicate {side} columns found in schema: `{column.name}` {column.type}")
        seen.add(column.name)
    return None

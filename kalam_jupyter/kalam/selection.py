"""The rows that an UPDATE or DELETE is about.

A primary key is looked up in the transaction, and a small table is searched there. What may take long (a
large table, or something that only the query engine understands) is asked of the query engine before the
transaction, on a snapshot: nobody has to wait for it to write. In the transaction the answer holds while the
table is as it was. Of rows that came or changed since, the condition is evaluated again, where Python can;
else everything is asked once more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from kalam_jupyter.engine.types import from_arrow
from kalam_jupyter.kalam import expressions as ex
from kalam_jupyter.kalam.catalog import TableDef
from kalam_jupyter.kalam.coercion import coercer
from kalam_jupyter.kalam.errors import StatementError
from kalam_jupyter.kalam.predicate import Compiler, UnsupportedError, key_column, parameter
from kalam_jupyter.kalam.result import python_rows
from kalam_jupyter.kalam.typed_constants import condition

if TYPE_CHECKING:
    from kalam_jupyter.engine.relation import Relation, Snapshot
    from kalam_jupyter.kalam.context import Context

Row = tuple[Any, ...]
#: Tables of at most this many rows are searched in Python when the condition compiles.
SCAN_ROWS = 4096


@dataclass(frozen=True)
class _Seen:
    """What was found before the transaction: of this definition, and of these rows."""

    table: TableDef
    snapshot: Snapshot
    rows: list[Row] | None
    values: dict[Any, Row] | None


class Selection:
    """The rows of a table that a WHERE selects.

    Parameters
    ----------
    where, where_sql
        The condition, and its text for the query engine.
    texts : sequence of str
        Expressions over the rows that only the query engine can evaluate: see `values`.
    """

    def __init__(
        self, ctx: Context, table: TableDef, where: ex.Expression, where_sql: str, texts: Sequence[str] = ()
    ) -> None:
        self._ctx, self._where, self._where_sql, self._texts = ctx, where, where_sql, tuple(texts)
        self._keyed = key_column(table.schema, where)
        self._seen: _Seen | None = None
        search = self._keyed is None and not self._quickly_searched(table)
        if search or self._texts:
            snapshot = self._relation(table).snapshot(ctx.owner(table))
            rows = self._ask_rows(table) if search else None
            values = self._ask_values(table, self._texts) if self._texts else None
            self._seen = _Seen(table, snapshot, rows, values)

    def _relation(self, table: TableDef) -> Relation:
        return self._ctx.kalam.relation(table)

    def _quickly_searched(self, table: TableDef) -> bool:
        small = self._relation(table).count(self._ctx.owner(table)) <= SCAN_ROWS
        return small and self._compiled(table) is not None

    def _compiled(self, table: TableDef) -> Callable[[Row], Any] | None:
        session = self._ctx.session
        try:
            compiler = Compiler(table.schema, self._ctx.params, session.user_id, session.role)
            return compiler.compile(self._where).function
        except UnsupportedError:
            return None

    # ---- in the transaction

    def rows(self, table: TableDef) -> list[Row]:
        """Return the visible rows that satisfy the condition, as they are now."""
        if self._keyed is not None:
            return self._by_key(table, *self._keyed)
        snapshot = self._relation(table).snapshot(self._ctx.owner(table))
        seen = self._seen if self._seen is not None and self._seen.table is table else None
        if seen is not None and seen.rows is not None and seen.snapshot is snapshot:
            return seen.rows
        accepts = self._compiled(table)
        try:
            if accepts is not None and seen is not None and seen.rows is not None:
                return self._caught_up(table, seen, seen.rows, snapshot, accepts)
            if accepts is not None and snapshot.num_rows <= SCAN_ROWS:
                return self._accepted(table, snapshot.rows(), accepts)
        except (TypeError, ArithmeticError):
            pass  # values that only the query engine can compare
        return self._ask_rows(table)

    def _by_key(self, table: TableDef, column: Any, node: ex.Expression) -> list[Row]:
        assert isinstance(node, (ex.Literal, ex.Parameter))
        value = node.value if isinstance(node, ex.Literal) else parameter(self._ctx.params, node.index)
        try:
            key = coercer(column.type)(value)
        except StatementError:
            return []
        row = None if key is None else self._relation(table).get((key,), self._ctx.owner(table))
        return [] if row is None or row[-1] else [row]

    def _accepted(self, table: TableDef, rows: Sequence[Row], accepts: Callable[[Row], Any]) -> list[Row]:
        kalam, seq = self._ctx.kalam, table.seq_index
        oldest = 0 if table.ttl_ms is None else kalam.seq_at(kalam.engine.clock.now_ms() - table.ttl_ms)
        return [r for r in rows if not r[-1] and r[seq] >= oldest and accepts(r) is True]

    def _caught_up(
        self,
        table: TableDef,
        seen: _Seen,
        found: list[Row],
        snapshot: Snapshot,
        accepts: Callable[[Row], Any],
    ) -> list[Row]:
        """Bring what was found to the rows of now: every change of a row has a greater `_seq`."""
        seq, key = table.seq_index, table.key_index
        newest = max((pc.max(b.column(seq)).as_py() or 0 for b in seen.snapshot.batches()), default=0)
        changed: list[Row] = []
        for batch in snapshot.batches():
            newer = batch.filter(pc.greater(batch.column(seq), newest))
            lists = [from_arrow(newer.column(i), c.type) for i, c in enumerate(table.schema)]
            changed += zip(*lists, strict=True)
        keys = {row[key] for row in changed}
        kept = [row for row in found if row[key] not in keys]
        if table.type == "stream":  # whose rows leave without a trace
            relation, owner = self._relation(table), self._ctx.owner(table)
            kept = [row for row in kept if relation.get((row[key],), owner) is not None]
        return kept + self._accepted(table, changed, accepts)

    def values(self, table: TableDef, texts: Sequence[str]) -> dict[Any, Row]:
        """Return the values of expressions for each selected row, by its key (as `python_rows` has it)."""
        seen = self._seen
        if seen is None or seen.values is None or seen.table is not table or self._texts != tuple(texts):
            return self._ask_values(table, texts)
        same = self._relation(table).snapshot(self._ctx.owner(table)) is seen.snapshot
        return seen.values if same else self._ask_values(table, texts)

    # ---- the query engine

    def _ask_rows(self, table: TableDef) -> list[Row]:
        found = self._ask(table, "*")
        lists = [from_arrow(found.column(i), c.type) for i, c in enumerate(table.schema)]
        return [r for r in zip(*lists, strict=True) if not r[-1]]

    def _ask_values(self, table: TableDef, texts: Sequence[str]) -> dict[Any, Row]:
        key = ex.quote(table.schema.names[table.key_index])
        selected = ", ".join([key, *(f"({text}) AS kdb_{n}" for n, text in enumerate(texts))])
        return {row[0]: row[1:] for row in python_rows(self._ask(table, selected))}

    def _ask(self, table: TableDef, selected: str) -> Any:
        ctx = self._ctx
        name = f"{ex.quote(table.namespace)}.{ex.quote(table.name)}"
        where = condition(self._where, self._where_sql, table.schema, self._ctx.params)
        sql = f"SELECT {selected} FROM {name} WHERE ({where})"
        return ctx.kalam.queries.collect(ctx.session, sql, ctx.params, ctx.namespace, ctx.stop)

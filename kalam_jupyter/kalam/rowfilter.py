"""A WHERE condition applied to rows: compiled where possible, by the query engine otherwise."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from kalam_jupyter.engine.types import BOOLEAN, to_arrow
from kalam_jupyter.kalam import rewrite
from kalam_jupyter.kalam.catalog import TableDef
from kalam_jupyter.kalam.errors import StatementError, TakesLongError
from kalam_jupyter.kalam.expressions import Expression, parse_expression, quote
from kalam_jupyter.kalam.functions import json_udfs
from kalam_jupyter.kalam.predicate import Compiler, Params, UnsupportedError
from kalam_jupyter.kalam.sql_engine import engine_errors, run_sql
from kalam_jupyter.kalam.stream import TokenStream
from kalam_jupyter.kalam.tokens import WORD, tokenize
from kalam_jupyter.kalam.typed_constants import condition

if TYPE_CHECKING:
    from datafusion import SessionContext

Row = Sequence[Any]


class RowFilter:
    """Which rows of a table satisfy a condition, with SQL semantics: NULL is not a match.

    Parameters
    ----------
    table : TableDef
    where : str
        Text of the condition, without WHERE.
    expression : Expression, optional
        The same, parsed.
    at_once : bool
        Do not take long.

    Attributes
    ----------
    needs : (int, value) or None
        A column, by its index, and the value it has in all rows that satisfy the condition, if known.

    Raises
    ------
    StatementError
        If the condition is no expression, names a column the table does not have, or has a subquery.
    TakesLongError
        If the condition needs the query engine.
    """

    def __init__(
        self,
        table: TableDef,
        where: str,
        params: Params = (),
        user_id: str = "",
        role: str = "user",
        expression: Expression | None = None,
        alias: str | None = None,
        *,
        at_once: bool = False,
    ) -> None:
        self._table, self._where, self._params = table, where, params
        self._user, self._role, self._alias = user_id, role, alias or table.name
        self._lock = threading.Lock()
        self._context: SessionContext | None = None
        self.needs: tuple[int, Any] | None = None
        if expression is None:
            s = TokenStream(where)
            expression = parse_expression(s)
            s.expect_end()
        try:
            compiled = Compiler(table.schema, params, user_id, role).compile(expression)
            if compiled.type not in (None, BOOLEAN):
                raise UnsupportedError  # the query engine says what is wrong with it
            self._function, self.needs = compiled.function, compiled.needs
        except UnsupportedError:
            if at_once:
                raise TakesLongError from None
            if any(t.kind == WORD and t.text == "SELECT" for t in tokenize(where)):
                raise StatementError(
                    "invalid_operation", "Subqueries are not supported in a condition on single rows"
                ) from None
            self._where = condition(expression, where, table.schema, params)
            self._function = None  # type: ignore[assignment]
            self._ask([])  # plan once: an unknown column or function is an error now, not at the first change

    @property
    def compiled(self) -> bool:
        """Whether rows are tested without the query engine."""
        return self._function is not None

    def matches(self, rows: Sequence[Row]) -> list[bool]:
        """Return for each row whether it satisfies the condition."""
        function = self._function
        if function is None:
            return self._ask(rows)
        try:
            return [function(row) is True for row in rows]
        except (TypeError, ArithmeticError):  # values the compiled form cannot compare
            return self._ask(rows)

    def match(self, row: Row) -> bool:
        """Return whether one row satisfies the condition."""
        return self.matches([row])[0]

    def _ask(self, rows: Sequence[Row]) -> list[bool]:
        """Let the query engine find the rows, by number.

        Raises
        ------
        StatementError
        """
        schema = self._table.schema
        columns = list(zip(*rows, strict=True)) if rows else [()] * len(schema)
        arrays = [to_arrow(list(values), c.type) for values, c in zip(columns, schema, strict=True)]
        arrays.append(pa.array(range(len(rows)), type=pa.int64()))
        fields = [*schema.arrow, pa.field("kdb_row", pa.int64())]
        batch = pa.RecordBatch.from_arrays(arrays, schema=pa.schema([f.with_nullable(True) for f in fields]))
        text = f"SELECT kdb_row FROM {quote(self._alias)} WHERE ({self._where})"
        values = {str(i): v for i, v in enumerate(self._params, 1)}
        with self._lock, engine_errors():
            context = self._context_with(batch)
            filled = rewrite.prepare(text).fill(self._user, self._role)
            found = run_sql(context, filled, values).to_arrow_table()
        kept = set(found.column(0).to_pylist())
        return [i in kept for i in range(len(rows))]

    def _context_with(self, batch: pa.RecordBatch) -> SessionContext:
        """Return the session context, made once, with the rows as its only table."""
        from datafusion import SessionConfig, SessionContext

        if self._context is None:
            self._context = SessionContext(SessionConfig().with_target_partitions(1))
            for function in json_udfs().values():
                self._context.register_udf(function)
        else:
            self._context.deregister_table(quote(self._alias))
        self._context.register_record_batches(quote(self._alias), [[batch]])
        return self._context

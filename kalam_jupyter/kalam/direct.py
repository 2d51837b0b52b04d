"""The simplest queries, answered without the query engine: one table, plain columns, a condition that
compiles.

A session context, a plan and its execution cost about a millisecond whatever the table's size; over a few
hundred rows, or for one primary key, Python is many times quicker. What is not recognised here goes to the
query engine, and so does every error, so that its texts are the engine's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import orjson

from kalam_jupyter.engine.types import BIGINT
from kalam_jupyter.kalam.catalog import TableDef
from kalam_jupyter.kalam.coercion import Coercer, coercer
from kalam_jupyter.kalam.errors import SqlSyntaxError, StatementError
from kalam_jupyter.kalam.expressions import (
    ColumnRef,
    Expression,
    Literal,
    Opaque,
    Parameter,
    parse_expression,
    walk,
)
from kalam_jupyter.kalam.predicate import Compiler, UnsupportedError, key_column, parameter
from kalam_jupyter.kalam.result import Result, ResultColumn
from kalam_jupyter.kalam.serialize import RowEncoder
from kalam_jupyter.kalam.stream import TokenStream
from kalam_jupyter.kalam.tokens import QUOTED, WORD
from kalam_jupyter.kalam.typed_constants import condition
from kalam_jupyter.kalam.visible import VisibleRows, sort_positions, sortable

if TYPE_CHECKING:
    from kalam_jupyter.engine.relation import Relation
    from kalam_jupyter.kalam.auth import Session
    from kalam_jupyter.kalam.database import Kalam

#: Tables of at most this many rows are searched here; in larger ones only primary keys are looked up.
DIRECT_ROWS = 1024
_CLAUSES = frozenset({"WHERE", "ORDER", "LIMIT", "OFFSET"})
Row = tuple[Any, ...]


@dataclass(frozen=True)
class DirectQuery:
    """``SELECT columns FROM table [WHERE ..] [ORDER BY columns] [LIMIT n [OFFSET m]]``.

    Attributes
    ----------
    columns : tuple of (column, output name), or None
        None for ``*``; empty for ``count(*)``.
    where_span : (int, int)
        Where the condition stands in the text.
    order_by : tuple of (column, descending, nulls first)
    """

    table: tuple[str | None, str]
    columns: tuple[tuple[str, str], ...] | None
    where: Expression | None
    where_span: tuple[int, int]
    order_by: tuple[tuple[str, bool, bool], ...]
    limit: int | None
    offset: int
    mentions_deleted: bool

    @cached_property
    def plans(self) -> dict[str, tuple[TableDef, _Plan | None]]:
        """What was made of the query, by table, and for which of its definitions."""
        return {}


#: Longer texts are not looked at.
_LONGEST = 2048


def recognise(sql: str) -> DirectQuery | None:
    """Return the query if it is one of the simplest, else None. Never raises."""
    return _recognise(sql) if len(sql) <= _LONGEST else None


@lru_cache(maxsize=2048)
def _recognise(sql: str) -> DirectQuery | None:
    try:
        s = TokenStream(sql)
        s.expect_word("SELECT")
        return _parse(s)
    except SqlSyntaxError:
        return None


def _parse(s: TokenStream) -> DirectQuery | None:
    columns = _columns(s)
    if columns == () and not s.at_word("FROM"):
        return None
    s.expect_word("FROM")
    table = s.name()
    qualifiers = {table[1]}
    if s.accept_word("AS") or (s.current.kind in (WORD, QUOTED) and s.current.text not in _CLAUSES):
        if s.current.text in ("JOIN", "INNER", "LEFT", "RIGHT", "FULL", "CROSS", "NATURAL", "UNION", "GROUP"):
            return None
        qualifiers = {s.identifier("alias")}
    where, span = None, (0, 0)
    if s.accept_word("WHERE"):
        start = s.current.start
        where = parse_expression(s)
        span = start, s.tokens[s.i - 1].end
        for node in walk(where):
            if isinstance(node, Opaque):
                return None
            if isinstance(node, ColumnRef) and node.qualifier not in (None, *qualifiers):
                return None
    order_by = _order(s) if s.accept_word("ORDER", "BY") else ()
    limit = s.integer() if s.accept_word("LIMIT") else None
    offset = s.integer() if s.accept_word("OFFSET") else 0
    s.expect_end()
    deleted = where is not None and any(
        isinstance(n, ColumnRef) and n.name == "_deleted" for n in walk(where)
    )
    return DirectQuery(table, columns, where, span, order_by, limit, offset, deleted)


def _columns(s: TokenStream) -> tuple[tuple[str, str], ...] | None:
    """Read the select list; SqlSyntaxError for anything but ``*``, ``count(*)`` and plain columns."""
    if s.accept_op("*"):
        return None
    if s.at_word("COUNT") and s.peek().text == "(" and s.peek(2).text == "*" and s.peek(3).text == ")":
        s.i += 4
        return ()
    found: list[tuple[str, str]] = []
    while True:
        if s.current.kind == WORD and s.current.text.startswith("CURRENT_"):
            raise s.error("Expected: a column")
        name = s.identifier("column name")
        shown = s.identifier("alias") if s.accept_word("AS") else name
        found.append((name, shown))
        if not s.accept_op(","):
            break
    if not s.at_word("FROM"):
        raise s.error("Expected: FROM")
    return tuple(found)


def _order(s: TokenStream) -> tuple[tuple[str, bool, bool], ...]:
    found = []
    while True:
        name = s.identifier("column name")
        descending = s.accept_any("ASC", "DESC") == "DESC"
        nulls_first = descending
        if s.accept_word("NULLS"):
            nulls_first = s.accept_any("FIRST", "LAST") == "FIRST"
        found.append((name, descending, nulls_first))
        if not s.accept_op(","):
            return tuple(found)


@dataclass(frozen=True)
class _Output:
    """The columns that a query shows of a table: made once for a definition.

    Attributes
    ----------
    positions : tuple of int, or None
        Where they are in a row; None for the whole row.
    """

    columns: tuple[ResultColumn, ...]
    schema_json: bytes
    positions: tuple[int, ...] | None
    encoder: RowEncoder

    def result(self, rows: Sequence[Row], encode: Callable[[], bytes] | None = None) -> Result:
        """Make the result of whole rows; `encode` makes their JSON."""
        if self.positions is not None:
            rows = [tuple([row[i] for i in self.positions]) for row in rows]
        shown = rows

        def encoded() -> bytes:
            return orjson.dumps([self.encoder.array(row) for row in shown])

        return Result.of_rows(self.columns, rows, self.schema_json, encode or encoded)


def _output(table: TableDef, asked: tuple[tuple[str, str], ...] | None) -> _Output | None:
    """Return the output of a select list; None if there is no such column, or two have one name."""
    key = ("direct.output", asked)
    if key not in table.derived:
        table.derived[key] = _new_output(table, asked)
    found: _Output | None = table.derived[key]
    return found


def _new_output(table: TableDef, asked: tuple[tuple[str, str], ...] | None) -> _Output | None:
    index, flags = table.schema.index, table.flags
    names = [(n, n) for n in table.schema.names] if asked is None else asked
    if any(n not in index for n, _ in names) or len({shown for _, shown in names}) != len(names):
        return None
    columns = [ResultColumn(shown, table.schema.column(n).type, flags.get(n, ())) for n, shown in names]
    return _Output(
        tuple(columns),
        orjson.dumps([column.json(i) for i, column in enumerate(columns)]),
        None if asked is None else tuple(index[n] for n, _ in names),
        RowEncoder([c.name for c in columns], [c.type for c in columns]),
    )


@dataclass(frozen=True)
class _Key:
    """The primary key that a query asks for."""

    coerce: Coercer
    node: Literal | Parameter

    def row(self, relation: Relation, owner: str, params: Sequence[Any]) -> Row | None:
        """Look it up; the empty row stands for a value that is no key, which the query engine judges."""
        node = self.node
        value = node.value if isinstance(node, Literal) else parameter(params, node.index)
        try:
            key = self.coerce(value)
        except StatementError:
            return ()
        return None if key is None else relation.get((key,), owner)


@dataclass(frozen=True)
class _Plan:
    """A query over one definition of a table: what does not depend on who asks, and for which values.

    Attributes
    ----------
    order : tuple of (column, descending, nulls first)
    sortable : bool
        Whether Python sorts these columns as the query engine does.
    """

    output: _Output
    key: _Key | None
    order: tuple[tuple[int, bool, bool], ...]
    sortable: bool

    @classmethod
    def of(cls, query: DirectQuery, table: TableDef) -> _Plan | None:
        """Plan a query; None when the query engine has to answer it."""
        found = query.plans.get(table.qualified)
        if found is None or found[0] is not table:
            found = query.plans[table.qualified] = (table, cls._new(query, table))
        return found[1]

    @classmethod
    def _new(cls, query: DirectQuery, table: TableDef) -> _Plan | None:
        output, index = _output(table, query.columns), table.schema.index
        if output is None or any(name not in index for name, *_ in query.order_by):
            return None
        keyed, key = None if query.where is None else key_column(table.schema, query.where), None
        if keyed is not None:
            column, node = keyed
            assert isinstance(node, (Literal, Parameter))
            key = _Key(coercer(column.type), node)
        order = tuple((index[name], descending, first) for name, descending, first in query.order_by)
        return cls(output, key, order, all(sortable(table.schema, column) for column, *_ in order))


def run(
    kalam: Kalam, session: Session, query: DirectQuery, params: Sequence[Any], namespace: str, *, limit: bool
) -> Result | None:
    """Answer a simple query; None when the query engine has to."""
    table = kalam.find_table(query.table[0] or namespace, query.table[1])
    if table is None or table.type == "stream":
        return None
    plan = _Plan.of(query, table)
    if plan is None:
        return None
    kalam.check_read(session, table)
    relation, owner, output = kalam.relation(table), kalam.owner(session, table), plan.output
    if plan.key is not None:
        row = plan.key.row(relation, owner, params)
        if row == ():
            return None
        rows = [] if row is None or row[-1] else [row]
        if query.columns == ():
            return _count(query, len(rows))
        return output.result(rows[_range(kalam, query, limit)])
    if relation.count(owner) > DIRECT_ROWS:
        return None
    visible = kalam.small_tables.rows(relation, owner, table.key_index, deleted=query.mentions_deleted)
    positions = _accepted(session, table, query, params, visible)
    if positions is None:
        return None
    if query.columns == ():
        return _count(query, len(positions))
    if plan.order:
        if len(positions) > 1 and not plan.sortable:
            return None
        positions = sort_positions(visible, positions, plan.order)
    elif not visible.ordered:
        return None
    shown = positions[_range(kalam, query, limit)]
    whole = output.positions is None
    return output.result([visible.rows[i] for i in shown], (lambda: visible.json(shown)) if whole else None)


def for_the_engine(kalam: Kalam, query: DirectQuery, sql: str, params: Sequence[Any], namespace: str) -> str:
    """Return a simple query's text for the query engine, which compares constants as they are written."""
    table = kalam.find_table(query.table[0] or namespace, query.table[1])
    if table is None or query.where is None:
        return sql
    start, end = query.where_span
    return sql[:start] + condition(query.where, sql[start:end], table.schema, params) + sql[end:]


def _range(kalam: Kalam, query: DirectQuery, limit: bool) -> slice:
    """Return which rows of all are shown: by LIMIT and OFFSET, and the limits for HTTP clients."""
    end = query.limit
    if limit:
        config = kalam.config
        end = config.default_query_limit if end is None else min(end, config.max_query_limit)
    return slice(query.offset, None if end is None else query.offset + end)


def _count(query: DirectQuery, n: int) -> Result | None:
    if query.order_by or query.limit is not None or query.offset:
        return None
    return Result.of_rows([ResultColumn("count(*)", BIGINT)], [(n,)])


def _accepted(
    session: Session, table: TableDef, query: DirectQuery, params: Sequence[Any], visible: VisibleRows
) -> Sequence[int] | None:
    """Return the positions of the rows that satisfy the condition; None when the query engine has to."""
    if query.where is None:
        return range(len(visible.rows))
    try:
        compiled = Compiler(table.schema, params, session.user_id, session.role).compile(query.where)
        accepts = compiled.function
        return [i for i, row in enumerate(visible.rows) if accepts(row) is True]
    except (UnsupportedError, TypeError, ArithmeticError):
        return None
    except StatementError as error:
        if error.kind == "parameter":
            raise
        return None

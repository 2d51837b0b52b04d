"""The simplest queries, answered without the query engine: one table, plain columns, a condition that
compiles.

A session context, a plan and its execution cost about a millisecond whatever the table's size; over a
few hundred
rows, or for one primary key, Python is many times quicker. What is not recognised here goes to the query
engine, and
so does every error, so that its texts are the engine's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from kalam_jupyter.engine.types import BIGINT, DOUBLE, FLOAT, Array
from kalam_jupyter.kalam.catalog import TableDef
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
from kalam_jupyter.kalam.stream import TokenStream
from kalam_jupyter.kalam.tokens import QUOTED, WORD
from kalam_jupyter.kalam.types import coercer

if TYPE_CHECKING:
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
    order_by : tuple of (column, descending, nulls first)
    """

    table: tuple[str | None, str]
    columns: tuple[tuple[str, str], ...] | None
    where: Expression | None
    order_by: tuple[tuple[str, bool, bool], ...]
    limit: int | None
    offset: int
    mentions_deleted: bool


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
    where = None
    if s.accept_word("WHERE"):
        where = parse_expression(s)
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
    return DirectQuery(table, columns, where, order_by, limit, offset, deleted)


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


def run(
    kalam: Kalam, session: Session, query: DirectQuery, params: Sequence[Any], namespace: str, *, limit: bool
) -> Result | None:
    """Answer a simple query; None when the query engine has to."""
    table = kalam.find_table(query.table[0] or namespace, query.table[1])
    if table is None or table.type == "stream":
        return None
    index = table.schema.index
    names = [(n, n) for n in table.schema.names] if query.columns is None else query.columns
    asked = {n for n, _ in names} | {n for n, *_ in query.order_by}
    if not asked <= index.keys() or len({shown for _, shown in names}) != len(names):
        return None
    kalam.check_read(session, table)
    rows = _rows(kalam, session, table, query, params)
    if rows is None:
        return None
    if not query.columns and query.columns is not None:
        return _count(query, len(rows))
    ordered = _ordered(rows, table, query)
    if ordered is None:
        return None
    end = _end(kalam, query, limit)
    rows = ordered[query.offset : None if end is None else query.offset + end]
    flags = table.flags
    columns = [ResultColumn(shown, table.schema.column(n).type, flags.get(n, ())) for n, shown in names]
    if query.columns is not None:
        picked = [index[n] for n, _ in names]
        rows = [tuple([row[i] for i in picked]) for row in rows]
    return Result.of_rows(columns, rows)


def _end(kalam: Kalam, query: DirectQuery, limit: bool) -> int | None:
    if not limit:
        return query.limit
    if query.limit is None:
        return kalam.config.default_query_limit
    return min(query.limit, kalam.config.max_query_limit)


def _count(query: DirectQuery, n: int) -> Result | None:
    if query.order_by or query.limit is not None or query.offset:
        return None
    return Result.of_rows([ResultColumn("count(*)", BIGINT)], [(n,)])


def _rows(
    kalam: Kalam, session: Session, table: TableDef, query: DirectQuery, params: Sequence[Any]
) -> list[Row] | None:
    """Return the visible rows that satisfy the condition, unordered."""
    relation, owner = kalam.relation(table), kalam.owner(session, table)
    deleted = table.seq_index + 1
    keyed = None if query.where is None else key_column(table.schema, query.where)
    if keyed is not None:
        row = _by_key(relation, owner, *keyed, params)
        if row == ():
            return None
        return [] if row is None or row[deleted] else [row]
    if relation.count(owner) > DIRECT_ROWS:
        return None
    rows: list[Row] = relation.snapshot(owner).rows()
    if not query.mentions_deleted:
        rows = [r for r in rows if not r[deleted]]
    if query.where is None:
        return rows
    try:
        compiled = Compiler(table.schema, params, session.user_id, session.role).compile(query.where)
        accepts = compiled.function
        return [r for r in rows if accepts(r) is True]
    except (UnsupportedError, TypeError, ArithmeticError):
        return None
    except StatementError as error:
        if error.kind == "parameter":
            raise
        return None


def _by_key(relation: Any, owner: str, column: Any, node: Expression, params: Sequence[Any]) -> Row | None:
    """Look a primary key up; the empty row stands for a value that is no key, which the query engine
    judges."""
    assert isinstance(node, (Literal, Parameter))
    value = node.value if isinstance(node, Literal) else parameter(params, node.index)
    try:
        key = coercer(column.type)(value)
    except StatementError:
        return ()
    found: Row | None = None if key is None else relation.get((key,), owner)
    return found


def _ordered(rows: list[Row], table: TableDef, query: DirectQuery) -> list[Row] | None:
    """Sort rows as written, else by primary key; None for orders that Python and Arrow see differently."""
    if len(rows) < 2:
        return rows
    schema = table.schema
    order = query.order_by or ((schema.names[table.key_index], False, False),)
    for name, descending, nulls_first in reversed(order):
        type_, i = schema.column(name).type, schema.index[name]
        if type_ in (FLOAT, DOUBLE) or isinstance(type_, Array):
            return None  # NaN
        nulls = [r for r in rows if r[i] is None]
        rows = sorted((r for r in rows if r[i] is not None), key=lambda r: r[i], reverse=descending)
        rows = nulls + rows if nulls_first else rows + nulls
    return rows

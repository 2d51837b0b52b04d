"""The grammar of live queries: ``SELECT list FROM namespace.table [alias] [WHERE condition]`` and
nothing else.

ORDER BY and LIMIT are accepted after it, because older clients send them; they shape the initial rows only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from kalam_jupyter.kalam.errors import KalamError, StatementError
from kalam_jupyter.kalam.expressions import Expression, parse_expression
from kalam_jupyter.kalam.nesting import check_brackets
from kalam_jupyter.kalam.stream import TokenStream
from kalam_jupyter.kalam.tokens import OP, QUOTED, WORD, UnterminatedQuoteError, split_statements, tokenize

_PREFIX = "Invalid SQL: Invalid SQL: Subscription query"
_ONLY_WHERE = "Only SELECT ... FROM ... [WHERE ...] is supported."
_PLAIN_ONLY = f"{_PREFIX} supports only SELECT ... FROM ... [WHERE ...]."


@dataclass(frozen=True)
class LiveSelect:
    """A parsed live query.

    Attributes
    ----------
    columns : tuple of str, or None
        None for ``*``.
    where : Expression or None
    where_sql : str or None
    order_by : tuple of (column, descending)
        For the initial rows.
    limit : int or None
        For the initial rows.
    """

    namespace: str
    table: str
    columns: tuple[str, ...] | None
    alias: str | None
    where: Expression | None
    where_sql: str | None
    order_by: tuple[tuple[str, bool], ...] = ()
    limit: int | None = None

    @cached_property
    def condition(self) -> str | None:
        """The condition with its spacing and keyword case evened out: equal for equal token lists."""
        if self.where_sql is None:
            return None
        return " ".join(f"{t.kind[0]}{t.text}" for t in tokenize(self.where_sql)[:-1])


def _invalid(text: str) -> KalamError:
    return KalamError("INVALID_SQL", text)


def parse_live(sql: str) -> LiveSelect:
    """Parse a live query.

    Raises
    ------
    KalamError
        ``INVALID_SQL`` with the contract's texts.
    """
    try:
        parts = split_statements(sql)
        if len(parts) != 1:
            raise _invalid(f"{_PREFIX} must contain exactly one SELECT statement")
        check_brackets(parts[0])
        s = TokenStream(parts[0])
        _check_shape(s)
        return _select(s)
    except UnterminatedQuoteError as error:
        raise _invalid(f"Invalid SQL: Parse error: Failed to parse SQL: {error}") from None
    except StatementError as error:
        raise _invalid(f"Invalid SQL: Parse error: Failed to parse SQL: {error.text}") from None


_REFUSED = {
    "WITH": f"{_PREFIX} does not support WITH clauses. {_ONLY_WHERE}",
    "GROUP": f"{_PREFIX} does not support GROUP BY. {_ONLY_WHERE}",
    "JOIN": f"{_PREFIX} does not support JOIN clauses. {_ONLY_WHERE}",
    **dict.fromkeys(("UNION", "EXCEPT", "INTERSECT"), f"{_PREFIX} supports only simple SELECT statements."),
    **dict.fromkeys(("DISTINCT", "TOP", "HAVING", "QUALIFY", "WINDOW", "INTO", "FETCH", "FOR"), _PLAIN_ONLY),
}


def _check_shape(s: TokenStream) -> None:
    """Refuse what is a query but not a live one."""
    first = s.current
    if first.kind == WORD and first.text == "VALUES":
        raise _invalid(f"{_PREFIX} supports only simple SELECT statements.")
    if first.kind != WORD or first.text not in ("SELECT", "WITH"):
        raise _invalid("Invalid SQL: Invalid SQL: Only SELECT queries are supported for subscriptions")
    depth, tables = 0, False
    for i, t in enumerate(s.tokens):
        if t.kind == OP:
            depth += (t.text == "(") - (t.text == ")")
        elif t.kind == WORD and depth == 0 and not (i and s.tokens[i - 1].text == "."):
            tables |= t.text == "FROM"
            if (text := _REFUSED.get(t.text)) is not None:
                raise _invalid(text)
    if not tables and len(s.tokens) > 2:
        raise _invalid(f"{_PREFIX} requires exactly one table in the FROM clause.")


def _select(s: TokenStream) -> LiveSelect:
    s.expect_word("SELECT")
    columns = _columns(s)
    s.expect_word("FROM")
    namespace, table = _table(s)
    alias = None
    if s.accept_word("AS") or (
        s.current.kind in (WORD, QUOTED) and s.current.text not in ("WHERE", "ORDER", "LIMIT", "OFFSET")
    ):
        alias = s.identifier("alias")
    if s.at_op(","):
        raise _invalid(f"{_PREFIX} requires exactly one table in the FROM clause.")
    where, where_sql = None, None
    if s.accept_word("WHERE"):
        start = s.current.start
        where = parse_expression(s)
        where_sql = s.sql[start : s.tokens[s.i - 1].end]
    order_by: list[tuple[str, bool]] = []
    if s.accept_word("ORDER", "BY"):
        while True:
            column = s.identifier("column name")
            if s.accept_op("."):
                column = s.identifier("column name")
            order_by.append((column, s.accept_any("ASC", "DESC") == "DESC"))
            if s.accept_word("NULLS"):
                s.accept_any("FIRST", "LAST")
            if not s.accept_op(","):
                break
    limit = s.integer("limit") if s.accept_word("LIMIT") else None
    if not s.at_end():
        raise _invalid(_PLAIN_ONLY)
    return LiveSelect(namespace, table, columns, alias, where, where_sql, tuple(order_by), limit)


def _columns(s: TokenStream) -> tuple[str, ...] | None:
    """Read the select list: ``*``, ``t.*`` or columns; an alias counts as a column name, as in the
    reference."""
    names: list[str] = []
    everything = False
    while True:
        if s.accept_op("*"):
            everything = True
        elif s.at_word("FROM"):
            raise s.error("Expected: an expression, found: FROM")
        else:
            name = s.identifier("column name")
            while s.accept_op("."):
                if s.accept_op("*"):
                    everything, name = True, ""
                    break
                name = s.identifier("column name")
            if s.accept_word("AS"):
                name = s.identifier("alias")
            if name in ("_seq", "_deleted"):
                raise _invalid(f"{_PREFIX} cannot project system columns '_seq' or '_deleted'.")
            if not (s.at_op(",") or s.at_word("FROM")):
                raise _invalid(_PLAIN_ONLY)
            if name:
                names.append(name.lower())
        if not s.accept_op(","):
            return None if everything else tuple(names)


def _table(s: TokenStream) -> tuple[str, str]:
    if s.at_op("("):
        raise _invalid(f"{_PREFIX} requires a direct table reference in FROM.")
    namespace, table = s.name()
    if s.at_op("("):
        raise _invalid(f"{_PREFIX} requires a direct table reference in FROM.")
    if namespace is None:
        raise _invalid("Invalid SQL: Query must use namespace.table format")
    return namespace, table

"""Parsers of INSERT, UPDATE, DELETE, EXECUTE AS USER, SUBSCRIBE TO and the transaction words."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import lru_cache
from itertools import chain
from typing import Any

import msgspec

from kalam_jupyter.kalam.errors import KalamError, SqlSyntaxError, StatementError
from kalam_jupyter.kalam.expressions import (
    Default,
    Expression,
    Literal,
    Parameter,
    number_value,
    parse_expression,
)
from kalam_jupyter.kalam.statements import nodes
from kalam_jupyter.kalam.stream import TokenStream
from kalam_jupyter.kalam.tokens import (
    NUMBER,
    OP,
    PARAM,
    STRING,
    UnterminatedQuoteError,
    split_statements,
)

_PLAIN: dict[str, Callable[[str], Expression]] = {
    STRING: Literal,
    NUMBER: lambda text: Literal(int(text) if text.isdigit() else number_value(text)),
    PARAM: lambda text: Parameter(int(text[1:])),
}


_INSERT = re.compile(r"\s*INSERT\s+INTO\s+[\w.]+\s*(?:\([\w\s,]*\)\s*)?VALUES\s*(?=\()", re.IGNORECASE)
_ROWS = msgspec.json.Decoder(list[list[Any]], float_hook=number_value)
_SCALARS = frozenset({int, float, Decimal, str, bool, type(None)})


def plain_insert(sql: str) -> nodes.Insert | None:
    """Read an INSERT of nothing but literals, which most are, without taking it apart into tokens.

    What stands before the values is parsed as ever, once for all statements that begin alike.

    Returns
    -------
    Insert or None
        With the values that the expressions `insert` returns would have; None for everything else.
    """
    head = _INSERT.match(sql)
    rows = None if head is None else _rows(sql[head.end() :].rstrip("; \t\r\n"))
    start = None if head is None or rows is None else _start_of_insert(head.group())
    return start and nodes.Insert(start.table, start.columns, values=rows or ())


def _rows(text: str) -> tuple[tuple[Any, ...], ...] | None:
    """Read ``(1, 'a'), (2, 'b')``, in a tenth of the time that tokens take.

    Without what is in its strings, that is JSON with other brackets. What is no JSON either (``.5``,
    ``-- x``, ``NOW()``) is not read.
    """
    outside, strings = _strings(text)
    written = '""'.join(outside)
    if '"' in "".join(outside) or "[" in written or "]" in written:
        return None
    try:
        rows = _ROWS.decode("[" + written.lower().replace("(", "[").replace(")", "]") + "]")
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
        return None
    return _filled(rows, strings) if all(rows) else None


def _filled(rows: list[list[Any]], strings: Sequence[str]) -> tuple[tuple[Any, ...], ...] | None:
    """Return rows with their strings in place; None if there is something else than literals.

    Columns of strings get theirs as a whole.
    """
    if not _SCALARS.issuperset(map(type, chain.from_iterable(rows))):
        return None
    if len(rows) > 1 and len(set(map(len, rows))) == 1:
        columns: list[Sequence[Any]] = list(zip(*rows, strict=True))
        texts = [i for i, column in enumerate(columns) if str in map(type, column)]
        if len(strings) == len(texts) * len(rows):
            for n, i in enumerate(texts):
                columns[i] = strings[n :: len(texts)]
            return tuple(zip(*columns, strict=True))
    found = iter(strings)
    return tuple([tuple([next(found) if type(v) is str else v for v in row]) for row in rows])


def _strings(text: str) -> tuple[list[str], list[str]]:
    """Return what stands around strings, and the strings. Two quotes within a string are one."""
    pieces = text.split("'")
    outside, strings = pieces[::2], pieces[1::2]
    if "" not in outside:
        return outside, strings
    outside, strings = pieces[:1], []
    escaped = False
    for string, after in zip(pieces[1::2], pieces[2::2], strict=False):
        if escaped:
            strings[-1] += "'" + string
        else:
            strings.append(string)
        escaped = not after
        if not escaped:
            outside.append(after)
    return outside, strings


@lru_cache(maxsize=1024)
def _start_of_insert(text: str) -> nodes.Insert | None:
    try:
        s = TokenStream(f"{text}(0)")
        s.expect_word("INSERT")
        found = insert(s)
    except StatementError:  # let it be found where it can be told with its place
        return None
    return found if isinstance(found, nodes.Insert) else None


def insert(s: TokenStream) -> nodes.Statement:
    """``INSERT INTO t [(cols)] VALUES (...), ... | SELECT ...``."""
    s.expect_word("INTO")
    s.accept_word("TABLE")
    table = s.name()
    columns: tuple[str, ...] | None = None
    if s.at_op("(") and not (s.peek().kind == "word" and s.peek().text in ("SELECT", "WITH")):
        s.advance()
        names = [s.identifier("column name")]
        while s.accept_op(","):
            names.append(s.identifier("column name"))
        s.expect_op(")")
        columns = tuple(names)
    if s.at_word("SELECT") or s.at_word("WITH") or s.at_op("("):
        return nodes.Insert(table, columns, query=s.rest().rstrip().rstrip(";"))
    s.expect_word("VALUES")
    rows = [_row(s)]
    while s.accept_op(","):
        rows.append(_row(s))
    for words in (("ON", "CONFLICT"), ("RETURNING",), ("ON", "DUPLICATE")):
        if s.at_word(*words):
            raise StatementError("invalid_operation", f"INSERT ... {' '.join(words)} is not supported")
    s.expect_end()
    if all(isinstance(value, Literal) for row in rows for value in row):
        values = tuple(tuple([value.value for value in row]) for row in rows)  # type: ignore[attr-defined]
        return nodes.Insert(table, columns, values=values)
    return nodes.Insert(table, columns, tuple(rows))


def _at_default(s: TokenStream) -> bool:
    """Whether the word DEFAULT stands for a whole value, and not for a column or a function."""
    after = s.peek()
    return s.at_word("DEFAULT") and (after.text in (",", ")") if after.kind == OP else after.text == "WHERE")


def _row(s: TokenStream) -> tuple[Expression, ...]:
    s.expect_op("(")
    values: list[Expression] = []
    tokens = s.tokens
    while True:
        token, after = tokens[s.i], tokens[s.i + 1] if s.i + 1 < len(tokens) else tokens[-1]
        if after.kind == OP and after.text in (",", ")") and token.kind in _PLAIN:
            # bulk inserts are made of these: no need to go down all levels of precedence
            values.append(_PLAIN[token.kind](token.text))
            s.i += 1
        elif _at_default(s):
            values.append(Default())
            s.i += 1
        else:
            values.append(parse_expression(s))
        if s.accept_op(")"):
            return tuple(values)
        s.expect_op(",")


def _where(s: TokenStream, verb: str) -> tuple[Expression, str]:
    """Read the mandatory WHERE; its text is what the query engine gets when it has to."""
    if s.at_end():
        raise StatementError("invalid_operation", f"{verb} requires a WHERE clause")
    s.expect_word("WHERE")
    start = s.current.start
    where = parse_expression(s)
    end = s.tokens[s.i - 1].end
    if s.at_word("RETURNING"):
        raise StatementError("invalid_operation", f"{verb} ... RETURNING is not supported")
    s.expect_end()
    return where, s.sql[start:end]


def update(s: TokenStream) -> nodes.Statement:
    """``UPDATE t SET c = expr, ... WHERE cond``."""
    table = s.name()
    s.expect_word("SET")
    assignments = []
    while True:
        column = s.identifier("column name")
        s.expect_op("=")
        start = s.current.start
        if _at_default(s):
            value: Expression = Default()
            s.i += 1
        else:
            value = parse_expression(s)
        assignments.append((column, value, s.sql[start : s.tokens[s.i - 1].end]))
        if not s.accept_op(","):
            break
    where, text = _where(s, "UPDATE")
    return nodes.Update(table, tuple(assignments), where, text)


def delete(s: TokenStream) -> nodes.Statement:
    """``DELETE FROM t WHERE cond``."""
    s.expect_word("FROM")
    table = s.name()
    where, text = _where(s, "DELETE")
    return nodes.Delete(table, where, text)


def begin(s: TokenStream) -> nodes.Statement:
    """``BEGIN [TRANSACTION|WORK]``."""
    s.accept_any("TRANSACTION", "WORK")
    s.expect_end()
    return nodes.Begin()


def start_transaction(s: TokenStream) -> nodes.Statement:
    """``START TRANSACTION``."""
    s.expect_word("TRANSACTION")
    s.expect_end()
    return nodes.Begin()


def commit(s: TokenStream) -> nodes.Statement:
    """``COMMIT``."""
    s.accept_any("TRANSACTION", "WORK")
    s.expect_end()
    return nodes.Commit()


def rollback(s: TokenStream) -> nodes.Statement:
    """``ROLLBACK``."""
    s.accept_any("TRANSACTION", "WORK")
    s.expect_end()
    return nodes.Rollback()


def _as_user_error(text: str) -> KalamError:
    return KalamError("INVALID_INPUT", text)


def execute_as(s: TokenStream) -> nodes.Statement:
    """``EXECUTE AS [USER] 'name' ( statement )``; USER is left out since version 0.5."""
    from kalam_jupyter.kalam.statements import parse_statement

    s.expect_word("AS")
    s.accept_word("USER")
    user = "" if s.at_op("(") or s.current.kind == "end" else s.raw_word("user name").strip()
    if not user:
        raise _as_user_error("EXECUTE AS USER username cannot be empty")
    if not s.at_op("("):
        raise _as_user_error("EXECUTE AS USER must wrap SQL in parentheses")
    start = s.advance().end
    depth = 1
    end = start
    while depth:
        token = s.advance()
        if token.kind == "end":
            raise _as_user_error("EXECUTE AS USER missing closing ')'")
        if token.kind == OP and token.text in "()":
            depth += 1 if token.text == "(" else -1
            end = token.start
    if not s.at_end():
        raise _as_user_error("EXECUTE AS USER must contain exactly one wrapped SQL statement")
    inner = s.sql[start:end].strip()
    try:
        parts = split_statements(inner)
    except UnterminatedQuoteError as error:
        raise SqlSyntaxError(str(error)) from None
    if not parts:
        raise _as_user_error("EXECUTE AS USER requires a non-empty inner SQL statement")
    if len(parts) > 1:
        raise _as_user_error("EXECUTE AS USER can only wrap a single SQL statement")
    statement = parse_statement(parts[0])
    if isinstance(statement, nodes.ExecuteAs) or statement.family == "transaction":
        raise _as_user_error("EXECUTE AS USER can only wrap a single SQL statement")
    return nodes.ExecuteAs(user, statement)


_OPTION_NAMES = {"last_rows": "last_rows", "batch_size": "batch_size", "from": "from", "from_seq_id": "from"}


def subscribe_to(s: TokenStream) -> nodes.Statement:
    """``SUBSCRIBE TO ns.table [WHERE ..] | SELECT .. [OPTIONS (..)]``."""
    s.expect_word("TO")
    start = s.current.start
    whole = s.at_word("SELECT")
    end = start
    depth = 0
    while s.current.kind != "end" and not (depth == 0 and s.at_word("OPTIONS") and s.peek().text == "("):
        token = s.advance()
        if token.kind == OP:
            depth += {"(": 1, ")": -1}.get(token.text, 0)
            if token.text == ";" and depth == 0:
                break
        end = token.end
    text = s.sql[start:end].strip()
    if not text:
        raise s.error("Expected: ns.table or SELECT after SUBSCRIBE TO")
    options: dict[str, int] = {}
    if s.accept_word("OPTIONS"):
        s.expect_op("(")
        while not s.accept_op(")"):
            name = s.identifier("option name")
            if name not in _OPTION_NAMES:
                raise StatementError(
                    "invalid_sql",
                    f"Unknown subscription option: '{name}'. Valid options are: last_rows, batch_size, from",
                )
            s.expect_op("=")
            options[_OPTION_NAMES[name]] = s.integer(f"number for {name}")
            s.accept_op(",")
    s.expect_end()
    return nodes.SubscribeTo(text if whole else f"SELECT * FROM {text}", options)

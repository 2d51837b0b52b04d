"""Statements that differ only in their literals are parsed once.

``SELECT * FROM t WHERE id = 5`` is ``SELECT * FROM t WHERE id = $1`` with the value 5: a *shape*, whose
parsed form is kept. Only what is read the same either way has a shape: see `find`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from kalam_jupyter.kalam import direct
from kalam_jupyter.kalam.errors import StatementError
from kalam_jupyter.kalam.expressions import Literal, Parameter, number_value
from kalam_jupyter.kalam.statements import nodes, parse_statement
from kalam_jupyter.kalam.statements.data import plain_insert

#: Longer texts are not looked at.
LONGEST = 1024
_HEAD = re.compile(r"\s*(?:SELECT|UPDATE|DELETE)\b", re.IGNORECASE)
_LITERAL = re.compile(r"'[^']*(?:''[^']*)*'|\d+(?:\.\d+)?")
#: Numbers behind these are no values.
_COUNTS = ("LIMIT", "OFFSET")
#: Comments, quoted names, signs, several statements, a literal without an end.
_SPECIAL = re.compile(r"[-/\"`;']")


def find(sql: str) -> tuple[nodes.Statement, list[Any]] | None:
    """Return the parsed form of a statement with parameters for its literals, and their values.

    That is one of the `direct` queries, or an UPDATE to plain values or a DELETE. An INSERT of literals has
    its values in itself.
    """
    if (insert := plain_insert(sql)) is not None:
        return insert, []
    if len(sql) > LONGEST or "$" in sql or not _HEAD.match(sql):
        return None
    values: list[Any] = []

    def lift(found: re.Match[str]) -> str:
        text = found.group()
        if text[0] == "'":
            values.append(text[1:-1].replace("''", "'"))
        elif _is_value(sql, *found.span()):
            values.append(int(text) if text.isdigit() else number_value(text))
        else:
            return text
        return f"${len(values)}"

    statement = _parsed(_LITERAL.sub(lift, sql).strip().rstrip("; \t\r\n"))
    return None if statement is None else (statement, values)


def _is_value(sql: str, start: int, end: int) -> bool:
    """Whether digits are a number of their own: no part of a name or of ``1e5``, no count of rows."""
    before, after = sql[start - 1], sql[end : end + 1]
    if before.isalnum() or before in "_." or after.isalnum() or after in ("_", "."):
        return False
    return not (before.isspace() and sql[max(0, start - 16) : start].rstrip().upper().endswith(_COUNTS))


@lru_cache(maxsize=4096)
def _parsed(shape: str) -> nodes.Statement | None:
    if _SPECIAL.search(shape):
        return None
    try:
        statement = parse_statement(shape)
    except StatementError:  # let it be found where it can be told with its place
        return None
    match statement:
        case nodes.Select(sql):
            return None if direct.recognise(sql) is None else statement
        case nodes.Update(assignments=assignments):
            plain = all(isinstance(value, (Literal, Parameter)) for _, value, _ in assignments)
            return statement if plain else None
        case nodes.Delete():
            return statement
    return None

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
#: A string, a count of rows (which is no value), or a number that is no part of a name or of ``1e5``.
_LITERAL = re.compile(
    r"'[^']*(?:''[^']*)*'|\b(?:LIMIT|OFFSET)\s+\d+|(?<![\w.])\d+(?:\.\d+)?(?![\w.])", re.IGNORECASE
)
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
        elif text[0].isdigit():
            values.append(int(text) if text.isdigit() else number_value(text))
        else:
            return text
        return f"${len(values)}"

    statement = _parsed(_LITERAL.sub(lift, sql).strip().rstrip("; \t\r\n"))
    return None if statement is None else (statement, values)


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

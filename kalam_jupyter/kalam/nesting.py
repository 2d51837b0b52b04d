"""How deep a query is nested, and how wide it is: the query engine sets no bounds, and has some.

Its parser limits brackets, but not chains, which read flat and are not: ``a OR b OR c`` is ``(a OR b) OR c``.
Some thousands of them would end the process, for its stack holds only so many operations in each other.
Planning takes time by the square of their number, and of that of the expressions in lists; nothing ends it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from kalam_jupyter.kalam.errors import SqlSyntaxError
from kalam_jupyter.kalam.tokens import OP, WORD, Token, position_of, tokenize

#: Operations in each other; and SELECTs of one query, since each may read from the one before.
MAX_NESTING = 800
#: Expressions in the lists of a query, all in all: what it selects, groups by, orders by.
MAX_LISTED = 3000
#: Operators in an expression; besides, all signs but these.
_OPERATORS = frozenset(
    ["AND", "OR", "NOT", "IS", "IN", "LIKE", "ILIKE", "SIMILAR", "BETWEEN", "COLLATE", "AT"]
)
_NO_OPERATORS = frozenset(["(", ")", "]", "{", "}", ",", ";", ".", ":"])
#: Between relations: these chains go on from clause to clause.
_COMBINING = frozenset(["JOIN", "UNION", "EXCEPT", "INTERSECT"])
#: In front of lists.
_LISTING = frozenset(["SELECT", "BY"])
#: Where another expression begins.
_BEGINNING = frozenset(
    [
        "SELECT",
        "FROM",
        "WHERE",
        "GROUP",
        "HAVING",
        "WINDOW",
        "QUALIFY",
        "ORDER",
        "LIMIT",
        "ON",
        "BY",
        "WHEN",
        "THEN",
        "ELSE",
    ]
)

#: Brackets, and what they are not looked for in.
_BRACKETS = re.compile(
    r"""'[^']*'|"[^"]*"|`[^`]*`|--[^\n]*|/\*(?:.*?\*/|.*)|(?P<open>[(\[])|(?P<close>[)\]])""", re.DOTALL
)


def check_brackets(sql: str) -> None:
    """Refuse a text of more than `MAX_NESTING` brackets in each other, before anything takes it to tokens:
    of hundreds of thousands that takes seconds, for a text that no parser accepts.

    Raises
    ------
    SqlSyntaxError
        At the bracket that is one too many.
    """
    depth = 0
    for found in _BRACKETS.finditer(sql):
        if found.lastgroup == "open":
            depth += 1
            if depth > MAX_NESTING:
                text = f"The statement holds more than {MAX_NESTING} brackets in each other"
                raise SqlSyntaxError(text, position_of(sql, found.start()))
        elif found.lastgroup == "close":
            depth -= 1


@dataclass
class _Level:
    """What is between two brackets, or CASE and END: how deep its expressions are nested.

    Attributes
    ----------
    opened_by : str
    relations : int
        Chained relations so far.
    deepest, current : int
        The deepest of the expressions that have ended, and the present one.
    in_from : bool
        Whether commas join relations.
    in_list : bool
        Whether commas part what is selected, grouped by, ordered by.
    """

    opened_by: str
    relations: int = 0
    deepest: int = 0
    current: int = 0
    in_from: bool = False
    in_list: bool = False

    @property
    def depth(self) -> int:
        return self.relations + max(self.deepest, self.current)

    def next(self) -> None:
        """Another expression begins."""
        self.deepest, self.current = max(self.deepest, self.current), 0


def check_nesting(sql: str) -> None:
    """Refuse a query nested more than `MAX_NESTING` deep or with more than `MAX_LISTED` expressions in lists,
    as far as its tokens tell.

    Raises
    ------
    SqlSyntaxError
        At the operation that is one too many.
    """
    if len(sql) < 2 * MAX_NESTING:
        return
    selects, listed, levels = 0, 0, [_Level("")]
    for token in tokenize(sql):
        if token.kind not in (WORD, OP):
            continue
        text, level = token.text, levels[-1]
        selects += text == "SELECT"
        if text in _COMBINING or (text == "," and level.in_from):
            level.relations += 1
            level.next()
        elif text in _BEGINNING:
            level.in_from = text == "FROM" or (level.in_from and text == "ON")
            level.in_list = text in _LISTING
            listed += level.in_list
            level.next()
        elif text == ",":
            listed += level.in_list
            level.next()
        elif text in _OPERATORS if token.kind == WORD else text not in _NO_OPERATORS:
            level.current += 1
        if text in ("(", "[", "CASE"):
            levels.append(_Level(text))
        elif (text in (")", "]") and len(levels) > 1) or (text == "END" and level.opened_by == "CASE"):
            levels.pop()
            level, inner = levels[-1], level
            level.current = max(level.current, inner.depth + 1)
        if level.depth > MAX_NESTING:
            raise _too_many(MAX_NESTING, "operations in each other", sql, token)
        if selects > MAX_NESTING:
            raise _too_many(MAX_NESTING, "SELECTs", sql, token)
        if listed > MAX_LISTED:
            raise _too_many(MAX_LISTED, "expressions in lists", sql, token)


def _too_many(most: int, what: str, sql: str, token: Token) -> SqlSyntaxError:
    return SqlSyntaxError(f"The query holds more than {most} {what}", position_of(sql, token.start))

"""How deep a query is nested: the query engine's stack holds only so many operations in each other.

Its parser limits brackets, but not chains, which read flat and are not: ``a OR b OR c`` is ``(a OR b) OR c``.
Some thousands of them would end the process, and planning them takes time by the square of their number.
"""

from __future__ import annotations

from dataclasses import dataclass

from kalam_jupyter.kalam.errors import SqlSyntaxError
from kalam_jupyter.kalam.tokens import OP, WORD, position_of, tokenize

#: Operations in each other; and SELECTs of one query, since each may read from the one before.
MAX_NESTING = 800
#: Operators in an expression; besides, all signs but these.
_OPERATORS = frozenset(
    ["AND", "OR", "NOT", "IS", "IN", "LIKE", "ILIKE", "SIMILAR", "BETWEEN", "COLLATE", "AT"]
)
_NO_OPERATORS = frozenset(["(", ")", "]", "{", "}", ",", ";", ".", ":"])
#: Between relations: these chains go on from clause to clause.
_COMBINING = frozenset(["JOIN", "UNION", "EXCEPT", "INTERSECT"])
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
    """

    opened_by: str
    relations: int = 0
    deepest: int = 0
    current: int = 0
    in_from: bool = False

    @property
    def depth(self) -> int:
        return self.relations + max(self.deepest, self.current)

    def next(self) -> None:
        """Another expression begins."""
        self.deepest, self.current = max(self.deepest, self.current), 0


def check_nesting(sql: str) -> None:
    """Refuse a query that is nested more than `MAX_NESTING` deep, as far as its tokens tell.

    Raises
    ------
    SqlSyntaxError
        At the operation that is one too many.
    """
    if len(sql) < 2 * MAX_NESTING:
        return
    selects, levels = 0, [_Level("")]
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
            level.next()
        elif text == ",":
            level.next()
        elif text in _OPERATORS if token.kind == WORD else text not in _NO_OPERATORS:
            level.current += 1
        if text in ("(", "[", "CASE"):
            levels.append(_Level(text))
        elif (text in (")", "]") and len(levels) > 1) or (text == "END" and level.opened_by == "CASE"):
            levels.pop()
            level, inner = levels[-1], level
            level.current = max(level.current, inner.depth + 1)
        if level.depth > MAX_NESTING or selects > MAX_NESTING:
            what = "SELECTs" if selects > MAX_NESTING else "operations in each other"
            raise SqlSyntaxError(
                f"The query holds more than {MAX_NESTING} {what}", position_of(sql, token.start)
            )

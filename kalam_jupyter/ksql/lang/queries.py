"""SELECT: its clauses in their order, relations, windows."""

from __future__ import annotations

import re
from collections.abc import Callable

from kalam_jupyter.ksql.lang import ast
from kalam_jupyter.ksql.lang.ast import Duration, Expression
from kalam_jupyter.ksql.lang.cursor import Role
from kalam_jupyter.ksql.lang.expressions import UNITS, ExpressionParser

_SOURCE_NAME = re.compile(r"[A-Za-z0-9_-]+")
_JOIN_WORDS = ("JOIN", "INNER", "LEFT", "RIGHT", "FULL", "OUTER")


class QueryParser(ExpressionParser):
    """Parses queries."""

    def query(self) -> ast.Query:
        """Parse ``SELECT .. FROM ..`` and the clauses behind it."""
        start = self.expect("SELECT").location
        select = self.items(self._select_item)
        self.expect("FROM")
        relation = self._relation()
        window = self._window() if self.accept("WINDOW") else None
        where = self.expression() if self.accept("WHERE") else None
        group_by = self._by("GROUP")
        partition_by = self._by("PARTITION")
        having = self.expression() if self.accept("HAVING") else None
        emit: ast.Emit | None = None
        if self.accept("EMIT", "CHANGES"):
            emit = "CHANGES"
        elif self.accept("EMIT", "FINAL"):
            emit = "FINAL"
        limit = self.integer("LIMIT") if self.accept("LIMIT") else None
        return ast.Query(
            select, relation, window, where, group_by, partition_by, having, emit, limit, location=start
        )

    def _by(self, word: str) -> tuple[Expression, ...] | None:
        """``GROUP BY a, b``, ``GROUP BY (a, b)`` or ``GROUP BY ()``."""
        if not self.accept(word, "BY"):
            return None
        if self.accept("(", ")"):
            return ()
        if self.at("(") and self._is_list():
            self.advance()
            return self.list_of(self.value_expression, ")")
        return self.items(self.value_expression)

    def _is_list(self) -> bool:
        """Whether the parenthesis that opens here holds a comma of its own."""
        depth, ahead = 0, 0
        while (token := self.peek(ahead)).key not in (";", "<EOF>"):
            depth += (token.key in ("(", "[")) - (token.key in (")", "]"))
            if depth == 0 or (token.key == "," and depth == 1):
                return depth == 1
            ahead += 1
        return False

    # Select items

    def _select_item(self) -> ast.SelectItem:
        start = self.token.location
        if self.accept("*"):
            return ast.AllColumns(location=start)
        if self.peek().key == "." and self.peek(2).key == "*":
            source = self.name("source")
            self.expect(".", "*")
            return ast.AllColumns(source, location=start)
        expression = self.expression()
        if self.accept("->", "*"):
            return ast.StructAll(expression, location=start)
        alias = self.name("name") if self.accept("AS") or self.at_name("name") else None
        return ast.SingleColumn(expression, alias, location=start)

    # Relations

    def _relation(self) -> ast.Relation:
        left: ast.Relation = self._source()
        while self.at(*_JOIN_WORDS):
            start = self.token.location
            kind = self._join_kind()
            right = self._source()
            within = self._within() if self.accept("WITHIN") else None
            self.expect("ON")
            left = ast.Join(left, right, kind, self.expression(), within, location=start)
        return left

    def _join_kind(self) -> ast.JoinKind:
        kind: ast.JoinKind = "INNER"
        if self.accept("LEFT"):
            kind = "LEFT"
        elif self.accept("RIGHT"):
            kind = "RIGHT"
        elif self.accept("FULL") or self.at("OUTER"):
            kind = "FULL"
        elif self.accept("INNER"):
            self.expect("JOIN")
            return kind
        if kind != "INNER":
            self.accept("OUTER")
        self.expect("JOIN")
        return kind

    def source_name(self, role: Role = "source") -> str:
        """Parse the name or alias of a source, which is also part of topic names and query ids."""
        token = self.token
        name = self.name(role)
        if token.kind == "quoted" and _SOURCE_NAME.fullmatch(name) is None:
            self.defer(
                f"Illegal argument at Line: {token.line}, Col: {token.column}. Source names may only contain "
                f"alphanumeric values, '_' or '-'. Got: '{name}'",
                token.location,
            )
        return name

    def _source(self) -> ast.SourceRef:
        start = self.token.location
        name = self.source_name()
        alias = self.source_name("name") if self.accept("AS") or self._at_bare_alias() else name
        return ast.SourceRef(name, alias, location=start)

    def _at_bare_alias(self) -> bool:
        """Whether a name without AS follows, and not a clause that starts with a usable name."""
        if self.at_words("EMIT", "CHANGES") or self.at_words("EMIT", "FINAL"):
            return False
        return not self.at_words("PARTITION", "BY") and self.at_name("name")

    def _within(self) -> ast.Within:
        if self.accept("("):
            before = self.duration("WITHIN")
            self.expect(",")
            after = self.duration("WITHIN")
            self.expect(")")
        else:
            before = after = self.duration("WITHIN")
        grace = self.duration("GRACE PERIOD") if self.accept("GRACE", "PERIOD") else None
        return ast.Within(before, after, grace, location=before.location)

    # Windows

    def duration(self, clause: str) -> Duration:
        """Parse a number and a unit; `clause` is what asks for it."""
        start = self.token.location
        amount = self.integer(clause)
        if amount < 0:
            self.defer(f"{clause} cannot be negative: {amount}", start)
            amount = 0
        if not self.at(*UNITS):
            self.no_viable(tuple(ast.UNIT_MS))
        return Duration(amount, UNITS[self.advance().key], location=start)

    def _window(self) -> ast.Window:
        name = None
        if not (self.at_words("SESSION", "(") or self.at("TUMBLING", "HOPPING")) and self.at_name("name"):
            name = self.name("name")
        start = self.token.location
        kind = self.expect_any("TUMBLING", "HOPPING", "SESSION")
        self.expect("(")
        durations = self._window_shape(kind)
        retention = self._window_option("RETENTION")
        grace = self._window_option("GRACE", "PERIOD")
        self.expect(")")
        self._check_window(kind, durations, retention, grace)
        return _WINDOWS[kind](*durations, retention=retention, grace=grace, name=name, location=start)

    def _window_shape(self, kind: str) -> tuple[Duration, ...]:
        if kind == "SESSION":
            return (self.duration("SESSION WINDOW"),)
        self.expect("SIZE")
        size = self.duration(f"{kind} WINDOW SIZE")
        if kind == "TUMBLING":
            return (size,)
        self.expect(",")
        self.expect("ADVANCE", "BY")
        return size, self.duration("ADVANCE BY")

    def _window_option(self, *words: str) -> Duration | None:
        if not self.accept(",", *words):
            return None
        return self.duration(" ".join(words))

    def _check_window(
        self,
        kind: str,
        durations: tuple[Duration, ...],
        retention: Duration | None,
        grace: Duration | None,
    ) -> None:
        """What can be said of a window without its query."""
        size = durations[0]
        if size.ms == 0:
            self.defer(f"{kind} window: the {'gap' if kind == 'SESSION' else 'size'} must be more than 0")
        if kind == "HOPPING" and not 0 < durations[1].ms <= size.ms:
            self.defer(
                f"HOPPING window: ADVANCE BY must be more than 0 and at most the size. Got {durations[1]}, "
                f"the size is {size}"
            )
        if retention is not None and retention.ms < size.ms + (grace.ms if grace else 0):
            self.defer(f"RETENTION {retention} is less than the window's size and grace period together")


_WINDOWS: dict[str, Callable[..., ast.Window]] = {
    "TUMBLING": ast.TumblingWindow,
    "HOPPING": ast.HoppingWindow,
    "SESSION": ast.SessionWindow,
}

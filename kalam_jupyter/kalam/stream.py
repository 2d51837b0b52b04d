"""A cursor over tokens, with the errors every parser of this dialect raises."""

from __future__ import annotations

from kalam_jupyter.kalam.errors import SqlSyntaxError
from kalam_jupyter.kalam.tokens import END, NUMBER, OP, QUOTED, STRING, WORD, Token, position_of, tokenize


class TokenStream:
    """Tokens of one statement and a position in them."""

    __slots__ = ("i", "sql", "tokens")

    def __init__(self, sql: str, tokens: list[Token] | None = None) -> None:
        self.sql = sql
        self.tokens = tokenize(sql) if tokens is None else tokens
        self.i = 0

    @property
    def current(self) -> Token:
        """The next token; the last one is of kind ``end``."""
        return self.tokens[self.i]

    def peek(self, ahead: int = 1) -> Token:
        """Return a token further on."""
        return self.tokens[min(self.i + ahead, len(self.tokens) - 1)]

    def advance(self) -> Token:
        """Return the next token and step over it."""
        token = self.tokens[self.i]
        if token.kind != END:
            self.i += 1
        return token

    def at_word(self, first: str, *more: str) -> bool:
        """Whether the next tokens are these keywords."""
        tokens, i = self.tokens, self.i
        token = tokens[i]
        if token.text != first or token.kind != WORD:
            return False
        for k, word in enumerate(more, i + 1):
            if k >= len(tokens) or tokens[k].text != word or tokens[k].kind != WORD:
                return False
        return True

    def accept_word(self, first: str, *more: str) -> bool:
        """Step over these keywords if they come next."""
        if self.at_word(first, *more):
            self.i += 1 + len(more)
            return True
        return False

    def accept_any(self, *words: str) -> str | None:
        """Step over the next token if it is one of these keywords and return it."""
        token = self.tokens[self.i]
        if token.kind == WORD and token.text in words:
            self.i += 1
            return token.text
        return None

    def at_op(self, op: str) -> bool:
        """Whether the next token is this operator or punctuation."""
        token = self.tokens[self.i]
        return token.kind == OP and token.text == op

    def accept_op(self, op: str) -> bool:
        """Step over this operator if it comes next."""
        if self.at_op(op):
            self.i += 1
            return True
        return False

    def expect_word(self, *words: str) -> None:
        """Step over these keywords, or raise `SqlSyntaxError`."""
        for word in words:
            if not self.accept_word(word):
                raise self.error(f"Expected: {word}, found: {self.found()}")

    def expect_op(self, op: str) -> None:
        """Step over this operator, or raise `SqlSyntaxError`."""
        if not self.accept_op(op):
            raise self.error(f"Expected: {op}, found: {self.found()}")

    def at_end(self) -> bool:
        """Whether all tokens are consumed; a trailing ``;`` counts as the end."""
        while self.accept_op(";"):
            pass
        return self.current.kind == END

    def expect_end(self) -> None:
        """Raise `SqlSyntaxError` unless all tokens are consumed."""
        if not self.at_end():
            raise self.error(f"Expected: end of statement, found: {self.found()}")

    def identifier(self, what: str = "identifier") -> str:
        """Return an identifier: lower case unless quoted."""
        token = self.current
        if token.kind == QUOTED:
            self.i += 1
            return token.text
        if token.kind == WORD:
            self.i += 1
            return self.sql[token.start : token.end].lower()
        raise self.error(f"Expected: {what}, found: {self.found()}")

    def raw_word(self, what: str = "name") -> str:
        """Return a bare or quoted name with its case kept: user ids, topics, storages, dotted names."""
        token = self.current
        if token.kind in (STRING, QUOTED):
            self.i += 1
            return token.text
        if token.kind not in (WORD, NUMBER):
            raise self.error(f"Expected: {what}, found: {self.found()}")
        start = end = token.start
        while True:
            token = self.current
            glue = token.kind in (WORD, NUMBER, QUOTED) or (token.kind == OP and token.text in "-.@:+")
            if token.start != end or not glue:
                break
            end = token.end
            self.i += 1
        return "".join(c for c in self.sql[start:end] if c not in '"`')

    def string(self, what: str = "string literal") -> str:
        """Return a string literal's value."""
        token = self.current
        if token.kind != STRING:
            raise self.error(f"Expected: {what}, found: {self.found()}")
        self.i += 1
        return token.text

    def integer(self, what: str = "integer") -> int:
        """Return a non-negative integer literal."""
        token = self.current
        if token.kind != NUMBER or not token.text.isdigit():
            raise self.error(f"Expected: {what}, found: {self.found()}")
        self.i += 1
        return int(token.text)

    def name(self) -> tuple[str | None, str]:
        """Return (namespace or None, name) of a table: ``[catalog.][ns.]table``, lower case unless quoted."""
        parts = [self.identifier("table name")]
        while self.accept_op("."):
            parts.append(self.identifier("table name"))
        if len(parts) == 3 and parts[0] == "kalam":
            parts = parts[1:]
        if len(parts) > 2:
            raise self.error(f"Invalid table name '{'.'.join(parts)}'")
        return (parts[0], parts[1]) if len(parts) == 2 else (None, parts[0])

    def rest(self) -> str:
        """Return the source text from the next token on."""
        return self.sql[self.current.start :]

    def found(self) -> str:
        """Describe the next token for an error message."""
        token = self.current
        return "end of statement" if token.kind == END else self.sql[token.start : token.end][:60]

    def error(self, text: str) -> SqlSyntaxError:
        """Make an error that points at the next token."""
        return SqlSyntaxError(text, position_of(self.sql, self.current.start))

"""The base of the parser: a cursor over tokens, and the errors it reports.

Parsing is by recursive descent. `at`, `accept` and `expect` compare the current token; a token of kind
``cursor`` (see `completion`) matches nothing and collects what it was compared with instead.

Two kinds of errors are told apart, as in ksqlDB: a *syntax error* fails the whole script before anything
runs and is raised; what is wrong with one statement that is well formed (a number out of range, say) is
kept in `deferred` and raised when that statement's turn comes.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NoReturn, TypeVar

from kalam_jupyter.ksql.errors import ParseError
from kalam_jupyter.ksql.lang.ast import Location
from kalam_jupyter.ksql.lang.tokens import RESERVED, STRUCTURAL, Token

T = TypeVar("T")
Role = Literal[
    "source",
    "column",
    "function",
    "type",
    "property",
    "topic",
    "query",
    "variable",
    "connector",
    "format",
    "setting",
    "name",
]
"""What is named; ``name`` is a name that is being invented."""

MAX_FRAMES = 700
"""How much of Python's stack nested parentheses, calls and types may take: its limit is 1000."""


class Cursor:
    """A position in a list of tokens.

    Attributes
    ----------
    deferred : ParseError or None
        The first thing that is wrong with a well-formed statement.
    variables : list of (Token, bool)
        The ``${name}`` tokens met, True where a name was expected and False where a literal was.
    expected_words, expected_roles : set
        What the ``cursor`` token was compared with.
    """

    def __init__(self, tokens: list[Token], *, probing: bool = False) -> None:
        self.tokens = tokens
        self.index = 0
        self.token = tokens[0]
        self.deferred: ParseError | None = None
        self.variables: list[tuple[Token, bool]] = []
        self.expected_words: set[str] = set()
        self.expected_roles: set[Role] = set()
        self.failed_at = -1
        self._frames = 0
        self._probing = probing
        self._production: tuple[int, Callable[[Any], object]] = (0, lambda cursor: None)

    # Moving

    def advance(self) -> Token:
        """Return the current token and go to the next; the last one is never left."""
        token = self.token
        if self.index < len(self.tokens) - 1:
            self.index += 1
            self.token = self.tokens[self.index]
        return token

    def peek(self, ahead: int = 1) -> Token:
        """The token `ahead` of the current one."""
        return self.tokens[min(self.index + ahead, len(self.tokens) - 1)]

    def at(self, *keys: str) -> bool:
        """Whether the current token is one of `keys`."""
        if self.token.key in keys:
            return True
        if self.token.kind == "cursor":
            self.expected_words.update(keys)
        return False

    def at_words(self, *keys: str) -> bool:
        """Whether the next tokens are these, in this order."""
        if len(keys) == 1:
            return self.at(keys[0])
        for i, key in enumerate(keys):
            token = self.peek(i)
            if token.key != key:
                if token.kind == "cursor":
                    self.expected_words.add(" ".join(keys[i:]))
                return False
        return True

    def accept(self, *keys: str) -> bool:
        """Skip these tokens if all of them come next."""
        if (self.token.key != keys[0] and self.token.kind != "cursor") or not self.at_words(*keys):
            return False
        for _ in keys:
            self.advance()
        return True

    def accept_any(self, *keys: str) -> str | None:
        """Skip the current token if it is one of `keys`, and say which."""
        return self.advance().key if self.at(*keys) else None

    def expect(self, *keys: str) -> Token:
        """Skip these tokens, which must come next; return the last."""
        token = self.token
        for key in keys:
            if not self.at(key):
                self.mismatch(key, insert=True)
            token = self.advance()
        return token

    def expect_any(self, *keys: str) -> str:
        """Skip one of `keys`, which must come next, and say which."""
        if not self.at(*keys):
            self.mismatch(*keys)
        return self.advance().key

    def list_of(self, item: Callable[[], T], close: str) -> tuple[T, ...]:
        """Parse ``item, item, .. close``."""
        items = [item()]
        while not self.accept(close):
            if not self.at(","):
                self.mismatch(",", close)
            self.advance()
            items.append(item())
        return tuple(items)

    def items(self, item: Callable[[], T]) -> tuple[T, ...]:
        """Parse ``item, item, ..``."""
        items = [item()]
        while self.accept(","):
            items.append(item())
        return tuple(items)

    # Names

    def at_name(self, role: Role) -> bool:
        """Whether the current token can be a name."""
        token = self.token
        if token.kind == "cursor":
            self.expected_roles.add(role)
        return (token.kind == "word" and token.key not in RESERVED) or token.kind in (
            "quoted",
            "variable",
            "digit word",
        )

    def name(self, role: Role, *, as_written: bool = False) -> str:
        """Parse an identifier: upper case unless quoted, or in any case `as_written`."""
        if not self.at_name(role):
            if self.token.key in RESERVED:
                self.reserved()
            self.no_viable(wanted=_WANTED.get(role, f"the name of a {role}"))
        token = self.advance()
        if token.kind == "variable":
            self.use_variable(token, as_name=True)
            return token.text
        if token.kind == "quoted" or as_written:
            return token.value
        return token.text.upper()

    def string(self) -> str:
        """Parse a string literal and return its value."""
        if not self.at("<string>"):
            self.mismatch("<string>")
        return self.advance().value

    # Nesting

    def enter(self, frames: int) -> None:
        """Go one level deeper, which takes that much stack; `leave` goes back."""
        self._frames += frames
        if self._frames > MAX_FRAMES:
            self.fail("Nested too deeply")

    def leave(self, frames: int) -> None:
        """Come back from `enter`."""
        self._frames -= frames

    # Errors

    def fail(self, detail: str, expected: Iterable[str] = ()) -> NoReturn:
        """Raise a syntax error at the current token."""
        token = self.token
        self.failed_at = self.index
        raise ParseError(
            f"line {token.line}:{token.column}: Syntax Error\n{detail}",
            token=token.text,
            expected=tuple(expected),
            line=token.line,
            column=token.column,
        )

    def no_viable(self, candidates: Sequence[str] = (), before: str = "", wanted: str = "") -> NoReturn:
        """Raise a syntax error where no alternative fits.

        A candidate that is spelt like the token, or like the word `before` it, is suggested. Where the
        statement ends too early, it is told what is `wanted`.
        """
        close = suggestion(self.token.text, candidates)
        if close is None and before.upper() not in candidates:
            close = suggestion(before, candidates)
        if close is not None:
            self.fail(f"Did you mean '{close}'?", candidates)
        ended = wanted and self.token.key in (";", "<EOF>")
        self.fail(f"The statement ends where {wanted} is expected" if ended else "", candidates)

    def reserved(self) -> NoReturn:
        """Raise a syntax error about a reserved word in a place where it means nothing."""
        token = self.token
        where = f"Syntax error at or near '{token.text}' at line {token.line}:{token.column}"
        hint = (
            "" if token.key in STRUCTURAL else f"\nTo use a reserved word as a name, quote it: `{token.text}`"
        )
        self.fail(where + hint)

    def mismatch(self, *keys: str, insert: bool = False) -> NoReturn:
        """Raise a syntax error at a token that is none of `keys`.

        More than three say nothing to a reader, so they are left out. `insert`: the message may be that
        the (only) key is missing, if inserting it would repair the text.
        """
        token = self.token
        if self._probing:
            self.fail("")
        expected = [_display(key) for key in keys]
        listed = expected[0] if len(expected) == 1 else f"{{{', '.join(expected)}}}"
        if insert and not self._removable(*keys) and self._insertable(keys[0]):
            self.fail(f"missing {listed} at '{token.text}'", keys)
        if token.key in RESERVED:
            self.reserved()
        if len(keys) > 3:
            self.no_viable(keys, wanted="a number" if "<integer>" in keys else f"one of {', '.join(keys)}")
        if self._removable(*keys):
            self.fail(f"extraneous input '{token.text}' expecting {listed}", keys)
        self.fail(f"Expecting {{{', '.join(expected)}}}", keys)

    def _removable(self, *keys: str) -> bool:
        """Whether leaving out the current token would repair the text, as far as the next token tells."""
        return self.token.kind != "end" and self.peek().key in keys

    def _insertable(self, key: str) -> bool:
        """Whether inserting `key` here lets the parser get past the current token."""
        here, production = self._production
        inserted = self.token._replace(kind="symbol", key=key, text=key, value=key)
        tokens = [*self.tokens[here : self.index], inserted, *self.tokens[self.index :]]
        probe = self.probe(tokens)
        try:
            production(probe)
        except ParseError:
            return probe.failed_at > self.index - here + 1
        return True

    def probe(self, tokens: list[Token]) -> Cursor:
        """A parser of the same kind that only finds out how far it gets."""
        return type(self)(tokens, probing=True)

    def begin(self, production: Callable[[Any], object]) -> None:
        """Note that `production` starts here: errors try their repairs from this point."""
        self._production = (self.index, production)

    def defer(self, message: str, location: Location | None = None) -> None:
        """Keep what is wrong with this statement, unless something was found before."""
        if self.deferred is None:
            where = location or self.token.location
            self.deferred = ParseError(
                f"Failed to prepare statement: {message}", line=where.line, column=where.column
            )

    def defer_at(self, message: str, token: Token) -> None:
        """As `defer`, with the position in the message: ksqlDB counts that column from 2."""
        self.defer(f"line {token.line}:{token.column + 1}: {message}", token.location)

    def use_variable(self, token: Token, *, as_name: bool) -> None:
        """Note a variable. If it is still there when the statement is prepared it was never defined."""
        self.variables.append((token, as_name))
        self.defer_at(
            f"Variable '{token.value}' is not defined. Set it with: DEFINE {token.value} = '..';", token
        )


#: What stands where something is named, unless it is "the name of a ..".
_WANTED: dict[Role, str] = {
    "source": "the name of a stream or table",
    "query": "the id of a query",
    "type": "a type",
    "name": "a name",
}

_DISPLAY = {
    "<integer>": "INTEGER_VALUE",
    "<decimal>": "DECIMAL_VALUE",
    "<float>": "FLOATING_POINT_VALUE",
    "<string>": "STRING",
    "<EOF>": "<EOF>",
}


def _display(key: str) -> str:
    return _DISPLAY.get(key, f"'{key}'")


def suggestion(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate that `word` was probably meant to be, or None."""
    close = difflib.get_close_matches(word.upper(), list(candidates), n=1, cutoff=0.7)
    return close[0] if close else None

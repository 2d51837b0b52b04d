"""Text to tokens.

Positions are those of the submitted text: lines and columns from 1, only ``\\n`` starts a line. Comments
and white space are dropped; lines that start with ``--@`` are directives of test scripts, kept aside.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from kalam_jupyter.ksql.errors import ParseError
from kalam_jupyter.ksql.lang.ast import Location

Kind = Literal[
    "word",
    "digit word",
    "quoted",
    "string",
    "integer",
    "decimal",
    "float",
    "variable",
    "symbol",
    "end",
    "cursor",
    "space",
    "comment",
    "directive",
]


class Token(NamedTuple):
    """One token.

    Attributes
    ----------
    key : str
        What the parser compares: a word in upper case, a symbol as it stands, ``<kind>`` for the rest.
    value : str
        The text, without quotes where it had some.
    start, end : int
        Offsets in the text.
    """

    kind: Kind
    key: str
    text: str
    value: str
    start: int
    end: int
    line: int
    column: int

    @property
    def location(self) -> Location:
        """Where it stands."""
        return Location(self.line, self.column)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words that must be quoted to be names, and words with a meaning that still are names when they stand
# where a name is expected.
RESERVED = _words(
    """
    ADVANCE ALL AND AS AT BEGINNING BETWEEN BY CASE CAST CATALOG CONNECTOR CONNECTORS CREATE DAYS DELETE
    DESCRIBE DISTINCT DROP ELSE END EXISTS EXPORT EXTENDED FALSE FROM FULL GROUP HAVING HOPPING HOURS IN
    INNER INSERT INTO IS JOIN LEFT LIKE LIMIT LIST LOAD MATERIALIZED MILLISECOND MILLISECONDS MINUTES
    MONTHS NAMESPACE NOT NULL ON OR OUTER PAUSE PRINT PROPERTIES QUERIES RENAME RESUME RETENTION RIGHT RUN
    SAMPLE SCRIPT SECONDS SELECT SIZE STREAM STREAMS TABLE TERMINATE THEN TO TOPIC TOPICS TRUE TUMBLING
    UNSET VALUES VIEW WHEN WHERE WINDOW WITH WITHIN YEARS
    """
)
# Reserved words that nobody means as a name.
STRUCTURAL = _words(
    """
    AND AS BETWEEN BY CASE CAST CREATE DISTINCT DROP ELSE EXISTS FALSE FROM GROUP HAVING IN INSERT INTO IS
    JOIN LIKE LIMIT NOT NULL ON OR SELECT THEN TRUE VALUES WHEN WHERE WINDOW WITH WITHIN
    """
)
NON_RESERVED = _words(
    """
    ADD ALTER ANALYZE ARRAY ASSERT CHANGES COLUMN COLUMNS DATE DAY DEFINE EMIT ESCAPE EXPLAIN FINAL FUNCTION
    FUNCTIONS GRACE HEADER HEADERS HOUR ID IF INTEGER INTERVAL KEY MAP MINUTE MONTH PARTITION PARTITIONS
    PERIOD PLUGINS PRIMARY REPLACE RESET SCHEMA SECOND SESSION SET SHOW SINK SOURCE STRING STRUCT SUBJECT
    SYSTEM TABLES TIME TIMEOUT TIMESTAMP TYPE TYPES UNDEFINE VARIABLES YEAR ZONE
    """
)
KEYWORDS = RESERVED | NON_RESERVED

_GRAMMAR: dict[Kind, str] = {
    "space": r"[\s\ufeff]+",
    "directive": r"--@[^\r\n]*",
    "comment": r"--[^\r\n]*|/\*.*?\*/",
    "string": r"'(?:[^']|'')*'",
    "quoted": r'`(?:[^`]|``)*`|"(?:[^"]|"")*"',
    "variable": r"\$\{[A-Za-z_][A-Za-z0-9_@]*\}",
    "float": r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)[eE][+-]?[0-9]+(?![A-Za-z0-9_@])",
    "decimal": r"[0-9]+\.[0-9]*|\.[0-9]+",
    "digit word": r"[0-9]+[A-Za-z_@][A-Za-z0-9_@]*",
    "integer": r"[0-9]+",
    "word": r"[A-Za-z_][A-Za-z0-9_@]*",
    "symbol": r"<>|!=|<=|>=|\|\||:=|->|=>|[;(),.\[\]<>=+\-*/%:]",
}
_TOKEN = re.compile("|".join(f"(?P<{k.replace(' ', '_')}>{v})" for k, v in _GRAMMAR.items()), re.DOTALL)
_KIND: dict[str | None, Kind] = {k.replace(" ", "_"): k for k in _GRAMMAR}
_IGNORED = ("space", "comment", "directive")
_MULTILINE = ("space", "comment", "string", "quoted")
_BAD_START = {
    "'": "Unterminated string: the closing ' is missing",
    "`": "Unterminated identifier: the closing ` is missing",
    '"': 'Unterminated identifier: the closing " is missing',
    "/": "Unterminated comment: the closing */ is missing",
}


def tokenize(text: str) -> list[Token]:
    """Return the tokens of `text`, ending with one of kind ``end``.

    Raises
    ------
    ParseError
        At a character that starts no token, or a quote or comment that does not end.
    """
    return [t for t in scan(text) if t.kind not in _IGNORED]


def readable(text: str) -> tuple[list[Token], int]:
    """Return the tokens before the first character that starts none, and its offset; never raises."""
    tokens: list[Token] = []
    end = 0
    try:
        for token in scan(text):
            end = token.end
            if token.kind not in _IGNORED and token.kind != "end":
                tokens.append(token)
    except ParseError:
        pass
    return tokens, end


def scan(text: str) -> Iterator[Token]:
    """Yield every token of `text`, white space and comments included."""
    position, line, line_start = 0, 1, 0
    size = len(text)
    match_at = _TOKEN.match
    while position < size:
        match = match_at(text, position)
        column = position - line_start + 1
        if match is None or (match.lastgroup == "symbol" and text.startswith("/*", position)):
            raise _bad_character(text, position, line, column)
        kind, found, end = _KIND[match.lastgroup], match.group(), match.end()
        yield Token(kind, _key(kind, found), found, _value(kind, found), position, end, line, column)
        if kind in _MULTILINE and "\n" in found:
            line += found.count("\n")
            line_start = position + found.rindex("\n") + 1
        position = end
    yield Token("end", "<EOF>", "<EOF>", "", size, size, line, size - line_start + 1)


def _key(kind: Kind, text: str) -> str:
    if kind == "word":
        return text.upper()
    if kind == "symbol":
        return "<>" if text == "!=" else text
    return f"<{kind}>"


def _value(kind: Kind, text: str) -> str:
    if kind in ("string", "quoted"):
        quote = text[0]
        return text[1:-1].replace(quote * 2, quote)
    if kind == "variable":
        return text[2:-1]
    if kind == "directive":
        return text[3:].strip()
    return text


def _bad_character(text: str, position: int, line: int, column: int) -> ParseError:
    character = text[position]
    reason = _BAD_START.get(character, f"Unrecognized character {character!r}")
    return ParseError(
        f"line {line}:{column}: Syntax Error\n{reason}", token=character, line=line, column=column
    )


def is_plain_name(name: str) -> bool:
    """Whether `name` reads as itself without quotes: upper case, and no reserved word."""
    if name in RESERVED:
        return False
    match = _TOKEN.match(name)
    return (
        match is not None
        and match.lastgroup in ("word", "digit_word")
        and match.end() == len(name)
        and name == name.upper()
    )

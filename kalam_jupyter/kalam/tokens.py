"""Tokens of the KalamDB dialect, and the split of a request into statements.

The tokenizer is one regular expression; a token is a plain tuple so that a long INSERT costs little. SELECT
text is never re-assembled from tokens: rewriting replaces spans of the original text.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from kalam_jupyter.kalam.errors import SqlSyntaxError

WORD, QUOTED, STRING, NUMBER, PARAM, OP, END = "word", "quoted", "string", "number", "param", "op", "end"


class Token(NamedTuple):
    """One token.

    Attributes
    ----------
    kind : str
        ``word``, ``quoted`` (identifier), ``string``, ``number``, ``param``, ``op`` or ``end``.
    text : str
        Upper-cased for words, the decoded value for strings and quoted identifiers, else as written.
    start, end : int
        Span in the source text.
    """

    kind: str
    text: str
    start: int
    end: int


# More digits are two numbers, which no statement has behind each other: int() refuses very many.
_TOKEN = re.compile(
    r"""(?P<space>\s+|--[^\n]*)
      |(?P<comment>/\*)
      |(?P<word>[^\W\d]\w*)
      |(?P<number>(?:\d{1,1000}(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)
      |(?P<string>'[^']*(?:''[^']*)*')
      |(?P<op>->>|->|<>|!=|<=|>=|\|\||::|=>|@>|<@|!~\*|!~|~\*|[(),=<>*+\-/.%;?\[\]{}:~&|^\#@!])
      |(?P<quoted>"[^"]*(?:""[^"]*)*"|`[^`]*(?:``[^`]*)*`)
      |(?P<param>\$\d+)
    """,
    re.VERBOSE,
)


def position_of(sql: str, offset: int) -> tuple[int, int]:
    """Return (line, column), 1-based, of a character offset."""
    line = sql.count("\n", 0, offset) + 1
    return line, offset - (sql.rfind("\n", 0, offset) + 1) + 1


def _comment_end(sql: str, start: int) -> int:
    """Return the offset behind a (nested) block comment; the end of the text when it is not closed."""
    depth, i = 1, start + 2
    while i < len(sql) and depth:
        if sql.startswith("/*", i):
            depth, i = depth + 1, i + 2
        elif sql.startswith("*/", i):
            depth, i = depth - 1, i + 2
        else:
            i += 1
    return i


def tokenize(sql: str) -> list[Token]:
    """Split SQL into tokens; the last one is of kind ``end``.

    Raises
    ------
    SqlSyntaxError
        For an unterminated string, an unterminated quoted identifier or a character that starts no token.
    """
    tokens: list[Token] = []
    add, match = tokens.append, _TOKEN.match
    i, n = 0, len(sql)
    while i < n:
        m = match(sql, i)
        if m is None:
            what = {"'": "Unterminated string literal", '"': "Unterminated quoted identifier"}.get(sql[i])
            raise SqlSyntaxError(what or f"Unexpected character {sql[i]!r}", position_of(sql, i))
        kind, end = m.lastgroup, m.end()
        if kind == "space":
            pass
        elif kind == "comment":
            end = _comment_end(sql, i)
        elif kind == "word":
            add(Token(WORD, sql[i:end].upper(), i, end))
        elif kind == "string":
            add(Token(STRING, sql[i + 1 : end - 1].replace("''", "'"), i, end))
        elif kind == "quoted":
            quote = sql[i]
            add(Token(QUOTED, sql[i + 1 : end - 1].replace(quote * 2, quote), i, end))
        else:
            add(Token(kind or OP, sql[i:end], i, end))
        i = end
    add(Token(END, "", n, n))
    return tokens


class UnterminatedQuoteError(ValueError):
    """A quoted string or identifier runs to the end of a batch."""


_SPLIT = re.compile(r"""'[^']*(?:''[^']*)*'|"[^"]*(?:""[^"]*)*"|`[^`]*(?:``[^`]*)*`|--[^\n]*|/\*|;|['"`]""")

#: A statement without comments and quoted names.
_PART = re.compile(r"(?:[^;']++|'[^']*+')++")
_EXECUTE = re.compile(r"(?:\s|--[^\n]*\n|/\*.*?\*/)*+EXECUTE\b", re.IGNORECASE | re.DOTALL).match


def split_statements(sql: str) -> list[str]:
    """Split a request on ``;`` outside quotes, comments, and what EXECUTE AS USER wraps; empty statements are
    dropped.

    A request without an inner ``;`` and without comments is one statement as it stands.

    Raises
    ------
    UnterminatedQuoteError
    """
    stripped = sql.strip()
    body = stripped.rstrip("; \t\r\n")
    if ";" not in body and "--" not in body and "/*" not in body:
        return [body] if body else []
    if not any(mark in body for mark in ('"', "`", "--", "/*")) and body.count("'") % 2 == 0:
        return _rejoined([part for found in _PART.findall(body) if (part := found.strip())])
    parts: list[str] = []
    start = i = 0
    blank = True  # only comments and space so far
    while (m := _SPLIT.search(stripped, i)) is not None:
        text = m.group()
        if text == ";":
            if not blank or stripped[i : m.start()].strip():
                parts.append(stripped[start : m.start()].strip())
            start, blank = m.end(), True
        else:
            if stripped[i : m.start()].strip():
                blank = False
            if text in ("'", '"', "`"):
                raise UnterminatedQuoteError("Unterminated quoted string in SQL batch")
            if text == "/*":
                i = _comment_end(stripped, m.start())
                continue
            if not text.startswith("--"):
                blank = False
        i = m.end()
    if not blank or stripped[i:].strip():
        parts.append(stripped[start:].strip())
    return _rejoined([p for p in parts if p])


def _rejoined(parts: list[str]) -> list[str]:
    """Put together what was cut inside the parentheses of EXECUTE AS USER."""
    if not any(map(_EXECUTE, parts)):
        return parts
    found: list[str] = []
    wrapping = False
    for part in parts:
        found.append(f"{found.pop()}; {part}" if wrapping else part)
        wrapping = _EXECUTE(found[-1]) is not None and _unclosed(found[-1])
    return found


def _unclosed(sql: str) -> bool:
    try:
        marks = [token.text for token in tokenize(sql) if token.kind == OP]
    except SqlSyntaxError:  # its parser says so
        return False
    return marks.count("(") > marks.count(")")

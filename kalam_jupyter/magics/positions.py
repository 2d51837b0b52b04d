"""Where in a cell a refusal points."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kalam_jupyter.magics.options import Dialect
from kalam_jupyter.magics.scan import split_cell

_QUOTED = re.compile(r"['\"`]([A-Za-z_]\w*(?:\.\w+)*)['\"`]|named ([A-Za-z_]\w*(?:\.\w+)*)")
_SAID = re.compile(r"(?:found: (\S[^\n]*?) at )?\b[Ll]ine:?\s*(\d+),?\s*[Cc]ol(?:umn)?:?\s*(\d+)")
_END = ("EOF", "end of statement")


def position_of(text: str, offset: int) -> tuple[int, int]:
    """Return line and column, both from 1, of an offset in `text`."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def offset_of(text: str, line: int, column: int) -> int:
    """Return the offset of a line and column, both from 1."""
    return sum(len(passed) + 1 for passed in text.split("\n")[: line - 1]) + column - 1


def locate(message: str, text: str, dialect: Dialect, statement: str | None = None) -> int | None:
    """Find where in a cell a message points.

    KalamDB counts lines and columns from the beginning of the statement that it refuses: the word that it
    found there tells which one that is. Without line and column, the first name that the message quotes
    is meant.

    Parameters
    ----------
    message : str
    text : str
        The cell.
    statement : str or None
        The statement that was refused, where the API says so.

    Returns
    -------
    int or None
        Offset in `text`.
    """
    pieces = [(0, len(text))] if dialect == "ksql" else list(_pieces(text))
    pieces = [(b, e) for b, e in pieces if statement and _bare(text[b:e]) == _bare(statement)] or pieces
    if (said := _SAID.search(message)) is not None:
        return _as_said(said, text, pieces)
    for quoted in _QUOTED.finditer(message):
        name = quoted.group(1) or quoted.group(2)
        for word in (name, name.rpartition(".")[2]):
            pattern = re.compile(rf"(?<![\w$]){re.escape(word)}(?![\w$])", re.IGNORECASE)
            for begin, end in pieces:
                if (found := pattern.search(text, begin, end)) is not None:
                    return found.start()
    return None


def _as_said(said: re.Match[str], text: str, pieces: list[tuple[int, int]]) -> int | None:
    word, line, column = said.group(1), int(said.group(2)), int(said.group(3))
    offsets = [(begin + offset_of(text[begin:end], line, column), end) for begin, end in pieces]
    within = [(offset, end) for offset, end in offsets if offset <= end]
    if word is None:
        return (
            within[-1][0] if within else None
        )  # of a text that is not closed: it takes the rest of the cell
    if word in _END:
        return next((offset for offset, end in within if not _bare(text[offset:end])), None)
    return next((offset for offset, _ in within if text.startswith(word, offset)), None)


def _pieces(text: str) -> Iterator[tuple[int, int]]:
    """Yield where statements begin and end: with the comments before them, and without."""
    end = 0
    for statement in split_cell(text):
        begin = end + len(text[end:]) - len(text[end:].lstrip())
        end = statement.start + len(statement.text)
        yield from dict.fromkeys(((begin, end), (statement.start, end)))


def _bare(statement: str) -> str:
    return statement.strip("; \t\r\n")

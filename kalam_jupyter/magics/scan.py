"""Looks at SQL text just closely enough to see what is text, comment or code, in either dialect."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

# Quoted things and comments, closed or (at the end of a cell being typed) not.
_OPAQUE = re.compile(
    r"""'(?:[^']|'')*'? | "(?:[^"]|"")*"? | `(?:[^`]|``)*`? | --[^\n]* | /\*.*?(?:\*/|\Z)""",
    re.DOTALL | re.VERBOSE,
)
_ASSIGNMENT = re.compile(r"\s*([A-Za-z_]\w*)\s*<<")
_FIRST_WORD = re.compile(r"[A-Za-z]+")


def blanked(text: str) -> str:
    """Return `text` with quoted pieces and comments replaced by spaces, every position kept."""
    return _OPAQUE.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)


def ends_in_comment(text: str) -> bool:
    """Whether what follows `text` on its last line would be part of a comment."""
    return any(
        found.end() == len(text) and found.group().startswith("--") for found in _OPAQUE.finditer(text)
    )


@dataclass(frozen=True)
class Statement:
    """One statement of a cell.

    Attributes
    ----------
    text : str
        Without the assignment in front of it, with its ``;`` if it had one.
    start : int
        Where `text` begins in the cell.
    target : str or None
        Python name on the left of ``<<``.
    """

    text: str
    start: int
    target: str | None

    @property
    def word(self) -> str:
        """The first word, in upper case; "" when there is none."""
        found = _FIRST_WORD.search(blanked(self.text))
        return found.group().upper() if found else ""


def split_cell(text: str) -> Iterator[Statement]:
    """Yield the statements of a cell; empty ones are left out."""
    code = blanked(text)
    begin = 0
    while begin < len(text):
        end = code.find(";", begin)
        end = len(text) if end < 0 else end + 1
        if code[begin:end].strip("; \t\r\n"):
            found = _ASSIGNMENT.match(code, begin, end)
            start = found.end() if found else begin
            start += len(code[start:end]) - len(code[start:end].lstrip())
            yield Statement(text[start:end].rstrip(), start, found.group(1) if found else None)
        begin = end


def padded(text: str, start: int, piece: str) -> str:
    """Return `piece` moved by line ends and spaces to where it stands in `text`.

    An error's line and column in the result are its line and column in `text`.
    """
    line_start = text.rfind("\n", 0, start) + 1
    return "\n" * text.count("\n", 0, start) + " " * (start - line_start) + piece

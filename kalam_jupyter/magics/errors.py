"""Errors as a notebook shows them: short, with the token marked, and no traceback."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

# Bold and red at once is a dark red in JupyterLab, hard to read on the dark theme's background of errors.
_RED, _BOLD, _DIM, _OFF = "\x1b[31m", "\x1b[1m", "\x1b[2m", "\x1b[0m"
_TOKEN_AT = re.compile(r"[A-Za-z_@$][\w$@]*|\d+(?:\.\d+)?|'[^']*'|\"[^\"]*\"|`[^`]*`|\S")


class MagicError(Exception):
    """Base of what the magics raise: IPython asks it how to show itself."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


class UsageError(MagicError):
    """A magic was called in a way it does not understand."""

    def _render_traceback_(self) -> list[str]:
        return [f"{_BOLD}{self}{_OFF}"]

    @staticmethod
    def near(word: str, known: Iterable[str]) -> str:
        """Return a sentence that suggests what `word` may have meant, "" if nothing is near."""
        found = UsageError.nearest(word, known)
        return f"Did you mean {found}?" if found else ""

    @staticmethod
    def nearest(word: str, known: Iterable[str]) -> str | None:
        """Return the name that `word` may have meant."""
        folded = {name.lower(): name for name in known}
        found = difflib.get_close_matches(word.lower(), folded, n=1, cutoff=0.6)
        return folded[found[0]] if found else None


class InterruptedCellError(MagicError):
    """The user, or --timeout, ended the wait for a statement."""

    def _render_traceback_(self) -> list[str]:
        return [f"{_BOLD}{self}{_OFF}"]


class SqlError(MagicError):
    """A statement was refused.

    Attributes
    ----------
    message : str
        In the API's own words.
    code : str
    line, column : int or None
        Position in the cell, both from 1; the magic's own line is line 1. Without a column, the statement
        that begins on the line is meant.
    hint : str
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        cell: str = "",
        line: int | None = None,
        column: int | None = None,
        hint: str = "",
        title: str = "SQL error",
    ) -> None:
        self.message, self.code, self.hint, self.title = message.strip(), code, hint, title
        self.line, self.column = line, column
        self._cell = cell
        super().__init__(message)

    @property
    def token(self) -> str:
        """The word at the position, "" without one."""
        source = self._source_line()
        found = _TOKEN_AT.match(source, (self.column or 1) - 1) if source and self.column else None
        return found.group() if found else ""

    def _source_line(self) -> str:
        lines = self._cell.split("\n")
        return lines[self.line - 1] if self.line and self.line <= len(lines) else ""

    def __str__(self) -> str:
        return "\n".join(self._lines(plain=True))

    def _render_traceback_(self) -> list[str]:
        return self._lines(plain=False)

    def _lines(self, *, plain: bool) -> list[str]:
        red, bold, dim, off = ("",) * 4 if plain else (_RED, _BOLD, _DIM, _OFF)
        where = f" at line {self.line}" if self.line else ""
        where += f", column {self.column}" if where and self.column else ""
        code = f" [{self.code}]" if self.code else ""
        lines = [f"{bold}{self.title}{off}{where}{dim}{code}{off}"]
        source = self._source_line().rstrip()
        if source and self.column is None:
            lines += ["", f"{dim}{self.line:>4} │ {off}{source}", ""]
        elif source:
            assert self.column is not None
            number = f"{self.line:>4} │ "
            marks = "^" * max(1, len(self.token))
            under = " " * (len(number) - 2) + "│ " + re.sub(r"\S", " ", source[: self.column - 1]) + marks
            lines += [
                "",
                f"{dim}{number}{off}{source}",
                f"{dim}{under[: len(number)]}{red}{under[len(number) :]}{off}",
                "",
            ]
        lines.append(self.message)
        if self.hint:
            lines.append(f"{bold}{self.hint}{off}")
        return lines

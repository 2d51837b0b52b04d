"""Cuts a ksqlDB script into the requests that carry it: a query goes alone, the rest goes together.

RUN SCRIPT is no request: as in ksqlDB's CLI, the client reads the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

_WORD = re.compile(r"[A-Za-z]+")
_QUERIES = frozenset({"SELECT", "PRINT"})
_TEXT = r"'((?:[^']|'')*)'"
_RUN_SCRIPT = re.compile(rf"RUN\s+SCRIPT\s+{_TEXT}\s*;?\s*\Z", re.IGNORECASE)
_SETTINGS = {
    "set": re.compile(rf"SET\s+{_TEXT}\s*=\s*{_TEXT}\s*;?\s*\Z", re.IGNORECASE),
    "unset": re.compile(rf"UNSET\s+{_TEXT}\s*;?\s*\Z", re.IGNORECASE),
    "define": re.compile(rf"DEFINE\s+([A-Za-z_]\w*)\s*=\s*{_TEXT}\s*;?\s*\Z", re.IGNORECASE),
    "undefine": re.compile(r"UNDEFINE\s+([A-Za-z_]\w*)\s*;?\s*\Z", re.IGNORECASE),
}


@dataclass(frozen=True)
class Statement:
    """One statement of a script.

    Attributes
    ----------
    text : str
        From its first word to its ``;``.
    start : int
        Where it begins in the script.
    """

    text: str
    start: int

    @property
    def is_query(self) -> bool:
        """Whether it is a SELECT or PRINT, which ``/ksql`` does not run."""
        word = _WORD.match(self.text)
        return word is not None and word.group().upper() in _QUERIES

    @property
    def script(self) -> str | None:
        """The path of RUN SCRIPT; None for other statements."""
        found = _RUN_SCRIPT.match(self.text)
        return None if found is None else found.group(1).replace("''", "'")

    @property
    def setting(self) -> tuple[str, str, str | None] | None:
        """(``set``, name, value) and the like for SET, UNSET, DEFINE and UNDEFINE; else None."""
        for kind, pattern in _SETTINGS.items():
            if found := pattern.match(self.text):
                groups = [g.replace("''", "'") for g in found.groups()]
                return kind, groups[0], groups[1] if len(groups) == 2 else None
        return None


@dataclass(frozen=True)
class Part:
    """Statements that travel in one request.

    Attributes
    ----------
    text : str
        The statements, moved to where they stood in the script by leading line ends and spaces, so
        that positions in error messages are positions in the script.
    statements : tuple of Statement
    is_query : bool
    script : str or None
        The path of a RUN SCRIPT, which is a part of its own.
    """

    text: str
    statements: tuple[Statement, ...]
    is_query: bool
    script: str | None = None


def split_script(text: str) -> list[Part]:
    """Cut `text` into parts: each query and RUN SCRIPT alone, the statements between them together.

    Raises
    ------
    ClientError
        If a quote or a comment is not closed.
    """
    parts: list[Part] = []
    for alone, group in groupby(_statements(text), key=lambda s: s.is_query or s.script is not None):
        run = list(group)
        requests = [[s] for s in run] if alone else [run]
        parts += [_part(text, some) for some in requests]
    return parts


def _part(text: str, statements: list[Statement]) -> Part:
    start, last = statements[0].start, statements[-1]
    before = text[:start]
    line_start = before.rfind("\n") + 1
    padding = "\n" * before.count("\n") + " " * (start - line_start)
    body = text[start : last.start] + last.text
    return Part(padding + body, tuple(statements), last.is_query, last.script)


def _statements(text: str) -> Iterator[Statement]:
    from kalam_jupyter.client.errors import ClientError
    from kalam_jupyter.ksql.errors import KsqlError
    from kalam_jupyter.ksql.lang.parser import statement_spans

    try:
        spans = statement_spans(text)
    except KsqlError as error:
        raise ClientError(
            error.message, code="40001", line=error.line, column=error.column, status=400
        ) from error
    for start, end in spans:
        statement = text[start:end]
        yield Statement(statement if statement.endswith(";") else f"{statement};", start)

"""LIKE patterns."""

from __future__ import annotations

import re
from functools import lru_cache
from re import Pattern

from kalam_jupyter.ksql.errors import StatementError

#: What Java's ``.`` does not match.
_LINE_TERMINATORS = "\n\r\u0085\u2028\u2029"


@lru_cache(1024)
def like_regex(pattern: str, escape: str | None) -> Pattern[str]:
    """Return the regular expression of a LIKE pattern: ``%`` any text, ``_`` any character, within one line.

    It matches in time linear in the text: what stands between two ``%`` is taken where it first occurs, and
    never taken back (an atomic group).

    Raises
    ------
    StatementError
        If `escape` is not one character.
    """
    if escape is not None and len(escape) != 1:
        raise StatementError(f"Expected the ESCAPE character to be a single character, but was: {escape}")
    any_character = f"[^{_LINE_TERMINATORS}]"
    pieces, escaped = [""], False
    for c in pattern:
        if escaped:
            pieces[-1] += re.escape(c)
            escaped = False
        elif c == escape:
            escaped = True
        elif c == "%":
            pieces.append("")
        else:
            pieces[-1] += any_character if c == "_" else re.escape(c)
    first, *between = pieces
    last = f"{any_character}*{between.pop()}" if between else ""
    return re.compile(first + "".join([f"(?>{any_character}*?{p})" for p in between if p]) + last)


def like(value: str, pattern: str, escape: str | None = None) -> bool:
    """Return whether the whole of `value` matches; fails (TypeError) on NULL."""
    return like_regex(pattern, escape).fullmatch(value) is not None

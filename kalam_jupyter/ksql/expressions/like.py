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

    Raises
    ------
    StatementError
        If `escape` is not one character.
    """
    if escape is not None and len(escape) != 1:
        raise StatementError(f"Expected the ESCAPE character to be a single character, but was: {escape}")
    any_character = f"[^{_LINE_TERMINATORS}]"
    parts, escaped = [], False
    for c in pattern:
        if escaped:
            parts.append(re.escape(c))
            escaped = False
        elif c == escape:
            escaped = True
        elif c == "%":
            parts.append(any_character + "*")
        elif c == "_":
            parts.append(any_character)
        else:
            parts.append(re.escape(c))
    return re.compile("".join(parts))


def like(value: str, pattern: str, escape: str | None = None) -> bool:
    """Return whether the whole of `value` matches; fails (TypeError) on NULL."""
    return like_regex(pattern, escape).fullmatch(value) is not None

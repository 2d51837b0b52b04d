"""Functions of regular expressions, which have Java's syntax (function contract 3.1)."""

from __future__ import annotations

from collections.abc import Callable

import regex

from kalam_jupyter.ksql.functions.registry import Library
from kalam_jupyter.ksql.functions.strings import MAX_PADDING
from kalam_jupyter.ksql.values.errors import EvaluationError
from kalam_jupyter.ksql.values.java_regex import compile_pattern, replacer

functions = Library("REGULAR EXPRESSION")

#: A pattern may take time exponential in its text: then the value fails, instead of holding up the engine.
MATCH_SECONDS = 5.0


def _patience(text: str) -> float | None:
    """Return how many seconds a match may take; looking at the clock is not worth it for short texts."""
    return None if len(text) < 24 else MATCH_SECONDS


@functions.scalar(
    "regexp_extract(pattern STRING, text STRING) -> STRING",
    "regexp_extract(pattern STRING, text STRING, group INT) -> STRING",
    examples=[("REGEXP_EXTRACT('(.*) (.*)', 'hello there', 2)", "there")],
)
def regexp_extract(pattern: str, text: str, group: int = 0) -> str | None:
    """First match of a pattern, or a group of it; NULL if nothing matches or there is no such group.

    A pattern that is not one fails.
    """
    compiled = compile_pattern(pattern)
    match = compiled.search(text, timeout=_patience(text))
    return match[group] if match and 0 <= group <= compiled.groups else None


@functions.scalar(
    "regexp_extract_all(pattern STRING, text STRING) -> ARRAY<STRING>",
    "regexp_extract_all(pattern STRING, text STRING, group INT) -> ARRAY<STRING>",
    examples=[("REGEXP_EXTRACT_ALL('.t', 'mat hot')", "[at, ot]")],
)
def regexp_extract_all(pattern: str, text: str, group: int = 0) -> list[str | None] | None:
    """All matches of a pattern, or a group of each; empty if nothing matches, NULL if there is no such
    group.
    """
    compiled = compile_pattern(pattern)
    if not 0 <= group <= compiled.groups:
        return None
    return [match[group] for match in compiled.finditer(text, timeout=_patience(text))]


@functions.scalar(
    "regexp_replace(text STRING, pattern STRING, replacement STRING) -> STRING",
    examples=[("REGEXP_REPLACE('foobar', 'o+(b)', '-$1')", "f-bar")],
)
def regexp_replace(text: str, pattern: str, replacement: str) -> str:
    """The text with all matches replaced; ``$1`` and ``${name}`` stand for groups, a backslash quotes."""
    compiled = compile_pattern(pattern)
    expand = replacer(replacement, compiled.groups)
    if (len(replacement) + 1) * (len(text) + 1) > MAX_PADDING:
        expand = _at_most(expand)
    result: str = compiled.sub(expand, text, timeout=_patience(text))
    return result


def _at_most(expand: Callable[[regex.Match[str]], str]) -> Callable[[regex.Match[str]], str]:
    """Return a replacement that fails before its results take the memory."""
    made = 0

    def counted(match: regex.Match[str]) -> str:
        nonlocal made
        piece = expand(match)
        made += len(piece)
        if made > MAX_PADDING:
            raise EvaluationError(f"REGEXP_REPLACE adds at most {MAX_PADDING} characters")
        return piece

    return counted


@functions.scalar(
    "regexp_split_to_array(text STRING, pattern STRING) -> ARRAY<STRING>",
    examples=[("REGEXP_SPLIT_TO_ARRAY('aabcda', '(ab|cd)')", "[a, , a]")],
)
def regexp_split_to_array(text: str, pattern: str) -> list[str]:
    """Pieces between matches, empty ones too.

    A pattern that can match nothing splits as Java does: no match of nothing in front, no empty pieces at the
    end.
    """
    compiled = compile_pattern(pattern)
    zero_width = compiled.match("") is not None
    pieces, at = [], 0
    for match in compiled.finditer(text, timeout=_patience(text)):
        start, end = match.span()
        if zero_width and end == 0:
            continue
        pieces.append(text[at:start])
        at = end
    pieces.append(text[at:])
    while zero_width and at and pieces and not pieces[-1]:
        pieces.pop()
    return pieces

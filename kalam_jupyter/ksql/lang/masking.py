"""Statements as they may be shown and logged: without the data of INSERT, without secrets of connectors."""

from __future__ import annotations

from kalam_jupyter.ksql.lang.ast import Statement
from kalam_jupyter.ksql.lang.format import format_masked
from kalam_jupyter.ksql.lang.tokens import Token, readable

_DATA = ("string", "integer", "decimal", "float")


def masked(text: str, tree: Statement) -> str:
    """Return the text of a statement, masked if it holds data or secrets."""
    formatted = format_masked(tree)
    return text if formatted is None else f"{formatted};"


def masked_broken(text: str) -> str:
    """Return the text of a statement that does not parse, with whatever may be data or a secret replaced.

    That is every literal behind VALUES of an INSERT or behind WITH of a connector, and all that follows a
    quote that does not end.
    """
    tokens, end = readable(text)
    start = _start_of_data(tokens)
    if start is None:
        return text
    parts: list[str] = []
    done = 0
    for token in tokens[start:]:
        if token.kind in _DATA:
            parts += [text[done : token.start], "'[value]'"]
            done = token.end
    return "".join(parts) + text[done:end]


def _start_of_data(tokens: list[Token]) -> int | None:
    keys = [token.key for token in tokens]
    begin = 1 if keys[:1] == ["EXPLAIN"] else 0
    if keys[begin : begin + 1] == ["INSERT"]:
        marker = "VALUES"
    elif keys[begin : begin + 1] == ["CREATE"] and "CONNECTOR" in keys:
        marker = "WITH"
    else:
        return None
    return keys.index(marker) if marker in keys else len(keys)

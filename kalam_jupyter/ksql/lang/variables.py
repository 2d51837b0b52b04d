"""Substitution of ``${name}``.

A variable stands for a name, for a literal, or for a part of a string; which one follows from where it
stands, and its value must be just that. So a value can never smuggle in more SQL than its place holds.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping

from kalam_jupyter.ksql.errors import ParseError
from kalam_jupyter.ksql.lang.ast import Location
from kalam_jupyter.ksql.lang.parser import ParsedStatement, parse_script
from kalam_jupyter.ksql.lang.statements import StatementParser
from kalam_jupyter.ksql.lang.tokens import Token, tokenize

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_@]*)\}")
_PLAIN_NAME = r"[A-Za-z_][A-Za-z0-9_@]*"
_NAME = re.compile(f'{_PLAIN_NAME}|`{_PLAIN_NAME}`|"{_PLAIN_NAME}"')
_LITERAL = re.compile(r"'(?:[^']|'')*'|[+-]?(?:\d+\.?\d*|\.\d+)(?:E[+-]?\d+)?|TRUE|FALSE|NULL", re.IGNORECASE)


def substitute(text: str, variables: Mapping[str, str], start: Location | None = None) -> str:
    """Replace the variables of one or more statements.

    Inside strings and quoted names a value is taken as it is, its quotes doubled. Names of variables compare
    without case; those that are not defined stay. Comments are left alone.

    Parameters
    ----------
    text : str
    variables : mapping of str to str
    start : Location, optional
        Where `text` starts, for messages.

    Raises
    ------
    ParseError
        If the text is no statement, or a value does not fit its place (``Illegal argument at Line: ..``).
    """
    if "${" not in text:
        return text
    values = {name.upper(): value for name, value in variables.items()}
    padding = _padding(start)
    tokens = tokenize(padding + text)
    is_name = _roles(tokens)
    parts: list[str] = []
    done = len(padding)
    for token in tokens:
        if token.kind in ("string", "quoted"):
            replacement = _REFERENCE.sub(
                functools.partial(_inside, quote=token.text[0], values=values), token.text
            )
        elif token.kind == "variable" and token.value.upper() in values:
            replacement = values[token.value.upper()].strip()
            _check(token, replacement, as_name=is_name[token.start])
        else:
            continue
        parts += [(padding + text)[done : token.start], replacement]
        done = token.end
    return "".join(parts) + (padding + text)[done:]


def prepare(statement: ParsedStatement, variables: Mapping[str, str]) -> ParsedStatement:
    """Return the statement with its variables replaced; its text changes, its location does not.

    Raises
    ------
    ParseError
        As `substitute` does, or because what came out is no statement.
    """
    text = substitute(statement.text, variables, statement.location)
    if text == statement.text:
        return statement
    (prepared,) = parse_script(_padding(statement.location) + text, cli=True, testing=True, terminated=False)
    return prepared


def _padding(start: Location | None) -> str:
    """White space that moves what follows to `start`."""
    return "" if start is None else "\n" * (start.line - 1) + " " * (start.column - 1)


def _roles(tokens: list[Token]) -> dict[int, bool]:
    """For the offset of each variable: does it stand for a name (True) or a literal (False)?"""
    parser = StatementParser(tokens, cli=True, testing=True)
    while not parser.at("<EOF>"):
        if not parser.at(";"):
            parser.statement()
        if not parser.at("<EOF>"):
            parser.expect(";")
    return {token.start: as_name for token, as_name in parser.variables}


def _inside(match: re.Match[str], quote: str, values: Mapping[str, str]) -> str:
    value = values.get(match[1].upper())
    return match[0] if value is None else value.replace(quote, quote * 2)


def _check(token: Token, value: str, *, as_name: bool) -> None:
    if (_NAME if as_name else _LITERAL).fullmatch(value) is None:
        raise ParseError(
            f"Illegal argument at Line: {token.line}, Col: {token.column}. Got: '{value}'",
            token=token.text,
            line=token.line,
            column=token.column,
        )

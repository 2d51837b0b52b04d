"""Parsers of what columns are made of: types, defaults, constraints, and the values of options."""

from __future__ import annotations

from typing import Any

from kalam_jupyter.engine.types import DataType
from kalam_jupyter.kalam import names
from kalam_jupyter.kalam.catalog import ColumnDef, Default
from kalam_jupyter.kalam.errors import StatementError
from kalam_jupyter.kalam.stream import TokenStream
from kalam_jupyter.kalam.tokens import NUMBER, OP, QUOTED, STRING, WORD
from kalam_jupyter.kalam.types import SERIAL_NAMES, make_type

DEFAULT_FUNCTIONS = {
    "NOW": "NOW",
    "CURRENT_TIMESTAMP": "NOW",
    "SNOWFLAKE_ID": "SNOWFLAKE_ID",
    "UUID_V7": "UUID_V7",
    "UUIDV7": "UUID_V7",
    "ULID": "ULID",
    "CURRENT_USER": "CURRENT_USER",
    "CURRENT_USER_ID": "CURRENT_USER",
}
_TWO_WORD_TYPES = {("DOUBLE", "PRECISION"), ("CHARACTER", "VARYING")}


def option_value(s: TokenStream) -> Any:
    """Read a string, number, TRUE/FALSE or bare word."""
    token = s.current
    negative = s.accept_op("-")
    token = s.current
    if token.kind == NUMBER:
        s.advance()
        number = float(token.text) if "." in token.text else int(token.text)
        return -number if negative else number
    if token.kind in (STRING, QUOTED):
        s.advance()
        return token.text
    if token.kind == WORD:
        s.advance()
        return {"TRUE": True, "FALSE": False}.get(token.text, s.sql[token.start : token.end])
    raise s.error(f"Expected: an option value, found: {s.found()}")


def data_type(s: TokenStream) -> tuple[DataType, bool]:
    """Read a column type; the flag says whether its name implies a generated default (SERIAL)."""
    token = s.current
    if token.kind not in (WORD, QUOTED):
        raise s.error(f"Expected: a data type, found: {s.found()}")
    s.advance()
    name = token.text.upper()
    if (name, s.current.text) in _TWO_WORD_TYPES and s.current.kind == WORD:
        name = f"{name} {s.advance().text}"
    arguments: list[int] = []
    if s.at_op("("):
        s.advance()
        while not s.accept_op(")"):
            inner = s.advance()
            if inner.kind == "end":
                raise s.error("Expected: ), found: end of statement")
            if inner.kind == NUMBER and inner.text.isdigit():
                arguments.append(int(inner.text))
            elif inner.kind == OP and inner.text == "-":
                raise s.error("Expected: a positive number")
    elif s.at_op("<"):
        _skip_brackets(s, "<", ">")
    elif s.at_op("["):
        _skip_brackets(s, "[", "]")
        name, arguments = "ARRAY", []
    if s.at_word("WITH", "TIME", "ZONE") or s.at_word("WITHOUT", "TIME", "ZONE"):
        name = "DATETIME" if s.advance().text == "WITH" else name
        s.i += 2
    if s.accept_word("UNSIGNED"):
        name += " UNSIGNED"
    try:
        return make_type(name, tuple(arguments)), name in SERIAL_NAMES
    except ValueError as error:
        raise StatementError("invalid_operation", str(error)) from None


def _skip_brackets(s: TokenStream, opening: str, closing: str) -> None:
    depth = 0
    while True:
        token = s.advance()
        if token.kind == "end":
            raise s.error(f"Expected: {closing}, found: end of statement")
        if token.kind == OP:
            depth += token.text.count(opening) - token.text.count(closing)
            if depth <= 0:
                return


def default_value(s: TokenStream) -> Default:
    """Read what follows DEFAULT.

    A call or word that is no default function is stored as a string of its text, as the reference does.
    """
    token = s.current
    negative = token.kind == OP and token.text in "+-"
    if negative:
        s.advance()
    number = s.current
    if number.kind == NUMBER:
        s.advance()
        value = int(number.text) if number.text.isdigit() else float(number.text)
        return Default("literal", -value if token.text == "-" else value)
    if token.kind == STRING:
        s.advance()
        return Default("literal", token.text)
    if token.kind == OP and token.text == "(":
        s.advance()
        inner = default_value(s)
        s.expect_op(")")
        return inner
    if token.kind not in (WORD, QUOTED):
        raise s.error(f"Expected: a default value, found: {s.found()}")
    s.advance()
    start, end = token.start, token.end
    called = s.at_op("(")
    if called:
        _skip_brackets(s, "(", ")")
        end = s.tokens[s.i - 1].end
    if token.kind == WORD and not called and token.text in ("TRUE", "FALSE", "NULL"):
        return Default("literal", {"TRUE": True, "FALSE": False, "NULL": None}[token.text])
    if token.kind == WORD and token.text in DEFAULT_FUNCTIONS:
        return Default("function", DEFAULT_FUNCTIONS[token.text])
    return Default("literal", s.sql[start:end])


def skip_constraint(s: TokenStream) -> None:
    """Step over a UNIQUE, CHECK, FOREIGN KEY or REFERENCES clause: accepted and ignored."""
    depth = 0
    while s.current.kind != "end":
        if depth == 0 and (s.at_op(",") or s.at_op(")")):
            return
        token = s.advance()
        if token.kind == OP:
            depth += {"(": 1, ")": -1}.get(token.text, 0)


def column_def(s: TokenStream, number: int) -> ColumnDef:
    """Read one column with its constraints."""
    name = s.identifier("column name").lower()
    if (problem := names.column_problem(name)) is not None:
        raise StatementError("invalid_operation", problem)
    type_, generated = data_type(s)
    nullable: bool | None = None
    primary, default, comment = False, None, None
    while not (s.at_op(",") or s.at_op(")") or s.at_end()):
        if s.accept_word("PRIMARY", "KEY"):
            primary = True
        elif s.accept_word("NOT", "NULL"):
            nullable = False
        elif s.accept_word("NULL"):
            nullable = True
        elif s.accept_word("DEFAULT"):
            default = default_value(s)
        elif s.accept_any("AUTO_INCREMENT", "AUTOINCREMENT") or s.accept_word("AUTO", "INCREMENT"):
            generated = True
        elif s.accept_any("GENERATED", "IDENTITY"):
            generated = True
            skip_constraint(s)
        elif s.accept_word("COMMENT"):
            comment = s.string()
        elif s.accept_any("UNIQUE", "CHECK", "REFERENCES", "CONSTRAINT", "COLLATE"):
            if not s.at_word("PRIMARY", "KEY"):
                _skip_unnamed(s)
        else:
            raise s.error(f"Expected: a column constraint, ',' or ')', found: {s.found()}")
    if generated and default is None:
        default = Default("function", "SNOWFLAKE_ID")
    return ColumnDef(
        number,
        name,
        type_,
        not primary if nullable is None else nullable and not primary,
        primary,
        default,
        comment,
    )


def _skip_unnamed(s: TokenStream) -> None:
    """Step over the rest of one ignored column constraint, up to the next one that counts."""
    depth = 0
    while s.current.kind != "end":
        if depth == 0 and (s.at_op(",") or s.at_op(")")):
            return
        stops = (("PRIMARY", "KEY"), ("NOT", "NULL"), ("DEFAULT",), ("COMMENT",))
        if depth == 0 and any(s.at_word(*words) for words in stops):
            return
        token = s.advance()
        if token.kind == OP:
            depth += {"(": 1, ")": -1}.get(token.text, 0)

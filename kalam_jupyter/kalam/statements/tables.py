"""Parsers of statements about namespaces, tables and views; `alter` has ALTER TABLE."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from kalam_jupyter.kalam.catalog import ColumnDef
from kalam_jupyter.kalam.errors import SqlSyntaxError, StatementError
from kalam_jupyter.kalam.statements import nodes
from kalam_jupyter.kalam.statements.columns import column_def, option_value, skip_constraint
from kalam_jupyter.kalam.stream import TokenStream

TABLE_TYPES = ("USER", "SHARED", "STREAM")
ACCESS_LEVELS = ("public", "private", "restricted", "dba")


# ---- namespaces --------------------------------------------------------------------------------------------


def create_namespace(s: TokenStream) -> nodes.Statement:
    """``CREATE NAMESPACE | SCHEMA [IF NOT EXISTS] n``."""
    quiet = s.accept_word("IF", "NOT", "EXISTS")
    name = s.raw_word("namespace name")
    s.expect_end()
    return nodes.CreateNamespace(name, quiet)


def drop_namespace(s: TokenStream) -> nodes.Statement:
    """``DROP NAMESPACE | SCHEMA [IF EXISTS] n [CASCADE]``."""
    quiet = s.accept_word("IF", "EXISTS")
    name = s.raw_word("namespace name").lower()
    s.accept_word("CASCADE")
    s.expect_end()
    return nodes.DropNamespace(name, quiet)


def alter_namespace(s: TokenStream) -> nodes.Statement:
    """``ALTER NAMESPACE n SET OPTIONS (k = v, ...)``."""
    name = s.raw_word("namespace name").lower()
    if not s.accept_word("SET", "OPTIONS"):
        raise StatementError("invalid_operation", "Expected SET OPTIONS clause")
    s.expect_op("(")
    options: dict[str, Any] = {}
    while not s.accept_op(")"):
        key = s.identifier("option name")
        s.expect_op("=")
        options[key] = option_value(s)
        if not s.at_op(")"):
            s.expect_op(",")
    s.expect_end()
    return nodes.AlterNamespace(name, options)


def use_namespace(s: TokenStream) -> nodes.Statement:
    """``USE [NAMESPACE] n``."""
    if s.at_word("NAMESPACE") and s.peek().kind != "end":
        s.advance()
    name = s.raw_word("namespace name").lower()
    s.expect_end()
    return nodes.UseNamespace(name)


# ---- CREATE TABLE ------------------------------------------------------------------------------------------


def create_table(s: TokenStream) -> nodes.Statement:
    """``CREATE [USER|SHARED|STREAM] TABLE [IF NOT EXISTS] [ns.]t (...) [WITH (...)]``."""
    try:
        return _create_table(s)
    except StatementError as error:
        found = SqlSyntaxError(f"Invalid CREATE TABLE statement: {error.text}")
        found.position = error.position
        raise found from None


def _create_table(s: TokenStream) -> nodes.Statement:
    prefix = s.accept_any(*TABLE_TYPES)
    s.expect_word("TABLE")
    quiet = s.accept_word("IF", "NOT", "EXISTS")
    table = s.name()
    s.expect_op("(")
    columns: list[ColumnDef] = []
    keys: list[str] = []
    while True:
        if s.at_word("CONSTRAINT") and s.peek(2).text in ("PRIMARY", "UNIQUE", "CHECK", "FOREIGN"):
            s.i += 2
        if s.accept_word("PRIMARY", "KEY"):
            s.expect_op("(")
            keys.append(s.identifier("column name").lower())
            while s.accept_op(","):
                keys.append(s.identifier("column name").lower())
            s.expect_op(")")
        elif ((s.at_word("UNIQUE") or s.at_word("CHECK")) and s.peek().text == "(") or s.at_word(
            "FOREIGN", "KEY"
        ):
            skip_constraint(s)
        elif s.at_op(")") and not columns:
            break
        else:
            columns.append(column_def(s, len(columns) + 1))
        if not s.accept_op(","):
            break
    s.expect_op(")")
    if s.accept_word("USING"):
        s.identifier()
    options: dict[str, Any] = {}
    if s.accept_word("WITH"):
        options = _table_options(s)
    s.expect_end()
    return nodes.CreateTable(
        table, _with_keys(columns, keys), _table_type(prefix, options.pop("type", None)), options, quiet
    )


def _with_keys(columns: list[ColumnDef], keys: list[str]) -> tuple[ColumnDef, ...]:
    seen: set[str] = set()
    for column in columns:
        if column.name in seen:
            raise StatementError("invalid_operation", f"Duplicate column name '{column.name}'")
        seen.add(column.name)
    if not columns:
        raise StatementError("invalid_operation", "A table needs at least one column")
    marked = [c.name for c in columns if c.primary_key] + keys
    if len(set(marked)) > 1:
        raise StatementError("invalid_operation", "Composite PRIMARY KEYs are not supported yet")
    for key in keys:
        if key not in seen:
            raise StatementError("invalid_operation", f"PRIMARY KEY column '{key}' does not exist")
    return tuple(replace(c, primary_key=True, nullable=False) if c.name in keys else c for c in columns)


def _table_type(prefix: str | None, option: str | None) -> str | None:
    if option is not None and option.upper() not in TABLE_TYPES:
        raise StatementError(
            "invalid_operation", f"Unknown table TYPE '{option}'. Supported values are USER, SHARED, STREAM"
        )
    if prefix and option and prefix != option.upper():
        raise StatementError(
            "invalid_operation",
            f"Conflicting table type definitions: CREATE {prefix} TABLE with TYPE = '{option.upper()}'",
        )
    chosen = prefix or option
    return None if chosen is None else chosen.lower()


def _integer_option(name: str, value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise StatementError("invalid_operation", f"{name} must be an integer, got '{value}'") from None


def _boolean_option(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    raise StatementError("invalid_operation", f"{name} must be TRUE or FALSE, got '{value}'")


def parse_flush_policy(text: str) -> dict[str, int]:
    """Read ``rows:N``, ``interval:S`` or both into their numbers."""
    policy: dict[str, int] = {}
    limits = {"rows": 1_000_000, "interval": 86_400}
    for part in str(text).split(","):
        key, _, number = part.strip().partition(":")
        key = key.strip().lower()
        if key not in limits or not number.strip().isdigit():
            raise StatementError(
                "invalid_operation", f"Invalid FLUSH_POLICY '{text}': use 'rows:N', 'interval:S'"
            )
        if not 1 <= int(number) < limits[key]:
            raise StatementError(
                "invalid_operation",
                f"Invalid FLUSH_POLICY '{text}': {key} must be at least 1 and below {limits[key]}",
            )
        policy[key] = int(number)
    return policy


def access_level(text: Any) -> str:
    """Return the stored form of an access level."""
    level = str(text).lower()
    if level not in ACCESS_LEVELS:
        raise StatementError(
            "invalid_operation",
            f"Invalid ACCESS_LEVEL '{text}'. Supported values: PUBLIC, PRIVATE, RESTRICTED, DBA",
        )
    return level


def _compression(text: Any) -> str:
    codec = str(text).lower()
    if codec not in ("none", "snappy", "zstd"):
        raise StatementError(
            "invalid_operation", f"Invalid COMPRESSION '{text}'. Supported values: none, snappy, zstd"
        )
    return codec


#: What reads the value of each option of WITH (..).
_OPTIONS: dict[str, Callable[[Any], Any]] = {
    "TYPE": str,
    "STORAGE_ID": str,
    "USE_USER_STORAGE": partial(_boolean_option, "USE_USER_STORAGE"),
    "FLUSH_POLICY": parse_flush_policy,
    "COMPRESSION": _compression,
    "DELETED_RETENTION_HOURS": partial(_integer_option, "DELETED_RETENTION_HOURS"),
    "TTL_SECONDS": partial(_integer_option, "TTL_SECONDS"),
    "ACCESS_LEVEL": access_level,
}


def _table_options(s: TokenStream) -> dict[str, Any]:
    s.expect_op("(")
    options: dict[str, Any] = {}
    while not s.accept_op(")"):
        name = s.identifier("option name").upper()
        s.expect_op("=")
        value = option_value(s)
        if name not in _OPTIONS:
            raise StatementError("invalid_operation", f"Unknown table option '{name}'")
        options[name.lower()] = _OPTIONS[name](value)
        if not s.at_op(")"):
            s.expect_op(",")
    return options


def drop_table(s: TokenStream) -> nodes.Statement:
    """``DROP [USER|SHARED|STREAM] TABLE [IF EXISTS] [ns.]t``."""
    s.accept_any(*TABLE_TYPES)
    s.expect_word("TABLE")
    quiet = s.accept_word("IF", "EXISTS")
    table = s.name()
    s.accept_any("CASCADE", "RESTRICT")
    s.expect_end()
    return nodes.DropTable(table, quiet)


def drop_view(s: TokenStream) -> nodes.Statement:
    """``DROP VIEW [IF EXISTS] [ns.]v``."""
    quiet = s.accept_word("IF", "EXISTS")
    view = s.name()
    s.expect_end()
    return nodes.DropView(view, quiet)


def create_view(s: TokenStream) -> nodes.Statement:
    """``CREATE [OR REPLACE] VIEW [ns.]v [(cols)] AS SELECT ...``."""
    replacing = s.accept_word("OR", "REPLACE")
    if s.at_word("MATERIALIZED"):
        raise StatementError("invalid_operation", "MATERIALIZED views are not supported")
    s.expect_word("VIEW")
    view = s.name()
    columns: list[str] = []
    if s.accept_op("("):
        columns.append(s.identifier("column name"))
        while s.accept_op(","):
            columns.append(s.identifier("column name"))
        s.expect_op(")")
    s.expect_word("AS")
    if not (s.at_word("SELECT") or s.at_word("WITH")):
        raise s.error(f"Expected: SELECT, found: {s.found()}")
    return nodes.CreateView(view, tuple(columns), s.rest().rstrip().rstrip(";"), replacing)

"""Parsers of namespace, table, view and ALTER TABLE statements."""

from __future__ import annotations

from typing import Any

from kalam_jupyter.engine.types import DataType
from kalam_jupyter.kalam import names
from kalam_jupyter.kalam.catalog import ColumnDef, Default
from kalam_jupyter.kalam.errors import SqlSyntaxError, StatementError
from kalam_jupyter.kalam.statements import nodes
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
TABLE_TYPES = ("USER", "SHARED", "STREAM")
ACCESS_LEVELS = ("public", "private", "restricted", "dba")
_TWO_WORD_TYPES = {("DOUBLE", "PRECISION"), ("CHARACTER", "VARYING")}


# ---- namespaces --------------------------------------------------------------------------------------------


def create_namespace(s: TokenStream) -> nodes.Statement:
    """``CREATE NAMESPACE [IF NOT EXISTS] n``."""
    quiet = s.accept_word("IF", "NOT", "EXISTS")
    name = s.raw_word("namespace name")
    s.expect_end()
    return nodes.CreateNamespace(name, quiet)


def drop_namespace(s: TokenStream) -> nodes.Statement:
    """``DROP NAMESPACE [IF EXISTS] n [CASCADE]``."""
    quiet = s.accept_word("IF", "EXISTS")
    name = s.raw_word("namespace name").lower()
    s.accept_any("CASCADE", "RESTRICT")
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


def _skip_constraint(s: TokenStream) -> None:
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
            _skip_constraint(s)
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
            _skip_constraint(s)
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
    from dataclasses import replace

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


def _table_options(s: TokenStream) -> dict[str, Any]:
    s.expect_op("(")
    options: dict[str, Any] = {}
    while not s.accept_op(")"):
        name = s.identifier("option name").upper()
        s.expect_op("=")
        value = option_value(s)
        match name:
            case "TYPE" | "STORAGE_ID":
                options[name.lower()] = str(value)
            case "USE_USER_STORAGE":
                options["use_user_storage"] = _boolean_option(name, value)
            case "FLUSH_POLICY":
                options["flush_policy"] = parse_flush_policy(value)
            case "DELETED_RETENTION_HOURS":
                options["deleted_retention_hours"] = _integer_option(name, value)
            case "TTL_SECONDS":
                options["ttl_seconds"] = _integer_option(name, value)
            case "ACCESS_LEVEL":
                options["access_level"] = access_level(value)
            case _:
                raise StatementError("invalid_operation", f"Unknown table option '{name}'")
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


def create_view(s: TokenStream) -> nodes.Statement:
    """``CREATE [OR REPLACE] VIEW [ns.]v [(cols)] AS SELECT ...``."""
    replace = s.accept_word("OR", "REPLACE")
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
    return nodes.CreateView(view, tuple(columns), s.rest().rstrip().rstrip(";"), replace)


# ---- ALTER TABLE -------------------------------------------------------------------------------------------


def alter_table(s: TokenStream) -> nodes.Statement:
    """``ALTER [USER|SHARED|STREAM] TABLE [ns.]t <one operation>``."""
    s.accept_any(*TABLE_TYPES)
    s.expect_word("TABLE")
    table = s.name()
    statement = _alter(s, table)
    s.expect_end()
    return statement


def _alter(s: TokenStream, table: nodes.Name) -> nodes.Statement:
    if s.accept_any("CREATE"):
        s.accept_word("VECTOR")
        s.expect_word("INDEX")
        column = s.identifier("column name")
        metric = (
            (s.accept_any("COSINE", "L2", "DOT") or _bad_metric(s)) if s.accept_word("USING") else "COSINE"
        )
        return nodes.AlterIndex(table, column, metric)
    if s.at_word("DROP", "INDEX") or s.at_word("DROP", "VECTOR", "INDEX"):
        s.advance()
        s.accept_word("VECTOR")
        s.expect_word("INDEX")
        return nodes.AlterIndex(table, s.identifier("column name"), None)
    if s.accept_word("ADD"):
        s.accept_word("COLUMN")
        name = s.current.text.lower()
        if name in names.RESERVED_COLUMNS or name == "_commit_seq":
            raise StatementError(
                "invalid_operation", f"Cannot add column '{name}': reserved system column name"
            )
        return nodes.AddColumn(table, column_def(s, 0))
    if s.accept_word("DROP"):
        s.accept_word("COLUMN")
        return nodes.DropColumn(table, s.identifier("column name"))
    if s.accept_word("MODIFY"):
        s.accept_word("COLUMN")
        name = s.identifier("column name")
        type_, _ = data_type(s)
        nullable = False if s.accept_word("NOT", "NULL") else True if s.accept_word("NULL") else None
        return nodes.ModifyColumn(table, name, type_, nullable)
    if s.accept_word("RENAME"):
        s.accept_word("COLUMN")
        name = s.identifier("column name")
        s.expect_word("TO")
        return nodes.RenameColumn(table, name, s.identifier("column name"))
    if s.accept_word("ALTER"):
        s.accept_word("COLUMN")
        return _alter_column(s, table, s.identifier("column name"))
    if s.accept_word("SET", "TBLPROPERTIES"):
        s.expect_op("(")
        s.expect_word("ACCESS_LEVEL")
        s.expect_op("=")
        level = access_level(option_value(s))
        s.expect_op(")")
        return nodes.SetAccessLevel(table, level)
    if s.accept_word("SET", "ACCESS", "LEVEL"):
        return nodes.SetAccessLevel(table, access_level(option_value(s)))
    raise s.error(f"Expected: an ALTER TABLE operation, found: {s.found()}")


def _bad_metric(s: TokenStream) -> str:
    raise s.error(f"Expected: COSINE, L2 or DOT, found: {s.found()}")


def _alter_column(s: TokenStream, table: nodes.Name, column: str) -> nodes.Statement:
    if s.accept_word("SET", "NOT", "NULL"):
        return nodes.SetNullable(table, column, False)
    if s.accept_word("DROP", "NOT", "NULL"):
        return nodes.SetNullable(table, column, True)
    if s.accept_word("DROP", "DEFAULT"):
        return nodes.SetDefault(table, column, None)
    s.expect_word("SET", "DEFAULT")
    start = s.current.start
    default = default_value(s)
    return nodes.SetDefault(table, column, default, s.sql[start : s.tokens[s.i - 1].end])

"""Parser of ALTER TABLE."""

from __future__ import annotations

from kalam_jupyter.kalam import names
from kalam_jupyter.kalam.errors import StatementError
from kalam_jupyter.kalam.statements import nodes
from kalam_jupyter.kalam.statements.columns import column_def, data_type, default_value, option_value
from kalam_jupyter.kalam.statements.tables import TABLE_TYPES, access_level
from kalam_jupyter.kalam.stream import TokenStream


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

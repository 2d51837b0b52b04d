"""Which names are allowed (SQL contract section 2.1)."""

from __future__ import annotations

import re

from kalam_jupyter.kalam.errors import StatementError

RESERVED_NAMESPACES = frozenset(
    [
        "system",
        "sys",
        "root",
        "kalamdb",
        "kalam",
        "main",
        "default",
        "sql",
        "admin",
        "internal",
        "information_schema",
        "pg_catalog",
        "datafusion",
    ]
)
SYSTEM_NAMESPACES = frozenset({"system", "information_schema", "pg_catalog", "datafusion"})
BUILTIN_NAMESPACES = ("default", "dba")
SYSTEM_COLUMNS = ("_seq", "_deleted")
RESERVED_COLUMNS = frozenset(
    [
        "_seq",
        "_deleted",
        "_id",
        "_row_id",
        "_rowid",
        "_key",
        "_updated",
        "_created",
        "_timestamp",
        "_version",
        "_hash",
    ]
)
#: What the reference's parser reserves for aliases, identifiers and table factors; its own additions; what no
#: expression could be read with as the name of a column.
_RESERVED_WORDS = """
    analyze anti asof cluster connect cross distribute end except exclude exists explain fetch for format from
    full global group having inner intersect interval into join lateral left limit match_condition
    match_recognize minus natural offset on open order outer partition pivot prewhere qualify returning right
    sample select semi set settings sort start straight_join struct tablesample top trim union unpivot using
    where window with

    alter create database delete drop index insert schema table tables tablespace update view

    all and as between case cast constraint distinct else false in is like not null or then true unique when
"""
RESERVED_WORDS = frozenset(_RESERVED_WORDS.split())

_PLAIN = re.compile(r"[A-Za-z0-9_]+\Z")
_USER = re.compile(r"[A-Za-z0-9_.@:+\-]{1,128}\Z")


def name_problem(name: str) -> str | None:
    """Return why `name` cannot name a namespace, table or column, or None when it can."""
    if not name:
        return "Name cannot be empty"
    if len(name) > 64:
        return f"Name is too long ({len(name)} characters, max 64)"
    if " " in name:
        return "Name cannot contain spaces"
    if name.startswith("_"):
        return "Name cannot start with underscore (reserved for system columns)"
    if name[0].isdigit():
        return "Name cannot start with a number"
    if not _PLAIN.match(name):
        return f"Name '{name}' contains invalid characters (only alphanumeric and underscore allowed)"
    if name.lower() in RESERVED_WORDS:
        return f"Name '{name}' is a reserved SQL keyword and cannot be used"
    return None


def check_namespace(name: str) -> str:
    """Return the stored form of a new namespace's name, or raise `StatementError`."""
    if name.lower() in RESERVED_NAMESPACES:
        raise StatementError("invalid_operation", f"Namespace '{name}' is reserved and cannot be used")
    if (problem := name_problem(name)) is not None:
        raise StatementError("invalid_operation", problem)
    return name.lower()


def column_problem(name: str) -> str | None:
    """Return why `name` cannot name a column, or None when it can."""
    if name.lower() in RESERVED_COLUMNS:
        return f"Invalid column name '{name}': Column name '{name}' is reserved and cannot be used"
    problem = name_problem(name)
    return None if problem is None else f"Invalid column name '{name}': {problem}"


def user_problem(name: str) -> str | None:
    """Return why `name` cannot be a user id, or None when it can."""
    if not name.strip():
        return "User cannot be empty"
    if not _USER.match(name) or ".." in name:
        return f"User '{name}' contains invalid characters"
    return None

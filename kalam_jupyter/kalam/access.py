"""Who may read, write, create and alter which table: the capability table of the contract (HTTP section
9)."""

from __future__ import annotations

from kalam_jupyter.kalam.auth import IMPERSONATION, Session
from kalam_jupyter.kalam.catalog import TableDef
from kalam_jupyter.kalam.errors import ADMIN_ROLES, StatementError

_ROLE_NAMES = {"user": "User", "service": "Service", "dba": "Dba", "system": "System"}


def role_name(role: str) -> str:
    """Return a role as error texts spell it."""
    return _ROLE_NAMES.get(role, role.capitalize())


def may_read_shared(role: str, level: str) -> bool:
    """Whether a role may read a shared table of an access level."""
    if level == "public":
        return True
    return role in ADMIN_ROLES or (role == "service" and level != "dba")


def may_write_shared(role: str, level: str) -> bool:
    """Whether a role may write a shared table of an access level."""
    return role in ADMIN_ROLES or (role == "service" and level != "dba")


def _impersonated(session: Session, table: TableDef) -> None:
    if session.actor is not None and table.type == "shared":
        raise StatementError(
            "plain",
            f"EXECUTE AS USER is not allowed on SHARED tables (table '{table.namespace}:{table.name}'). "
            "AS USER impersonation is only supported for USER and STREAM tables.",
        )


def check_block(session: Session, kind: str) -> None:
    """Raise `StatementError` for tables that are no part of a transaction: it could not undo what is written
    there, nor hold still what is read."""
    if session.in_block:
        raise StatementError(
            "invalid_operation", f"{kind} tables are not supported inside explicit transactions"
        )


def check_read(session: Session, table: TableDef) -> None:
    """Raise `StatementError` unless the session may read the table."""
    _impersonated(session, table)
    if table.type == "stream":
        check_block(session, "stream")
    if table.type == "shared" and not may_read_shared(session.role, table.access_level):
        raise StatementError(
            "permission_denied",
            f"Access denied: Role '{role_name(session.role)}' cannot access table '{table.qualified}'. "
            f"Shared table access denied (access_level={table.access_level.capitalize()})",
        )


def check_write(session: Session, table: TableDef) -> None:
    """Raise `StatementError` unless the session may change rows of the table."""
    _impersonated(session, table)
    if table.type == "stream":
        check_block(session, "stream")
    if table.type == "shared" and not may_write_shared(session.role, table.access_level):
        raise StatementError(
            "permission_denied", f"Shared table write denied (access_level={table.access_level.capitalize()})"
        )


def check_system_read(session: Session, name: str) -> None:
    """Raise `StatementError` unless the session may read `system.*`."""
    if not session.is_admin:
        raise StatementError(
            "permission_denied",
            f"Access denied: Role '{role_name(session.role)}' cannot access table '{name}'. System tables "
            "require 'dba' or 'system' role.",
        )
    check_block(session, "system")


def check_create(session: Session, table_type: str) -> None:
    """Raise `StatementError` unless the session may create tables of a type."""
    if table_type == "shared" and session.role == "user":
        raise StatementError("permission_denied", "Insufficient privileges to create shared tables")


def check_alter(session: Session, table: TableDef) -> None:
    """Raise `StatementError` unless the session may alter the table."""
    if table.type == "shared" and session.role == "user":
        raise StatementError("permission_denied", "Insufficient privileges to alter shared tables")


def require_admin(session: Session, statement: str) -> None:
    """Raise `StatementError` below role dba: the gate inside a handler."""
    if not session.is_admin:
        raise StatementError("unauthorized", f"{statement} requires DBA or System role")


def require_service(session: Session, statement: str) -> None:
    """Raise `StatementError` below role service."""
    if session.role == "user":
        raise StatementError("unauthorized", f"{statement} requires Service, DBA, or System role")


def may_act_for(actor: Session, target: str, target_role: str) -> bool:
    """Whether a session may run statements as another user."""
    return actor.user_id == target or target_role in IMPERSONATION[actor.role]

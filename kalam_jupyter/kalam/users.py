"""CREATE, ALTER and DROP USER."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import orjson

from kalam_jupyter.engine.transaction import Transaction
from kalam_jupyter.kalam import access
from kalam_jupyter.kalam.auth import ROOT, Auth
from kalam_jupyter.kalam.catalog import USER
from kalam_jupyter.kalam.context import Change
from kalam_jupyter.kalam.errors import StatementError
from kalam_jupyter.kalam.names import user_problem
from kalam_jupyter.kalam.passwords import password_problem
from kalam_jupyter.kalam.result import Result
from kalam_jupyter.kalam.statements import nodes

if TYPE_CHECKING:
    from kalam_jupyter.kalam.context import Context
    from kalam_jupyter.kalam.database import Kalam


def _hashed(kalam: Kalam, password: str) -> str:
    if kalam.config.enforce_password_complexity:
        problem = password_problem(password, complexity=True)
        if problem is not None:
            raise StatementError("invalid_operation", f"Weak password: {problem}")
    return kalam.auth.hash_password(password)


def _oauth(secret: str | None) -> str:
    try:
        data = orjson.loads(secret or "{}")
    except ValueError:
        raise StatementError("invalid_operation", "OAuth data must be a JSON object") from None
    for name in ("provider", "subject"):
        if not isinstance(data, dict) or not data.get(name):
            raise StatementError("invalid_operation", f"OAuth user requires '{name}' field")
    return orjson.dumps(data).decode()


def create_user(kalam: Kalam, ctx: Context, st: nodes.CreateUser) -> Result:
    """CREATE USER; a dropped user's name can be used again, the rows under it are the new user's."""
    if (problem := user_problem(st.user)) is not None:
        raise StatementError("invalid_operation", problem)
    if st.role == "system" and ctx.session.role != "system":
        raise StatementError("unauthorized", "DBA cannot grant System role")
    hashed = _hashed(kalam, st.secret or "") if st.auth == "Password" else None
    data = _oauth(st.secret) if st.auth == "OAuth" else None

    def apply(tx: Transaction) -> None:
        record = Auth.record(tx.now_ms, st.user, st.role, st.auth, hashed, st.email, data)
        before = tx.get(USER, st.user)
        if before is not None:
            if before["deleted_at"] is None:
                raise StatementError("already_exists", f"User '{st.user}' already exists")
            record["tokens_since"] = int(time.time())
        tx.put(USER, st.user, record)

    ctx.run(apply)
    return Result.say(f"User '{st.user}' created")


def alter_user(kalam: Kalam, ctx: Context, st: nodes.AlterUser) -> Result:
    """ALTER USER .. SET PASSWORD | ROLE | EMAIL."""
    access.require_admin(ctx.session, "ALTER USER")
    if st.what == "role" and st.value == "system" and ctx.session.role != "system":
        raise StatementError("unauthorized", "DBA cannot grant System role")
    change: dict[str, Any] = {st.what: st.value}
    if st.what == "password":
        change = {"password_hash": _hashed(kalam, st.value), "failed_login_attempts": 0, "locked_until": None}

    def apply(tx: Transaction) -> None:
        found = tx.get(USER, st.user)
        if found is None or found["deleted_at"] is not None:
            raise StatementError("not_found", f"User '{st.user}' not found")
        if found["role"] == "system" and ctx.session.role != "system":
            raise StatementError("unauthorized", "Only a System user may alter a System user")
        tx.put(USER, st.user, {**found, **change, "updated_at": tx.now_ms})

    ctx.run(apply)
    return Result.say(f"User '{st.user}' updated")


def drop_user(kalam: Kalam, ctx: Context, st: nodes.DropUser) -> Change[str]:
    """DROP USER: a soft delete."""

    def apply(tx: Transaction) -> str:
        found = tx.get(USER, st.user)
        if found is None or found["deleted_at"] is not None:
            if st.if_exists:
                return f"User '{st.user}' does not exist (skipped)"
            raise StatementError("not_found", f"User '{st.user}' not found")
        if st.user == ROOT:
            raise StatementError("invalid_operation", "User 'root' cannot be dropped")
        if found["role"] == "system" and ctx.session.role != "system":
            raise StatementError("unauthorized", "Only a System user may drop a System user")
        tx.put(USER, st.user, {**found, "deleted_at": tx.now_ms, "updated_at": tx.now_ms})
        return f"User '{st.user}' dropped (soft delete)"

    return Change.said(apply)


HANDLERS: dict[type[nodes.Statement], Any] = {
    nodes.CreateUser: create_user,
    nodes.AlterUser: alter_user,
    nodes.DropUser: drop_user,
}

"""The audit log: who did what. A relation like any other, written in the transaction of the deed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kalam_jupyter.engine import Engine
from kalam_jupyter.engine.ids import ulid
from kalam_jupyter.engine.transaction import Transaction
from kalam_jupyter.engine.types import STRING, Column, Schema
from kalam_jupyter.kalam.types import TIMESTAMP

if TYPE_CHECKING:
    from kalam_jupyter.kalam.auth import Session

RELATION = "kalam:system.audit_log"
SCHEMA = Schema(
    (
        Column("audit_id", STRING, key=True, nullable=False),
        Column("timestamp", TIMESTAMP),
        Column("actor_user_id", STRING),
        Column("action", STRING),
        Column("target", STRING),
        Column("details", STRING),
        Column("ip_address", STRING),
        Column("subject_user_id", STRING),
    )
)


class Audit:
    """Writes the audit log."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        if RELATION not in engine.relations():
            engine.transact(lambda tx: tx.create_relation(RELATION, SCHEMA))

    def record(
        self,
        tx: Transaction,
        session: Session,
        action: str,
        target: str,
        details: str | None = None,
    ) -> None:
        """Add an entry inside a transaction. Times are ms, as in all stored system tables."""
        actor = session.actor or session.user_id
        subject = session.user_id if session.actor is not None else None
        row = (ulid(tx.now_ms), tx.now_ms, actor, action, target, details, session.address, subject)
        tx.insert(RELATION, [row])

    def note(self, session: Session, action: str, target: str, details: str | None = None) -> None:
        """Add an entry as a transaction of its own."""
        self._engine.transact(lambda tx: self.record(tx, session, action, target, details))

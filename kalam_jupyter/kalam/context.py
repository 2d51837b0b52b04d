"""The circumstances a statement runs in."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from kalam_jupyter.engine.transaction import Transaction
from kalam_jupyter.kalam.catalog import TableDef
from kalam_jupyter.kalam.errors import StatementError
from kalam_jupyter.kalam.result import Result

if TYPE_CHECKING:
    from kalam_jupyter.kalam.auth import Session
    from kalam_jupyter.kalam.database import Kalam
    from kalam_jupyter.kalam.stopping import Stop

T = TypeVar("T")
Also = Callable[[Transaction, Any], None]


class Change(msgspec.Struct, Generic[T], frozen=True):
    """A statement that was found in order: what is left is to apply it.

    Attributes
    ----------
    apply : callable
        Makes the change in a transaction.
    answer : callable
        Makes the statement's result of what `apply` returned.
    """

    apply: Callable[[Transaction], T]
    answer: Callable[[T], Result]

    @classmethod
    def said(cls, apply: Callable[[Transaction], str]) -> Change[str]:
        """Return a change that says itself what it did."""
        return Change(apply, Result.say)


@dataclass
class Block:
    """An explicit transaction: BEGIN .. COMMIT of one request, run as one engine transaction."""

    id: str
    tx: Transaction
    started: float = field(default_factory=time.monotonic)
    written: int = 0

    def charge(self, size: int, limit: int) -> None:
        """Count what was written; StatementError over the limit."""
        self.written += size
        if self.written > limit:
            raise StatementError(
                "execution", f"transaction '{self.id}' exceeded buffer limit of {limit} bytes and was aborted"
            )

    def check_age(self, limit: float) -> None:
        """StatementError when the transaction is too old to be committed."""
        if time.monotonic() - self.started > limit:
            raise StatementError(
                "timeout", f"cannot commit transaction '{self.id}' because it timed out and was aborted"
            )


class Context(msgspec.Struct):
    """Who runs a statement, with what, and inside which transaction.

    Attributes
    ----------
    params : sequence
        Values of ``$1``, ``$2``, ...
    namespace : str
        Where unqualified names are looked up.
    limit : bool
        Whether the limits for HTTP clients apply: of an answer's rows, and of its bytes.
    block : Block or None
        The explicit transaction that is open.
    also : callable or None
        Called with the transaction of each change and what the change returned; part of it.
    stop : Stop or None
        Ends the request's queries early.
    audit : tuple or None
        (action, target, details) recorded with the statement's own change.
    """

    kalam: Kalam
    session: Session
    params: Sequence[Any] = ()
    namespace: str = "default"
    limit: bool = False
    block: Block | None = None
    stop: Stop | None = None
    also: Also | None = None
    audit: tuple[str, str, str | None] | None = None

    def owner(self, table: TableDef) -> str:
        """Return whose rows of a table the session means."""
        return self.session.user_id if table.owned else ""

    def run(self, apply: Callable[[Transaction], T]) -> T:
        """Apply a change: inside the open transaction, else as one of its own.

        Raises what `apply` raises; then nothing was changed.
        """
        if self.block is not None:
            return self._recorded(self.block.tx, apply)
        return self.kalam.engine.transact(self.recorded(apply))

    def recorded(self, apply: Callable[[Transaction], T]) -> Callable[[Transaction], T]:
        """Return a change as a function of its own transaction, its entry in the audit log included."""
        if self.also is None and self.audit is None:
            return apply
        return lambda tx: self._recorded(tx, apply)

    def _recorded(self, tx: Transaction, apply: Callable[[Transaction], T]) -> T:
        result = apply(tx)
        if self.also is not None:
            self.also(tx, result)
        if self.audit is not None:
            self.kalam.audit.record(tx, self.session, *self.audit)
            self.audit = None
        return result

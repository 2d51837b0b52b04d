"""What a transaction has done so far: how it is taken back, and what the log needs to do it again.

The operations are those of `RelationOperations`, `TopicOperations` and `ProcessorOperations`; a
`Transaction` has them all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from kalam_jupyter.engine.entry import EntryWriter
from kalam_jupyter.engine.errors import EngineError, NotFoundError
from kalam_jupyter.engine.relation import ChangeSet, Relation
from kalam_jupyter.engine.rowset import RowSet
from kalam_jupyter.engine.topic import Topic

if TYPE_CHECKING:
    from kalam_jupyter.engine.engine import Engine


class Operations(msgspec.Struct, eq=False):
    """The record of one transaction. An operation is applied at once, and then noted by `_did`.

    Attributes
    ----------
    engine : Engine
    position : int
        Log position that the change gets.
    now_ms : int
        Processing time of the whole transaction.
    entry : EntryWriter or None
        Collects what is to be written; None without a log, and when the log is replayed.
    callbacks, changes, touched, topics, dropped
        What the writer has to call, to publish, and to look after, once it is committed.
    """

    engine: Engine
    position: int
    now_ms: int
    entry: EntryWriter | None
    callbacks: list[Callable[[], None]] = []
    changes: dict[tuple[int, str], tuple[Relation, ChangeSet]] = {}
    touched: dict[int, RowSet] = {}
    topics: dict[str, Topic] = {}
    dropped: list[Relation | Topic] = []
    _undo: list[Callable[[], object]] = []
    _open: bool = True

    @property
    def changed(self) -> bool:
        """Whether there is something to commit."""
        return bool(self._undo)

    def close(self) -> None:
        """Take no more operations."""
        self._open = False

    def rollback(self) -> None:
        """Take everything back, last first."""
        self._open = False
        for undo in reversed(self._undo):
            undo()
        self._undo.clear()

    def on_commit(self, callback: Callable[[], None]) -> None:
        """Call `callback` in the writer once the change is durable. It must not block."""
        self._check_open()
        self.callbacks.append(callback)

    def _check_open(self) -> None:
        if not self._open:
            raise EngineError("the transaction is over: use it inside the function it was handed to")

    def _did(self, undo: Callable[[], object], *operation: Any) -> None:
        """Note an operation: how to take it back, and its name and arguments for the log."""
        self._undo.append(undo)
        if self.entry is not None:
            self.entry.add(operation)

    def _relation(self, name: str) -> Relation:
        self._check_open()
        relation = self.engine.relation_map.get(name)
        if relation is None:
            raise NotFoundError("relation", name)
        return relation

    def _topic(self, name: str) -> Topic:
        self._check_open()
        topic = self.engine.topic_map.get(name)
        if topic is None:
            raise NotFoundError("topic", name)
        return topic

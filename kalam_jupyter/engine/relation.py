"""Relations: tables of rows, one row set per owner, with snapshots and change subscriptions.

Isolation lives here: a relation that is `owned` has one row set per owner, and every read and write
names the owner whose rows it means; there is no call that reads across owners by accident.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import numpy as np
import pyarrow as pa

from kalam_jupyter.engine.batch import Int64s, Row
from kalam_jupyter.engine.chunk import Live, batch_to_rows
from kalam_jupyter.engine.errors import EngineError, NotFoundError
from kalam_jupyter.engine.history import History, Subscription
from kalam_jupyter.engine.rowset import RowSet
from kalam_jupyter.engine.types import Schema, shared

if TYPE_CHECKING:
    import pandas as pd

#: Changes kept for subscribers; a reader further behind gets `OverrunError`.
CHANGES_RETAINED: Final = 262_144


@dataclass(frozen=True)
class Constant:
    """Value of a new column for the rows that are there (`Transaction.alter_relation`)."""

    value: Any


class Change(NamedTuple):
    """One row's change.

    Attributes
    ----------
    op : str
        ``insert``, ``update`` or ``delete``.
    old, new : tuple or None
        The row before and after, physical values.
    """

    op: Literal["insert", "update", "delete"]
    old: Row | None
    new: Row | None


class ChangeSet:
    """What one transaction changed in one relation (of one owner), in order.

    Attributes
    ----------
    position : int
    relation, owner : str
    num_changes : int
    """

    __slots__ = ("_parts", "_schema", "num_changes", "owner", "position", "relation")

    def __init__(self, position: int, relation: str, owner: str, schema: Schema) -> None:
        self.position, self.relation, self.owner = position, relation, owner
        self._schema = schema
        self._parts: list[list[Change] | pa.RecordBatch] = []
        self.num_changes = 0

    def add(self, changes: Iterable[Change]) -> None:
        """Add changes (the transaction does)."""
        part = list(changes)
        self._parts.append(part)
        self.num_changes += len(part)

    def add_batches(self, batches: Sequence[pa.RecordBatch]) -> None:
        """Add inserted batches; their rows are made when somebody reads them."""
        self._parts.extend(batches)
        self.num_changes += sum(b.num_rows for b in batches)

    def changes(self) -> list[Change]:
        """Return the changes in order."""
        found: list[Change] = []
        for part in self._parts:
            if isinstance(part, list):
                found.extend(part)
            else:
                found.extend(Change("insert", None, row) for row in batch_to_rows(self._schema, part))
        return found


class Snapshot:
    """The rows of a relation (of one owner) at one log position. Immutable; made when first read.

    Attributes
    ----------
    position : int
    schema : Schema
    num_rows : int
    """

    def __init__(self, position: int, schema: Schema, parts: Sequence[Live]) -> None:
        self.position = position
        self.schema = schema
        self._parts = parts
        self.num_rows = sum(p.num_rows for p in parts)

    def batches(self) -> list[pa.RecordBatch]:
        """Return the rows as record batches of ``schema.arrow``."""
        return [p.batch() for p in self._parts]

    def rows(self) -> list[Row]:
        """Return the rows as tuples of physical values."""
        return [row for p in self._parts for row in p.rows()]

    def row_ids(self) -> Int64s:
        """Return each row's id, numpy int64 of `num_rows`, aligned with `batches`."""
        if not self._parts:
            return np.empty(0, dtype=np.int64)
        return np.concatenate([p.ids() for p in self._parts])

    @cached_property
    def _table(self) -> pa.Table:
        return pa.Table.from_batches(self.batches(), schema=self.schema.arrow)

    def table(self) -> pa.Table:
        """Return the rows as one Arrow table, without copying."""
        return self._table

    def frame(self) -> pd.DataFrame:
        """Return the rows as a DataFrame with ArrowDtype columns, without copying."""
        import pandas as pd

        frame: pd.DataFrame = self._table.to_pandas(types_mapper=pd.ArrowDtype)
        return frame


class ChangeHistory(History[ChangeSet]):
    """Changes of one row set, kept while somebody is subscribed."""

    def record(self, changes: ChangeSet) -> None:
        """Add a committed change set and forget the oldest beyond what is retained."""
        with self._lock:
            self.push(changes, changes.num_changes)
            excess = 0
            while excess < len(self.items) - 1 and self.end - self.starts[excess + 1] >= CHANGES_RETAINED:
                excess += 1
            self.drop_front(excess)


class Relation:
    """A named table. Reads may come from any thread; only transactions write.

    Attributes
    ----------
    name : str
    schema : Schema
    owned : bool
        Whether each owner has rows of their own.
    """

    def __init__(
        self, name: str, schema: Schema, owned: bool, lock: threading.RLock, position: Callable[[], int]
    ) -> None:
        self.name = name
        self.uid = secrets.token_hex(8)
        self.schema = shared(schema)
        self.owned = owned
        self._lock = lock
        self._position = position
        self._row_sets: dict[str, RowSet] = {}
        self._histories: dict[str, ChangeHistory] = {}
        self._snapshots: dict[str, tuple[int, Snapshot]] = {}
        self._dropped = False

    # Reading

    def owners(self) -> list[str]:
        """Return the owners that have rows, sorted."""
        with self._lock:
            return sorted(owner for owner, rows in self._row_sets.items() if rows.live_rows)

    def snapshot(self, owner: str = "") -> Snapshot:
        """Return the rows as of now; the same object until something changes."""
        with self._lock:
            self._check(owner)
            rows = self._row_sets.get(owner)
            version = -1 if rows is None else rows.version
            found = self._snapshots.get(owner)
            if found is None or found[0] != version:
                parts = [] if rows is None else rows.live()
                found = self._snapshots[owner] = (version, Snapshot(self._position(), self.schema, parts))
            return found[1]

    def get(self, key: Row, owner: str = "") -> Row | None:
        """Return the row of a primary key, physical values, or None."""
        with self._lock:
            self._check(owner)
            rows = self._row_sets.get(owner)
            return None if rows is None else rows.get(key)

    def count(self, owner: str = "") -> int:
        """Return the number of rows."""
        with self._lock:
            self._check(owner)
            rows = self._row_sets.get(owner)
            return 0 if rows is None else rows.live_rows

    def subscribe(
        self, owner: str = "", wake: Callable[[], None] | None = None, *, quiet: bool = False
    ) -> Subscription[ChangeSet]:
        """Follow changes from now on: one `ChangeSet` for each transaction that changed something.

        See `History.subscribe` for `quiet`.
        """
        with self._lock:
            self._check(owner)
            history = self._histories.get(owner)
            if history is None:
                # What it holds is committed: its readers need not wait for a writer who is at work.
                history = self._histories[owner] = ChangeHistory(threading.RLock())
            return history.subscribe("latest", wake, quiet=quiet)

    def _check(self, owner: str) -> None:
        if self._dropped:
            raise NotFoundError("relation", self.name)
        if self.owned != bool(owner):
            need = "keeps rows per owner: name one" if self.owned else "has no owners"
            raise EngineError(f"relation '{self.name}' {need}")

    # Writing: for the transaction, under the lock

    def row_set(self, owner: str) -> RowSet:
        """Return the row set of an owner, made at the first write."""
        rows = self._row_sets.get(owner)
        if rows is None:
            self._check(owner)
            rows = self._row_sets[owner] = RowSet(self.name, self.schema)
        return rows

    def row_sets(self) -> dict[str, RowSet]:
        """Return the row sets by owner."""
        return self._row_sets

    def change_set(self, owner: str, position: int) -> ChangeSet | None:
        """Return an empty change set, or None when nobody would read it."""
        history = self._histories.get(owner)
        if history is None:
            return None
        if not history.subscribed:
            del self._histories[owner]
            return None
        return ChangeSet(position, self.name, owner, self.schema)

    def publish(self, changes: ChangeSet) -> Sequence[Subscription[Any]]:
        """Record committed changes and return who is to be told."""
        history = self._histories.get(changes.owner)
        if history is None or not changes.num_changes:
            return ()
        history.record(changes)
        return list(history.subscriptions())

    def replace_rows(self, schema: Schema, row_sets: dict[str, RowSet]) -> tuple[Schema, dict[str, RowSet]]:
        """Put other rows of another schema in place; return those that were there."""
        before = self.schema, self._row_sets
        self.schema, self._row_sets = shared(schema), row_sets
        self._snapshots.clear()
        return before

    def drop(self) -> None:
        """Say that the relation is no more; subscribers get `NotFoundError`."""
        self._dropped = True
        self._snapshots.clear()
        for history in self._histories.values():
            history.close(NotFoundError("relation", self.name))

    def undrop(self) -> None:
        """Undo `drop`."""
        self._dropped = False
        for history in self._histories.values():
            history.reopen()

    def dropped_subscriptions(self) -> list[Subscription[Any]]:
        """Return everybody who follows this relation."""
        return [s for history in self._histories.values() for s in history.subscriptions()]

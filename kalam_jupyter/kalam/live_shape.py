"""What a live query makes of changes: filter, projection and encoding, once for all who ask the same."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from kalam_jupyter.engine.history import Subscription
from kalam_jupyter.engine.relation import Change, ChangeSet, Snapshot
from kalam_jupyter.engine.types import Schema, from_arrow
from kalam_jupyter.kalam.catalog import TableDef
from kalam_jupyter.kalam.errors import TakesLongError
from kalam_jupyter.kalam.expressions import quote
from kalam_jupyter.kalam.live_message import LiveChange
from kalam_jupyter.kalam.live_opening import FEW_ROWS, Found
from kalam_jupyter.kalam.live_past import Past
from kalam_jupyter.kalam.live_sql import LiveSelect
from kalam_jupyter.kalam.result import ResultColumn
from kalam_jupyter.kalam.rowfilter import RowFilter
from kalam_jupyter.kalam.selection import SCAN_ROWS
from kalam_jupyter.kalam.serialize import RowEncoder
from kalam_jupyter.kalam.sql_engine import engine_errors, run_sql
from kalam_jupyter.kalam.typed_constants import condition

if TYPE_CHECKING:
    from kalam_jupyter.kalam.auth import Session
    from kalam_jupyter.kalam.database import Kalam

Row = tuple[Any, ...]
#: Change sets whose encoded form is kept for the other subscribers.
KEPT = 256


class LiveShape(Protocol):
    """What a `LiveQuery` needs of the thing it follows.

    Attributes
    ----------
    shared : bool
        Whether many live queries may have this very shape.
    needs : (int, value) or None
        A column, by its index in a row, and the value without which no change means anything here.
    """

    columns: tuple[ResultColumn, ...]
    row_schema: Schema
    shared: bool
    needs: tuple[int, Any] | None

    @property
    def channel(self) -> Any:
        """Equal for shapes that follow the same changes."""

    @property
    def light(self) -> bool:
        """Whether working out what a few changes mean takes microseconds."""

    def subscribe(self, wake: Callable[[], None] | None) -> Subscription[ChangeSet]:
        """Follow the changes; without `wake` by a cursor that nobody tells anything."""

    def begin(
        self, after: int | None, *, read: bool, at_once: bool = False
    ) -> tuple[Subscription[ChangeSet], Found]:
        """Return a quiet cursor, and what is there where it begins.

        Parameters
        ----------
        after : int or None
            Only rows with a greater `_seq`; then rows that are gone since are found as well.
        read : bool
            False asks for the newest `_seq` alone.
        at_once : bool
            Do not wait, and do not take long.

        Raises
        ------
        TakesLongError
            If that cannot be had at once; nothing has happened.
        """

    def changes(self, changes: ChangeSet) -> Sequence[LiveChange]: ...

    def caught_up(self, row: Row) -> LiveChange: ...

    def initial_row(self, row: Row) -> dict[str, Any]: ...

    def project(self, row: Row) -> Row: ...

    def seq(self, row: Row) -> int | None: ...

    def outdated(self) -> bool: ...

    def fits(self, changes: ChangeSet) -> bool: ...


class TableShape:
    """Live queries over a USER, SHARED or STREAM table.

    Parameters
    ----------
    at_once : bool
        Do not take long.

    Raises
    ------
    StatementError
        If the table does not have a column that is compared.
    TakesLongError
        If the condition needs the query engine.
    """

    shared = True

    def __init__(
        self,
        kalam: Kalam,
        table: TableDef,
        owner: str,
        select: LiveSelect,
        session: Session,
        *,
        at_once: bool = False,
    ) -> None:
        self._kalam, self._table, self._owner, self._select, self._session = (
            kalam,
            table,
            owner,
            select,
            session,
        )
        schema = table.schema
        self.row_schema = schema
        names = (
            schema.names if select.columns is None else tuple(n for n in select.columns if n in schema.index)
        )
        self.columns = tuple(ResultColumn(n, schema.column(n).type, table.flags.get(n, ())) for n in names)
        self._everything = select.columns is None
        self._indexes = tuple(schema.index[n] for n in names)
        self._stream = table.type == "stream"
        self._seq, self._deleted = table.seq_index, table.seq_index + 1
        self._encoder = RowEncoder.of(schema)
        self._filter = None
        if select.where_sql is not None:
            self._filter = RowFilter(
                table,
                select.where_sql,
                (),
                session.user_id,
                session.role,
                select.where,
                select.alias,
                at_once=at_once,
            )
        self.needs = None if self._filter is None else self._filter.needs
        self._lock, self._reading = threading.Lock(), threading.Lock()
        self._made: OrderedDict[int, list[LiveChange]] = OrderedDict()

    # ---- snapshot

    @property
    def channel(self) -> Any:
        """See `LiveShape`."""
        return self._table.relation, self._table.incarnation, self._owner

    @property
    def light(self) -> bool:
        """See `LiveShape`."""
        return self._filter is None or self._filter.compiled

    def subscribe(self, wake: Callable[[], None] | None) -> Subscription[ChangeSet]:
        """Follow the relation's changes."""
        return self._kalam.relation(self._table).subscribe(self._owner, wake, quiet=wake is None)

    def begin(
        self, after: int | None, *, read: bool, at_once: bool = False
    ) -> tuple[Subscription[ChangeSet], Found]:
        """See `LiveShape`."""
        lock, kept, key = self._kalam.engine.lock, self._kalam.live.kept, (self, after, read)
        if not lock.acquire(blocking=not at_once):
            raise TakesLongError
        try:  # the cursor is where the snapshot is: what is yet to come is not in it
            snapshot = self._kalam.relation(self._table).snapshot(self._owner)
            found = kept.get(key, snapshot)
            if at_once and found is None and (snapshot.num_rows > FEW_ROWS or not self.light):
                raise TakesLongError
            cursor = self.subscribe(None)
            if not self._stream:
                self._past()  # from now on it is known what rows were
        finally:
            lock.release()
        try:
            return cursor, found or self._find(snapshot, after, read, at_once)
        except BaseException:
            cursor.close()
            raise

    def _find(self, snapshot: Snapshot, after: int | None, read: bool, at_once: bool) -> Found:
        """Return what a snapshot holds for those who begin now; those who come together share it."""
        kept, key = self._kalam.live.kept, (self, after, read)
        with contextlib.nullcontext() if at_once else self._reading:
            found = kept.get(key, snapshot)
            if found is None:
                found = self._read(snapshot, after) if read else Found(newest=self._newest(snapshot))
                if self._table.ttl_ms is None:  # what has not expired yet may have in a moment
                    kept.put(key, weakref.ref(snapshot), found)
        return found

    def _read(self, snapshot: Snapshot, after: int | None) -> Found:
        low = max(after or 0, self._expiry() - 1)
        if snapshot.num_rows > SCAN_ROWS and (
            self._filter is None or not self._filter.compiled or after is None
        ):
            candidates, matches = self._by_query(snapshot, low, tombstones=after is not None)
        else:
            candidates = [r for r in snapshot.rows() if r[self._seq] > low]
            matches = [True] * len(candidates) if self._filter is None else self._filter.matches(candidates)
        seq, deleted = self._seq, self._deleted
        rows, gone = [], []
        for row, ok in zip(candidates, matches, strict=True):
            if ok and not row[deleted]:
                rows.append(row)
            elif after is not None and not self._stream:
                gone.append(row)
        if after is not None and gone:
            gone = self._had(gone, after)
        rows.sort(key=lambda r: r[seq])
        gone.sort(key=lambda r: r[seq])
        if after is not None and gone and rows:
            # Above what the client has seen and below all rows, if there is such a number: see `Found.gone`.
            early = after if rows[0][seq] == after + 1 else after + 1
            last = rows[-1][seq]
            gone = [(*r[:seq], early, True) if r[seq] < last else r for r in gone]
        return Found(rows, [self._gone(row, row) for row in gone], self._newest(snapshot))

    def _had(self, rows: list[Row], after: int) -> list[Row]:
        """Return the rows that a client may have had when `after` was the newest `_seq`."""
        key = self._table.key_index
        if self.needs is not None and self.needs[0] == key:
            rows = [row for row in rows if row[key] == self.needs[1]]
        then, known = self._past().versions(rows, after)
        had = self._matching(then)
        return [row for row, yes, sure in zip(rows, had, known, strict=True) if yes or not sure]

    def _past(self) -> Past:
        return self._kalam.live.past(
            (self.channel, self._table.version), self.subscribe, self._table.key_index, self._seq
        )

    def _newest(self, snapshot: Snapshot) -> int:
        if snapshot.num_rows <= FEW_ROWS:
            return max((row[self._seq] for row in snapshot.rows()), default=0)
        import pyarrow.compute as pc

        found = [pc.max(b.column(self._seq)).as_py() for b in snapshot.batches() if b.num_rows]
        return max((f for f in found if f is not None), default=0)

    def _expiry(self) -> int:
        ttl = self._table.ttl_ms
        return 0 if ttl is None else self._kalam.seq_at(self._kalam.engine.clock.now_ms() - ttl)

    def _by_query(self, snapshot: Snapshot, low: int, *, tombstones: bool) -> tuple[list[Row], list[bool]]:
        """As the scan in Python, for large tables: the query engine filters by `_seq` and condition."""
        from datafusion import SessionConfig, SessionContext

        from kalam_jupyter.kalam import rewrite
        from kalam_jupyter.kalam.functions import json_udfs

        alias = self._select.alias or self._table.name
        context = SessionContext(SessionConfig().with_target_partitions(1))
        context.register_record_batches(quote(alias), [snapshot.batches()])
        for function in json_udfs().values():
            context.register_udf(function)
        select, where = self._select, "TRUE"
        if select.where is not None and select.where_sql is not None:
            where = condition(select.where, select.where_sql, self._table.schema)
        hidden = "" if tombstones else f" AND NOT _deleted AND coalesce(({where}), FALSE)"
        text = (
            f"SELECT *, coalesce(({where}), FALSE) AS kdb_ok FROM {quote(alias)} WHERE _seq > {low}{hidden}"
        )
        prepared = rewrite.prepare(text)
        filled = prepared.fill(self._session.user_id, self._session.role)
        with engine_errors():
            found = run_sql(context, filled, {}).to_arrow_table()
        lists = [from_arrow(found.column(i), c.type) for i, c in enumerate(self._table.schema)]
        return list(zip(*lists, strict=True)), found.column("kdb_ok").to_pylist()

    # ---- changes

    def changes(self, changes: ChangeSet) -> Sequence[LiveChange]:
        """Return what a change set means here; worked out once for all subscribers."""
        with self._lock:
            found = self._made.get(changes.position)
            if found is None:
                found = self._made[changes.position] = self._make(changes.changes())
                while len(self._made) > KEPT:
                    self._made.popitem(last=False)
        return found

    def _make(self, changes: Sequence[Change]) -> list[LiveChange]:
        width = len(self._table.schema)
        changes = [c for c in changes if len(c.new or c.old or ()) == width]
        was, now = self._matching([c.old for c in changes]), self._matching([c.new for c in changes])
        made = (self._one(c, a, b) for c, a, b in zip(changes, was, now, strict=True))
        # A transaction's changes come by key, and a client that loses the connection resumes by `_seq`.
        return sorted((m for m in made if m is not None), key=lambda m: m.seq or 0)

    def _matching(self, rows: Sequence[Row | None]) -> list[bool]:
        """Which of the rows are visible: there, not deleted, and within the filter."""
        deleted = self._deleted
        visible = [r is not None and not r[deleted] for r in rows]
        if self._filter is None or not any(visible):
            return visible
        there = [r for r, ok in zip(rows, visible, strict=True) if ok and r is not None]
        answers = iter(self._filter.matches(there))
        return [ok and next(answers) for ok in visible]

    def _one(self, change: Change, was: bool, now: bool) -> LiveChange | None:
        old, new = change.old, change.new
        if self._stream:
            return self._stream_change(change, was, now)
        if now and new is not None:
            if old is None or old[self._deleted]:
                return LiveChange("insert", self.initial_row(new), None, new[self._seq], self.project(new))
            return self._update(old, new, was)
        if was and old is not None:
            return self._gone(old, old if new is None else new)
        return None

    def _update(self, old: Row, new: Row, was: bool) -> LiveChange:
        """Primary key and `_seq` always; of the rest what is not null now, and what changed of before."""
        encode = self._encoder.object
        after, before = encode(new), encode(old)
        key = self._table.schema.names[self._table.key_index]
        shown = dict.fromkeys((key, *(c.name for c in self.columns if c.name != "_deleted"), "_seq"))
        rows = {n: after[n] for n in shown if n in (key, "_seq") or after[n] is not None}
        values = {n: before[n] for n in shown if n in (key, "_seq") or before[n] != after[n]}
        return LiveChange(
            "update", rows, values, new[self._seq], self.project(new), self.project(old) if was else None
        )

    def _gone(self, old: Row, new: Row) -> LiveChange:
        """A delete: the last values under the new `_seq`."""
        seq = new[self._seq]
        tombstone = (*old[: self._seq], seq, True)
        return LiveChange("delete", None, self.initial_row(tombstone), seq, None, self.project(old))

    def _stream_change(self, change: Change, was: bool, now: bool) -> LiveChange | None:
        if change.op == "insert" and now and change.new is not None:
            new = change.new
            return LiveChange("insert", self.initial_row(new), None, new[self._seq], self.project(new))
        if change.op != "delete" or not was or change.old is None:
            return None
        seq = change.old[self._seq]
        if seq < self._expiry():
            return None  # eviction, not a DELETE
        values = {"row_id": f"{self._owner}:{seq}"} if self._everything and self._filter is None else {}
        if self._filter is not None:
            return None
        return LiveChange("delete", None, values, seq, None, self.project(change.old))

    def caught_up(self, row: Row) -> LiveChange:
        """A row seen again after a reader fell behind: an update that holds everything."""
        values = {k: v for k, v in self.initial_row(row).items() if v is not None and k != "_deleted"}
        key = self._table.schema.names[self._table.key_index]
        values = {key: self._encoder.object(row)[key], **values}
        old = {key: values[key], "_seq": values["_seq"]}
        return LiveChange("update", values, old, row[self._seq], self.project(row))

    def outdated(self) -> bool:
        """Whether the table has another definition by now."""
        return self._kalam.find_table(self._table.namespace, self._table.name) is not self._table

    def fits(self, changes: ChangeSet) -> bool:
        """Whether changes were made under this definition."""
        row = next((c.new or c.old for c in changes.changes()), None)
        return row is None or len(row) == len(self.row_schema)

    # ---- rows

    def initial_row(self, row: Row) -> dict[str, Any]:
        """Return a row as the JSON object of batches and inserts: the projection and `_seq`."""
        whole = self._encoder.object(row)
        if self._everything:
            if self._stream:
                del whole["_deleted"]
            return whole
        found = {c.name: whole[c.name] for c in self.columns}
        found["_seq"] = whole["_seq"]
        return found

    def project(self, row: Row) -> Row:
        """Return the projected physical values."""
        return row if self._everything else tuple([row[i] for i in self._indexes])

    def seq(self, row: Row) -> int | None:
        """Return a row's `_seq`."""
        return int(row[self._seq])

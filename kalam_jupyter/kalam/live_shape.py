"""What a live query makes of changes: filter, projection and encoding, once for all who ask the same."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Protocol

import orjson
import pyarrow as pa

from kalam_jupyter.engine.history import History, Subscription
from kalam_jupyter.engine.relation import Change, ChangeSet
from kalam_jupyter.engine.sources import SourceProvider
from kalam_jupyter.engine.types import Column, Schema, from_arrow
from kalam_jupyter.kalam.catalog import ColumnDef, TableDef
from kalam_jupyter.kalam.dml import SCAN_ROWS
from kalam_jupyter.kalam.errors import StatementError
from kalam_jupyter.kalam.expressions import quote
from kalam_jupyter.kalam.live_sql import LiveSelect
from kalam_jupyter.kalam.result import ResultColumn
from kalam_jupyter.kalam.rowfilter import RowFilter
from kalam_jupyter.kalam.serialize import RowEncoder
from kalam_jupyter.kalam.sql_engine import engine_errors, run_sql
from kalam_jupyter.kalam.types import from_arrow_type

if TYPE_CHECKING:
    from kalam_jupyter.kalam.auth import Session
    from kalam_jupyter.kalam.database import Kalam

Row = tuple[Any, ...]
ChangeType = Literal["insert", "update", "delete"]
#: Change sets whose encoded form is kept for the other subscribers.
KEPT = 256


@dataclass(frozen=True)
class LiveChange:
    """One change as subscribers see it.

    Attributes
    ----------
    change_type : str
    rows, old_values : dict or None
        JSON objects of the contract; each goes out in an array of one.
    seq : int or None
        The row's new `_seq`.
    new, old : tuple or None
        Projected rows of physical values, for readers in this process; `old` is what the row was before.
    """

    change_type: ChangeType
    rows: dict[str, Any] | None
    old_values: dict[str, Any] | None
    seq: int | None
    new: Row | None = None
    old: Row | None = None

    @cached_property
    def _tail(self) -> bytes:
        body: dict[str, Any] = {"change_type": self.change_type}
        if self.rows is not None:
            body["rows"] = [self.rows]
        if self.old_values is not None:
            body["old_values"] = [self.old_values]
        return b"," + orjson.dumps(body)[1:]

    def encode(self, subscription_id: str) -> bytes:
        """Return the `change` message as JSON; only the subscription id differs between subscribers."""
        return b'{"type":"change","subscription_id":' + orjson.dumps(subscription_id) + self._tail

    def message(self, subscription_id: str) -> dict[str, Any]:
        """Return the `change` message as a dict."""
        found: dict[str, Any] = {
            "type": "change",
            "subscription_id": subscription_id,
            "change_type": self.change_type,
        }
        if self.rows is not None:
            found["rows"] = [self.rows]
        if self.old_values is not None:
            found["old_values"] = [self.old_values]
        return found


class LiveShape(Protocol):
    """What a `LiveQuery` needs of the thing it follows."""

    columns: tuple[ResultColumn, ...]
    row_schema: Schema

    def subscribe(self, wake: Callable[[], None]) -> Subscription[ChangeSet]: ...

    def snapshot(self, after: int | None, *, read: bool) -> tuple[int, list[Row], list[LiveChange], int]: ...

    def changes(self, changes: ChangeSet) -> Sequence[LiveChange]: ...

    def caught_up(self, row: Row) -> LiveChange: ...

    def initial_row(self, row: Row) -> dict[str, Any]: ...

    def project(self, row: Row) -> Row: ...

    def seq(self, row: Row) -> int | None: ...

    def outdated(self) -> bool: ...

    def fits(self, changes: ChangeSet) -> bool: ...


class TableShape:
    """Live queries over a USER, SHARED or STREAM table."""

    def __init__(
        self, kalam: Kalam, table: TableDef, owner: str, select: LiveSelect, session: Session
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
        if select.columns is not None and not names:
            valid = ", ".join(schema.names)
            text = f"Schema error: No field named {select.columns[0]}. Valid fields are {valid}."
            raise StatementError("invalid_operation", text)
        self.columns = tuple(ResultColumn(n, schema.column(n).type, table.flags.get(n, ())) for n in names)
        self._everything = select.columns is None
        self._indexes = tuple(schema.index[n] for n in names)
        self._stream = table.type == "stream"
        self._seq, self._deleted = table.seq_index, table.seq_index + 1
        self._encoder = RowEncoder.of(schema)
        self._filter = None
        if select.where_sql is not None:
            self._filter = RowFilter(
                table, select.where_sql, (), session.user_id, session.role, select.where, select.alias
            )
        self._lock = threading.Lock()
        self._made: OrderedDict[int, list[LiveChange]] = OrderedDict()

    # ---- snapshot

    def subscribe(self, wake: Callable[[], None]) -> Subscription[ChangeSet]:
        """Follow the relation's changes."""
        return self._kalam.relation(self._table).subscribe(self._owner, wake)

    def snapshot(self, after: int | None, *, read: bool) -> tuple[int, list[Row], list[LiveChange], int]:
        """Read the rows there are.

        Parameters
        ----------
        after : int or None
            Only rows with a greater `_seq`; then rows that are gone since are returned as well.
        read : bool
            False asks for position and newest `_seq` alone.

        Returns
        -------
        position : int
            Log position of the snapshot.
        rows : list of tuple
            Matching rows in `_seq` order.
        gone : list of LiveChange
            Deletes of rows that vanished, or left the filter, after `after`.
        newest : int
            The greatest `_seq` there is.
        """
        snapshot = self._kalam.relation(self._table).snapshot(self._owner)
        newest = self._newest(snapshot)
        if not read:
            return snapshot.position, [], [], newest
        oldest = self._expiry()
        low = max(after or 0, oldest - 1)
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
        rows.sort(key=lambda r: r[seq])
        gone.sort(key=lambda r: r[seq])
        return snapshot.position, rows, [self._gone(row, row) for row in gone], newest

    def _newest(self, snapshot: Any) -> int:
        import pyarrow.compute as pc

        found = [pc.max(b.column(self._seq)).as_py() for b in snapshot.batches() if b.num_rows]
        return max((f for f in found if f is not None), default=0)

    def _expiry(self) -> int:
        ttl = self._table.ttl_ms
        return 0 if ttl is None else self._kalam.seq_at(self._kalam.engine.clock.now_ms() - ttl)

    def _by_query(self, snapshot: Any, low: int, *, tombstones: bool) -> tuple[list[Row], list[bool]]:
        """As the scan in Python, for large tables: the query engine filters by `_seq` and condition."""
        from datafusion import SessionConfig, SessionContext

        from kalam_jupyter.kalam import rewrite
        from kalam_jupyter.kalam.functions import json_udfs

        alias = self._select.alias or self._table.name
        context = SessionContext(SessionConfig().with_target_partitions(1))
        context.register_record_batches(quote(alias), [snapshot.batches()])
        for function in json_udfs().values():
            context.register_udf(function)
        where = "TRUE" if self._select.where_sql is None else self._select.where_sql
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
        return [m for m in made if m is not None]

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


class SourceShape:
    """Live queries over another dialect's streams and tables (and silent ones over system tables).

    Rows have no `_seq`; the initial rows are all there are.
    """

    def __init__(
        self,
        kalam: Kalam,
        source: SourceProvider | None,
        schema: Schema,
        select: LiveSelect,
        session: Session,
    ) -> None:
        self._kalam, self._source, self._select = kalam, source, select
        self.row_schema = schema
        names = (
            schema.names if select.columns is None else tuple(n for n in select.columns if n in schema.index)
        )
        self.columns = tuple(
            ResultColumn(n, schema.column(n).type, ("pk",) if schema.column(n).key else ()) for n in names
        )
        self._indexes = tuple(schema.index[n] for n in names)
        self._key = {c.name for c in schema.key}
        self._encoder = RowEncoder.of(schema)
        self._filter: RowFilter | None = None
        if select.where_sql is not None:
            self._filter = RowFilter(
                _as_table(select, schema),
                select.where_sql,
                (),
                session.user_id,
                session.role,
                select.where,
                select.alias,
            )

    @classmethod
    def silent(cls, kalam: Kalam, table: pa.Table, select: LiveSelect, session: Session) -> SourceShape:
        """Make a shape that never sees a change."""
        schema = Schema(tuple(Column(f.name, from_arrow_type(f.type)) for f in table.schema))
        return cls(kalam, None, schema, select, session)

    def subscribe(self, wake: Callable[[], None]) -> Subscription[ChangeSet]:
        """Follow the source."""
        if self._source is None:
            return History[ChangeSet](self._kalam.engine.lock).subscribe("latest", wake)
        return self._source.subscribe(self._select.table, wake)

    def snapshot(self, after: int | None, *, read: bool) -> tuple[int, list[Row], list[LiveChange], int]:
        """Read all rows there are."""
        if self._source is None or not read:
            return self._kalam.engine.position, [], [], 0
        with self._kalam.engine.lock:
            position = self._kalam.engine.position
            table = self._source.table(self._select.table)
        lists = [from_arrow(table.column(c.name), c.type) for c in self.row_schema]
        rows: list[Row] = list(zip(*lists, strict=True))
        if self._filter is not None:
            rows = [r for r, ok in zip(rows, self._filter.matches(rows), strict=True) if ok]
        return position, rows, [], 0

    def changes(self, changes: ChangeSet) -> Sequence[LiveChange]:
        """Return what a change set means here."""
        found = []
        for change in changes.changes():
            was = change.old is not None and (self._filter is None or self._filter.match(change.old))
            now = change.new is not None and (self._filter is None or self._filter.match(change.new))
            if now and change.new is not None:
                kind: ChangeType = "update" if change.old is not None else "insert"
                old = None if change.old is None else self.initial_row(change.old)
                before = self.project(change.old) if was and change.old is not None else None
                found.append(
                    LiveChange(
                        kind, self.initial_row(change.new), old, None, self.project(change.new), before
                    )
                )
            elif was and change.old is not None:
                found.append(
                    LiveChange(
                        "delete", None, self.initial_row(change.old), None, None, self.project(change.old)
                    )
                )
        return found

    def caught_up(self, row: Row) -> LiveChange:
        """A row seen again after a reader fell behind."""
        return LiveChange("update", self.initial_row(row), None, None, self.project(row))

    def initial_row(self, row: Row) -> dict[str, Any]:
        """Return a row as a JSON object: the projection and the key."""
        whole = self._encoder.object(row)
        return {c.name: whole[c.name] for c in self.columns}

    def project(self, row: Row) -> Row:
        """Return the projected physical values."""
        return tuple([row[i] for i in self._indexes])

    def outdated(self) -> bool:
        """Sources keep their schema."""
        return False

    def fits(self, changes: ChangeSet) -> bool:
        """Sources keep their schema."""
        return True

    def seq(self, row: Row) -> int | None:
        """Rows of a source have no `_seq`."""
        return None


class _SourceTable(TableDef):
    """A source seen as a table definition, for its filter: the columns as they are, no system columns."""

    @cached_property
    def schema(self) -> Schema:
        return Schema(tuple(Column(c.name, c.type, c.primary_key, c.nullable) for c in self.columns))


def _as_table(select: LiveSelect, schema: Schema) -> TableDef:
    columns = tuple(ColumnDef(i, c.name, c.type, c.nullable, c.key) for i, c in enumerate(schema, 1))
    return _SourceTable(select.namespace, select.table, "system", columns)

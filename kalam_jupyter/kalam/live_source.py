"""Live queries over what is no KalamDB table: another dialect's streams and tables, and system tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from kalam_jupyter.engine.history import History, Subscription
from kalam_jupyter.engine.relation import ChangeSet
from kalam_jupyter.engine.sources import SourceProvider
from kalam_jupyter.engine.types import Column, Schema, from_arrow
from kalam_jupyter.kalam.catalog import ColumnDef, TableDef
from kalam_jupyter.kalam.errors import TakesLongError
from kalam_jupyter.kalam.live_message import ChangeType, LiveChange
from kalam_jupyter.kalam.live_opening import Found
from kalam_jupyter.kalam.live_sql import LiveSelect
from kalam_jupyter.kalam.result import ResultColumn
from kalam_jupyter.kalam.rowfilter import RowFilter
from kalam_jupyter.kalam.serialize import RowEncoder
from kalam_jupyter.kalam.types import from_arrow_type

if TYPE_CHECKING:
    from kalam_jupyter.kalam.auth import Session
    from kalam_jupyter.kalam.database import Kalam

Row = tuple[Any, ...]


class SourceShape:
    """Live queries over another dialect's streams and tables (and silent ones over system tables).

    Rows have no `_seq`; the initial rows are all there are.
    """

    shared = False
    needs: tuple[int, Any] | None = None

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

    @property
    def channel(self) -> Any:
        """See `LiveShape`."""
        return self if self._source is None else (self._select.namespace, self._select.table)

    @property
    def light(self) -> bool:
        """See `LiveShape`: nothing is kept of what was worked out, so each subscriber costs as much."""
        return False

    def subscribe(self, wake: Callable[[], None] | None) -> Subscription[ChangeSet]:
        """Follow the source."""
        if self._source is None:
            return History[ChangeSet](self._kalam.engine.lock).subscribe("latest", wake)
        return self._source.subscribe(self._select.table, wake)

    def begin(
        self, after: int | None, *, read: bool, at_once: bool = False
    ) -> tuple[Subscription[ChangeSet], Found]:
        """See `LiveShape`: all rows there are."""
        if at_once:
            raise TakesLongError
        if self._source is None or not read:
            return self.subscribe(None), Found()
        table, cursor = self._source.follow(self._select.table)
        try:
            return cursor, Found(self._rows(table))
        except BaseException:
            cursor.close()
            raise

    def _rows(self, table: pa.Table) -> list[Row]:
        lists = [from_arrow(table.column(c.name), c.type) for c in self.row_schema]
        rows: list[Row] = list(zip(*lists, strict=True))
        if self._filter is None:
            return rows
        return [r for r, ok in zip(rows, self._filter.matches(rows), strict=True) if ok]

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

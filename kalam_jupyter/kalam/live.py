"""All live queries of one `Kalam`: opening, limits, what they share, ending. See `LiveQuery`."""

from __future__ import annotations

import contextlib
import threading
import uuid
import weakref
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kalam_jupyter.kalam.errors import KalamError, StatementError, TakesLongError
from kalam_jupyter.kalam.expressions import quote
from kalam_jupyter.kalam.live_channel import Channel
from kalam_jupyter.kalam.live_opening import Kept, LiveOptions
from kalam_jupyter.kalam.live_past import Past, Wake
from kalam_jupyter.kalam.live_query import LiveQuery
from kalam_jupyter.kalam.live_shape import LiveShape, TableShape
from kalam_jupyter.kalam.live_source import SourceShape
from kalam_jupyter.kalam.live_sql import LiveSelect, parse_live
from kalam_jupyter.kalam.names import SYSTEM_NAMESPACES

if TYPE_CHECKING:
    import pyarrow as pa

    from kalam_jupyter.engine.history import Subscription
    from kalam_jupyter.kalam.auth import Session
    from kalam_jupyter.kalam.catalog import TableDef
    from kalam_jupyter.kalam.database import Kalam

#: Texts and shapes kept for those who ask the same again.
MOST = 1024
#: Texts longer than this take a while to parse.
MAX_TEXT = 4096


class LiveQueries:
    """All live queries of one `Kalam`.

    Attributes
    ----------
    kept : Kept
        What live queries that began lately found.
    """

    def __init__(self, kalam: Kalam) -> None:
        self._kalam = kalam
        self.kept = Kept()
        self._lock = threading.Lock()
        self._connections: dict[tuple[str, str], dict[str, LiveQuery]] = {}
        self._per_user: Counter[str] = Counter()
        self._pasts: dict[tuple[Any, int], Past] = {}
        self._swept_at = self.now_ms()
        self._channels: weakref.WeakValueDictionary[Any, Channel] = weakref.WeakValueDictionary()
        self._selects: OrderedDict[str, tuple[str, LiveSelect]] = OrderedDict()
        self._shapes: OrderedDict[Any, LiveShape] = OrderedDict()

    def now_ms(self) -> int:
        """Return the engine's time."""
        return self._kalam.engine.clock.now_ms()

    def subscribe(
        self,
        session: Session,
        sql: str,
        options: Any = None,
        *,
        subscription_id: str | None = None,
        connection_id: str | None = None,
    ) -> LiveQuery:
        """Open a live query.

        Parameters
        ----------
        options : LiveOptions or mapping, optional
            As in the subscribe message; None means no initial rows.
        connection_id : str, optional
            Connection of a remote client, whose limits then apply.

        Raises
        ------
        KalamError
            With the codes of the WebSocket contract, section 12.
        ValueError
            If an option has the wrong type.
        """
        return self._subscribe(session, sql, options, subscription_id, connection_id, at_once=False)

    def subscribe_at_once(
        self, session: Session, sql: str, options: Any, *, subscription_id: str, connection_id: str
    ) -> LiveQuery:
        """Open a live query as `subscribe` does, without waiting for anything: in microseconds.

        That is so for conditions that are compiled, on small tables, and for whatever others who began
        alike have found since the table changed last.

        Raises
        ------
        KalamError
        ValueError
        TakesLongError
            If it cannot be; nothing has happened.
        """
        if len(sql) > MAX_TEXT:
            raise TakesLongError
        return self._subscribe(session, sql, options, subscription_id, connection_id, at_once=True)

    def _subscribe(
        self,
        session: Session,
        sql: str,
        options: Any,
        subscription_id: str | None,
        connection_id: str | None,
        *,
        at_once: bool,
    ) -> LiveQuery:
        config = self._kalam.config
        if not isinstance(options, LiveOptions):
            options = LiveOptions.parse(options, config.live_batch_size)
        if subscription_id is not None and not subscription_id.strip():
            raise KalamError("INVALID_SUBSCRIPTION_ID", "Subscription ID cannot be empty")
        subscription_id = subscription_id or f"sub-{uuid.uuid4().hex}"
        self._check_limits(session, subscription_id, connection_id)
        sql, select = self._parse(sql)
        if options.last_rows is not None and options.last_rows > options.batch_size:
            raise KalamError(
                "UNSUPPORTED",
                f"last_rows ({options.last_rows}) cannot exceed batch_size ({options.batch_size}); "
                "paginated last_rows replay is not supported",
            )
        try:
            shape = self._shape(session, select, initial=options.initial, at_once=at_once)
            if select.columns is not None and len(shape.columns) < len(select.columns):
                raise _unknown_column(select, shape)
            query = LiveQuery(
                self,
                session,
                subscription_id,
                connection_id or uuid.uuid4().hex,
                sql,
                options,
                shape,
                self._channel(shape),
                select,
                at_once=at_once,
            )
        except StatementError as error:
            raise KalamError("SUBSCRIPTION_FAILED", _failed_text(error)) from None
        replaced = self._put(query)
        if replaced is not None:
            replaced.close()
        return query

    def _parse(self, sql: str) -> tuple[str, LiveSelect]:
        """Return a text and what it means, the same objects for all who ask the same."""
        found = self._selects.get(sql)
        if found is None:
            found = sql, parse_live(sql)
            if len(sql) <= MAX_TEXT:
                with self._lock:
                    self._selects[sql] = found
                    while len(self._selects) > MOST:
                        self._selects.popitem(last=False)
        return found

    def _put(self, query: LiveQuery) -> LiveQuery | None:
        """Add a live query; return the one that had its name on its connection."""
        user = query.session.user_id
        with self._lock:
            here = self._connections.setdefault((user, query.connection_id), {})
            replaced = here.get(query.id)
            here[query.id] = query
            if replaced is None:
                self._per_user[user] += 1
        return replaced

    def _channel(self, shape: LiveShape) -> Channel:
        with self._lock:
            found = self._channels.get(shape.channel)
            if found is None:
                found = self._channels[shape.channel] = Channel(shape.subscribe)
            return found

    def past(
        self, place: tuple[Any, int], subscribe: Callable[[Wake], Subscription[Any]], key: int, seq: int
    ) -> Past:
        """Return what is known of former rows of a table: `place` is its channel and its version."""
        found = self._pasts.get(place)
        if found is None or found.closed:
            self._sweep(self.now_ms())
            found = Past(subscribe, lambda: place[0] in self._channels, self.now_ms, key, seq)
            self._pasts[place] = found
        return found

    def _sweep(self, now: int) -> None:
        """Now and then, forget the pasts that nobody asks for any more."""
        if now - self._swept_at < Past.LINGER_MS:
            return
        self._swept_at = now
        for place, past in list(self._pasts.items()):
            if past.closed or not past.wanted():
                del self._pasts[place]
                past.close()

    def _check_limits(self, session: Session, subscription_id: str, connection_id: str | None) -> None:
        if connection_id is None:
            return
        config, user = self._kalam.config, session.user_id
        with self._lock:
            there = self._connections.get((user, connection_id), {})
            if subscription_id in there:
                return
            here, own = len(there), self._per_user[user]
        if here >= config.max_subscriptions_per_connection:
            raise KalamError(
                "UNSUPPORTED",
                f"Invalid operation: Maximum subscriptions ({config.max_subscriptions_per_connection}) per "
                "connection exceeded",
            )
        if own >= config.max_subscriptions_per_user:
            raise KalamError("SUBSCRIPTION_LIMIT_EXCEEDED", "Maximum subscriptions reached")

    def _shape(
        self, session: Session, select: LiveSelect, *, initial: bool, at_once: bool = False
    ) -> LiveShape:
        """Return the shape of a live query, shared with all that ask the same."""
        kalam = self._kalam
        table = kalam.find_table(select.namespace, select.table)
        if table is None:
            if at_once:
                raise TakesLongError
            return self._foreign_shape(session, select, initial=initial)
        try:
            kalam.check_read(session, table)
        except StatementError:
            raise KalamError(
                "UNAUTHORIZED",
                f"Permission denied: Cannot subscribe to shared table '{table.namespace}:{table.name}': "
                f"access level '{table.access_level}' requires elevated privileges.",
            ) from None
        where = select.condition
        owner = kalam.owner(session, table)
        user = session.user_id if where is not None and "CURRENT_" in where.upper() else ""
        key = (
            table.qualified,
            table.incarnation,
            table.version,
            owner,
            select.columns,
            where,
            select.alias,
            user,
        )
        with self._lock:
            shape = self._shapes.get(key)
            if shape is not None:
                self._shapes.move_to_end(key)
                return shape
        made = TableShape(kalam, table, owner, select, session, at_once=at_once)
        with self._lock:
            shape = self._shapes.setdefault(key, made)
            while len(self._shapes) > MOST:
                self._shapes.popitem(last=False)
        return shape

    def reshape(self, query: LiveQuery) -> LiveShape | None:
        """Return the shape of a query under its table's present definition; None when it no longer fits
        one."""
        try:
            return self._shape(query.session, query.select, initial=query.options.initial)
        except (StatementError, KalamError):
            return None

    def _foreign_shape(self, session: Session, select: LiveSelect, *, initial: bool) -> LiveShape:
        kalam = self._kalam
        name = f"{select.namespace}:{select.table}"
        if select.namespace in SYSTEM_NAMESPACES:
            if not session.is_admin:
                raise KalamError(
                    "UNAUTHORIZED",
                    f"Permission denied: Cannot subscribe to system table '{name}': insufficient "
                    f"privileges. Only DBA "
                    "and system roles can subscribe to system tables.",
                )
            if initial:
                raise KalamError(
                    "SUBSCRIPTION_FAILED",
                    f"Execution error: Table '{name}' has no _seq: it cannot be followed",
                )
            virtual = self._virtual(session, select)
            if virtual is not None:
                return SourceShape.silent(kalam, virtual, select, session)
        source = kalam.engine.sources.get(select.namespace)
        if source is not None and (schema := source.schema(select.table)) is not None:
            try:
                kalam.check_source(session, select.namespace, select.table)
            except StatementError as refusal:
                raise KalamError("UNAUTHORIZED", refusal.message) from None
            return SourceShape(kalam, source, schema, select, session)
        raise KalamError("NOT_FOUND", f"Not found: Table not found: {name}")

    def _virtual(self, session: Session, select: LiveSelect) -> pa.Table | None:
        """Return a system table, or an empty one like one of the query engine's own."""
        if select.namespace != "information_schema":
            return self._kalam.virtual_table(session, select.namespace, select.table)
        with contextlib.suppress(KalamError):
            text = f"SELECT * FROM information_schema.{quote(select.table)} LIMIT 0"
            return self._kalam.execute(session, text)[0].table
        return None

    def remove(self, query: LiveQuery) -> None:
        """Forget a closed live query."""
        user = query.session.user_id
        with self._lock:
            here = self._connections.get((user, query.connection_id), {})
            if here.get(query.id) is not query:
                return
            del here[query.id]
            if not here:
                del self._connections[user, query.connection_id]
            self._per_user[user] -= 1
            if not self._per_user[user]:
                del self._per_user[user]

    def all(self) -> list[LiveQuery]:
        """Return the active live queries."""
        with self._lock:
            return [query for here in self._connections.values() for query in here.values()]

    def kill(self, live_id: str) -> None:
        """End a live query; its client is not told."""
        query = next((q for q in self.all() if q.live_id == live_id), None)
        if query is None:
            raise StatementError("not_found", f"Connection not found for live query: {live_id}")
        query.close()

    def table_altered(self, table: TableDef) -> None:
        """Forget the shapes of older versions of a table."""
        with self._lock:
            for key in [k for k in self._shapes if k[0] == table.qualified]:
                del self._shapes[key]

    def close(self) -> None:
        """End all live queries."""
        for query in self.all():
            query.close()
        for past in self._pasts.values():
            past.close()


def _unknown_column(select: LiveSelect, shape: LiveShape) -> StatementError:
    known = shape.row_schema
    first = next(name for name in select.columns or () if name not in known.index)
    valid = ", ".join(known.names)
    return StatementError(
        "invalid_operation", f"Schema error: No field named {first}. Valid fields are {valid}."
    )


def _failed_text(error: StatementError) -> str:
    return error.message if error.kind == "execution" else f"Execution error: {error.text}"

"""All live queries of one `Kalam`: opening, limits, what they share, ending. See `LiveQuery`."""

from __future__ import annotations

import threading
import uuid
import weakref
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Any

from kalam_jupyter.kalam.errors import KalamError, StatementError
from kalam_jupyter.kalam.live_channel import Channel
from kalam_jupyter.kalam.live_query import LiveOptions, LiveQuery
from kalam_jupyter.kalam.live_shape import LiveShape, TableShape
from kalam_jupyter.kalam.live_source import SourceShape
from kalam_jupyter.kalam.live_sql import LiveSelect, normalised, parse_live
from kalam_jupyter.kalam.names import SYSTEM_NAMESPACES

if TYPE_CHECKING:
    from kalam_jupyter.kalam.auth import Session
    from kalam_jupyter.kalam.catalog import TableDef
    from kalam_jupyter.kalam.database import Kalam


class LiveQueries:
    """All live queries of one `Kalam`."""

    def __init__(self, kalam: Kalam) -> None:
        self._kalam = kalam
        self._lock = threading.Lock()
        self._queries: dict[str, LiveQuery] = {}
        self._per_user: Counter[str] = Counter()
        self._per_connection: Counter[tuple[str, str]] = Counter()
        self._channels: weakref.WeakValueDictionary[Any, Channel] = weakref.WeakValueDictionary()
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
        config = self._kalam.config
        if not isinstance(options, LiveOptions):
            options = LiveOptions.parse(options, config.live_batch_size)
        if subscription_id is not None and not subscription_id.strip():
            raise KalamError("INVALID_SUBSCRIPTION_ID", "Subscription ID cannot be empty")
        subscription_id = subscription_id or f"sub-{uuid.uuid4().hex}"
        self._check_limits(session, subscription_id, connection_id)
        select = parse_live(sql)
        if options.last_rows is not None and options.last_rows > options.batch_size:
            raise KalamError(
                "UNSUPPORTED",
                f"last_rows ({options.last_rows}) cannot exceed batch_size ({options.batch_size}); "
                f"paginated last_rows "
                "replay is not supported",
            )
        try:
            shape = self._shape(session, select, options)
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
            )
        except StatementError as error:
            raise KalamError("SUBSCRIPTION_FAILED", _failed_text(error)) from None
        with self._lock:
            replaced = self._queries.get(query.live_id)
            self._put(query)
        if replaced is not None:
            replaced.close()
        return query

    def _put(self, query: LiveQuery) -> None:
        replaced = self._queries.get(query.live_id)
        if replaced is not None:
            self._discard(replaced)
        self._queries[query.live_id] = query
        self._per_user[query.session.user_id] += 1
        self._per_connection[query.session.user_id, query.connection_id] += 1

    def _discard(self, query: LiveQuery) -> None:
        del self._queries[query.live_id]
        _less(self._per_user, query.session.user_id)
        _less(self._per_connection, (query.session.user_id, query.connection_id))

    def _channel(self, shape: LiveShape) -> Channel:
        with self._lock:
            found = self._channels.get(shape.channel)
            if found is None:
                found = self._channels[shape.channel] = Channel(shape.subscribe)
            return found

    def _check_limits(self, session: Session, subscription_id: str, connection_id: str | None) -> None:
        if connection_id is None:
            return
        config, user = self._kalam.config, session.user_id
        with self._lock:
            if f"{user}-{connection_id}-{subscription_id}" in self._queries:
                return
            here, own = self._per_connection[user, connection_id], self._per_user[user]
        if here >= config.max_subscriptions_per_connection:
            raise KalamError(
                "UNSUPPORTED",
                f"Invalid operation: Maximum subscriptions ({config.max_subscriptions_per_connection}) per "
                f"connection "
                "exceeded",
            )
        if own >= config.max_subscriptions_per_user:
            raise KalamError("SUBSCRIPTION_LIMIT_EXCEEDED", "Maximum subscriptions reached")

    def _shape(self, session: Session, select: LiveSelect, options: LiveOptions) -> LiveShape:
        """Return the shape of a live query, shared with all that ask the same."""
        kalam = self._kalam
        table = kalam.find_table(select.namespace, select.table)
        if table is None:
            return self._foreign_shape(session, select, options)
        try:
            kalam.check_read(session, table)
        except StatementError:
            raise KalamError(
                "UNAUTHORIZED",
                f"Permission denied: Cannot subscribe to shared table '{table.namespace}:{table.name}': "
                f"access level "
                f"'{table.access_level}' requires elevated privileges.",
            ) from None
        where = None if select.where_sql is None else normalised(select.where_sql)
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
            if shape is None:
                shape = self._shapes[key] = TableShape(kalam, table, owner, select, session)
            self._shapes.move_to_end(key)
            while len(self._shapes) > 1024:
                self._shapes.popitem(last=False)
        return shape

    def reshape(self, query: LiveQuery) -> LiveShape | None:
        """Return the shape of a query under its table's present definition; None when it no longer fits
        one."""
        try:
            return self._shape(query.session, query.select, query.options)
        except (StatementError, KalamError):
            return None

    def _foreign_shape(self, session: Session, select: LiveSelect, options: LiveOptions) -> LiveShape:
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
            if options.initial:
                raise KalamError(
                    "SUBSCRIPTION_FAILED",
                    f"Execution error: Table '{name}' has no _seq: it cannot be followed",
                )
            virtual = kalam.virtual_table(session, select.namespace, select.table)
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

    def remove(self, query: LiveQuery) -> None:
        """Forget a closed live query."""
        with self._lock:
            if self._queries.get(query.live_id) is query:
                self._discard(query)

    def find(self, live_id: str) -> LiveQuery | None:
        """Return an active live query."""
        return self._queries.get(live_id)

    def all(self) -> list[LiveQuery]:
        """Return the active live queries."""
        with self._lock:
            return list(self._queries.values())

    def kill(self, live_id: str) -> None:
        """End a live query; its client is not told."""
        query = self._queries.get(live_id)
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


def _less(counts: Counter[Any], key: Any) -> None:
    counts[key] -= 1
    if counts[key] <= 0:
        del counts[key]


def _failed_text(error: StatementError) -> str:
    return error.message if error.kind == "execution" else f"Execution error: {error.text}"

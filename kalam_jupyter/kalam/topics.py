"""Topics fed by tables: sources, and consumer groups with claims.

A source is a table and an operation. Its messages are appended in the transaction of the change itself, so a
change and its message are one log entry. Payloads are JSON objects, which ksqlDB streams read with
VALUE_FORMAT='JSON'.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from threading import Event, Lock
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from kalam_jupyter.engine.batch import Batch, Headers
from kalam_jupyter.engine.errors import NotFoundError, OverrunError
from kalam_jupyter.engine.topic import Record, Topic
from kalam_jupyter.engine.transaction import Transaction
from kalam_jupyter.kalam.catalog import TOPIC, USER, TableDef
from kalam_jupyter.kalam.errors import StatementError, TakesLongError
from kalam_jupyter.kalam.rowfilter import RowFilter
from kalam_jupyter.kalam.serialize import RowEncoder, value_converter
from kalam_jupyter.kalam.topic_claims import Claims
from kalam_jupyter.kalam.topic_payloads import PAYLOADS

if TYPE_CHECKING:
    import numpy as np

    from kalam_jupyter.kalam.database import Kalam

OPERATIONS = ("insert", "update", "delete")
CONSUMER_ROLES = ("service", "dba", "system")
Row = tuple[Any, ...]


class Message(NamedTuple):
    """One message of a topic, as consumers get it. `op` is lower case; HTTP capitalises it."""

    topic: str
    partition: int
    offset: int
    key: str | None
    payload: bytes
    timestamp_ms: int
    user: str | None
    op: str


@dataclass(frozen=True)
class Consumed:
    """The answer to a consume call."""

    messages: list[Message]
    next_offset: int
    has_more: bool


@dataclass(frozen=True)
class _Source:
    """A compiled topic source: one table, one operation.

    Attributes
    ----------
    encoder : RowEncoder
        Of the table's rows.
    key : int
        Where a row has the primary key; `_seq` for tables without one.
    as_key : callable
        Makes the text of a key.
    """

    topic: str
    payload: str
    accepts: RowFilter | None
    encoder: RowEncoder
    key: int
    as_key: Callable[[Any], Any]


def message_partition(key: bytes | None, partitions: int) -> int:
    """Return the partition of a key; stable over restarts and versions."""
    return 0 if partitions == 1 or key is None else zlib.crc32(key) % partitions


class Topics:
    """Sources and consumer groups of one `Kalam`."""

    def __init__(self, kalam: Kalam) -> None:
        self._kalam = kalam
        self._engine = kalam.engine
        self._claims: dict[tuple[str, str, int], Claims] = {}
        self._lock = Lock()

    # ---- producing

    def sources(self, table: TableDef) -> dict[str, list[_Source]]:
        """Return the sources of a table by operation; compiled once per change of a topic's definition."""
        catalogue, cache, key = self._engine.catalogue, self._kalam.cache, ("sources", table.qualified)
        stamp = catalogue.changes(TOPIC), table.incarnation, table.version
        cached = cache.get(key)
        if cached is not None and cached[0] == stamp:
            known: dict[str, list[_Source]] = cached[1]
            return known
        encoder = RowEncoder.of(table.schema)
        primary = table.primary_key
        key_at = table.key_index if primary is None else table.schema.index[primary.name]
        as_key = value_converter(table.schema.columns[key_at].type) or str
        found: dict[str, list[_Source]] = {}
        for name, route in self._routes(table):
            where = route["filter_expr"]
            accepts = None if where is None else RowFilter(table, where)
            source = _Source(name, route["payload_mode"], accepts, encoder, key_at, as_key)
            found.setdefault(route["op"], []).append(source)
        cache[key] = stamp, found
        return found

    def _routes(self, table: TableDef) -> Iterator[tuple[str, Any]]:
        for name, value in self._engine.catalogue.items(TOPIC):
            for route in value["routes"]:
                if route["table_id"] == table.qualified:
                    yield name, route

    def check_sources(self, table: TableDef) -> None:
        """Refuse a definition of a table that the condition of a topic's source does not fit.

        Raises
        ------
        StatementError
            Later, it would be each write to the table that fails.
        """
        for name, route in self._routes(table):
            where = route["filter_expr"]
            try:
                if where is not None:
                    RowFilter(table, where)
            except StatementError as error:
                raise StatementError(
                    "invalid_operation",
                    f"Topic '{name}' takes rows of {table.qualified} WHERE {where}: {error.text}",
                ) from None

    def publish(
        self,
        tx: Transaction,
        table: TableDef,
        owner: str,
        operation: str,
        old: Sequence[Row | None],
        new: Sequence[Row],
    ) -> None:
        """Append the messages of changed rows to the topics that have this table as a source.

        Parameters
        ----------
        old, new : sequences of rows, aligned
            Before and after; the tombstone is the new row of a delete.
        """
        sources = self.sources(table).get(operation)
        if not sources:
            return
        for source in sources:
            kept = range(len(new))
            if source.accepts is not None:
                kept = [i for i, ok in enumerate(source.accepts.matches(new)) if ok]  # type: ignore[assignment]
            if kept:
                rows = [(old[i], new[i]) for i in kept]
                self._append(tx, table, owner, operation, source, rows)

    def _append(
        self,
        tx: Transaction,
        table: TableDef,
        owner: str,
        operation: str,
        source: _Source,
        rows: Sequence[tuple[Row | None, Row]],
    ) -> None:
        import numpy as np

        at, as_key, encoder = source.key, source.as_key, source.encoder
        keys = [str(as_key(new[at])).encode() for _, new in rows]
        encode = PAYLOADS[source.payload]
        values = [orjson.dumps(encode(table, encoder, operation, old, new, tx.position)) for old, new in rows]
        headers: list[tuple[str, bytes | None]] = [("op", operation.encode())]
        if owner and tx.get(USER, owner) is not None:  # EXECUTE AS USER takes names of nobody, too
            headers.append(("user", owner.encode()))
        partitions = self._engine.topic(source.topic).partitions
        where: int | np.ndarray[Any, np.dtype[np.int32]] = 0
        if partitions > 1:
            where = np.array([message_partition(k, partitions) for k in keys], dtype=np.int32)
        n = len(rows)
        tx.append(
            source.topic,
            Batch([tx.now_ms] * n, raw=(keys, values), headers=[tuple(headers)] * n, partitions=where),
        )

    # ---- consuming

    def consume(
        self,
        topic_id: str,
        group: str | None,
        *,
        start: str | int = "latest",
        limit: int = 100,
        partition: int = 0,
        timeout: float = 0,
    ) -> Consumed:
        """Hand out the next messages of a group and claim them for the visibility timeout.

        Parameters
        ----------
        start : "earliest", "latest" or int
            Where a group without a committed offset begins.
        timeout : float
            Seconds to wait for a first message.

        Raises
        ------
        StatementError
            If there is no such topic or partition.
        """
        topic = self.topic(topic_id, partition)
        found = self._take(topic, group, start, limit, partition)
        if found.messages or timeout <= 0 or limit == 0:
            return found
        deadline = time.monotonic() + min(timeout, self._kalam.config.max_consume_wait)
        arrived = Event()
        with topic.subscribe("latest", arrived.set):
            while not found.messages and (remaining := deadline - time.monotonic()) > 0:
                found = self._take(topic, group, start, limit, partition)
                if not found.messages:
                    arrived.wait(min(remaining, 1.0))
                    arrived.clear()
        return found

    def consume_at_once(
        self, topic_id: str, group: str, *, start: str | int, limit: int, partition: int
    ) -> Consumed:
        """As `consume`, without waiting for anything: in microseconds for few messages.

        Raises
        ------
        StatementError
        TakesLongError
            If somebody is at work on the engine or on consumer groups; nothing has happened.
        """
        lock = self._engine.lock
        if not lock.acquire(blocking=False):
            raise TakesLongError
        try:
            return self._take(self.topic(topic_id, partition), group, start, limit, partition, at_once=True)
        finally:
            lock.release()

    def _take(
        self,
        topic: Topic,
        group: str | None,
        start: str | int,
        limit: int,
        partition: int,
        *,
        at_once: bool = False,
    ) -> Consumed:
        now = self._engine.clock.now_ms()
        if not self._lock.acquire(blocking=not at_once):
            raise TakesLongError
        try:
            if self._engine.find_topic(topic.name) is not topic:  # nothing may be claimed of it any more
                raise NotFoundError("topic", topic.name)
            claims = self._group(topic, group, start, partition)
            stop: int | None = 0
            records: list[Record] = []
            while stop is not None and not records:  # what was handed out before may be gone by now
                begin, stop = claims.next(now, limit)
                records = self._read(topic, partition, begin, limit if stop is None else stop - begin)
                if stop is not None:
                    records = [r for r in records if r.offset < stop]
            end = records[-1].offset + 1 if records else begin
            if records and group is not None:
                until = now + int(self._kalam.config.visibility_timeout * 1000)
                claims.hand_out(records[0].offset, end, until)
        except NotFoundError:  # dropped meanwhile
            raise StatementError("not_found", f"Topic '{topic.name}' does not exist") from None
        finally:
            self._lock.release()
        messages = [_message(topic.name, r) for r in records]
        return Consumed(messages, end, len(messages) == limit)

    def _group(self, topic: Topic, group: str | None, start: str | int, partition: int) -> Claims:
        """Return the claims of a group; without a group, a cursor of this call alone."""
        key = (topic.name, group or "", partition)
        claims = None if group is None else self._claims.get(key)
        if claims is None:
            first, end = topic.partition_bounds(partition)
            committed = None if group is None else topic.committed(group, partition)
            at = {"earliest": first, "latest": end}.get(start, start) if isinstance(start, str) else start
            claims = Claims(int(at) if committed is None else committed)
            if group is not None:
                self._claims[key] = claims
        return claims

    @staticmethod
    def _read(topic: Topic, partition: int, offset: int, limit: int) -> list[Record]:
        if limit <= 0:
            return []
        try:
            return topic.read_partition(partition, offset, limit)
        except OverrunError as error:
            return topic.read_partition(partition, offset + error.lost, limit)

    def acknowledge(
        self,
        topic_id: str,
        group: str,
        partition: int,
        upto: int,
        run: Callable[[Callable[[Transaction], None]], None] | None = None,
    ) -> int:
        """Commit a group's progress: `upto` is the last offset it is done with.

        The commit is monotonic, and what it covers is no longer claimed.
        """
        topic = self.topic(topic_id, partition)
        (run or self._engine.transact)(lambda tx: tx.commit_offset(topic.name, group, partition, upto + 1))
        with self._lock:
            claims = self._claims.get((topic.name, group, partition))
            if claims is not None:
                claims.release(upto)
        return upto

    def topic(self, topic_id: str, partition: int = 0) -> Topic:
        """Return a topic of this name, whichever dialect made it, if it has the partition."""
        found = self._engine.find_topic(topic_id)
        if found is None:
            raise StatementError("not_found", f"Topic '{topic_id}' does not exist")
        if not 0 <= partition < found.partitions:
            raise StatementError("not_found", f"Partition {partition} of topic '{topic_id}' does not exist")
        return found

    def forget(self, topic_id: str) -> None:
        """Drop what groups hold of a topic that is gone or cleared."""
        with self._lock:
            for key in [k for k in self._claims if k[0] == topic_id]:
                del self._claims[key]


@lru_cache(1024)
def _origin(headers: Headers) -> tuple[str | None, str]:
    """Return the user and the operation that a message's headers name."""
    found = {name: value.decode() for name, value in reversed(headers) if value is not None}
    return found.get("user"), found.get("op") or "insert"


def _message(topic: str, record: Record) -> Message:
    user, op = _origin(record.headers)
    return Message(
        topic,
        record.partition,
        record.offset,
        None if record.key is None else record.key.decode(errors="replace"),
        record.value or b"",
        record.timestamp,
        user,
        op,
    )

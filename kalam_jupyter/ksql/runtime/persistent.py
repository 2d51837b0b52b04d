"""Persistent queries: processors of the engine that write to a sink topic."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from kalam_jupyter.engine.batch import Batch, Payload, StoredBatch
from kalam_jupyter.engine.encoding import row_checker
from kalam_jupyter.engine.errors import RowError
from kalam_jupyter.engine.processor import StepContext
from kalam_jupyter.engine.types import TIME, TIMESTAMP, DataType, Decimal, Map, Schema
from kalam_jupyter.ksql.formats import KsqlCodec
from kalam_jupyter.ksql.formats.base import find_type
from kalam_jupyter.ksql.metastore import Source
from kalam_jupyter.ksql.operators.column_batch import ColumnBatch
from kalam_jupyter.ksql.operators.record import Record
from kalam_jupyter.ksql.plan.query_plan import QueryPlan
from kalam_jupyter.ksql.runtime.partitioner import partitions_of
from kalam_jupyter.ksql.runtime.reports import Reporter
from kalam_jupyter.ksql.runtime.topology import Topology
from kalam_jupyter.ksql.values.errors import EvaluationError


@dataclass(frozen=True)
class QueryError:
    """Why a query died."""

    timestamp: int
    message: str


class SinkWriter:
    """Makes batches of the sink's topic.

    A TIMESTAMP property takes the records' time from a column; a row without a valid one is dropped, a
    tombstone takes stream time.
    """

    def __init__(
        self,
        sink: Source,
        codec: KsqlCodec,
        partitions: int,
        reporter: Reporter,
        parse_timestamp: Callable[[str], int] | None = None,
    ) -> None:
        self.sink = sink
        self._codec = codec
        self._schema = codec.schema
        self._partitions = partitions
        self._reporter = reporter
        self._windowed = sink.window is not None
        self._timestamp = self._timestamp_reader(parse_timestamp)
        self._may_overflow = any(find_type(c.type, _overflows) for c in codec.schema)

    def _timestamp_reader(self, parse: Callable[[str], int] | None) -> Callable[[Record], Any] | None:
        if self.sink.timestamp is None:
            return None
        name = self.sink.timestamp.name
        column = self.sink.schema.column(name)
        columns = self.sink.schema.key if column.key else self.sink.schema.value
        position = [c.name for c in columns].index(name)
        parse_text = parse if column.type != TIMESTAMP else None

        def read(r: Record) -> Any:
            row = r.key if column.key else r.row
            value = None if row is None else row[position]
            if value is None:
                raise EvaluationError(f"the timestamp column {name} is null")
            ms = value if parse_text is None else parse_text(value)
            if ms < 0:
                raise EvaluationError(f"the timestamp column {name} is negative: {ms}")
            return ms

        return read

    def batch(self, records: list[Record] | ColumnBatch, stream_time: int) -> Batch:
        """Return records as a batch."""
        if isinstance(records, ColumnBatch):
            if self._timestamp is None:
                return self._column_batch(records)
            records = records.records()
        if self._timestamp is not None:
            records = self._timed(records, self._timestamp, stream_time)
        keys, values, timestamps, headers = [], [], [], None
        for r in records:  # one loop: for few records, the frames of comprehensions cost more
            keys.append(r.key)
            values.append(r.row)
            timestamps.append(r.ts)
            if r.headers:
                headers = [r.headers for r in records]
        windows = [r.window or (0, 0) for r in records] if self._windowed else None
        payload = Payload.from_rows(self._schema, keys, values, windows)
        batch = Batch(timestamps, payload, self._codec, None, headers)
        if self._may_overflow and not self._fits(payload):
            batch = Batch(batch.timestamps, raw=batch.encoded(), headers=batch.headers)
        if not self._codec.total:
            batch.encoded()  # now: a row that its schema does not admit ends the query, not some reader
        if self._partitions > 1:
            batch.partitions = partitions_of(batch, self._partitions)
        return batch

    def _fits(self, payload: Payload) -> bool:
        """Whether the engine can hold the rows by their types; if not, it gets the bytes of the records."""
        schema = self._codec.schema
        try:
            row_checker(Schema(schema.key))([k for k in payload.keys if k is not None])
            row_checker(Schema(schema.value))([v for v in payload.values if v is not None])
        except RowError:
            return False
        return True

    def _column_batch(self, records: ColumnBatch) -> Batch:
        columns = records.payload_columns()
        payload = Payload.from_columns(self._codec.schema, columns, records.num_rows)
        batch = Batch(records.ts, payload=payload, codec=self._codec)
        if not self._codec.total:
            batch.encoded()  # now: a row that its schema does not admit ends the query, not some reader
        if self._partitions > 1:
            batch.partitions = partitions_of(batch, self._partitions)
        return batch

    def _timed(self, records: list[Record], read: Callable[[Record], Any], stream_time: int) -> list[Record]:
        kept = []
        for r in records:
            if r.row is None:
                r.ts = max(stream_time, 0)
            else:
                try:
                    r.ts = read(r)
                except (EvaluationError, ValueError, TypeError) as error:
                    self._reporter.record_error(self.sink.topic, str(error))
                    continue
            kept.append(r)
        return kept


def _overflows(type_: DataType) -> bool:
    """Whether ksqlDB has values of a type that the type does not admit.

    A DECIMAL may be rounded to one digit more than its precision, midnight be 24:00, a map have a null key.
    """
    return isinstance(type_, Decimal | Map) or type_ == TIME


class PersistentQuery:
    """A query that runs for ever.

    Attributes
    ----------
    id : str
    inputs : tuple of str
        Topics that it reads.
    statement : str
        The statement that started it.
    sink : Source
    sources : tuple of str
        Names of the streams and tables that it reads.
    plan : QueryPlan
    initial_state : bytes or None
        What it took over from the query that it replaced.
    error : QueryError or None
    """

    def __init__(
        self,
        query_id: str,
        statement: str,
        sources: tuple[str, ...],
        topology: Topology,
        writer: SinkWriter,
        log_topic: str,
        *,
        plan: QueryPlan,
    ) -> None:
        self.id = query_id
        self.statement = statement
        self.sources = sources
        self.topology = topology
        self.inputs = topology.topics
        self.plan = plan
        self.initial_state: bytes | None = None
        self.error: QueryError | None = None
        self._writer = writer
        self._sink_topic = writer.sink.topic
        self._log_topic = log_topic
        self._now_ms = 0

    @property
    def sink(self) -> Source:
        """The stream or table that it writes to."""
        return self._writer.sink

    def process(self, topic: str, batch: StoredBatch, context: StepContext) -> Iterable[tuple[str, Batch]]:
        """Take one batch of one input topic."""
        self._now_ms = context.now_ms
        topology = self.topology
        records = topology.process(topic, batch, context.now_ms, context.seed)
        out = []
        if records:
            out.append((self._sink_topic, self._writer.batch(records, topology.stream_time)))
        reports = topology.reporter.drain(context.now_ms)
        if reports is not None:
            out.append((self._log_topic, reports))
        return out

    def checkpoint(self) -> bytes:
        """Return the whole state."""
        return self.topology.checkpoint()

    def restore(self, state: bytes) -> None:
        """Take back a state."""
        self.topology.restore(state)

    def reset(self) -> None:
        """Go back to the state before the first batch."""
        self.topology.reset()
        self.topology.reporter.drain(0)  # what a failed step reported, the next attempt reports
        if self.initial_state is not None:
            self.topology.restore(self.initial_state)
        self.error = None

    def failed(self, error: BaseException) -> None:
        """Remember why the engine stopped this query."""
        self.error = QueryError(self._now_ms, f"Exception caught in process: {error}")

"""Reads a source's topic: stored batches to records with flat rows."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count, repeat
from typing import Any

import numpy as np
import pyarrow as pa

from kalam_jupyter.engine.batch import Codec, Headers, Payload, StoredBatch
from kalam_jupyter.engine.types import BIGINT, TIMESTAMP
from kalam_jupyter.ksql.analysis.layout import source_layout
from kalam_jupyter.ksql.errors import KsqlError
from kalam_jupyter.ksql.metastore import Source
from kalam_jupyter.ksql.operators.column_batch import ColumnBatch
from kalam_jupyter.ksql.operators.record import Record, Row
from kalam_jupyter.ksql.runtime.reports import Reporter
from kalam_jupyter.ksql.runtime.timestamps import timestamp_extractor
from kalam_jupyter.ksql.values.errors import EvaluationError

#: Rows from which on it pays to make columns of decoded rows.
CONVERT_ROWS = 512
#: Event times above are left to the row form: adding a window to them could overflow 64 bits.
FAR_FUTURE = 1 << 61


class SourceReader:
    """Makes the records of one source of one query.

    Parameters
    ----------
    source : Source
    codec : Codec
    reporter : Reporter
        Hears of records that cannot be read.
    parse_timestamp : callable or None
        From the text of a TIMESTAMP column to milliseconds, where the source has a TIMESTAMP_FORMAT.
    fatal_timestamps : bool
        Whether a record without a valid event time ends the query (``ksql.timestamp.throw.on.invalid``).
    """

    def __init__(
        self,
        source: Source,
        codec: Codec,
        reporter: Reporter,
        parse_timestamp: Callable[[str], int] | None = None,
        *,
        fatal_timestamps: bool = False,
        fatal_records: bool = False,
    ) -> None:
        self.source = source
        self._codec = codec
        self._reporter = reporter
        self._extract = timestamp_extractor(source, parse_timestamp)
        self._time_column = _time_column(source)
        self._fatal = fatal_timestamps
        self._fatal_records = fatal_records
        self._no_key = (None,) * len(source.schema.key)
        self._types = [type_ for _, type_ in source_layout(source).columns]
        self._headers = [_header_reader(key) for _, key in source.headers]
        #: Whether records are no more than what was stored, without windows and headers of their own.
        self._plain = self._extract is None and not self._headers and source.window is None

    def read(self, stored: StoredBatch) -> list[Record]:
        """Return the records of a batch; those that cannot be read are reported and left out."""
        batch = stored.batch
        plain = self._plain and batch.headers is None
        typed = batch.payload_as(self._codec) if plain else None
        if typed is not None:
            return self._read_plain(stored, typed)
        decoded = batch.typed(self._codec)
        for error in decoded.errors:
            if self._fatal_records:
                raise RuntimeError(f"Deserialization exception in topic {self.source.topic}: {error.message}")
            self._reporter.deserialization(stored, self.source.topic, error)
        payload = decoded.payload
        if plain and decoded.kept is None:
            return self._read_plain(stored, payload)
        timestamps = batch.timestamp_list()
        first = stored.offsets
        offsets = list(range(first, first + len(timestamps))) if isinstance(first, int) else first.tolist()
        partitions = batch.partitions
        parts = [partitions] * len(timestamps) if isinstance(partitions, int) else partitions.tolist()
        headers = batch.headers
        if decoded.kept is not None:
            kept = decoded.kept.tolist()
            timestamps = [timestamps[i] for i in kept]
            offsets = [offsets[i] for i in kept]
            parts = [parts[i] for i in kept]
            headers = None if headers is None else [headers[i] for i in kept]
        windows = payload.windows
        return self._full(payload.keys, payload.values, timestamps, parts, offsets, windows, headers)

    def read_columns(self, stored: StoredBatch) -> ColumnBatch | None:
        """Return the records of a batch as columns; None where only the row form will do."""
        if self._headers or self.source.window is not None:
            return None
        if self._extract is not None and self._time_column is None:
            return None
        batch = stored.batch
        if batch.headers is not None or not self.source.is_stream:
            return None
        decoded = batch.typed(self._codec)
        if decoded.errors:
            return None
        payload = decoded.payload
        if not payload.has_columns and payload.num_rows < CONVERT_ROWS:
            return None
        columns = payload.columns
        if columns.value_valid is not None:
            return None
        n, ts = payload.num_rows, batch.timestamp_array()
        if self._time_column is not None:
            in_key, position = self._time_column
            moments = (columns.key if in_key else columns.value)[position]
            if moments.null_count or (in_key and columns.key_valid is not None):
                return None
            ts = moments.view(pa.int64()).to_numpy()
            if n and (ts.min() < 0 or ts.max() > FAR_FUTURE):
                return None
        pseudo = (
            lambda: pa.array(ts),
            lambda: pa.array(np.broadcast_to(np.asarray(batch.partitions, dtype=np.int32), n)),
            lambda: pa.array(stored.offset_array()),
        )
        return ColumnBatch(
            (*columns.value, *columns.key, *pseudo),
            self._types,
            columns.key,
            self.source.schema.key,
            ts,
            columns.key_valid,
        )

    def _read_plain(self, stored: StoredBatch, payload: Payload) -> list[Record]:
        batch = stored.batch
        keys, values = payload.rows()
        no_key, offsets, partitions, timestamps = (
            self._no_key,
            stored.offsets,
            batch.partitions,
            batch.timestamps,
        )
        if len(timestamps) == 1 and isinstance(offsets, int) and isinstance(partitions, int):
            k, v, ts = keys[0], values[0], int(timestamps[0])
            row = None if v is None else (*v, *(no_key if k is None else k), ts, partitions, offsets)
            return [Record(k, row, ts)]
        parts = repeat(partitions) if isinstance(partitions, int) else partitions.tolist()
        places = count(offsets) if isinstance(offsets, int) else offsets.tolist()
        return [
            Record(k, None if v is None else (*v, *(no_key if k is None else k), ts, p, o), ts)
            for k, v, ts, p, o in zip(keys, values, batch.timestamp_list(), parts, places, strict=False)
        ]

    def _full(
        self,
        keys: Any,
        values: Any,
        timestamps: Any,
        parts: Any,
        offsets: Any,
        windows: Any,
        headers: Any,
    ) -> list[Record]:
        out = []
        for i, (k, v, ts) in enumerate(zip(keys, values, timestamps, strict=True)):
            header: Headers = () if headers is None else headers[i]
            window = None if windows is None or self.source.window is None else windows[i]
            if self._extract is not None and v is not None:
                try:
                    ts = self._extract(k, v)
                except (EvaluationError, KsqlError, ValueError, TypeError) as error:
                    if self._fatal:
                        raise RuntimeError(
                            f"Fatal user code error in TimestampExtractor callback for record: {error}"
                        ) from error
                    self._reporter.record_error(self.source.topic, str(error), offset=offsets[i])
                    continue
            row: Row | None = None
            if v is not None:
                extra = tuple([read(header) for read in self._headers])
                row = (*v, *extra, *(self._no_key if k is None else k), ts, parts[i], offsets[i])
                if window is not None:
                    row = (*row, *window)
            out.append(Record(k, row, ts, window, header))
        return out


def _header_reader(key: str | None) -> Callable[[Headers], Any]:
    if key is None:
        return lambda headers: [(name, value) for name, value in headers]

    def last(headers: Headers) -> Any:
        for name, value in reversed(headers):
            if name == key:
                return value
        return None

    return last


def _time_column(source: Source) -> tuple[bool, int] | None:
    """Return (is it in the key, position) of a TIMESTAMP column that needs no parsing; None otherwise."""
    if source.timestamp is None:
        return None
    column = source.schema.column(source.timestamp.name)
    if column.type not in (TIMESTAMP, BIGINT):
        return None
    columns = source.stored_schema.key if column.key else source.stored_schema.value
    return column.key, [c.name for c in columns].index(column.name)

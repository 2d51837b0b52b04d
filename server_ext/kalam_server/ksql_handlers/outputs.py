"""The shapes in which a query's rows leave: framing down to the byte (HTTP contract section 7.2 to 7.5)."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from kalam_server.ksql_handlers.rows import RowWriter, row_writer
from kalam_server.negotiate import ARROW, DELIMITED, JSON, KSQL_JSON, KSQL_PROTOBUF

if TYPE_CHECKING:
    from kalam_jupyter.ksql import ResultColumn, ResultRow, TransientQuery

#: Seconds without rows after which our own client is told how far the query is.
CAUGHT_UP_S = 0.05
#: Why a query ended, as `end` gets it: a final message, an error object, or nothing.
Error = Mapping[str, Any]


class Output(Protocol):
    """Encodes one query. Every piece it returns ends at the end of a line where the shape has lines.

    Attributes
    ----------
    content_type : str
    patience : float or None
        Seconds without rows after which `pause` is sent; None: it never is.
    """

    content_type: str
    patience: float | None = None

    def head(self) -> bytes:
        """Return what comes first."""

    def rows(self, rows: Sequence[ResultRow]) -> Sequence[bytes]:
        """Return the rows, a piece for each that the shape does not leave out."""

    def pause(self, behind: int) -> bytes:
        """Return what says that there are no rows now, and that `behind` records are still to be read."""
        return b""

    def end(self, message: str | None, error: Error | None) -> bytes:
        """Return what closes the answer."""


class DelimitedOutput(Output):
    """One JSON value a line: metadata, then an array per row. Tombstones are left out."""

    content_type = DELIMITED

    def __init__(self, query: TransientQuery) -> None:
        self._query = query
        self._write = row_writer([c.type for c in query.columns], end="\n")

    def head(self) -> bytes:
        """See `Output`."""
        return orjson.dumps(_metadata(self._query)) + b"\n"

    def rows(self, rows: Sequence[ResultRow]) -> Sequence[bytes]:
        """See `Output`."""
        write = self._write
        return [write(r.values).encode(errors="replace") for r in rows if not r.tombstone]

    def end(self, message: str | None, error: Error | None) -> bytes:
        """See `Output`."""
        return b"" if error is None else orjson.dumps(error) + b"\n"


class ArrayOutput(Output):
    """One JSON array: metadata, then an array per row. Tombstones are left out."""

    content_type = JSON

    def __init__(self, query: TransientQuery) -> None:
        self._query = query
        self._write = row_writer([c.type for c in query.columns], begin=",")

    def head(self) -> bytes:
        """See `Output`."""
        return b"[" + orjson.dumps(_metadata(self._query))

    def rows(self, rows: Sequence[ResultRow]) -> Sequence[bytes]:
        """See `Output`."""
        write = self._write
        return [write(r.values).encode(errors="replace") for r in rows if not r.tombstone]

    def end(self, message: str | None, error: Error | None) -> bytes:
        """See `Output`."""
        return b"]" if error is None else b"," + orjson.dumps(error) + b"]"


class RowObjectOutput(Output):
    """A JSON array of objects that can be read line by line: header, rows, final message.

    A finished pull query on a table writes its last row without a comma; everything else writes each
    row with its comma at once, and closes with an element that says why it ended.
    """

    content_type = KSQL_JSON

    def __init__(self, query: TransientQuery) -> None:
        self._query = query
        self._is_pull = query.kind == "pull"
        # A pull query's comma comes with what follows it.
        begin, end = (',\n{"row":{', "}}") if self._is_pull else ('{"row":{', "}},\n")
        self._row, self._tombstone = self._writers(begin, end)

    def _writers(self, begin: str, end: str) -> tuple[RowWriter, RowWriter]:
        """Return the writers of a row and of a tombstone."""
        types = [c.type for c in self._query.columns]
        begin = f'{begin}"columns":'
        return row_writer(types, begin, end), row_writer(types, begin, f',"tombstone":true{end}')

    def head(self) -> bytes:
        """See `Output`."""
        return b"[" + orjson.dumps({"header": self._header()}) + (b"" if self._is_pull else b",\n")

    def rows(self, rows: Sequence[ResultRow]) -> Sequence[bytes]:
        """See `Output`."""
        row, tombstone = self._row, self._tombstone
        return [(tombstone if r.tombstone else row)(r.values).encode(errors="replace") for r in rows]

    def _header(self) -> dict[str, str]:
        return {"queryId": self._query.id, "schema": schema_text(self._query)}

    def end(self, message: str | None, error: Error | None) -> bytes:
        """See `Output`."""
        if error is not None:
            return (b",\n" if self._is_pull else b"") + orjson.dumps({"errorMessage": error}) + b"]"
        if self._is_pull:
            return b"]"
        return orjson.dumps({"finalMessage": message or "Query Completed"}) + b"]"


class LegacyOutput(RowObjectOutput):
    """Row objects as ``/query`` wrote them before it was merged with ``/query-stream``.

    An idle push query writes empty lines, by which both sides notice that the other is gone.
    """

    content_type = JSON

    def __init__(self, query: TransientQuery, patience: float) -> None:
        super().__init__(query)
        self.patience = None if self._is_pull else patience

    def pause(self, behind: int) -> bytes:
        """See `Output`."""
        return b"\n"

    def end(self, message: str | None, error: Error | None) -> bytes:
        """See `Output`."""
        return (b"" if error is None else b"\n") + super().end(message, error) + b"\n"


class ProtobufOutput(RowObjectOutput):
    """Row objects whose rows are Protobuf messages in base64; the header has their schema."""

    content_type = KSQL_PROTOBUF

    def __init__(self, query: TransientQuery) -> None:
        from kalam_jupyter.ksql.formats.protobuf import row_messages

        self._schema, self._encode = row_messages([(c.name, c.type) for c in query.columns])
        super().__init__(query)

    def _header(self) -> dict[str, str]:
        return {**super()._header(), "protoSchema": self._schema}

    def _writers(self, begin: str, end: str) -> tuple[RowWriter, RowWriter]:
        def write(values: Sequence[Any], end: str) -> str:
            return f'{begin}"protobufBytes":"{base64.b64encode(self._encode(values)).decode()}"{end}'

        return partial(write, end=end), partial(write, end=f',"tombstone":true{end}')


class ArrowOutput(Output):
    """Arrow IPC for our own client; see `kalam_server.frames`."""

    content_type = ARROW

    def __init__(self, query: TransientQuery) -> None:
        import pyarrow as pa

        from kalam_server.frames import FrameWriter

        self._query, self._types = query, [c.type for c in query.columns]
        self._keyed = bool(query.key_names)
        self.patience = CAUGHT_UP_S if query.kind == "push" else None
        self._schema = pa.schema([pa.field(c.name, c.type.arrow) for c in query.columns])
        info = {
            "id": query.id,
            "kind": query.kind,
            "key": list(query.key_names or [c.name for c in query.columns if c.key]),
        }
        self._frames = FrameWriter(self._schema, info)

    def head(self) -> bytes:
        """See `Output`."""
        return self._frames.head()

    def rows(self, rows: Sequence[ResultRow]) -> Sequence[bytes]:
        """See `Output`."""
        from kalam_jupyter.changes import from_result_rows

        changes = from_result_rows(rows, self._types, self._schema, keyed=self._keyed)
        behind = sum(self._query.lag().values()) if self.patience is not None else 0
        return [self._frames.batch(changes.batch, changes.kinds.tobytes(), behind)]

    def pause(self, behind: int) -> bytes:
        """See `Output`: what comes after it has caught up needs no saying."""
        if not behind:
            self.patience = None
        return self._frames.pause(behind)

    def end(self, message: str | None, error: Error | None) -> bytes:
        """See `Output`."""
        return self._frames.end({"message": message or "", "error": error})


def _metadata(query: TransientQuery) -> dict[str, Any]:
    return {
        "queryId": query.id,
        "columnNames": [c.name for c in query.columns],
        "columnTypes": [str(c.type) for c in query.columns],
    }


def schema_text(query: TransientQuery) -> str:
    """Return the columns as SQL: names back-quoted; a pull query on a table marks keys and header columns.

    Header columns come right after the keys here, though not in the rows: so ksqlDB has it.
    """
    columns = query.columns
    if any(c.header for c in columns):
        columns = tuple(sorted(columns, key=lambda c: 0 if c.key else 1 if c.header else 2))
    marked = query.kind == "pull"
    return ", ".join([_column_text(c, marked) for c in columns])


def _column_text(column: ResultColumn, marked: bool) -> str:
    name = column.name.replace("`", "``")
    mark = " KEY" if marked and column.key else f" {column.header}" if column.header else ""
    return f"`{name}` {column.type}{mark}"


OUTPUTS: dict[str, Callable[[TransientQuery], Output]] = {
    DELIMITED: DelimitedOutput,
    JSON: ArrayOutput,
    KSQL_JSON: RowObjectOutput,
    KSQL_PROTOBUF: ProtobufOutput,
    ARROW: ArrowOutput,
}


def output_of(query: TransientQuery, media_type: str, *, legacy: float | None = None) -> Output:
    """Return the output that a client asked for; a query whose rows have no such form is closed.

    Parameters
    ----------
    legacy : float, optional
        Row objects are framed as ``/query`` once did, with an empty line after so many seconds without rows.

    Raises
    ------
    KsqlError
    """
    try:
        if legacy is not None and media_type == KSQL_JSON:
            return LegacyOutput(query, legacy)
        return OUTPUTS[media_type](query)
    except BaseException:
        query.close()
        raise

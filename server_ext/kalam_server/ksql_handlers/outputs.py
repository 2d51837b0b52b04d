"""The shapes in which a query's rows leave: framing down to the byte (HTTP contract section 7.2 to 7.5)."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from kalam_server.ksql_handlers.rows import row_writer
from kalam_server.negotiate import ARROW, DELIMITED, JSON, KSQL_JSON, KSQL_PROTOBUF

if TYPE_CHECKING:
    from kalam_jupyter.ksql import ResultColumn, ResultRow, TransientQuery

#: Why a query ended, as `end` gets it: a final message, an error object, or nothing.
Error = Mapping[str, Any]


class Output(Protocol):
    """Encodes one query. Every piece it returns ends at the end of a line where the shape has lines."""

    content_type: str

    def head(self) -> str | bytes:
        """Return what comes first."""

    def rows(self, rows: Sequence[ResultRow]) -> str | bytes:
        """Return the text of some rows; "" when the shape leaves all of them out."""

    def end(self, message: str | None, error: Error | None) -> str | bytes:
        """Return what closes the answer."""


class DelimitedOutput:
    """One JSON value a line: metadata, then an array per row. Tombstones are left out."""

    content_type = DELIMITED

    def __init__(self, query: TransientQuery) -> None:
        self._query = query
        self._write = row_writer([c.type for c in query.columns])

    def head(self) -> str:
        """See `Output`."""
        return orjson.dumps(_metadata(self._query)).decode() + "\n"

    def rows(self, rows: Sequence[ResultRow]) -> str:
        """See `Output`."""
        return "".join([self._write(r.values) + "\n" for r in rows if not r.tombstone])

    def end(self, message: str | None, error: Error | None) -> str:
        """See `Output`."""
        return "" if error is None else orjson.dumps(error).decode() + "\n"


class ArrayOutput:
    """One JSON array: metadata, then an array per row. Tombstones are left out."""

    content_type = JSON

    def __init__(self, query: TransientQuery) -> None:
        self._query = query
        self._write = row_writer([c.type for c in query.columns])

    def head(self) -> str:
        """See `Output`."""
        return "[" + orjson.dumps(_metadata(self._query)).decode()

    def rows(self, rows: Sequence[ResultRow]) -> str:
        """See `Output`."""
        return "".join(["," + self._write(r.values) for r in rows if not r.tombstone])

    def end(self, message: str | None, error: Error | None) -> str:
        """See `Output`."""
        return "]" if error is None else f",{orjson.dumps(error).decode()}]"


class RowObjectOutput:
    """A JSON array of objects that can be read line by line: header, rows, final message.

    A finished pull query on a table writes its last row without a comma; everything else writes each
    row with its comma at once, and closes with an element that says why it ended.
    """

    content_type = KSQL_JSON

    def __init__(self, query: TransientQuery) -> None:
        self._query = query
        self._is_pull = query.kind == "pull"
        self._write = row_writer([c.type for c in query.columns])

    def head(self) -> str:
        """See `Output`: the comma after the header comes with what follows it, for a pull query."""
        header = {"header": self._header()}
        return "[" + orjson.dumps(header).decode() + ("" if self._is_pull else ",\n")

    def rows(self, rows: Sequence[ResultRow]) -> str:
        """See `Output`."""
        if self._is_pull:
            return "".join([f',\n{{"row":{{{self._values(r)}}}}}' for r in rows])
        return "".join([self._row(r) for r in rows])

    def _header(self) -> dict[str, str]:
        return {"queryId": self._query.id, "schema": schema_text(self._query)}

    def _values(self, row: ResultRow) -> str:
        return f'"columns":{self._write(row.values)}'

    def _row(self, row: ResultRow) -> str:
        tombstone = ',"tombstone":true' if row.tombstone else ""
        return f'{{"row":{{{self._values(row)}{tombstone}}}}},\n'

    def end(self, message: str | None, error: Error | None) -> str:
        """See `Output`."""
        if error is not None:
            element = orjson.dumps({"errorMessage": error}).decode()
            return f",\n{element}]" if self._is_pull else f"{element}]"
        if self._is_pull:
            return "]"
        return orjson.dumps({"finalMessage": message or "Query Completed"}).decode() + "]"


class ProtobufOutput(RowObjectOutput):
    """Row objects whose rows are Protobuf messages in base64; the header has their schema."""

    content_type = KSQL_PROTOBUF

    def __init__(self, query: TransientQuery) -> None:
        from kalam_jupyter.ksql.formats.protobuf import row_messages

        super().__init__(query)
        self._schema, self._encode = row_messages([(c.name, c.type) for c in query.columns])

    def _header(self) -> dict[str, str]:
        return {**super()._header(), "protoSchema": self._schema}

    def _values(self, row: ResultRow) -> str:
        return f'"protobufBytes":"{base64.b64encode(self._encode(row.values)).decode()}"'


class ArrowOutput:
    """Arrow IPC for our own client; see `kalam_server.frames`."""

    content_type = ARROW

    def __init__(self, query: TransientQuery) -> None:
        import pyarrow as pa

        from kalam_server.frames import FrameWriter

        self._types = [c.type for c in query.columns]
        self._keyed = bool(query.key_names)
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

    def rows(self, rows: Sequence[ResultRow]) -> bytes:
        """See `Output`."""
        from kalam_jupyter.changes import from_result_rows

        changes = from_result_rows(rows, self._types, self._schema, keyed=self._keyed)
        return self._frames.batch(changes.batch, changes.kinds.tobytes())

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


def output_of(query: TransientQuery, media_type: str) -> Output:
    """Return the output that a client asked for; a query whose rows have no such form is closed.

    Raises
    ------
    KsqlError
    """
    try:
        return OUTPUTS[media_type](query)
    except BaseException:
        query.close()
        raise

"""Answers of servers that are not ours: the JSON shapes of the two contracts, made into Arrow."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa

from kalam_jupyter.changes import from_result_rows
from kalam_jupyter.client.errors import ClientError, ConnectionLostError
from kalam_jupyter.client.http_stream import LineStream, ReadStream
from kalam_jupyter.client.json_values import converted, kalam_value, ksql_value, microseconds
from kalam_jupyter.client.result import Result
from kalam_jupyter.client.wire import OpenAnswer, Wire, ksql_failure
from kalam_jupyter.engine.types import DataType, Timestamp, to_arrow
from kalam_jupyter.ksql import KsqlError
from kalam_jupyter.ksql.lang import ast
from kalam_jupyter.ksql.lang.format import quote
from kalam_jupyter.ksql.lang.parser import parse_schema, parse_statement
from kalam_server.negotiate import DELIMITED, KSQL_JSON

#: Rows asked for at a time where a server cuts answers: KalamDB's own limit, unless it was changed.
PAGE_ROWS = 1000
#: Column that orders the versions of a KalamDB table's rows.
SEQ = "_seq"


def kalam_table(
    schema: Sequence[Mapping[str, Any]], rows: Sequence[Sequence[Any]], *, stored: bool = True
) -> pa.Table:
    """Return KalamDB's schema and rows as a table.

    Parameters
    ----------
    stored : bool
        Whether the rows are those of a user's table: timestamps are microseconds then, and of any unit else.
    """
    from kalam_jupyter.kalam.types import from_json_type

    arrays, names = [], []
    for i, field in enumerate(schema):
        type_ = from_json_type(field["data_type"])
        convert = kalam_value(type_)
        if not stored and isinstance(type_, Timestamp):
            convert = microseconds
        values = converted([row[i] for row in rows], convert)
        arrays.append(to_arrow(values, type_))
        names.append(field["name"])
    return pa.Table.from_arrays(arrays, names=names)


def kalam_results(body: Mapping[str, Any]) -> list[Result]:
    """Return the results of the SQL envelope."""
    results = []
    for found in body["results"]:
        count = found.get("row_count", 0)
        if "schema" not in found:
            results.append(Result("message", "kalam", message=found.get("message") or "", row_count=count))
            continue
        schema = found["schema"]
        key = tuple(f["name"] for f in schema if "pk" in f.get("flags", ()))
        table = kalam_table(schema, found.get("rows", []), stored=False)
        results.append(Result("rows", "kalam", table=table, key=key, row_count=count))
    return results


def whole_table(ask: Callable[[str], pa.Table], name: str) -> pa.Table:
    """Return all rows of a KalamDB table, a page after the other: the server cuts what is longer.

    Pages are told apart by `_seq`, so rows that are updated meanwhile are seen again: the later one counts.

    Parameters
    ----------
    ask : callable
        Runs a SELECT.
    name : str

    Raises
    ------
    ClientError
        If the table has no `_seq` (a system table), and more rows than a page.
    """
    first = ask(f"SELECT * FROM {name} LIMIT {PAGE_ROWS}")
    if SEQ not in first.column_names:
        if first.num_rows >= PAGE_ROWS:
            raise ClientError(
                f"{name} has {PAGE_ROWS} rows or more, and nothing to page by: SELECT what you need of it",
                code="TOO_LARGE",
            )
        return first
    pages, last = [first.slice(0, 0)], -1
    page_of = f"SELECT * FROM {name} WHERE {SEQ} > {{}} ORDER BY {SEQ} LIMIT {PAGE_ROWS}"
    while (page := ask(page_of.format(last))).num_rows:
        pages.append(page)
        last = page.column(SEQ)[-1].as_py()
    return pa.concat_tables(pages)


def latest(table: pa.Table, key: Sequence[str]) -> pa.Table:
    """Return the last row of each key; all rows where there is no key."""
    if not key:
        return table
    numbered = table.append_column("#", pa.array(range(table.num_rows), pa.int64()))
    last = numbered.group_by(list(key)).aggregate([("#", "max")]).column("#_max")
    return table.take(last.combine_chunks().sort())


def open_ksql_query(
    wire: Wire, text: str, properties: Mapping[str, Any], variables: Mapping[str, str]
) -> Result:
    """Run a SELECT or PRINT on a ksqlDB cluster."""
    statement = text.strip()
    tree = _tree(statement)
    if isinstance(tree, ast.Print):
        body = {"ksql": text, "streamsProperties": dict(properties), "sessionVariables": dict(variables)}
        opened = wire.open("POST", "/query", body, accept=DELIMITED)  # records only, no formats
        if opened.status != 200:
            raise ksql_failure(opened.status, opened.rest())
        return Result("stream", "ksql", statement=statement, stream=LineStream(opened, statement))
    body = {"sql": text, "properties": dict(properties), "sessionVariables": dict(variables)}
    opened = wire.open("POST", "/query-stream", body, accept=KSQL_JSON)
    if opened.status != 200:
        raise ksql_failure(opened.status, opened.rest())
    if isinstance(tree, ast.Query) and tree.emit is not None:
        stream = RowObjectStream(opened, wire, statement, _table_key(wire, tree))
        return Result("stream", "ksql", statement=statement, stream=stream)
    stream = RowObjectStream(opened, wire, statement)
    table = stream.all_rows()
    return Result(
        "rows", "ksql", statement=statement, table=table, key=stream.marked_key, row_count=table.num_rows
    )


def _tree(statement: str) -> ast.Statement | None:
    """Return the statement's tree; None when only the server may understand it, or refuse it."""
    try:
        return parse_statement(statement)
    except KsqlError:
        return None


def _table_key(wire: Wire, query: ast.Query) -> tuple[str, ...]:
    """Return the key columns of the one table that a push query follows; () for anything else."""
    if query.group_by is not None or query.partition_by is not None or len(query.sources) != 1:
        return ()
    answer = wire.request("POST", "/ksql", {"ksql": f"DESCRIBE {quote(query.sources[0].name)};"})
    try:
        found = answer.json()[0]["sourceDescription"]
    except (TypeError, KeyError, IndexError):
        return ()
    if found["type"] != "TABLE" or found.get("windowType"):
        return ()
    return tuple(f["name"] for f in found["fields"] if f.get("type") == "KEY")


@dataclass(frozen=True)
class _Row:
    values: tuple[Any, ...]
    tombstone: bool


class RowObjectStream(ReadStream):
    """Rows of a query in ksqlDB's row-object format, which is JSON line by line."""

    def __init__(self, opened: OpenAnswer, wire: Wire, sql: str, key: tuple[str, ...] = ()) -> None:
        super().__init__(opened, sql)
        self._wire = wire
        self._lines = self._elements()
        header = next(self._lines, {}).get("header")
        if header is None:
            raise ConnectionLostError(f"{opened.url} answered without a header")
        self.id = header.get("queryId") or ""
        columns = parse_schema(header["schema"])
        self.marked_key = tuple(c.name for c in columns if c.constraint is not None)
        self._types: list[DataType] = [c.type for c in columns]
        self._converters = [ksql_value(type_) for type_ in self._types]
        self.schema = pa.schema([pa.field(c.name, c.type.arrow) for c in columns])
        if set(key) <= set(self.schema.names):
            self.key = key
        self._start()

    def _elements(self) -> Iterator[dict[str, Any]]:
        while line := self._opened.response.readline():
            text = line.decode().strip().removeprefix("[").removesuffix("]").removesuffix(",")
            if text:
                yield json.loads(text, parse_float=Decimal)

    def _read(self) -> None:
        for element in self._lines:
            if (row := element.get("row")) is not None:
                values = tuple(
                    v if v is None or convert is None else convert(v)
                    for v, convert in zip(row["columns"], self._converters, strict=True)
                )
                found = _Row(values, bool(row.get("tombstone")))
                self._push(from_result_rows([found], self._types, self.schema, keyed=bool(self.key)))
                self._wait_for_room()
            elif (failure := element.get("errorMessage")) is not None:
                self._end(error=ClientError(failure["message"], code=str(failure["error_code"])))
                return
            elif "finalMessage" in element:
                self._end(element["finalMessage"])
                return
        self._end()

    def _abort(self) -> None:
        # A cluster may not notice a disconnect; its query ends for certain when it is told.
        if self.id.startswith("transient"):
            with contextlib.suppress(ConnectionLostError):
                self._wire.request("POST", "/close-query", {"queryId": self.id})
        super()._abort()

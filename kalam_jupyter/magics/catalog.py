"""The names a connection knows now, for completion and for suggestions."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from kalam_jupyter.client import ClientError
from kalam_jupyter.ksql.lang.format import quote

if TYPE_CHECKING:
    from collections.abc import Callable

    from kalam_jupyter.client import Connection
    from kalam_jupyter.magics.options import Dialect

_FRESH_S = 3.0
_WORD = re.compile(r"[A-Za-z_][\w.]*")


class Catalog:
    """Sources, columns and functions of a connection, asked for when needed and kept for some seconds.

    A connection that cannot answer has no names: completion must not raise.
    """

    def __init__(self, connection: Connection, dialect: Dialect) -> None:
        self._connection, self._dialect = connection, dialect
        self._kept: dict[str, tuple[float, dict[str, str]]] = {}

    def sources(self) -> dict[str, str]:
        """Return streams and tables by name, with their kind."""
        return self._keep("sources", _ksql_sources if self._dialect == "ksql" else _kalam_sources)

    def sources_in(self, text: str) -> list[str]:
        """Return the sources that a text names, with their namespace or without."""
        words = {word.lower() for word in _WORD.findall(text)}
        return [s for s in self.sources() if words & {s.lower(), s.rpartition(".")[2].lower()}]

    def columns(self, source: str) -> dict[str, str]:
        """Return the columns of a source, with their type."""
        make = _ksql_columns if self._dialect == "ksql" else _kalam_columns
        return self._keep(f"columns {source}", lambda connection: make(connection, source))

    def functions(self) -> dict[str, str]:
        """Return functions by name, with their kind."""
        return self._keep("functions", _ksql_functions) if self._dialect == "ksql" else {}

    def topics(self) -> dict[str, str]:
        """Return topics by name."""
        return self._keep("topics", lambda c: _ksql_listed(c, "LIST TOPICS;", "topics", "name", "topic"))

    def queries(self) -> dict[str, str]:
        """Return running queries by id."""
        return self._keep("queries", lambda c: _ksql_listed(c, "LIST QUERIES;", "queries", "id", "query"))

    def _keep(self, what: str, ask: Callable[[Connection], dict[str, str]]) -> dict[str, str]:
        now = time.monotonic()
        asked_at, names = self._kept.get(what, (float("-inf"), {}))
        if now - asked_at >= _FRESH_S:
            try:
                names = ask(self._connection)
            except ClientError:
                names = {}
            self._kept[what] = (now, names)
        return names


def _ksql_sources(connection: Connection) -> dict[str, str]:
    names = {}
    for result in connection.ksql("LIST STREAMS; LIST TABLES;"):
        entity = result.entity or {}
        for source in [*entity.get("streams", ()), *entity.get("tables", ())]:
            names[source["name"]] = source["type"].lower()
    return names


def _ksql_columns(connection: Connection, source: str) -> dict[str, str]:
    (result,) = connection.ksql(f"DESCRIBE {quote(source)};")
    fields = (result.entity or {}).get("sourceDescription", {}).get("fields", ())
    return {field["name"]: field["schema"]["type"] for field in fields}


def _ksql_listed(connection: Connection, sql: str, member: str, name: str, kind: str) -> dict[str, str]:
    (result,) = connection.ksql(sql)
    return {row[name]: kind for row in (result.entity or {}).get(member, ())}


def _ksql_functions(connection: Connection) -> dict[str, str]:
    (result,) = connection.ksql("LIST FUNCTIONS;")
    return {f["name"]: f["type"].lower() for f in (result.entity or {}).get("functions", ())}


def _kalam_sources(connection: Connection) -> dict[str, str]:
    (result,) = connection.kalam("SELECT namespace_id, table_name, table_type FROM system.tables")
    rows = result.table.to_pylist() if result.table is not None else []
    names = {f"{r['namespace_id']}.{r['table_name']}": f"{r['table_type']} table".lower() for r in rows}
    return names | {f"ksql.{name.lower()}": kind for name, kind in _ksql_sources(connection).items()}


def _kalam_columns(connection: Connection, source: str) -> dict[str, str]:
    namespace, _, table = source.rpartition(".")
    if namespace == "ksql":
        return {name.lower(): type_ for name, type_ in _ksql_columns(connection, table.upper()).items()}
    (result,) = connection.kalam(
        "SELECT column_name, data_type FROM system.columns WHERE namespace_id = $1 AND table_name = $2",
        [namespace or connection.namespace, table],
    )
    rows = result.table.to_pylist() if result.table is not None else []
    return {r["column_name"]: r["data_type"] for r in rows}

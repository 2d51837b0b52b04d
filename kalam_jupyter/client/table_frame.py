"""Writing the rows of a frame into a table of either dialect, by key."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from kalam_jupyter.client.errors import ClientError
from kalam_jupyter.client.literals import literal
from kalam_jupyter.client.progress import Waiting

if TYPE_CHECKING:
    from kalam_jupyter.client.connection import Connection

#: Rows in one INSERT of KalamDB: far below its limit on a statement's size, enough to make its cost small.
_INSERT_ROWS = 500
_NAME = re.compile(r"[A-Za-z_]\w*\Z")


def write_table(connection: Connection, table: pa.Table, name: str, key: str | None) -> int:
    """Write rows into ``namespace.table`` of KalamDB, or a ksqlDB table; return how many.

    Raises
    ------
    ClientError
        If the frame lacks the key column, has no value in it, or does not fit the table.
    """
    if key is not None:
        if key not in table.column_names:
            known = ", ".join(table.column_names)
            raise ClientError(f"the frame has no column '{key}'; it has {known}")
        if table.column(key).null_count:
            raise ClientError(f"column '{key}' is the key and must have a value in every row")
    if "." in name:
        return _into_kalam(connection, table, name, key)
    return _into_ksql(connection, table, name, key)


def _into_ksql(connection: Connection, table: pa.Table, name: str, key: str | None) -> int:
    from kalam_jupyter.ksql.inserts import column_name

    entities = [r.entity or {} for r in connection.ksql("LIST STREAMS; LIST TABLES;")]
    folded = column_name(name)
    if folded in (s["name"] for s in entities[0].get("streams", ())):
        raise ClientError(f"{folded} is a stream; to_stream sends rows to it")
    if folded not in (t["name"] for t in entities[1].get("tables", ())):
        if key is None:
            raise ClientError(f"there is no table {folded} yet: give the key of the one to make, key=..")
        connection.ksql(_create_ksql(folded, table, key))
    return connection.send(name, table)


def _create_ksql(name: str, table: pa.Table, key: str) -> str:
    from kalam_jupyter.ksql.inserts import column_name, sql_type
    from kalam_jupyter.ksql.lang.format import quote

    columns = []
    for field in table.schema:
        try:
            type_ = sql_type(field.type)
        except TypeError as error:
            raise ClientError(f"column '{field.name}': {error}") from error
        role = " PRIMARY KEY" if field.name == key else ""
        columns.append(f"{quote(column_name(field.name))} {type_}{role}")
    topic = name.replace("'", "''")
    return (
        f"CREATE TABLE {quote(name)} ({', '.join(columns)}) "
        f"WITH (KAFKA_TOPIC='{topic}', VALUE_FORMAT='JSON', KEY_FORMAT='JSON', PARTITIONS=1);"
    )


def _into_kalam(connection: Connection, table: pa.Table, name: str, key: str | None) -> int:
    namespace, _, short = name.rpartition(".")
    for word in (namespace, short, *table.column_names):
        if not _NAME.match(word):
            raise ClientError(f"'{word}' is no name for a namespace, table or column of KalamDB")
    folded = [column.lower() for column in table.column_names]  # as KalamDB keeps names
    if len(set(folded)) < len(folded):
        raise ClientError("two columns of the frame have the same name but for case")
    table = table.rename_columns(folded)
    key = _existing_key(connection, namespace, short) or (key and key.lower())
    if key is None:
        raise ClientError(f"there is no table {name} yet: give the key of the one to make, key=..")
    if key not in table.column_names:
        raise ClientError(f"the frame has no column '{key}', the key of {name}")
    # The later of two rows with one key wins, as it would if they came one after the other.
    rows = list({row[key]: row for row in table.to_pylist()}.values())
    sent = 0
    # Made before anything is sent: a value without a literal is refused and changes nothing.
    requests = [
        _replacing(name, table.column_names, key, rows[at : at + _INSERT_ROWS])
        for at in range(0, len(rows), _INSERT_ROWS)
    ]
    columns = ", ".join(
        f'"{f.name}" {_kalam_type(f.type)}{" PRIMARY KEY" if f.name == key else ""}' for f in table.schema
    )
    connection.kalam(f"CREATE NAMESPACE IF NOT EXISTS {namespace}")
    connection.kalam(f"CREATE TABLE IF NOT EXISTS {name} ({columns}) WITH (TYPE='SHARED')")
    with Waiting(
        f"{len(rows):,} rows into {name}", lambda: f"{min(len(rows), sent * _INSERT_ROWS):,} written"
    ):
        for request in requests:
            connection.kalam(request)
            sent += 1
    return len(rows)


def _existing_key(connection: Connection, namespace: str, name: str) -> str | None:
    (found,) = connection.kalam(
        "SELECT column_name FROM system.columns WHERE namespace_id = $1 AND table_name = $2 AND primary_key",
        [namespace, name],
    )
    rows = found.table.to_pylist() if found.table is not None else []
    return rows[0]["column_name"] if rows else None


def _replacing(name: str, columns: list[str], key: str, rows: list[dict[str, Any]]) -> str:
    """Return one transaction: KalamDB has no upsert, so rows of these keys go first."""
    keys = ", ".join(_literal(row[key], key) for row in rows)
    values = ", ".join("(" + ", ".join(_literal(row[c], c) for c in columns) + ")" for row in rows)
    listed = ", ".join(f'"{c}"' for c in columns)
    return (
        f'BEGIN; DELETE FROM {name} WHERE "{key}" IN ({keys}); '
        f"INSERT INTO {name} ({listed}) VALUES {values}; COMMIT;"
    )


def _literal(value: Any, column: str) -> str:
    try:
        return literal(value, "kalam")
    except (TypeError, ValueError) as error:
        raise ClientError(f"column '{column}' cannot be written: {error}") from error


def _kalam_type(type_: pa.DataType) -> str:
    from kalam_jupyter.kalam.types import from_arrow_type, sql_type

    if pa.types.is_nested(type_) and not pa.types.is_fixed_size_list(type_):
        return "JSON"
    return sql_type(from_arrow_type(type_))

"""Stepping through a query of a connection, wherever its engine is.

Operators are Python objects: with an embedded engine they are made from its own catalogue. Elsewhere the
sources that the query names are described by the server and declared again in a private engine of this
process; no row is read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kalam_jupyter.client.described import type_text
from kalam_jupyter.ksql.errors import KsqlError
from kalam_jupyter.ksql.lang.format import quote

if TYPE_CHECKING:
    from kalam_jupyter.client.connection import Connection
    from kalam_jupyter.ksql import Ksql
    from kalam_jupyter.ksql.stepping import Stepping

_KEPT: tuple[str, ...] = ("TIMESTAMP", "TIMESTAMP_FORMAT")
_QUERY_ID = re.compile(r"[\w-]+\Z")


def open_stepping(connection: Connection, statement: str, properties: Mapping[str, Any]) -> Stepping:
    """Return a stepping through a statement, or a persistent query by its id.

    Raises
    ------
    ClientError
        If it is no query, or cannot be planned.
    """
    from kalam_jupyter.client.inprocess import ksql_error
    from kalam_jupyter.ksql.stepping import Stepping

    text = statement.rstrip().removesuffix(";").rstrip()  # what stands before it places errors
    try:
        if connection.node is not None:
            return Stepping(connection.node.ksql, text, properties=properties)
        if _QUERY_ID.match(text.strip()):
            (explained,) = connection.ksql(f"EXPLAIN {text};")
            text = (explained.entity or {})["queryDescription"]["statementText"].rstrip().removesuffix(";")
        return Stepping(_copy(connection, f"{text};"), text, properties=properties)
    except KsqlError as error:
        raise ksql_error(error) from error


def _copy(connection: Connection, statement: str) -> Ksql:
    """Return a private engine with the sources that a statement names."""
    from kalam_jupyter.engine import Engine
    from kalam_jupyter.ksql import Ksql
    from kalam_jupyter.ksql.lang import ast
    from kalam_jupyter.ksql.lang.parser import parse_statement

    tree = parse_statement(statement)
    names = {ref.name for ref in ast.walk(tree) if isinstance(ref, ast.SourceRef)}
    if isinstance(tree, ast.InsertInto):
        names.add(tree.target)
    ksql = Ksql(Engine.open())
    for name in sorted(names):
        (described,) = connection.ksql(f"DESCRIBE {quote(name)};")
        _declare(ksql, (described.entity or {})["sourceDescription"])
    return ksql


def _declare(ksql: Ksql, source: Mapping[str, Any]) -> None:
    formats = f"KEY_FORMAT='{source['keyFormat']}', VALUE_FORMAT='{source['valueFormat']}'"
    try:
        ksql.execute(_create_text(source, formats))
    except KsqlError:  # formats that need a registry's schemas: rows that nobody writes need none
        ksql.execute(_create_text(source, "KEY_FORMAT='JSON', VALUE_FORMAT='JSON'"))


def _create_text(source: Mapping[str, Any], formats: str) -> str:
    columns = []
    key = "PRIMARY KEY" if source["type"] == "TABLE" else "KEY"
    for column in source["fields"]:
        role = {"KEY": key, "HEADER": _header(column)}.get(column.get("type") or "", "")
        columns.append(f"{quote(column['name'])} {type_text(column['schema'])} {role}".rstrip())
    topic = source["topic"].replace("'", "''")
    more = "".join(f", {name}='{value}'" for name, value in _properties(source).items())
    return (
        f"CREATE {source['type']} {quote(source['name'])} ({', '.join(columns)}) "
        f"WITH (KAFKA_TOPIC='{topic}', PARTITIONS=1, {formats}{more});"
    )


def _header(column: Mapping[str, Any]) -> str:
    return f"HEADER('{column['headerKey']}')" if column.get("headerKey") else "HEADERS"


def _properties(source: Mapping[str, Any]) -> dict[str, str]:
    """Return what a description does not say in columns: event time and windows, from the statement."""
    from kalam_jupyter.ksql.lang import ast
    from kalam_jupyter.ksql.lang.parser import parse_statement
    from kalam_jupyter.ksql.lang.properties import typed_properties

    tree: Any = None
    if source.get("statement"):
        tree = parse_statement(source["statement"])
    given = typed_properties(tree.properties) if tree is not None else {}
    found = {n: str(given[n]) for n in _KEPT if n in given}
    if "WINDOW_SIZE" in given:
        found["WINDOW_SIZE"] = f"{given['WINDOW_SIZE']} MILLISECONDS"
    if source.get("windowType"):
        found["WINDOW_TYPE"] = source["windowType"]
        if isinstance(tree, ast.CreateSourceAs):
            size = getattr(tree.query.window, "size", None)
            if size is not None:
                found["WINDOW_SIZE"] = f"{size.ms} MILLISECONDS"
    return found

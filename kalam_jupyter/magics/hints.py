"""The next step after a refusal: a near name, what ksqlDB calls otherwise, where else it works."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kalam_jupyter.magics.catalog import Catalog
from kalam_jupyter.magics.completion import KALAM_KEYWORDS
from kalam_jupyter.magics.errors import UsageError
from kalam_jupyter.magics.options import Dialect
from kalam_jupyter.magics.scan import split_cell

if TYPE_CHECKING:
    from kalam_jupyter.client import Connection

_ANSWERED = ("did you mean", "unknown statement", "reserved word")
_NO_FUNCTION = "any functions with the name"
_NO_SOURCE = re.compile(r"does not exist|not found|could not find stream/table", re.IGNORECASE)
#: What other SQLs call differently; there is nothing near to suggest.
_FUNCTIONS = {
    "upper": "UCASE",
    "lower": "LCASE",
    "length": "LEN",
    "strlen": "LEN",
    "now": "UNIX_TIMESTAMP() or FROM_UNIXTIME(UNIX_TIMESTAMP())",
    "current_timestamp": "FROM_UNIXTIME(UNIX_TIMESTAMP())",
    "current_date": "UNIX_DATE()",
    "group_concat": "COLLECT_LIST, and ARRAY_JOIN of it",
    "string_agg": "COLLECT_LIST, and ARRAY_JOIN of it",
    "array_agg": "COLLECT_LIST",
    "list": "COLLECT_LIST",
    "first": "EARLIEST_BY_OFFSET",
    "last": "LATEST_BY_OFFSET",
    "stddev": "STDDEV_SAMPLE",
    "strftime": "FORMAT_TIMESTAMP",
    "to_timestamp": "PARSE_TIMESTAMP",
    "random": "RANDOM()",
}
#: What ksqlDB refuses and KalamDB's SQL, which is asked once, does.
_ONCE_ONLY = re.compile(
    r"\b(ORDER\s+BY|DISTINCT|OFFSET|UNION|OVER\s*\(|FROM\s*\(|WITH\s+\w+\s+AS\s*\()", re.IGNORECASE
)
_ELSEWHERE = "%%kalam sorts, joins and counts what is there now: streams and tables stand there as ksql.name."
_LIVE_ELSEWHERE = "%%ksql groups, joins and counts live: SELECT .. FROM stream GROUP BY .. EMIT CHANGES."
_SENT: dict[Dialect, str] = {
    "ksql": "{0}.kalam.to_stream('{0}') makes it a stream.",
    "kalam": "{0}.kalam.to_table('app.{0}', key=..) makes it a table.",
}


def hint(
    message: str,
    token: str,
    code: str,
    connection: Connection,
    dialect: Dialect,
    variables: Mapping[str, Any],
) -> str:
    """Return what somebody whose statement was refused may do next; "" if nothing is known.

    Parameters
    ----------
    message : str
        What the engine said.
    token : str
        The word that its position points at.
    code : str
        The cell, with texts and comments blanked.
    variables : mapping
        The notebook's Python names.
    """
    said = message.lower()
    if any(words in said for words in _ANSWERED):
        return ""
    if dialect == "ksql" and (elsewhere := _elsewhere(said, code)):
        return elsewhere
    if dialect == "kalam" and "subscription query does not support" in said:
        return _LIVE_ELSEWHERE
    if dialect == "kalam" and "unsupported statement type" in said:
        return next(
            (UsageError.near(s.word, KALAM_KEYWORDS) for s in split_cell(code) if s.word.lower() in said), ""
        )
    word = token.strip("'\"`")
    if not word or not (word[0].isalpha() or word[0] == "_"):
        return ""
    catalog = Catalog(connection, dialect)
    if _NO_FUNCTION in said:
        return _function(word, connection, catalog)
    if _NO_SOURCE.search(said):
        return _source(word, dialect, catalog, variables)
    return _column(word, code, catalog)


def _elsewhere(said: str, code: str) -> str:
    pull = "pull queries don't support" in said
    refused = "syntax error" in said and _ONCE_ONLY.search(code)
    return _ELSEWHERE if pull or refused else ""


def _function(word: str, connection: Connection, catalog: Catalog) -> str:
    from kalam_jupyter.ksql.functions.python import USER

    if connection.node is None and word.upper() in USER.functions:
        return (
            f"{word} is a function of this kernel, and the engine runs elsewhere: "
            "%ksql connect :memory: (or embedded:DIR) makes one here."
        )
    if (name := _FUNCTIONS.get(word.lower())) is not None:
        return f"ksqlDB calls it {name}."
    return UsageError.near(word, catalog.functions())


def _source(word: str, dialect: Dialect, catalog: Catalog, variables: Mapping[str, Any]) -> str:
    """Return the source that is meant: in another namespace, still a DataFrame, or of a near name."""
    sources = catalog.sources()
    short_names = {source: source.rpartition(".")[2] for source in sources}
    alike = [s for s, short in short_names.items() if short.lower() == word.lower() != s.lower()]
    if alike:
        return f"Did you mean {' or '.join(alike)}?"
    frame = next((name for name in variables if name.lower() == word.lower()), None)
    if frame is not None and hasattr(variables[frame], "kalam"):
        return f"{frame} is a DataFrame: {_SENT[dialect].format(frame)}"
    return UsageError.near(word, [*sources, *short_names.values()])


def _column(word: str, code: str, catalog: Catalog) -> str:
    from kalam_jupyter.ksql.lang.tokens import KEYWORDS

    if word.upper() in KEYWORDS:
        return ""
    columns = [name for source in catalog.sources_in(code) for name in catalog.columns(source)]
    known = [*catalog.sources(), *catalog.functions()]
    if word.lower() in (name.lower() for name in (*columns, *known)):
        return ""
    return UsageError.near(word, columns) or UsageError.near(word, known)

"""The next step after a refusal: a near name, what ksqlDB calls otherwise, where else it works."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
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
_NO_TOPIC = "could not find topic"
_NO_SOURCE = re.compile(r"does not exist|not found|could not find|unknown stream/table", re.IGNORECASE)
_NO_COLUMN = re.compile(r"cannot be resolved|no field named")
_NO_TYPE = re.compile(r"(?:unknown type|unsupported data type): (\w+)", re.IGNORECASE)
_TYPES: dict[Dialect, str] = {
    "ksql": "BOOLEAN INT INTEGER BIGINT DOUBLE DECIMAL STRING VARCHAR BYTES DATE TIME TIMESTAMP"
    " ARRAY MAP STRUCT",
    "kalam": "BOOLEAN SMALLINT INT INTEGER BIGINT FLOAT DOUBLE DECIMAL TEXT VARCHAR BYTES DATE TIME TIMESTAMP"
    " DATETIME UUID JSON FILE EMBEDDING",
}
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
_ELSEWHERE = "%%kalam sorts, joins and counts what is there now: streams and tables stand there as ksql.name."


@dataclass(frozen=True)
class _Mistake:
    """One that many make: what the engine says then, what the cell looks like, what to do."""

    dialect: Dialect
    said: str
    code: str
    hint: str

    def is_in(self, dialect: Dialect, said: str, code: str) -> bool:
        if dialect != self.dialect or not re.search(self.said, said):
            return False
        return re.search(self.code, code, re.IGNORECASE) is not None


#: The first that fits is told.
_MISTAKES = (
    _Mistake(
        "ksql",
        "unknown statement '(update|delete|merge)'",
        "",
        "A stream only grows: INSERT another record. Tables of %%kalam have UPDATE and DELETE.",
    ),
    _Mistake(
        "ksql",
        "syntax error",
        r"\b(UN)?SET\s+[a-z]",
        "Names and values of properties are quoted: SET 'auto.offset.reset' = 'earliest';",
    ),
    _Mistake(
        "ksql",
        "syntax error",
        r"\b(SIZE|ADVANCE\s+BY|PERIOD|RETENTION|WITHIN|SESSION\s*\()\s*\d+\s*[,)]",
        "A duration has a unit: 1 MINUTE.",
    ),
    _Mistake(
        "ksql",
        "must have a within clause",
        "",
        "How far apart may two records be? JOIN .. WITHIN 1 HOUR ON ..",
    ),
    _Mistake(
        "ksql",
        "unknown statement|syntax error",
        r"\bCREATE\s+(NAMESPACE|USER|TOPIC)\b",
        "%%kalam has that statement.",
    ),
    # What is refused here, and done by KalamDB's SQL, which is asked once.
    _Mistake(
        "ksql",
        "syntax error",
        r"\b(ORDER\s+BY|DISTINCT|OFFSET|UNION|OVER\s*\(|FROM\s*\(|IN\s*\(\s*SELECT|WITH\s+\w+\s+AS\s*\()",
        _ELSEWHERE,
    ),
    _Mistake("ksql", "pull queries don't support", "", _ELSEWHERE),
    _Mistake("ksql", r"expecting \{'from'\}", "", "Is a comma missing between two columns?"),
    _Mistake(
        "kalam",
        "subscription query does not support",
        "",
        "%%ksql groups, joins and counts live: SELECT .. FROM stream GROUP BY .. EMIT CHANGES.",
    ),
    _Mistake(
        "kalam", "found: changes", "", "%%kalam --live keeps a SELECT up to date; EMIT CHANGES is of %%ksql."
    ),
    _Mistake("kalam", "", r"\bCREATE\s+STREAM\b(?!\s+TABLE)", "%%ksql has that statement."),
    _Mistake(
        "kalam",
        "unsupported statement type: truncate",
        "",
        "DELETE FROM .. WHERE true takes out every row.",
    ),
)
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
    if (mistake := next((m for m in _MISTAKES if m.is_in(dialect, said, code)), None)) is not None:
        return mistake.hint
    if any(words in said for words in _ANSWERED):
        return ""
    if dialect == "kalam" and "unsupported statement type" in said:
        return next(
            (UsageError.near(s.word, KALAM_KEYWORDS) for s in split_cell(code) if s.word.lower() in said), ""
        )
    if (type_ := _NO_TYPE.search(message)) is not None:
        return UsageError.near(type_.group(1), _TYPES[dialect].split())
    word = token.strip("'\"`")
    if not word or not (word[0].isalpha() or word[0] == "_"):
        return ""
    catalog = Catalog(connection, dialect)
    if _NO_FUNCTION in said:
        return _function(word, connection, catalog)
    if _NO_TOPIC in said:
        return UsageError.near(word, catalog.topics())
    if _NO_SOURCE.search(said) and "column" not in said:
        return _source(word, dialect, catalog, variables)
    return _column(word, said, code, catalog)


def _function(word: str, connection: Connection, catalog: Catalog) -> str:
    from kalam_jupyter.ksql.functions.python import USER

    if connection.node is None and word.upper() in USER.functions:
        return (
            f"{word} is a function of this kernel, and the engine runs elsewhere: "
            "%ksql connect :memory: (or embedded:DIR) makes one here."
        )
    meant = UsageError.nearest(word, [*_FUNCTIONS, *catalog.functions()])
    if (name := _FUNCTIONS.get(meant or "")) is not None:
        return f"ksqlDB calls it {name}."
    return f"Did you mean {meant}?" if meant else ""


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


def _column(word: str, said: str, code: str, catalog: Catalog) -> str:
    from kalam_jupyter.ksql.lang.tokens import KEYWORDS

    if word.upper() in KEYWORDS:
        return ""
    columns = [name for source in catalog.sources_in(code) for name in catalog.columns(source)]
    known = [*columns, *catalog.sources()]
    if word.lower() in (name.lower() for name in known):
        return ""
    if (near := UsageError.near(word, columns)) or not _NO_COLUMN.search(said):
        return near
    is_quoted = not re.search(rf"\b{re.escape(word)}\b", code)
    is_compared = re.search(rf"[=<>]\s*{re.escape(word)}\b(?!\s*[.(])", code)
    return f"Text is written in single quotes: '{word}'." if is_quoted or is_compared else ""

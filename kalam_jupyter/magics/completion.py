"""Completion inside the cells, through the kernel: it works in every front end.

Keywords, options, subcommands, functions, streams and tables, and the columns of those a cell mentions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from IPython.core.completer import SimpleCompletion, context_matcher

from kalam_jupyter.client import ClientError
from kalam_jupyter.magics.catalog import Catalog
from kalam_jupyter.magics.options import OPTIONS, Dialect
from kalam_jupyter.magics.scan import blanked

if TYPE_CHECKING:
    from kalam_jupyter.client import Connection
    from kalam_jupyter.magics.connections import Connections

_CELL = re.compile(r"\s*%%(ksql|kalam)\b")
_LINE = re.compile(r"(?:^|=)\s*%(ksql|kalam)\s")
_FRAGMENT = re.compile(r"[\w.$@-]*\Z")
_WORD = re.compile(r"[A-Za-z_][\w.]*")

_COMMON = """SELECT FROM WHERE GROUP BY HAVING ORDER LIMIT AS JOIN LEFT INNER RIGHT FULL OUTER ON AND OR NOT
IN IS NULL LIKE BETWEEN CASE WHEN THEN ELSE END CAST CREATE TABLE DROP INSERT INTO VALUES IF
EXISTS DESCRIBE EXPLAIN SHOW WITH TRUE FALSE DISTINCT ALTER ADD COLUMN PRIMARY KEY"""
_KEYWORDS: dict[str, list[str]] = {
    "ksql": f"""{_COMMON} STREAM STREAMS TABLES TOPICS QUERIES FUNCTIONS PROPERTIES TYPES EMIT CHANGES FINAL
WINDOW TUMBLING HOPPING SESSION SIZE ADVANCE GRACE PERIOD RETENTION WITHIN PARTITION HEADERS
LIST PRINT BEGINNING INTERVAL TERMINATE PAUSE RESUME SET UNSET DEFINE UNDEFINE ASSERT TOPIC TYPE
STRUCT ARRAY MAP KAFKA_TOPIC VALUE_FORMAT KEY_FORMAT PARTITIONS TIMESTAMP_FORMAT WINDOWSTART
WINDOWEND ROWTIME ROWPARTITION ROWOFFSET MILLISECONDS SECONDS MINUTES HOURS DAYS VARCHAR STRING
INTEGER BIGINT DOUBLE BOOLEAN DECIMAL BYTES TIMESTAMP DATE TIME""".split(),
    "kalam": f"""{_COMMON} NAMESPACE USER SHARED STREAM TYPE UPDATE DELETE SUBSCRIBE TO OPTIONS STORAGE FLUSH
COMPACT TOPIC SOURCE CONSUME ACK EXECUTE BEGIN COMMIT ROLLBACK USE NAMESPACES TABLES UNION
OFFSET BIGINT INT TEXT DOUBLE BOOLEAN TIMESTAMP DATE JSON UUID BYTES EMBEDDING FILE DEFAULT
SNOWFLAKE_ID UUID_V7 NOW CURRENT_USER system.tables system.columns system.users system.live
system.jobs system.topics""".split(),
}


def make_matcher(connections: Connections, commands: Iterable[str]) -> Callable[[Any], dict[str, Any]]:
    """Return a matcher for ``ip.Completer.custom_matchers``."""
    catalogs: dict[tuple[int, Dialect], Catalog] = {}

    def catalog_of(connection: Connection, dialect: Dialect) -> Catalog:
        return catalogs.setdefault((id(connection), dialect), Catalog(connection, dialect))

    @context_matcher(identifier="kalam_jupyter")  # type: ignore[untyped-decorator]
    def kalam_matcher(context: Any) -> dict[str, Any]:
        found = _sql_before(context)
        if found is None:
            return {"completions": []}
        dialect, before, in_line = found
        fragment = _FRAGMENT.search(before)
        typed = fragment.group() if fragment else ""
        names: dict[str, str] = {}
        if typed.startswith("-"):
            names = {name: "option" for name, o in OPTIONS.items() if dialect in o.dialects}
        else:
            if in_line and not before.removesuffix(typed).strip():
                names |= dict.fromkeys(commands, "command")
            try:
                catalog = catalog_of(connections.current, dialect)
                names |= dict(_names(catalog, context.full_text, typed))
            except ClientError:  # no server: keywords are still right
                pass
            names |= dict.fromkeys(_KEYWORDS[dialect], "keyword")
        completions = [
            SimpleCompletion(_in_case_of(typed, name, kind), type=kind)
            for name, kind in names.items()
            if name.lower().startswith(typed.lower())
        ]
        return {"completions": completions, "matched_fragment": typed, "suppress": True, "ordered": True}

    matcher: Callable[[Any], dict[str, Any]] = kalam_matcher
    return matcher


def _sql_before(context: Any) -> tuple[Dialect, str, bool] | None:
    """Return dialect, SQL text left of the cursor on its line, and whether it is the magic's own line."""
    line: str = context.text_until_cursor
    line_magic = _LINE.search(line)
    if line_magic:
        return _dialect(line_magic), line[line_magic.end() :], True
    cell = _CELL.match(context.full_text)
    if cell is None:
        return None
    own = _CELL.match(line)
    return _dialect(cell), line[own.end() :] if own else line, False


def _dialect(match: re.Match[str]) -> Dialect:
    return "ksql" if match.group(1) == "ksql" else "kalam"


def _names(catalog: Catalog, cell: str, typed: str) -> Iterator[tuple[str, str]]:
    sources = catalog.sources()
    words = {word.lower() for word in _WORD.findall(blanked(cell))}
    qualifier, dot, _ = typed.rpartition(".")
    for source, kind in sources.items():
        plain = source.lower().rpartition(".")[2]
        if source.lower() in words or plain in words or plain == qualifier.lower():
            for column, type_ in catalog.columns(source).items():
                yield (f"{qualifier}.{column}" if dot and qualifier.lower() == plain else column), type_
        yield source, kind
    yield from catalog.functions().items()


def _in_case_of(typed: str, name: str, kind: str) -> str:
    """Somebody who types keywords in lower case gets them in lower case."""
    return name.lower() if kind == "keyword" and typed and typed == typed.lower() else name

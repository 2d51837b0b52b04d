"""Completion inside the cells, through the kernel: it works in every front end.

For ksqlDB the parser says what can stand at the cursor; KalamDB gets keywords and names. Names are the
connection's: streams, tables, the columns of those the statement reads, functions, topics, queries.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from IPython.core.completer import SimpleCompletion, context_matcher

from kalam_jupyter.client import ClientError
from kalam_jupyter.magics.catalog import Catalog
from kalam_jupyter.magics.options import OPTIONS, Dialect
from kalam_jupyter.magics.scan import blanked
from kalam_jupyter.widgets.encoding import KINDS

if TYPE_CHECKING:
    from kalam_jupyter.client.connections import Connections

_CELL = re.compile(r"\s*%%(ksql|kalam)\b")
_LINE = re.compile(r"(?:^|=)\s*%(ksql|kalam)\s")
_FRAGMENT = re.compile(r"[\w.$]*\Z")
_OPTION = re.compile(r"(?:^|\s)(--?[a-z]*)\Z")
_PLOT = re.compile(r"--plot[ =]([a-z]*)\Z")
_COLUMN = re.compile(r"--(?:sort|x|y|by)[ =](?:[^\s,]*,)*(\w*)\Z")
_DIRECTION = re.compile(r"--sort[ =]\S+:([a-z]*)\Z")
_ALIAS = re.compile(r"\bAS\s+([A-Za-z_]\w*)", re.IGNORECASE)

_KALAM_WORDS = """
ADD ACK ALTER AND AS BEGIN BETWEEN BIGINT BOOLEAN BY BYTES CASE CAST COLUMN COMMIT COMPACT CONSUME
CREATE CURRENT_USER DATE DEFAULT DELETE DESC DESCRIBE DISTINCT DOUBLE DROP ELSE EMBEDDING END
EXECUTE EXISTS FALSE FILE FLUSH FROM FULL GROUP HAVING IF IN INNER INSERT INT INTO IS JOIN JSON KEY
LEFT LIKE LIMIT NAMESPACE NAMESPACES NOT NOW NULL OFFSET ON OPTIONS OR ORDER PRIMARY RIGHT ROLLBACK
SELECT SET SHARED SHOW SNOWFLAKE_ID SOURCE STORAGE STREAM SUBSCRIBE TABLE TABLES TEXT THEN TIMESTAMP
TO TOPIC TRUE TYPE UNION UPDATE USE USER UUID UUID_V7 VALUES WHEN WHERE WITH system.columns
system.jobs system.live system.tables system.topics system.users
"""
KALAM_KEYWORDS = _KALAM_WORDS.split()
_KSQL_FORMATS = ("AVRO", "DELIMITED", "JSON", "JSON_SR", "KAFKA", "NONE", "PROTOBUF", "PROTOBUF_NOSR")


@dataclass(frozen=True)
class _Cursor:
    """Where the cursor is: the SQL it stands in, and whether options or a subcommand may come there."""

    dialect: Dialect
    sql: str
    offset: int
    on_magic_line: bool
    is_line_magic: bool

    @property
    def before(self) -> str:
        return self.sql[: self.offset]


def make_matcher(connections: Connections, commands: Iterable[str]) -> Callable[[Any], dict[str, Any]]:
    """Return a matcher for ``ip.Completer.custom_matchers``."""
    catalogs: dict[tuple[int, Dialect], Catalog] = {}

    @context_matcher(identifier="kalam_jupyter")  # type: ignore[untyped-decorator]
    def kalam_matcher(context: Any) -> dict[str, Any]:
        cursor = _cursor_of(context)
        if cursor is None:
            return {"completions": []}
        typed, names = _options(cursor) or _commands(cursor, commands) or ("", {})
        if not names:
            try:
                connection = connections.current
            except ClientError:  # no server: nothing is known
                return {"completions": []}
            key = (id(connection), cursor.dialect)
            catalog = catalogs.setdefault(key, Catalog(connection, cursor.dialect))
            typed, names = _columns(cursor, catalog) or _PROPOSALS[cursor.dialect](cursor, catalog)
        completions = [
            SimpleCompletion(_in_case_of(typed, name, kind), type=kind)
            for name, kind in names.items()
            if name.lower().startswith(typed.lower())
        ]
        return {"completions": completions, "matched_fragment": typed, "suppress": True, "ordered": True}

    matcher: Callable[[Any], dict[str, Any]] = kalam_matcher
    return matcher


def _cursor_of(context: Any) -> _Cursor | None:
    text, line_number = context.full_text, context.cursor_line
    lines = text.split("\n")
    offset = sum(len(line) + 1 for line in lines[:line_number]) + context.cursor_position
    line_start = offset - context.cursor_position
    if found := _LINE.search(text[line_start:offset]):
        begin = line_start + found.end()
        end = line_start + len(lines[line_number])
        return _Cursor(_dialect(found), text[begin:end], offset - begin, True, True)
    if (found := _CELL.match(text)) and offset >= found.end():
        return _Cursor(_dialect(found), text[found.end() :], offset - found.end(), line_number == 0, False)
    return None


def _dialect(match: re.Match[str]) -> Dialect:
    return "ksql" if match.group(1) == "ksql" else "kalam"


def _options(cursor: _Cursor) -> tuple[str, dict[str, str]] | None:
    if not cursor.on_magic_line:
        return None
    if kind := _PLOT.search(cursor.before):
        return kind.group(1), dict.fromkeys(KINDS, "kind")
    if direction := _DIRECTION.search(cursor.before):
        return direction.group(1), dict.fromkeys(("asc", "desc"), "direction")
    found = _OPTION.search(cursor.before)
    if found is None:
        return None
    return found.group(1), {n: "option" for n, o in OPTIONS.items() if cursor.dialect in o.dialects}


def _columns(cursor: _Cursor, catalog: Catalog) -> tuple[str, dict[str, str]] | None:
    """Propose columns to an option that takes some: those the query names, and those of its sources."""
    found = _COLUMN.search(cursor.before) if cursor.on_magic_line else None
    if found is None:
        return None
    # Not `blanked`: to it the options before a line magic's SQL are a comment.
    text = cursor.sql[cursor.offset :]
    aliases = _ALIAS.findall(text)
    names = dict.fromkeys((a.upper() for a in aliases) if cursor.dialect == "ksql" else aliases, "alias")
    for source in catalog.sources_in(text):
        names |= catalog.columns(source)
    return found.group(1), names


def _commands(cursor: _Cursor, commands: Iterable[str]) -> tuple[str, dict[str, str]] | None:
    word = cursor.before.strip()
    if not cursor.is_line_magic or not any(name.startswith(word) for name in commands):
        return None
    if not word.islower():
        return None
    return word, dict.fromkeys(commands, "command")


def _ksql_proposals(cursor: _Cursor, catalog: Catalog) -> tuple[str, dict[str, str]]:
    from kalam_jupyter.ksql.lang.completion import expected_at

    expected = expected_at(cursor.sql, cursor.offset)
    names: dict[str, str] = {}
    if "column" in expected.roles:
        sources = expected.sources
        qualified = expected.qualifier and {k.upper(): v for k, v in sources.items()}.get(
            expected.qualifier.upper()
        )
        for source in [qualified] if qualified else dict.fromkeys(sources.values()):
            names |= catalog.columns(source)
    for role, look_up in _KSQL_NAMES.items():
        if role in expected.roles:
            names |= look_up(catalog)
    names |= dict.fromkeys(expected.words, "keyword")
    return expected.prefix, names


_KSQL_NAMES: dict[str, Callable[[Catalog], dict[str, str]]] = {
    "source": Catalog.sources,
    "function": Catalog.functions,
    "topic": Catalog.topics,
    "query": Catalog.queries,
    "format": lambda _: dict.fromkeys(_KSQL_FORMATS, "format"),
}


def _kalam_proposals(cursor: _Cursor, catalog: Catalog) -> tuple[str, dict[str, str]]:
    fragment = _FRAGMENT.search(cursor.before)
    typed = fragment.group() if fragment else ""
    names = dict(_kalam_names(catalog, cursor.sql, typed))
    return typed, names | dict.fromkeys(KALAM_KEYWORDS, "keyword")


def _kalam_names(catalog: Catalog, cell: str, typed: str) -> Iterator[tuple[str, str]]:
    read = set(catalog.sources_in(blanked(cell)))
    qualifier, dot, _ = typed.rpartition(".")
    for source, kind in catalog.sources().items():
        if source in read:
            plain = source.rpartition(".")[2]
            for column, type_ in catalog.columns(source).items():
                yield (f"{qualifier}.{column}" if dot and qualifier.lower() == plain else column), type_
        yield source, kind


_PROPOSALS: dict[Dialect, Callable[[_Cursor, Catalog], tuple[str, dict[str, str]]]] = {
    "ksql": _ksql_proposals,
    "kalam": _kalam_proposals,
}


def _in_case_of(typed: str, name: str, kind: str) -> str:
    """Somebody who types keywords in lower case gets them in lower case."""
    return name.lower() if kind == "keyword" and typed and typed == typed.lower() else name

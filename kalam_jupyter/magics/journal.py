"""What the cells of a notebook changed, as a script: what `%ksql export` writes.

A connection's journal holds the statements that succeeded, in their order and as they were sent: Python
values as literals. Queries and listings change nothing and are left out. What names a query by its id
(TERMINATE) becomes a comment: elsewhere the query has another id.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kalam_jupyter.client.literals import literal
from kalam_jupyter.magics.options import Dialect, Options
from kalam_jupyter.magics.scan import blanked, ends_in_comment, split_cell

if TYPE_CHECKING:
    from kalam_jupyter.client import Connection

#: First words of statements that only look.
_LOOKING = frozenset(
    {
        "SELECT",
        "WITH",
        "PRINT",
        "SHOW",
        "LIST",
        "DESCRIBE",
        "DESC",
        "EXPLAIN",
        "SUBSCRIBE",
        "CONSUME",
        "ASSERT",
    }
)
_NAMING_QUERIES = frozenset({"TERMINATE", "PAUSE", "RESUME"})
_PARAMETER = re.compile(r"\$(\d+)")
_TITLES = {"ksql": "ksqlDB", "kalam": "KalamDB"}
_HOW = {
    "ksql": "Run it with RUN SCRIPT, ksqlDB's CLI (ksql -f FILE) or `kalam test`.",
    "kalam": "Run it in %%kalam, with KalamDB's CLI (kalam -f FILE) or POST /v1/api/sql.",
}


@dataclass(frozen=True)
class _Entry:
    text: str
    earliest: bool = False
    namespace: str | None = None


@dataclass
class Journal:
    """The statements of one connection, by dialect."""

    entries: dict[Dialect, list[_Entry]] = field(default_factory=lambda: {"ksql": [], "kalam": []})

    def add(self, text: str, dialect: Dialect, options: Options, params: Sequence[Any] = ()) -> None:
        """Take over the statements of a text that was run."""
        for statement in split_cell(text):
            if statement.word in _LOOKING:
                continue
            body = _with_values(statement.text.strip().removesuffix(";").rstrip(), params)
            if statement.word in _NAMING_QUERIES:
                body = "-- " + " ".join(body.split())
            # The semicolon would be part of a comment at the end.
            end = "\n" if ends_in_comment(body) else ""
            text = body if statement.word in _NAMING_QUERIES else f"{body}{end};"
            entry = _Entry(text, options.earliest, options.namespace)
            self.entries[dialect].append(entry)

    def script(self, dialect: Dialect, target: str) -> str:
        """Return the statements of one dialect as a script; "" when there are none.

        Parameters
        ----------
        target : str
            Where they ran, for the heading.
        """
        entries = self.entries[dialect]
        if not entries:
            return ""
        counted = f"{len(entries)} {_TITLES[dialect]} statement{'s' * (len(entries) != 1)}"
        lines = [f"-- {counted} that a notebook ran on {target}.", f"-- {_HOW[dialect]}"]
        earliest, namespace = False, None
        for entry in entries:
            if entry.earliest != earliest:
                earliest = entry.earliest
                lines += ["", _EARLIEST[earliest]]
            if entry.namespace != namespace:
                namespace = entry.namespace
                lines += ["", f"USE NAMESPACE {namespace or 'default'};"]
            lines += ["", entry.text]
        return "\n".join([*lines, ""])


_EARLIEST = {True: "SET 'auto.offset.reset' = 'earliest';", False: "UNSET 'auto.offset.reset';"}


def _with_values(text: str, params: Sequence[Any]) -> str:
    """Put the values of $1, $2, .. where they stand in code."""
    if not params:
        return text
    code = blanked(text)
    parts, last = [], 0
    for found in _PARAMETER.finditer(code):
        parts += [text[last : found.start()], literal(params[int(found.group(1)) - 1], "kalam")]
        last = found.end()
    return "".join([*parts, text[last:]])


class Journals:
    """The journals of all connections; a journal goes with its connection."""

    def __init__(self) -> None:
        self._by_connection: weakref.WeakKeyDictionary[Connection, Journal] = weakref.WeakKeyDictionary()

    def of(self, connection: Connection) -> Journal:
        """Return the journal of a connection."""
        return self._by_connection.setdefault(connection, Journal())


#: The ones of this kernel.
journals = Journals()

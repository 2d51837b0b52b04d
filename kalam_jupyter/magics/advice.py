"""What to know about an answer that is right and still puzzles: it is empty, or values in it are missing."""

from __future__ import annotations

import json
import re
import weakref
from typing import TYPE_CHECKING, Any

from kalam_jupyter.client import ClientError
from kalam_jupyter.magics.display import Note
from kalam_jupyter.magics.options import Options
from kalam_jupyter.magics.scan import blanked, split_cell

if TYPE_CHECKING:
    from kalam_jupyter.client import Connection, Result
    from kalam_jupyter.engine.topic import Topic
    from kalam_jupyter.node import Node

_FROM = re.compile(r"\bFROM\s+([A-Za-z_]\w*)", re.IGNORECASE)
_RESET = "auto.offset.reset"
BEGINS_NOW = "EMIT CHANGES begins with what comes next; --earliest reads all there is."


def begins_now(result: Result, options: Options, connection: Connection) -> str:
    """Return why a push query that runs may show nothing yet; "" if it reads from the beginning."""
    reset = "earliest" if options.earliest else connection.session.properties.get(_RESET, "latest")
    return BEGINS_NOW if result.dialect == "ksql" and reset.lower() == "latest" else ""


def why_empty(result: Result, connection: Connection) -> Note | None:
    """Return a note if a SELECT found nothing because the query that fills its source has read nothing."""
    if result.dialect != "ksql" or result.table is None or result.table.num_rows:
        return None
    statement = next(split_cell(result.statement), None)
    code = "" if statement is None or statement.word != "SELECT" else blanked(statement.text)
    source = _FROM.search(code)
    if source is None:
        return None
    try:
        (described,) = connection.ksql(f"DESCRIBE {source.group(1)};")
        writers = (described.entity or {}).get("sourceDescription", {}).get("writeQueries", ())
        idle = [q["id"] for q in writers if _has_read_nothing(q["id"], connection)]
    except ClientError:  # it was dropped meanwhile: there is nothing to add
        return None
    if not idle:
        return None
    return Note(
        f"No rows: {', '.join(idle)} has read nothing yet. A query begins with what comes next; "
        "created with --earliest it reads all there is."
    )


def _has_read_nothing(query: str, connection: Connection) -> bool:
    return all(
        node["records_in"] == 0 for node in connection.topology(query)["nodes"] if node["lag"] is not None
    )


class ProcessingLogs:
    """Tells what queries of engines in this kernel could not compute since the last look."""

    def __init__(self) -> None:
        # Where the log ended at the last look.
        self._seen: weakref.WeakKeyDictionary[Node, int] = weakref.WeakKeyDictionary()

    def watch(self, connection: Connection) -> None:
        """Remember where the log of an engine ends, if it is looked at for the first time."""
        if (node := connection.node) is not None and node not in self._seen:
            self._seen[node] = _log(node).end_sequence

    def news(self, connection: Connection) -> Note | None:
        """Return a warning if the processing log has grown."""
        node = connection.node
        if node is None:
            return None
        # What the statements of the cell reported is written behind them.
        node.engine.transact(lambda tx: None)
        log = _log(node)
        reports = log.end_sequence - self._seen.get(node, log.end_sequence)
        self._seen[node] = log.end_sequence
        if not reports:
            return None
        (last,) = log.read_partition(0, log.partition_bounds(0)[1] - 1, 1)
        count = f"{reports:,} new report{'s' * (reports != 1)} in the processing log"
        shows = "SELECT * FROM KSQL_PROCESSING_LOG; shows what was left out"
        return Note("", warnings=[f"{count}, the last: {_message(last.value)} ({shows})"])


def _log(node: Node) -> Topic:
    return node.engine.topic(node.ksql.processing_log_topic)


def _message(value: bytes | None) -> str:
    report: dict[str, Any] = json.loads(value or b"{}")
    details = (d for d in report.get("message", {}).values() if isinstance(d, dict))
    return str(next((d["errorMessage"] for d in details if d.get("errorMessage")), report.get("logger")))


#: The ones of this kernel.
processing_logs = ProcessingLogs()

"""The words after ``%ksql`` and ``%kalam`` that are no SQL: connect, use, status, stop, clock, ..."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from getpass import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kalam_jupyter.client import connect
from kalam_jupyter.client.connections import DEFAULT, Connections
from kalam_jupyter.magics.display import Note, listing
from kalam_jupyter.magics.errors import UsageError
from kalam_jupyter.magics.journal import journals
from kalam_jupyter.magics.options import Dialect

if TYPE_CHECKING:
    from kalam_jupyter.engine.clock import Clock

_DURATION = re.compile(r"(\d+)\s*(ms|s|m|h|d)\Z")
_UNIT_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


@dataclass(frozen=True)
class Command:
    """A subcommand.

    Attributes
    ----------
    run : callable
        (connections, words, dialect of the magic) to the object that is shown.
    usage, help : str
    """

    run: Callable[[Connections, list[str], Dialect], Any]
    usage: str
    help: str


def find_command(line: str) -> tuple[Command, list[str]] | None:
    """Return the command a line calls, and its words; None when the line is SQL."""
    try:
        words = shlex.split(line)
    except ValueError:
        return None
    if not words or words[0] not in COMMANDS:
        return None
    # USE NAMESPACE x, and the like, are statements of KalamDB.
    if words[0] == "use" and (len(words) != 2 or words[1].endswith(";")):
        return None
    return COMMANDS[words[0]], words[1:]


def _connect(connections: Connections, words: list[str], dialect: Dialect) -> Note:
    name, settings, targets = DEFAULT, {}, []
    rest = iter(words)
    for word in rest:
        if not word.startswith("--"):
            targets.append(word)
            continue
        option, has_value, value = word.partition("=")
        if not has_value:
            value = next(rest, "")
        if not value:
            raise UsageError(f"{option} needs a value")
        if option == "--name":
            name = value
        elif option in ("--user", "--namespace"):
            settings[option[2:]] = value
        elif option in ("--token-env", "--password-env"):
            settings[option[2:-4]] = _environment(value)
        elif option in ("--token", "--password"):
            hint = f"Put it into an environment variable and name that: {option}-env NAME"
            raise UsageError(f"A secret does not belong into a notebook. {hint}")
        else:
            raise UsageError(f"connect has no option {option}: {COMMANDS['connect'].usage}")
    if len(targets) > 1:
        raise UsageError(f"connect takes one target: {COMMANDS['connect'].usage}")
    if "user" in settings and "password" not in settings:
        settings["password"] = getpass(f"Password of {settings['user']}: ")
    connections.add(name, connect(targets[0] if targets else None, **settings))
    return Note(f"Connected to {connections.current.target} as '{name}'")


def _environment(name: str) -> str:
    try:
        return os.environ[name]
    except KeyError:
        raise UsageError(f"There is no environment variable {name}") from None


def _connections(connections: Connections, words: list[str], dialect: Dialect) -> Any:
    _no_words("connections", words)
    rows = [
        {"Name": name, "Target": c.target, "Namespace": c.namespace, "Current": name == connections.name}
        for name, c in connections.items()
    ]
    return listing(rows) if rows else Note("none yet; the first statement connects")


def _use(connections: Connections, words: list[str], dialect: Dialect) -> Note:
    connections.use(words[0])
    return Note(f"Using '{words[0]}': {connections.current.target}")


def _status(connections: Connections, words: list[str], dialect: Dialect) -> Any:
    _no_words("status", words)
    from kalam_jupyter.widgets import live_widgets

    connection = connections.current
    entities = [r.entity or {} for r in connection.ksql("LIST STREAMS; LIST TABLES; LIST QUERIES;")]
    streams, tables, queries = (
        len(e.get(member, ())) for e, member in zip(entities, ("streams", "tables", "queries"), strict=True)
    )
    rows: list[dict[str, Any]] = [
        {"": "connection", "value": f"{connections.name}: {connection.target}"},
        {"": "ksqlDB streams", "value": streams},
        {"": "ksqlDB tables", "value": tables},
        {"": "running queries", "value": queries},
        {"": "live tables in this notebook", "value": len(live_widgets())},
    ]
    if connection.node is not None:
        rows.append({"": "clock", "value": _clock_text(connection.node.engine.clock)})
    return listing(rows).astype({"value": str}).set_index("")


def _queries(connections: Connections, words: list[str], dialect: Dialect) -> Any:
    _no_words("queries", words)
    from kalam_jupyter.widgets import live_widgets

    (result,) = connections.current.ksql("LIST QUERIES;")
    live = {table.stream.id: table for table in live_widgets()}
    rows = []
    for query in (result.entity or {}).get("queries", ()):
        shown = live.pop(query["id"], None)
        rows.append(_query_row(query["id"], query["queryType"].lower(), query["queryString"], shown))
    rows += [_query_row(id_, "live", table.stream.sql, table) for id_, table in live.items()]
    return listing(rows) if rows else Note("No query runs.")


def _query_row(id_: str, kind: str, sql: str, table: Any) -> dict[str, Any]:
    status = table.status if table is not None else "running"
    rate = f"{table.stats.rate:,}" if table is not None else ""
    return {"Query": id_, "Type": kind, "State": status, "Rows/s": rate, "Statement": sql}


def _topology(connections: Connections, words: list[str], dialect: Dialect) -> Any:
    from kalam_jupyter.widgets import Topology

    connection = connections.current
    (listed,) = connection.ksql("LIST QUERIES;")
    known = [query["id"] for query in (listed.entity or {}).get("queries", ())]
    if not words and len(known) != 1:
        which = f"; there are {', '.join(known)}" if known else ", and none runs"
        raise UsageError(f"Usage: {COMMANDS['topology'].usage}{which}. A statement's is shown by EXPLAIN")
    if len(words) > 1:
        raise UsageError("topology takes the id of a query; a statement's topology is shown by EXPLAIN")
    wanted = words[0].removesuffix(";") if words else known[0]
    if wanted.upper() not in (name.upper() for name in known):
        raise UsageError(f"There is no query '{wanted}'. {UsageError.near(wanted, known)}".rstrip())
    return Topology(wanted, connection=connection)


def _stop(_: Connections, words: list[str], dialect: Dialect) -> Note:
    from kalam_jupyter.widgets import live_widgets

    running = live_widgets()
    if words and words not in (["all"], ["--all"]):
        unknown = set(words) - {table.stream.id for table in running}
        if unknown:
            raise UsageError(f"No live table shows query {', '.join(sorted(unknown))}; `queries` lists them")
        running = [table for table in running if table.stream.id in words]
    for table in running:
        table.stop()
    return Note(f"Stopped {len(running)} live table{'s' * (len(running) != 1)}.")


def _export(connections: Connections, words: list[str], dialect: Dialect) -> Note:
    files = [word for word in words if not word.startswith("--")]
    for word in words:
        if word in ("--ksql", "--kalam"):
            dialect = "ksql" if word == "--ksql" else "kalam"
        elif word.startswith("--") or len(files) > 1:
            raise UsageError(f"Usage: {COMMANDS['export'].usage}")
    connection = connections.current
    script = journals.of(connection).script(dialect, connection.target)
    if not script:
        raise UsageError(
            f"No {dialect} statement of this notebook has changed anything on {connection.target} yet"
        )
    if not files:
        return Note("", script)
    path = Path(files[0]).expanduser()
    try:
        path.write_text(script, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    count = len(journals.of(connection).entries[dialect])
    return Note(f"{path}: {count} statement{'s' * (count != 1)}")


def _clock(connections: Connections, words: list[str], dialect: Dialect) -> Note:
    node = connections.current.node
    if node is None:
        raise UsageError("Only the clock of an embedded engine can be seen and set")
    clock = node.engine.clock
    match words:
        case []:
            pass
        case ["real" | "system"]:
            clock.set(None)
        case ["set", moment]:
            clock.set(_moment(moment))
        case ["advance", duration]:
            if not clock.manual:
                raise UsageError("The clock is the system's; stop it first: clock set 2013-01-01T00:00")
            clock.advance(_duration(duration))
        case _:
            raise UsageError(f"Usage: {COMMANDS['clock'].usage}")
    return Note(_clock_text(clock))


def _clock_text(clock: Clock) -> str:
    now = datetime.fromtimestamp(clock.now_ms() / 1000, UTC).replace(tzinfo=None)
    return f"{now.isoformat(' ', 'milliseconds')} UTC ({'set by hand' if clock.manual else 'the system’s'})"


def _moment(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"'{text}' is no time; write it like 2013-01-01T05:30") from None
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _duration(text: str) -> int:
    found = _DURATION.match(text)
    if found is None:
        raise UsageError(f"'{text}' is no duration; write it like 10s, 5m, 2h or 1d")
    return int(found.group(1)) * _UNIT_MS[found.group(2)]


def _no_words(name: str, words: list[str]) -> None:
    if words:
        raise UsageError(f"Usage: {COMMANDS[name].usage}")


COMMANDS: dict[str, Command] = {
    "connect": Command(
        _connect,
        "connect [URL | :memory: | embedded:DIR] [--name NAME] [--namespace NS] [--user USER] "
        "[--password-env VAR] [--token-env VAR]",
        "connect to an engine and make it current; without a target it is found",
    ),
    "connections": Command(_connections, "connections", "list the connections"),
    "use": Command(_use, "use NAME", "make a connection current"),
    "status": Command(_status, "status", "where the engine is and what it holds"),
    "queries": Command(_queries, "queries", "list what runs: persistent, push and live queries"),
    "topology": Command(
        _topology, "topology [QUERY]", "a query's operators as a picture, with record counts"
    ),
    "stop": Command(_stop, "stop [all | QUERY ..]", "stop live tables"),
    "export": Command(
        _export,
        "export [FILE] [--ksql | --kalam]",
        "the statements that changed something, as one script; without a file it is shown",
    ),
    "clock": Command(
        _clock, "clock [set TIME | advance 10s | real]", "show or set the engine's processing time"
    ),
}

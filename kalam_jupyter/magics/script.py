"""From the text of a cell to steps, and from steps to results."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

from kalam_jupyter.client import Result
from kalam_jupyter.client.progress import Waiting
from kalam_jupyter.magics.errors import UsageError
from kalam_jupyter.magics.options import Dialect, Options
from kalam_jupyter.magics.scan import Statement, blanked, padded, split_cell
from kalam_jupyter.magics.waiting import shortened
from kalam_jupyter.magics.windows import over_windows

if TYPE_CHECKING:
    from kalam_jupyter.client import Connection
    from kalam_jupyter.magics.waiting import Deadline

_EMIT = re.compile(r"\bEMIT\s+(CHANGES|FINAL)\b", re.IGNORECASE)
_LIMIT = re.compile(r"\bLIMIT\b", re.IGNORECASE)
_SUBSCRIBE = re.compile(r"\s*SUBSCRIBE\s+TO\s+", re.IGNORECASE)
_OPTIONS = re.compile(r"\bOPTIONS\s*\(([^)]*)\)\s*;?\s*\Z", re.IGNORECASE)
_SELECT = re.compile(r"\bSELECT\b", re.IGNORECASE)
_QUERY_WORDS = frozenset({"SELECT", "WITH"})
_SETTING_WORDS = frozenset({"SET", "UNSET", "DEFINE", "UNDEFINE"})
_LIVE_OPTIONS = {
    "last_rows": "last_rows",
    "batch_size": "batch_size",
    "from": "from_seq",
    "from_seq_id": "from_seq",
}


@dataclass(frozen=True)
class Step:
    """Statements that are sent together.

    Attributes
    ----------
    text : str
        Moved to where it stands in the cell, so that error positions are positions in the cell.
    target : str or None
        Python name for the result.
    live : bool
        A live query of KalamDB, which does not go through SQL execution.
    """

    text: str
    target: str | None = None
    live: bool = False


def plan(text: str, dialect: Dialect, options: Options) -> list[Step]:
    """Cut a cell into steps. Plain statements that follow each other stay together.

    Together they are checked together, and a transaction is one request.
    """
    steps: list[Step] = []
    together: list[Statement] = []

    def flush() -> None:
        if together:
            first, last = together[0].start, together[-1].start + len(together[-1].text)
            steps.append(Step(padded(text, first, text[first:last])))
            together.clear()

    statements = list(split_cell(text))
    if options.into and statements and statements[-1].target is None:
        statements[-1] = replace(statements[-1], target=options.into)
    for statement in statements:
        rewritten, live = _rewrite(statement, dialect, options)
        prefix, suffix = _wrapping(statement, live, options)
        if statement.target is None and not live and not prefix and rewritten == statement.text:
            together.append(statement)
            continue
        flush()
        if prefix:
            live = False
            rewritten = live_query(rewritten)[0] if statement.word == "SUBSCRIBE" else rewritten
            rewritten = rewritten.rstrip().removesuffix(";")
        body = _prefixed(padded(text, statement.start, rewritten), prefix) + suffix
        steps.append(Step(body, statement.target, live))
    flush()
    return steps


def _wrapping(statement: Statement, live: bool, options: Options) -> tuple[str, str]:
    """Return what --explain and --as-user put before and behind a statement."""
    prefix = suffix = ""
    if options.explain and statement.word != "EXPLAIN":
        prefix, suffix = "EXPLAIN", ";"
    if options.as_user is not None:
        if live and not options.explain:
            raise UsageError("--as-user runs statements; a live query belongs to the connection's own user")
        user = options.as_user.replace("'", "''")
        # The statement may end with a comment, which would swallow the bracket.
        prefix, suffix = f"EXECUTE AS USER '{user}' ({prefix}", "\n);"
    return prefix, suffix


def _prefixed(body: str, prefix: str) -> str:
    """Put a prefix before a padded statement, in its padding as far as there is some."""
    padding = len(body) - len(body.lstrip())
    if "\n" in body[:padding] or not prefix:
        return prefix + body
    return prefix + (body[len(prefix) :] if padding > len(prefix) else f" {body.lstrip()}")


def _rewrite(statement: Statement, dialect: Dialect, options: Options) -> tuple[str, bool]:
    """Apply options to one statement; return its text and whether it is a live query of KalamDB."""
    if dialect == "kalam" and statement.word == "SUBSCRIBE":
        return statement.text, True  # with --once, too: its options are those of the live query
    if statement.word not in _QUERY_WORDS:
        return statement.text, False
    code = blanked(statement.text)
    if dialect == "kalam" and options.live:
        return statement.text, True
    added = ""
    if dialect == "ksql" and options.live and not _EMIT.search(code):
        added += " EMIT CHANGES"
    if options.limit is not None and not _LIMIT.search(code):
        added += f" LIMIT {options.limit}"
    if not added:
        return statement.text, False
    body = statement.text.rstrip().removesuffix(";").rstrip()
    # A comment at the end would swallow what is added.
    line_end = "\n" if blanked(body).rstrip() != body else ""
    return f"{body}{line_end}{added};", False


def run(
    step: Step, connection: Connection, dialect: Dialect, options: Options, params: Sequence[Any]
) -> list[Result]:
    """Send a step.

    Raises
    ------
    ClientError
    UsageError
        For options of SUBSCRIBE TO that do not exist.
    """
    if step.live:
        sql, live_options = live_query(step.text)
        stream = connection.live(sql, **live_options)
        return [Result("stream", "kalam", statement=sql, stream=stream)]
    if dialect == "kalam":
        results = connection.kalam(step.text, params, namespace=options.namespace)
        if len(results) == 1:  # KalamDB does not say which statement a result belongs to
            return [replace(results[0], statement=step.text.strip())]
        # It tells last how many rows all INSERTs together made; a cell ends with its last statement's rows.
        if [r.kind for r in results[-2:]] == ["rows", "message"] and _ends_with_a_query(step.text):
            results[-2:] = reversed(results[-2:])
        return results
    properties = {"auto.offset.reset": "earliest"} if options.earliest else None
    answered = connection.ksql(step.text, properties=properties)
    if options.plot is not None and options.x is None and len(answered) == 1:
        return [over_windows(answered[0], connection, properties, options)]
    return _with_inserts(step.text, answered)


def _ends_with_a_query(text: str) -> bool:
    *_, last = split_cell(text)
    return last.word in _QUERY_WORDS


def _with_inserts(text: str, answered: list[Result]) -> list[Result]:
    """Put in what ksqlDB does not say: how many rows each run of INSERT INTO .. VALUES inserted."""
    shown: list[Result] = []
    answers = iter(answered)
    for inserts, run_of in groupby(split_cell(text), key=_inserts_values):
        if inserts:
            count = len(list(run_of))
            message = f"{count:,} row{'s' * (count != 1)} inserted"
            shown.append(Result("message", "ksql", message=message, row_count=count))
        else:
            shown += islice(answers, sum(s.word not in _SETTING_WORDS for s in run_of))
    # RUN SCRIPT answers for each of its own statements: where each result belongs is not known then.
    return shown if sum(r.kind != "message" for r in shown) == len(answered) else answered


def _inserts_values(statement: Statement) -> bool:
    return statement.word == "INSERT" and not _SELECT.search(blanked(statement.text))


def live_query(text: str) -> tuple[str, dict[str, Any]]:
    """Return the SELECT and the options of a ``SUBSCRIBE TO`` statement, or of a SELECT itself.

    Raises
    ------
    UsageError
        For an option that does not exist or is no whole number.
    """
    options: dict[str, Any] = {}
    found = _OPTIONS.search(text)
    if found:
        text = text[: found.start()]
        options = dict(_live_option(part) for part in found.group(1).split(",") if part.strip())
    body = _SUBSCRIBE.sub("", text, count=1).strip().rstrip(";").rstrip()
    if body[:6].upper() != "SELECT":
        body = f"SELECT * FROM {body}"
    return body, options


def _live_option(text: str) -> tuple[str, int]:
    name, _, value = (part.strip() for part in text.partition("="))
    if name.lower() not in _LIVE_OPTIONS:
        known = "last_rows, batch_size, from"
        raise UsageError(f"Unknown subscription option: '{name}'. Valid options are: {known}")
    if not value.isdecimal():
        raise UsageError(f"Subscription option {name} takes a whole number, not '{value}'")
    return _LIVE_OPTIONS[name.lower()], int(value)


def results(
    steps: Sequence[Step],
    connection: Connection,
    dialect: Dialect,
    options: Options,
    params: Sequence[Any],
    deadline: Deadline,
) -> Iterator[tuple[Step, list[Result]]]:
    """Run steps in order; each is run when the one before was taken.

    Raises
    ------
    ClientError
    InterruptedCellError
        When the deadline came.
    UsageError
        For parameters with more than one step.
    """
    if params and len(steps) > 1:
        raise UsageError("--params is for a cell of one statement")

    def figures() -> str:
        behind = 0 if connection.node is None else connection.node.engine.behind()
        return f"{behind:,} records behind" if behind else ""

    for step in steps:
        with Waiting(shortened(step.text), figures):
            found = deadline.run(partial(run, step, connection, dialect, options, params))
        yield step, found

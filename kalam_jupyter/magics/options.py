"""Options of a magic: the words before the SQL that begin with ``-``."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from kalam_jupyter.magics.errors import UsageError
from kalam_jupyter.widgets.encoding import KINDS

Dialect = Literal["ksql", "kalam"]
_TOKEN = re.compile(r"""\s*((?:[^\s'"]|'[^']*'|"[^"]*")+)""")


@dataclass(frozen=True)
class Options:
    """What the options said.

    Attributes
    ----------
    live : bool
        Run SELECT as a live query (KalamDB) or push query (ksqlDB).
    limit : int or None
        Rows a SELECT gives at most.
    rows : int
        Rows a live table retains.
    height : int
        Of a live table, in pixels.
    sort : (str, str) or None
        Column and direction a live table is sorted by at first.
    earliest : bool
        ksqlDB queries read their streams from the beginning.
    namespace : str or None
        KalamDB namespace of unqualified names.
    params : str or None
        Python expression: the values of ``$1``, ``$2``, ...
    connection : str or None
        Name of the connection, when not the current one.
    into : str or None
        Python name, or ``namespace.table``, for the result of the last statement.
    once : bool
        Read what a push or live query has now, instead of following it.
    timeout : float or None
        Seconds that the cell's statements, or a live table, may take.
    explain : bool
        Show how each statement would be run, and run none.
    as_user : str or None
        KalamDB user the statements act as.
    plot : str or None
        Draw rows as a chart of this kind; "" leaves the kind to the columns.
    x : str or None
    y, by : tuple of str or None
        Columns of that chart.
    step : bool
        Step through the queries instead of running them.
    records : str or None
        Python expression: the records to step with.
    """

    live: bool = False
    limit: int | None = None
    rows: int = 5_000
    height: int = 320
    sort: tuple[str, str] | None = None
    earliest: bool = False
    namespace: str | None = None
    params: str | None = None
    connection: str | None = None
    into: str | None = None
    once: bool = False
    timeout: float | None = None
    explain: bool = False
    as_user: str | None = None
    plot: str | None = None
    x: str | None = None
    y: tuple[str, ...] | None = None
    by: tuple[str, ...] | None = None
    step: bool = False
    records: str | None = None


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise ValueError("a whole number above 0")
    return int(text)


def _seconds(text: str) -> float:
    if not re.fullmatch(r"\d+(\.\d+)?", text) or float(text) == 0:
        raise ValueError("seconds above 0")
    return float(text)


def _place(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)?", text):
        raise ValueError("a Python name, or a KalamDB table as namespace.table")
    return text


def _ordering(text: str) -> tuple[str, str]:
    column, _, direction = text.partition(":")
    if not column or direction.lower() not in ("", "asc", "desc"):
        raise ValueError("COLUMN, COLUMN:asc or COLUMN:desc")
    return column, direction.lower() or "asc"


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise ValueError("columns, with commas between them and no spaces")
    return names


def _kind(text: str) -> str:
    if text not in KINDS:
        raise ValueError(f"{', '.join(KINDS[:-1])} or {KINDS[-1]}")
    return text


@dataclass(frozen=True)
class _Option:
    """`value` in brackets: it may be left out, which gives ""."""

    name: str
    help: str
    value: str = ""
    parse: Callable[[str], Any] = str
    dialects: tuple[Dialect, ...] = ("ksql", "kalam")

    @property
    def may_be_bare(self) -> bool:
        return self.value.startswith("[")


OPTIONS: dict[str, _Option] = {
    "--live": _Option("live", "keep the result of SELECT up to date in a live table"),
    "--limit": _Option("limit", "rows a SELECT gives at most", "N", _positive),
    "--rows": _Option("rows", "rows a live table retains", "N", _positive),
    "--height": _Option("height", "height of a live table in pixels", "N", _positive),
    "--sort": _Option("sort", "sort a live table at first", "COLUMN[:desc]", _ordering),
    "--earliest": _Option("earliest", "read streams from the beginning", dialects=("ksql",)),
    "--namespace": _Option("namespace", "namespace of unqualified names", "NAME", dialects=("kalam",)),
    "--params": _Option("params", "Python list with the values of $1, $2, ..", "LIST", dialects=("kalam",)),
    "--into": _Option("into", "put the last result into a variable or table", "NAME", _place),
    "--once": _Option("once", "read what a push or live query has now, and end it"),
    "--timeout": _Option("timeout", "give statements and live tables that long", "SECONDS", _seconds),
    "--explain": _Option("explain", "show how the statements would run; run none"),
    "--as-user": _Option("as_user", "act as this user (EXECUTE AS USER)", "NAME", dialects=("kalam",)),
    "--plot": _Option("plot", f"draw the rows: {', '.join(KINDS)}", "[KIND]", _kind),
    "--x": _Option("x", "column to the right of a plot", "COLUMN"),
    "--y": _Option("y", "columns upwards of a plot", "COLUMN,..", _names),
    "--by": _Option("by", "one series of a plot for each value of these", "COLUMN,..", _names),
    "--step": _Option("step", "step through the query by hand; run none", dialects=("ksql",)),
    "--records": _Option("records", "Python records to step with", "LIST", dialects=("ksql",)),
    "--connection": _Option("connection", "use this connection for the cell", "NAME"),
}
_SHORT = {"-l": "--limit", "-n": "--namespace", "-p": "--params", "-c": "--connection"}


def parse_options(line: str, dialect: Dialect) -> tuple[Options, str]:
    """Take the options from the front of a magic's line.

    Returns
    -------
    Options
    str
        What follows them.

    Raises
    ------
    UsageError
        For an option that is unknown, lacks its value or has a bad one.
    """
    options, position = Options(), 0
    while (token := _TOKEN.match(line, position)) and token.group(1).startswith("-"):
        if token.group(1).startswith("--") and not token.group(1)[2:3].isalpha():
            break  # a comment
        name, has_value, text = token.group(1).partition("=")
        option = _lookup(name, dialect)
        position = token.end()
        if not option.value:
            if has_value:
                raise UsageError(f"{name} takes no value")
            options = replace(options, **_change(option.name, True))
            continue
        if not has_value:
            following = _TOKEN.match(line, position)
            if option.may_be_bare and not _is_value(option, following, line):
                options = replace(options, **_change(option.name, ""))
                continue
            if following is None:
                raise UsageError(f"{name} needs a value: {name} {option.value}")
            text, position = following.group(1), following.end()
        options = replace(options, **_change(option.name, _value(name, option, text)))
    if options.live and options.once:
        raise UsageError("--live follows a query and --once does not: give one of them")
    if options.plot is None and (options.x, options.y, options.by) != (None, None, None):
        raise UsageError("--x, --y and --by say what --plot draws: give --plot, too")
    if options.records is not None and not options.step:
        raise UsageError("--records are what --step steps with: give --step, too")
    return options, line[position:]


def _is_value(option: _Option, following: re.Match[str] | None, line: str) -> bool:
    """Whether a word is the value of an option that needs none, and not the beginning of the SQL.

    A word that is no value is taken for one all the same where no SQL can begin: in front of another option,
    or as the last of a cell's first line.
    """
    if following is None or following.group(1).startswith("-"):
        return False
    try:
        option.parse(following.group(1))
    except ValueError:
        rest = line[following.end() :].lstrip(" \t")
        return rest.startswith("--") or (not rest and following.group(1).isalpha())
    return True


def _change(name: str, value: Any) -> dict[str, Any]:
    return {name: value}


def _lookup(name: str, dialect: Dialect) -> _Option:
    option = OPTIONS.get(_SHORT.get(name, name))
    if option is None or dialect not in option.dialects:
        if option is not None:
            raise UsageError(f"{name} is an option of %%{option.dialects[0]}, not of %%{dialect}")
        known = [n for n, o in OPTIONS.items() if dialect in o.dialects]
        raise UsageError(f"%%{dialect} has no option {name}. {UsageError.near(name, known)}".rstrip())
    return option


def _value(name: str, option: _Option, text: str) -> Any:
    if text[:1] in "'\"" and text[-1:] == text[:1] and len(text) > 1:
        text = text[1:-1]
    try:
        return option.parse(text)
    except ValueError as error:
        raise UsageError(f"{name} takes {error}, not '{text}'") from None


def describe_options(dialect: Dialect) -> str:
    """Return one line of help for each option."""
    shorts = {long: short for short, long in _SHORT.items()}
    lines = []
    for name, option in OPTIONS.items():
        if dialect in option.dialects:
            names = f"{name}, {shorts[name]}" if name in shorts else name
            lines.append(f"  {f'{names} {option.value}'.rstrip():<28} {option.help}")
    return "\n".join(lines)

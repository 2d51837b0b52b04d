"""The magics: ``%%ksql``, ``%%kalam`` and their line forms. They parse, run and show; each elsewhere."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, line_cell_magic, magics_class
from IPython.display import display

from kalam_jupyter.client import ClientError
from kalam_jupyter.client.connections import UnknownConnectionError, connections
from kalam_jupyter.magics.advice import begins_now, processing_logs, why_empty
from kalam_jupyter.magics.commands import COMMANDS, find_command
from kalam_jupyter.magics.display import Note, to_display
from kalam_jupyter.magics.errors import InterruptedCellError, MagicError, SqlError, UsageError
from kalam_jupyter.magics.hints import hint
from kalam_jupyter.magics.journal import journals
from kalam_jupyter.magics.options import Dialect, Options, describe_options, parse_options
from kalam_jupyter.magics.parameters import Bound, bind
from kalam_jupyter.magics.positions import locate, offset_of, position_of
from kalam_jupyter.magics.scan import blanked, padded, split_cell
from kalam_jupyter.magics.script import plan, results
from kalam_jupyter.magics.waiting import Deadline, read_once, stop_after

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from kalam_jupyter.client import Connection, Result
    from kalam_jupyter.widgets import Topology

_CREDENTIAL = "Name a user with --user NAME, or the variable that holds a token with --token-env VAR."
_TITLES = {"ksql": "ksqlDB error", "kalam": "KalamDB error"}


@magics_class
class KalamMagics(Magics):
    """``%%ksql`` and ``%%kalam``."""

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self._shell = shell
        self._widgets_of_cell: dict[str, tuple[str, weakref.WeakSet[Any]]] = {}

    @line_cell_magic
    def ksql(self, line: str, cell: str | None = None) -> Any:
        """Run ksqlDB statements."""
        return self._magic("ksql", line, cell)

    @line_cell_magic
    def kalam(self, line: str, cell: str | None = None) -> Any:
        """Run KalamDB statements."""
        return self._magic("kalam", line, cell)

    def _magic(self, dialect: Dialect, line: str, cell: str | None) -> Any:
        if cell is None and line.strip() in ("", "help", "-h", "--help"):
            return Note(f"%%{dialect}", _help(dialect))
        options, rest = parse_options(line, dialect)
        try:
            command = find_command(rest) if cell is None else None
            if command is not None:
                shown = command[0].run(connections, command[1], dialect)
                if hasattr(shown, "stop"):
                    self._stop_widgets_of_earlier_run()
                    self._remember(shown)
                return shown
            return self._run(dialect, options, rest if cell is None else f"{rest}\n{cell}")
        except KeyboardInterrupt:
            raise InterruptedCellError("Interrupted.") from None
        except UnknownConnectionError as error:
            raise UsageError(f"{error} {UsageError.near(error.name, error.known)}".rstrip()) from None
        except ClientError as error:  # a command's, or the connection's own: no text to point into
            hint = _CREDENTIAL if error.status == 401 else ""
            raise SqlError(error.message, code=error.code, title="Connection error", hint=hint) from None

    def _run(self, dialect: Dialect, options: Options, text: str) -> Any:
        """Run a cell's text; return the last thing to show, display the others as they come."""
        self._stop_widgets_of_earlier_run()
        bound = bind(text, self._shell.user_ns, dialect)
        params = self._params(options)
        deadline = Deadline(options.timeout)
        connection = connections.get(options.connection)
        processing_logs.watch(connection)
        shown: Any = None
        try:
            if options.step:
                values = self._steppers(bound.text, options, connection)
            else:
                values = self._results(bound.text, dialect, options, connection, params, deadline)
            for value in values:
                if shown is not None:
                    display(shown)
                shown = value
        except ClientError as error:
            if shown is not None:
                display(shown)
            raise _sql_error(error, bound, connection, dialect, self._shell.user_ns) from None
        if dialect == "ksql" and (warning := processing_logs.news(connection)) is not None:
            display(warning)
        return shown

    def _results(
        self,
        text: str,
        dialect: Dialect,
        options: Options,
        connection: Connection,
        params: list[Any],
        deadline: Deadline,
    ) -> Iterator[Any]:
        """Run statements; yield what to show as it comes."""
        steps = plan(text, dialect, options)
        for step, step_results in results(steps, connection, dialect, options, params, deadline):
            if not step.live and not options.explain:
                journals.of(connection).add(step.text, dialect, options, params)
            for result in step_results:
                if result.stream is not None and options.once:
                    result = _once(result, deadline)
                    if not result.row_count and (why := begins_now(result, options, connection)):
                        yield Note(f"No rows: {why}")
                elif (note := why_empty(result, connection)) is not None:
                    yield note
                yield from self._values(result, step.target, options, connection)

    def _steppers(self, text: str, options: Options, connection: Connection) -> Iterator[Any]:
        """Yield a stepper for each statement; with a target, it goes to that name, too."""
        from kalam_jupyter.widgets import Stepper

        records = () if options.records is None else self._evaluated("--records", options.records)
        for statement in split_cell(text):
            query = padded(text, statement.start, statement.text)
            try:
                stepper = Stepper(query, records, connection=connection)
            except TypeError as error:  # records that are no records
                raise UsageError(f"--records {options.records}: {error}") from None
            if (target := statement.target or options.into) is not None:
                self._shell.user_ns[target] = stepper
            yield stepper

    def _values(
        self, result: Result, target: str | None, options: Options, connection: Connection
    ) -> list[Any]:
        """What to show of a result; with a target, the last of it goes to that name."""
        if target is not None and "." in target:
            return [_into_table(result, target, connection)]
        values = to_display(result, options)
        picture = _picture(result, connection)
        if picture is not None:
            self._remember(picture)
            values.insert(0, picture)
        if result.stream is not None:
            values[-1].waiting = begins_now(result, options, connection)
            self._remember(values[-1])
            if options.timeout is not None:
                stop_after(values[-1], options.timeout)
        if target is None:
            return values
        if result.stream is None and result.table is None:
            raise UsageError(f"There is nothing to assign to {target}: the statement gives no rows")
        if result.stream is not None:
            self._shell.user_ns[target] = values[-1]
            return values
        frame = self._shell.user_ns[target] = result.frame()
        if options.plot is not None:
            return values
        rows, columns = frame.shape
        shape = f"{rows:,} row{'s' * (rows != 1)} × {columns} column{'s' * (columns != 1)}"
        return [Note(f"{target}: {shape}")]

    def _params(self, options: Options) -> list[Any]:
        if options.params is None:
            return []
        values = self._evaluated("--params", options.params)
        return list(values) if isinstance(values, (list, tuple)) else [values]

    def _evaluated(self, option: str, expression: str) -> Any:
        try:
            return self._shell.ev(expression)
        except Exception as error:  # whatever the user's own expression raises
            raise UsageError(f"{option} {expression}: {error}") from None

    def _remember(self, widget: Any) -> None:
        cell, run = _cell_and_run(self._shell)
        self._widgets_of_cell.setdefault(cell, (run, weakref.WeakSet()))[1].add(widget)

    def _stop_widgets_of_earlier_run(self) -> None:
        """A cell that runs again replaces its live widgets; the old queries would go on unseen."""
        cell, run = _cell_and_run(self._shell)
        earlier, widgets = self._widgets_of_cell.get(cell, (run, weakref.WeakSet()))
        if cell and earlier != run:
            del self._widgets_of_cell[cell]
            for widget in widgets:
                widget.stop()


def _once(result: Result, deadline: Deadline) -> Result:
    """Turn a query that goes on into the rows it has now."""
    assert result.stream is not None
    table = read_once(result.stream, deadline)
    return replace(
        result, kind="rows", stream=None, table=table, row_count=table.num_rows, key=result.stream.key
    )


def _picture(result: Result, connection: Connection) -> Topology | None:
    """Return the topology of what EXPLAIN explained."""
    if (result.entity or {}).get("@type") != "queryDescription":
        return None
    from kalam_jupyter.widgets import Topology

    described = (result.entity or {})["queryDescription"]
    try:
        return Topology(described.get("id") or f"{described['statementText']};", connection=connection)
    except ClientError:  # it ended meanwhile, or the server draws none: there is its text
        return None


def _into_table(result: Result, target: str, connection: Connection) -> Note:
    """Write rows into a KalamDB table, made with the result's key when it is missing."""
    if result.stream is not None:
        result.stream.close()
        raise UsageError(f"A query that goes on cannot fill {target}: add --once")
    if result.table is None:
        raise UsageError(f"There is nothing to write into {target}: the statement gives no rows")
    hidden = [c for c in ("_seq", "_deleted") if c in result.table.column_names]
    key = result.key[0] if len(result.key) == 1 else None
    try:
        written = connection.table_frame(result.table.drop_columns(hidden), target, key=key)
    except ClientError as error:
        if key is None and error.message.startswith("there is no table"):
            how = f"create it first, or: --into NAME, then NAME.kalam.to_table('{target}', key=..)"
            raise UsageError(f"There is no table {target}, and rows without a key make none: {how}") from None
        raise
    return Note(f"{target}: {written:,} rows")


def _cell_and_run(shell: InteractiveShell) -> tuple[str, str]:
    """The front end's name of the cell that runs, and of this run of it; "" where it gives none."""
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return "", ""
    parent = kernel.get_parent()
    return str(parent.get("metadata", {}).get("cellId", "")), str(parent.get("header", {}).get("msg_id", ""))


def _sql_error(
    error: ClientError, bound: Bound, connection: Connection, dialect: Dialect, variables: Mapping[str, Any]
) -> MagicError:
    """Turn a client's error into one that points into the cell as it was written."""
    if dialect == "ksql" and error.line is not None and error.column is not None:
        offset: int | None = offset_of(bound.text, error.line, error.column)
    else:
        offset = locate(error.message, bound.text, dialect, error.statement)
    line, column = (
        (_line_of(error.statement, bound.original), None)
        if offset is None
        else position_of(bound.original, bound.original_offset(offset))
    )
    shown = SqlError(
        error.message, code=error.code, cell=bound.original, line=line, column=column, title=_TITLES[dialect]
    )
    shown.hint = hint(error.message, shown.token, blanked(bound.original), connection, dialect, variables)
    if line == 1 and bound.original.startswith(shown.token) and shown.token.islower():
        shown.hint = UsageError.near(shown.token, COMMANDS) or shown.hint  # commands are of line magics only
    return shown


def _line_of(statement: str | None, text: str) -> int | None:
    """Return the line on which a statement stands in a cell of several; None where it is not to be found."""
    if not statement or sum(1 for _ in split_cell(text)) < 2:
        return None
    first = statement.strip().split("\n")[0].rstrip(";")
    return position_of(text, text.index(first))[0] if text.count(first) == 1 else None


def _help(dialect: Dialect) -> str:
    commands = "\n".join(f"  %{dialect} {c.usage}\n      {c.help}" for c in COMMANDS.values())
    return (
        f"{f'%%{dialect} [options]':<27}statements, each ended by ;\n"
        f"{f'%{dialect} [options] STATEMENT':<27}one statement\n"
        "name << SELECT ..          puts the result into a Python variable\n"
        ":name                      the value of a Python variable, as a typed literal\n\n"
        f"Options\n{describe_options(dialect)}\n\nCommands\n{commands}"
    )


# What `%%ksql?` shows.
KalamMagics.ksql.__doc__ = f"Run ksqlDB statements.\n\n{_help('ksql')}"
KalamMagics.kalam.__doc__ = f"Run KalamDB statements.\n\n{_help('kalam')}"

"""Tests in one SQL script: statements, and what must hold between them.

::

    --@test: orders are counted
    CREATE STREAM orders (id INT KEY, item STRING) WITH (KAFKA_TOPIC='orders', FORMAT='JSON', PARTITIONS=1);
    CREATE TABLE counts AS SELECT item, COUNT(*) AS n FROM orders GROUP BY item;
    INSERT INTO orders (id, item) VALUES (1, 'tea');
    ASSERT VALUES counts (item, n) VALUES ('tea', 1);

    --@test: a missing column
    --@expected.error: KsqlException
    --@expected.message: Column 'NOPE' cannot be resolved
    ...

Each ``--@test`` starts on a new engine; without one the whole file is one test. Statements take effect one
after the other, and every INSERT runs through all queries before the next statement does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kalam_jupyter.engine import Clock, Engine
from kalam_jupyter.ksql import Ksql, KsqlError
from kalam_jupyter.ksql.errors import StatementError
from kalam_jupyter.ksql.lang import ast
from kalam_jupyter.ksql.lang.parser import ParsedStatement, parse_script
from kalam_jupyter.ksql.lang.variables import prepare
from kalam_jupyter.ksql.statements import HANDLERS
from kalam_jupyter.ksql.statements.run import Run, Session
from kalam_jupyter.ksql.testing.asserts import (
    AssertionFailedError,
    Unread,
    assert_source,
    assert_tombstone,
    assert_values,
)
from kalam_jupyter.ksql.testing.execution import SETTLE_SECONDS, FailedError, QueryError, error_text
from kalam_jupyter.ksql.testing.files import InvalidTestError, read_text

_DIRECTIVE = re.compile(r"^[ \t]*--[ \t]*@([A-Za-z][\w.]*)[ \t]*:[ \t]*(.*?)[ \t]*$", re.MULTILINE)
_MEMBERS = ("expected.error", "expected.message")
#: What the reference calls its errors; a package in front is left out. Its three kinds of refusal are one.
_ERRORS: dict[str, type[Exception]] = {
    "KsqlException": KsqlError,
    "KsqlStatementException": KsqlError,
    "ParseFailedException": KsqlError,
    "StreamsException": QueryError,
    "AssertionError": AssertionFailedError,
}
MAX_SCRIPTS = 20


@dataclass(frozen=True)
class ScriptTest:
    """One test of a script.

    Attributes
    ----------
    name : str
    text : str
        Its statements, behind as many line ends as stand before them in the file.
    expected_error : str or None
        A name out of `_ERRORS`.
    expected_message : str or None
        Part of the message of the error.
    """

    name: str
    text: str
    expected_error: str | None = None
    expected_message: str | None = None

    @property
    def fails(self) -> bool:
        """Whether an error is expected."""
        return self.expected_error is not None or self.expected_message is not None


def load(path: Path) -> list[ScriptTest]:
    """Read the tests of a script.

    Raises
    ------
    InvalidTestError
        If there is no such file, or its directives are wrong.
    """
    text = read_text(path)
    found = list(_DIRECTIVE.finditer(text))
    starts = [m for m in found if m[1] == "test"]
    bounds = [(m.start(), m[2]) for m in starts] or [(0, path.stem)]
    if starts and _leading(text[: bounds[0][0]], path):
        raise InvalidTestError(f"{path}: statements stand before the first --@test")
    ends = [start for start, _ in bounds[1:]] + [len(text)]
    return [
        _test(path, text, name, start, end, [m for m in found if start <= m.start() < end])
        for (start, name), end in zip(bounds, ends, strict=True)
    ]


def _leading(text: str, path: Path) -> list[ParsedStatement]:
    """Return the statements before the first test: there should be none."""
    try:
        return parse_script(text, cli=True, testing=True)
    except KsqlError as error:
        raise InvalidTestError(f"{path}: {error.message}") from None


def _test(path: Path, text: str, name: str, start: int, end: int, found: list[re.Match[str]]) -> ScriptTest:
    members: dict[str, str] = {}
    for directive in found:
        if directive[1] == "test":
            continue
        line = text.count("\n", 0, directive.start()) + 1
        if directive[1] not in _MEMBERS:
            raise InvalidTestError(f"{path}:{line}: unknown directive @{directive[1]}")
        if directive[1] in members:
            raise InvalidTestError(f"{path}:{line}: a second @{directive[1]} in one test")
        members[directive[1]] = directive[2]
    error = members.get("expected.error")
    if error is not None:
        error = error.rpartition(".")[2]
        if error not in _ERRORS:
            raise InvalidTestError(f"{path}: unknown error {error}; known: {', '.join(_ERRORS)}")
    body = "\n" * text.count("\n", 0, start) + text[start:end]
    return ScriptTest(name, body, error, members.get("expected.message"))


def run(test: ScriptTest, folder: Path) -> None:
    """Run a test on a new engine in memory.

    Parameters
    ----------
    folder : Path
        Where the paths of RUN SCRIPT begin.

    Raises
    ------
    FailedError
        If it does not pass.
    """
    with Engine.open(clock=Clock()) as engine:
        execution = _Execution(Ksql(engine, {"ksql.streams.auto.offset.reset": "earliest"}), folder)
        engine.start()
        try:
            execution.script(test.text)
        except (KsqlError, QueryError, AssertionFailedError) as error:
            if not test.fails:
                raise FailedError(_described(error, execution.line)) from None
            _judge(test, error, execution.line)
            return
    if test.fails:
        raise FailedError(f"no error; expected {test.expected_message or test.expected_error}")


def _described(error: Exception, line: int | None) -> str:
    text = error.full_message if isinstance(error, KsqlError) else str(error)
    return text if line is None else f"line {line}: {text}"


def _judge(test: ScriptTest, error: Exception, line: int | None) -> None:
    if test.expected_error is not None and not isinstance(error, _ERRORS[test.expected_error]):
        raise FailedError(f"expected {test.expected_error}, got: {_described(error, line)}")
    texts = (error.message, error.full_message) if isinstance(error, KsqlError) else (str(error),)
    if test.expected_message is not None and not any(test.expected_message in text for text in texts):
        raise FailedError(f"expected the message {test.expected_message!r}, got: {_described(error, line)}")


class _Execution:
    """The statements of one test, and the session that they share."""

    def __init__(self, ksql: Ksql, folder: Path) -> None:
        self._ksql, self._folder = ksql, folder
        self._unread = Unread(ksql)
        self._properties: dict[str, Any] = {}
        self._variables: dict[str, str] = {}
        self._depth = 0
        self.line: int | None = None

    def script(self, text: str) -> None:
        for parsed in parse_script(text, cli=True, testing=True):
            if not self._depth:
                self.line = parsed.location.line
            self._statement(prepare(parsed, self._variables))

    def _statement(self, parsed: ParsedStatement) -> None:
        tree = parsed.ast
        handler = self._handlers.get(type(tree))
        if handler is not None:
            handler(self, parsed)
            return
        if isinstance(tree, ast.Query | ast.Print | ast.Spool):
            raise StatementError("SELECT, PRINT and SPOOL have no place in a test; use ASSERT VALUES.")
        self._ksql.execute(parsed.text, properties=self._properties, variables=self._variables)
        if not self._ksql.engine.settle(SETTLE_SECONDS):
            raise QueryError("the persistent queries did not settle")
        for query in self._ksql.running.values():
            error = self._ksql.engine.scheduler.runner(query.id).error
            if error is not None:
                raise QueryError(f"Exception caught in process: {error_text(error)}")

    def _run(self, *, dry: bool = False) -> Run:
        return Run(self._ksql, self._ksql.state, Session(self._properties, self._variables), dry=dry)

    def _run_script(self, parsed: ParsedStatement) -> None:
        assert isinstance(parsed.tree, ast.RunScript)
        if self._depth >= MAX_SCRIPTS:
            raise StatementError("RUN SCRIPT: scripts run each other without end.")
        try:
            text = read_text(self._folder / parsed.tree.path)
        except InvalidTestError as error:
            raise StatementError(f"RUN SCRIPT: {error}") from None
        self._depth += 1
        try:
            self.script(text)
        finally:
            self._depth -= 1

    def _setting(self, parsed: ParsedStatement) -> None:
        """SET, DEFINE and their opposites change the session, which lasts as long as the test."""
        HANDLERS[type(parsed.tree)](self._run(), parsed.tree, parsed.text)

    def _assert_values(self, parsed: ParsedStatement) -> None:
        assert isinstance(parsed.tree, ast.AssertValues)
        assert_values(self._run(), self._unread, parsed.tree)

    def _assert_tombstone(self, parsed: ParsedStatement) -> None:
        assert isinstance(parsed.tree, ast.AssertNullValues)
        assert_tombstone(self._run(), self._unread, parsed.tree)

    def _assert_source(self, parsed: ParsedStatement) -> None:
        assert isinstance(parsed.tree, ast.AssertSource)
        assert_source(self._run(dry=True), parsed.tree, parsed.text)

    _handlers: Mapping[type[ast.Statement], Callable[[_Execution, ParsedStatement], None]] = {
        ast.RunScript: _run_script,
        ast.SetProperty: _setting,
        ast.UnsetProperty: _setting,
        ast.Define: _setting,
        ast.Undefine: _setting,
        ast.AssertValues: _assert_values,
        ast.AssertNullValues: _assert_tombstone,
        ast.AssertSource: _assert_source,
    }

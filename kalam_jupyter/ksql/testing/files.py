"""Tests in three files: statements, input records, expected output records; as ksql-test-runner takes them.

The statements run first. Then the input records are appended to their topics and run through the persistent
queries, one query after the other. What the topics of the expected records hold is compared with them: how
many, in which order, keys, values with their scale, windows, headers, and timestamps where they are given.
"""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kalam_jupyter.engine import Clock, Engine
from kalam_jupyter.ksql import Ksql, KsqlError
from kalam_jupyter.ksql.testing import serde, topics
from kalam_jupyter.ksql.testing.execution import Difference, FailedError, QueryError, differences, pipe
from kalam_jupyter.ksql.testing.records import RecordFormatError, RecordSpec, exact_json, parse, record_of


class InvalidTestError(Exception):
    """A test that cannot be run; the text says which file is wrong, and how."""


@dataclass(frozen=True)
class FileTest:
    """A test.

    Attributes
    ----------
    statements : str
    inputs, outputs : tuple of RecordSpec
    """

    statements: str
    inputs: tuple[RecordSpec, ...]
    outputs: tuple[RecordSpec, ...]


def read_text(path: Path) -> str:
    """Return the text of a file; InvalidTestError if there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidTestError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidTestError(f"{path}: not UTF-8 text") from None


def load(statements: Path, inputs: Path | None, outputs: Path) -> FileTest:
    """Read the files of a test.

    Raises
    ------
    InvalidTestError
    """
    return FileTest(
        read_text(statements),
        () if inputs is None else tuple(_records(inputs, "inputs")),
        tuple(_records(outputs, "outputs")),
    )


def _records(path: Path, member: str) -> Iterator[RecordSpec]:
    try:
        data = parse(read_text(path))
    except (ValueError, RecursionError) as error:
        raise InvalidTestError(f"{path}: not JSON: {error}") from None
    records = data.get(member) if isinstance(data, dict) else None
    if not isinstance(records, list) or not records:
        raise InvalidTestError(f'{path}: expected {{"{member}": [..]}} with at least one record')
    for i, record in enumerate(records):
        try:
            yield record_of(record, is_input=member == "inputs")
        except RecordFormatError as error:
            raise InvalidTestError(f"{path}: {member}[{i}] {error}") from None


def load_extension(path: Path) -> None:
    """Run a Python file that defines functions with `kalam_jupyter.udf` and its sisters; InvalidTestError."""
    read_text(path)
    try:
        runpy.run_path(str(path))
    except Exception as error:  # a user's file may raise anything
        raise InvalidTestError(f"{path}: {type(error).__name__}: {error}") from None


def run(test: FileTest) -> list[Difference]:
    """Run a test on a new engine in memory, and return the first difference of each topic.

    Raises
    ------
    FailedError
        If a statement or a query failed, or a topic of the test does not exist.
    """
    with Engine.open(clock=Clock()) as engine:
        ksql = Ksql(engine, {"ksql.streams.auto.offset.reset": "earliest"})
        try:
            topics.create_topics(ksql, test.statements, test.inputs, test.outputs)
            ksql.execute(test.statements)
            pipe(ksql, test.inputs)
            return list(differences(ksql, test.outputs, has_inputs=bool(test.inputs)))
        except (KsqlError, QueryError) as error:
            raise FailedError(error.full_message if isinstance(error, KsqlError) else str(error)) from None
        except (topics.MissingTopicError, serde.InvalidCaseError) as error:
            raise FailedError(str(error)) from None


def report(difference: Difference) -> str:
    """Return a difference as lines: what is wrong, the expected record, the actual one."""
    head = f"{difference.topic}, record {difference.index + 1}: {difference.reason}"
    expected, actual = _shown(difference.expected), _shown(difference.actual)
    return f"{head}\n  expected  {expected}\n  actual    {actual}"


def _shown(record: RecordSpec | topics.Output | None) -> str:
    if record is None:
        return "no record"
    members: dict[str, Any] = {"key": record.key, "value": record.value}
    if record.timestamp is not None:
        members["timestamp"] = record.timestamp
    if record.window is not None:
        members["window"] = dict(zip(("start", "end", "type"), record.window, strict=True))
    if record.headers:
        members["headers"] = [{"KEY": k, "VALUE": v} for k, v in record.headers]
    return exact_json(members)

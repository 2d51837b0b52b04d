"""Runs one case on a fresh engine, the way the reference's runner does (sections 2 to 5)."""

from __future__ import annotations

import traceback
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any, Literal

from kalam_jupyter.engine import Engine
from kalam_jupyter.engine.clock import Clock
from kalam_jupyter.ksql import Ksql, KsqlError
from kalam_jupyter.ksql.errors import ParseError, StatementError
from tests.conformance import functions, post, registered, serde, topics
from tests.conformance.compare import show
from tests.conformance.loader import Case, RecordSpec

Status = Literal["passed", "failed", "unsupported"]
SETTLE_SECONDS = 20.0
#: Properties that speak to the runner, not to the engine
RUNNER_PROPERTIES = {"use.exact.numeric.comparison"}
ERROR_KINDS: dict[str, type[Exception]] = {
    "io.confluent.ksql.util.KsqlStatementException": StatementError,
    "io.confluent.ksql.util.KsqlException": KsqlError,
    "io.confluent.ksql.parser.exception.ParseFailedException": ParseError,
}


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    Attributes
    ----------
    reason : str
        Empty when it passed.
    warning : str
        What a stricter judge would mind: an error of another class.
    """

    name: str
    file: str
    status: Status
    reason: str = ""
    warning: str = ""


class _FailedError(Exception):
    """The case does not pass; the text says why."""


class _QueryError(Exception):
    """A query died while records ran through it."""


def run(case: Case, batch_size: int | None = None) -> Outcome:
    """Run a case.

    Parameters
    ----------
    case : Case
    batch_size : int, optional
        Most input records that are appended together; None: as many as follow each other in one topic.
    """
    try:
        warning = _Run(case, batch_size).judge()
    except (_FailedError, topics.MissingTopicError) as failure:
        return Outcome(case.name, case.file, "failed", str(failure))
    except serde.InvalidCaseError as invalid:
        return Outcome(case.name, case.file, "unsupported", str(invalid))
    except Exception as crash:  # whatever breaks is this case's failure, and the next one runs
        where = traceback.extract_tb(crash.__traceback__)[-1]
        text = f"crash: {type(crash).__name__}: {crash} ({where.filename.rsplit('/', 1)[-1]}:{where.lineno})"
        return Outcome(case.name, case.file, "failed", text)
    return Outcome(case.name, case.file, "passed", "", warning)


class _Run:
    def __init__(self, case: Case, batch_size: int | None) -> None:
        self.case = case
        self.batch_size = batch_size
        self.exact = str(case.properties.get("use.exact.numeric.comparison", "true")).lower() != "false"

    def judge(self) -> str:
        """Run and compare; return a warning, or nothing."""
        expected = self.case.expected_error
        with Engine.open(clock=Clock()) as engine:
            try:
                ksql = self._execute(engine)
                if expected is None or self.case.inputs:
                    self._pipe(ksql)
            except (KsqlError, _QueryError) as error:
                if expected is None:
                    raise _FailedError(f"error: {_message(error)}") from None
                return _judge_error(error, expected)
            if expected is not None:
                raise _FailedError(f"no error; expected {show(expected.get('message'))}")
            self._compare_outputs(ksql)
            wrong = "; ".join(post.check(ksql, self.case.post))
            if wrong:
                raise _FailedError(f"post: {wrong}")
            return ""

    # Statements

    def _execute(self, engine: Engine) -> Ksql:
        config = {k: v for k, v in self.case.properties.items() if k not in RUNNER_PROPERTIES}
        ksql = Ksql(engine, {"ksql.streams.auto.offset.reset": "earliest", **config})
        functions.register(ksql)
        script = "\n".join(self.case.statements)
        topics.create_topics(ksql, self.case, self.case.statements)
        registered.register_schemas(ksql, script, self.case.topics)
        ksql.execute(script)
        return ksql

    # Data

    def _pipe(self, ksql: Ksql) -> None:
        engine = ksql.engine
        queries = list(engine.scheduler.runners)
        if not queries:
            raise _FailedError("no persistent query")
        for query in queries:
            engine.pause_processor(query)
        topics.append(ksql, self.case.inputs, batch_size=self.batch_size, exact=self.exact)
        engine.start()
        # One query after the other, in order of creation: each sees all that those before it wrote.
        for query in queries:
            engine.resume_processor(query)
            settled = engine.settle(SETTLE_SECONDS, [query])
            error = engine.scheduler.runner(query).error
            if error is not None:
                raise _QueryError(f"Exception caught in process: {_message(error)}") from error
            if not settled:
                raise _FailedError(f"{query} did not settle")
            engine.pause_processor(query)

    # Results

    def _compare_outputs(self, ksql: Ksql) -> None:
        expected: dict[str, list[RecordSpec]] = defaultdict(list)
        for record in self.case.outputs:
            expected[record.topic].append(record)
        for topic, records in expected.items():
            actual = list(topics.read(ksql, topic, exact=self.exact))
            if not self.case.inputs:
                records = [replace(r, timestamp=None) if r.timestamp == 0 else r for r in records]
            for i, (want, got) in enumerate(zip(records, actual, strict=False)):
                wrong = topics.record_difference(want, got)
                if wrong:
                    raise _FailedError(f"{topic}[{i}] {wrong}")
            if len(actual) != len(records):
                surplus = (
                    f"; first surplus: {show(actual[len(records)])}" if len(actual) > len(records) else ""
                )
                raise _FailedError(f"{topic}: expected {len(records)} records, got {len(actual)}{surplus}")


def _message(error: BaseException) -> str:
    return error.full_message if isinstance(error, KsqlError) else f"{type(error).__name__}: {error}"


def _judge_error(error: Exception, expected: Any) -> str:
    """Compare an error with the expected one; return a warning, or nothing."""
    texts = [str(error)]
    if isinstance(error, KsqlError):
        texts += [error.message, error.full_message, error.detail or ""]
    message = expected.get("message")
    if message is not None and not any(message in text for text in texts):
        raise _FailedError(
            f"message: expected {message!r}, got {texts[-2] if len(texts) > 1 else texts[0]!r}"
        )
    cause = expected.get("causeMessage")
    if cause is not None and cause not in f"{error} {error.__cause__}":
        raise _FailedError(f"cause: expected {cause!r}, got {str(error)!r}")
    kind = ERROR_KINDS.get(expected.get("type", ""), _QueryError if expected.get("type") else Exception)
    if not isinstance(error, kind):
        return f"expected {expected['type'].rsplit('.', 1)[-1]}, got {type(error).__name__}"
    return ""

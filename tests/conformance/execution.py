"""Runs one case on a fresh engine, the way the reference's runner does (sections 2 to 5)."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import Any, Literal

from kalam_jupyter.engine import Engine
from kalam_jupyter.engine.clock import Clock
from kalam_jupyter.ksql import Ksql, KsqlError
from kalam_jupyter.ksql.errors import ParseError, StatementError
from kalam_jupyter.ksql.testing import serde, topics
from kalam_jupyter.ksql.testing.compare import show
from kalam_jupyter.ksql.testing.execution import FailedError, QueryError, differences, error_text, pipe
from tests.conformance import functions, post, schemas
from tests.conformance.loader import Case

Status = Literal["passed", "failed", "unsupported"]
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
    except (FailedError, topics.MissingTopicError) as failure:
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
                    pipe(ksql, self.case.inputs, batch_size=self.batch_size, exact=self.exact)
            except (KsqlError, QueryError) as error:
                if expected is None:
                    raise FailedError(f"error: {error_text(error)}") from None
                return _judge_error(error, expected)
            if expected is not None:
                raise FailedError(f"no error; expected {show(expected.get('message'))}")
            has_inputs = bool(self.case.inputs)
            found = differences(ksql, self.case.outputs, has_inputs=has_inputs, exact=self.exact)
            for difference in found:
                raise FailedError(str(difference))
            wrong = "; ".join(post.check(ksql, self.case.post))
            if wrong:
                raise FailedError(f"post: {wrong}")
            return ""

    # Statements

    def _execute(self, engine: Engine) -> Ksql:
        config = {k: v for k, v in self.case.properties.items() if k not in RUNNER_PROPERTIES}
        ksql = Ksql(engine, {"ksql.streams.auto.offset.reset": "earliest", **config})
        functions.register(ksql)
        script = "\n".join(self.case.statements)
        topics.create_topics(ksql, script, self.case.inputs, self.case.outputs, self.case.partitions)
        schemas.register_schemas(ksql, script, self.case.topics)
        ksql.execute(script)
        return ksql


def _judge_error(error: Exception, expected: Any) -> str:
    """Compare an error with the expected one; return a warning, or nothing."""
    texts = [str(error)]
    if isinstance(error, KsqlError):
        texts += [error.message, error.full_message, error.detail or ""]
    message = expected.get("message")
    if message is not None and not any(message in text for text in texts):
        raise FailedError(f"message: expected {message!r}, got {texts[-2] if len(texts) > 1 else texts[0]!r}")
    cause = expected.get("causeMessage")
    if cause is not None and cause not in f"{error} {error.__cause__}":
        raise FailedError(f"cause: expected {cause!r}, got {str(error)!r}")
    kind = ERROR_KINDS.get(expected.get("type", ""), QueryError if expected.get("type") else Exception)
    if not isinstance(error, kind):
        return f"expected {expected['type'].rsplit('.', 1)[-1]}, got {type(error).__name__}"
    return ""

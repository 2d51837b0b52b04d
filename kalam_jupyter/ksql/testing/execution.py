"""Runs records through the persistent queries of an engine, and compares what came out.

Every query is run on its own, in order of creation, over everything that its topics hold by then: a query
sees all that those before it wrote, and two queries never interleave. Results are therefore reproducible.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from kalam_jupyter.ksql import Ksql, KsqlError
from kalam_jupyter.ksql.testing import topics
from kalam_jupyter.ksql.testing.compare import show
from kalam_jupyter.ksql.testing.records import RecordSpec

SETTLE_SECONDS = 20.0


class FailedError(Exception):
    """A test does not pass; the text says why."""


class QueryError(Exception):
    """A query died while records ran through it."""


def pipe(
    ksql: Ksql, inputs: Sequence[RecordSpec], *, batch_size: int | None = None, exact: bool = True
) -> None:
    """Append records to their topics, and run them through all persistent queries.

    The engine must not have been started.

    Parameters
    ----------
    batch_size : int, optional
        Most records appended together; None: as many as follow each other in one topic.
    exact : bool
        Whether JSON numbers are exact.

    Raises
    ------
    FailedError
        If there is no persistent query.
    QueryError
        If a query died.
    """
    engine = ksql.engine
    queries = list(engine.scheduler.runners)
    if not queries:
        raise FailedError("no persistent query")
    for query in queries:
        engine.pause_processor(query)
    topics.append(ksql, inputs, batch_size=batch_size, exact=exact)
    engine.start()
    for query in queries:
        engine.resume_processor(query)
        settled = engine.settle(SETTLE_SECONDS, [query])
        error = engine.scheduler.runner(query).error
        if error is not None:
            raise QueryError(f"Exception caught in process: {error_text(error)}") from error
        if not settled:
            raise FailedError(f"{query} did not settle")
        engine.pause_processor(query)


@dataclass(frozen=True)
class Difference:
    """Where a topic first differs from what is expected of it.

    Attributes
    ----------
    index : int
        Of the record in its topic.
    reason : str
    expected, actual
        The records; None where there is none.
    """

    topic: str
    index: int
    reason: str
    expected: RecordSpec | None
    actual: topics.Output | None

    def __str__(self) -> str:
        if self.expected is not None and self.actual is not None:
            return f"{self.topic}[{self.index}] {self.reason}"
        surplus = "" if self.actual is None else f"; first surplus: {show(self.actual)}"
        return f"{self.topic}: {self.reason}{surplus}"


def differences(
    ksql: Ksql, outputs: Sequence[RecordSpec], *, has_inputs: bool = True, exact: bool = True
) -> Iterator[Difference]:
    """Yield, for each topic of the expected records, how it differs from them first.

    Parameters
    ----------
    has_inputs : bool
        Without inputs the clock gave the timestamps, and an expected 0 stands for any.
    """
    expected: dict[str, list[RecordSpec]] = defaultdict(list)
    for record in outputs:
        expected[record.topic].append(record)
    for topic, records in expected.items():
        if not has_inputs:
            records = [replace(r, timestamp=None) if r.timestamp == 0 else r for r in records]
        wrong = _topic_difference(topic, records, list(topics.read(ksql, topic, exact=exact)))
        if wrong is not None:
            yield wrong


def _topic_difference(
    topic: str, records: Sequence[RecordSpec], actual: Sequence[topics.Output]
) -> Difference | None:
    for i, (want, got) in enumerate(zip(records, actual, strict=False)):
        wrong = topics.record_difference(want, got)
        if wrong:
            return Difference(topic, i, wrong, want, got)
    if len(actual) == len(records):
        return None
    at = min(len(actual), len(records))
    return Difference(
        topic,
        at,
        f"expected {len(records)} records, got {len(actual)}",
        records[at] if at < len(records) else None,
        actual[at] if at < len(actual) else None,
    )


def error_text(error: BaseException) -> str:
    """Return what is to be told of an error."""
    return error.full_message if isinstance(error, KsqlError) else f"{type(error).__name__}: {error}"

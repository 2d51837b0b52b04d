"""Runs one case on a fresh engine, the way the reference's runner does (sections 2 to 5)."""

from __future__ import annotations

import traceback
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Literal

from kalam_jupyter.engine import Engine
from kalam_jupyter.engine.batch import Batch
from kalam_jupyter.engine.clock import Clock
from kalam_jupyter.ksql import Ksql, KsqlError
from kalam_jupyter.ksql.errors import ParseError, StatementError
from kalam_jupyter.ksql.lang.ast import CreateSource
from kalam_jupyter.ksql.lang.parser import parse_script
from kalam_jupyter.ksql.metastore import Source
from tests.conformance import functions, post, registered, serde
from tests.conformance.compare import difference, show
from tests.conformance.loader import Case, RecordSpec, WindowKind

Status = Literal["passed", "failed", "unsupported"]
DEFAULT_PARTITIONS = 4
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


@dataclass(frozen=True)
class Output:
    """A record that was found in a topic."""

    key: Any
    value: Any
    timestamp: int
    window: tuple[int, int, WindowKind] | None
    headers: tuple[tuple[str, bytes | None], ...]


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
    except _FailedError as failure:
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
        self._create_topics(engine, script)
        registered.register_schemas(ksql, script, self.case.topics)
        ksql.execute(script)
        return ksql

    def _create_topics(self, engine: Engine, script: str) -> None:
        """Make the topics that there are before the first statement; those of queries are made by them."""
        declared: dict[str, int] = {}
        for parsed in parse_script(script):
            statement = parsed.ast
            if isinstance(statement, CreateSource) and isinstance(
                statement.properties.get("KAFKA_TOPIC"), str
            ):
                count = statement.properties.get("PARTITIONS") or DEFAULT_PARTITIONS
                declared[statement.properties.get("KAFKA_TOPIC")] = int(count)
        partitions = declared | {t["name"]: t.get("partitions", 1) for t in self.case.topics}
        for record in (*self.case.inputs, *self.case.outputs):
            partitions.setdefault(record.topic, DEFAULT_PARTITIONS)
        outputs = {r.topic for r in self.case.outputs} - {t["name"] for t in self.case.topics}
        for name, count in partitions.items():
            if name not in outputs or name in declared:
                engine.transact(lambda tx, n=name, c=count: tx.create_topic(n, c))

    # Data

    def _pipe(self, ksql: Ksql) -> None:
        engine = ksql.engine
        queries = list(engine.scheduler.runners)
        if not queries:
            raise _FailedError("no persistent query")
        for query in queries:
            engine.pause_processor(query)
        self._append_inputs(ksql)
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

    def _append_inputs(self, ksql: Ksql) -> None:
        for topic, run_ in groupby(self.case.inputs, key=lambda r: r.topic):
            source = _source_of(ksql, topic)
            key, value = self._codecs(ksql, source)
            records = list(run_)
            for part in _cut(records, self.batch_size or len(records)):
                batch = Batch(
                    timestamps=[r.timestamp or 0 for r in part],
                    raw=(
                        [serde.write_window(key.write(r.key), r.window) for r in part],
                        [value.write(r.value) for r in part],
                    ),
                    headers=[serde.headers(r.headers) for r in part]
                    if any(r.headers for r in part)
                    else None,
                )
                ksql.engine.transact(lambda tx, t=topic, b=batch: tx.append(t, b))

    def _codecs(self, ksql: Ksql, source: Source) -> tuple[serde.Codec, serde.Codec]:
        schema = source.stored_schema
        make = serde.codec_of
        return (
            make(ksql, source, source.key_format, schema.key, is_key=True, exact_numbers=self.exact),
            make(ksql, source, source.value_format, schema.value, is_key=False, exact_numbers=self.exact),
        )

    # Results

    def _compare_outputs(self, ksql: Ksql) -> None:
        expected: dict[str, list[RecordSpec]] = defaultdict(list)
        for record in self.case.outputs:
            expected[record.topic].append(record)
        for topic, records in expected.items():
            actual = list(self._read(ksql, topic))
            if not self.case.inputs:
                records = [replace(r, timestamp=None) if r.timestamp == 0 else r for r in records]
            for i, (want, got) in enumerate(zip(records, actual, strict=False)):
                wrong = _record_difference(want, got)
                if wrong:
                    raise _FailedError(f"{topic}[{i}] {wrong}")
            if len(actual) != len(records):
                surplus = (
                    f"; first surplus: {show(actual[len(records)])}" if len(actual) > len(records) else ""
                )
                raise _FailedError(f"{topic}: expected {len(records)} records, got {len(actual)}{surplus}")

    def _read(self, ksql: Ksql, name: str) -> Iterator[Output]:
        topic = ksql.engine.find_topic(name)
        if topic is None:
            raise _FailedError(f"topic {name} does not exist")
        source = _source_of(ksql, name)
        key, value = self._codecs(ksql, source)
        kind: WindowKind | None = None
        if source.window is not None:
            kind = "session" if source.window.type == "SESSION" else "time"
        for stored in topic.read(topic.start_sequence, 1 << 30):
            batch = stored.batch
            keys, values = batch.encoded()
            for i in range(batch.num_rows):
                bare, window = serde.read_window(
                    keys[i], kind, source.window.size_ms if source.window is not None else None
                )
                headers = batch.headers[i] if batch.headers is not None else ()
                yield Output(
                    _top_level(key.read(bare)),
                    _top_level(value.read(values[i])),
                    int(batch.timestamps[i]),
                    window,
                    headers,
                )


def _top_level(value: Any) -> Any:
    """Empty bytes of a field of a record count as null."""
    if isinstance(value, dict):
        return {k: None if v == b"" else v for k, v in value.items()}
    return value


def _cut(records: Sequence[RecordSpec], size: int) -> Iterator[Sequence[RecordSpec]]:
    for start in range(0, len(records), size):
        yield records[start : start + size]


def _source_of(ksql: Ksql, topic: str) -> Source:
    for source in ksql.state.metastore.sources.values():
        if source.topic == topic:
            return source
    raise _FailedError(f"no source uses topic {topic}")


def _record_difference(want: RecordSpec, got: Output) -> str | None:
    wrong = difference(want.key, got.key)
    if wrong:
        return f"key: {wrong}"
    wrong = difference(want.value, got.value)
    if wrong:
        return f"value: {wrong}"
    if want.window != got.window:
        return f"window: expected {want.window}, got {got.window}"
    if want.timestamp is not None and want.timestamp != got.timestamp:
        return f"timestamp: expected {want.timestamp}, got {got.timestamp}"
    if serde.headers(want.headers) != got.headers:
        return f"headers: expected {want.headers}, got {got.headers}"
    return None


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

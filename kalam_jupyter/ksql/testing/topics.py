"""The topics of a test: made before the first statement, records put in, records read out."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from types import MappingProxyType
from typing import Any

from kalam_jupyter.engine.batch import Batch
from kalam_jupyter.engine.transaction import Transaction
from kalam_jupyter.ksql import Ksql
from kalam_jupyter.ksql.lang.ast import CreateSource
from kalam_jupyter.ksql.lang.parser import parse_script
from kalam_jupyter.ksql.metastore import Source
from kalam_jupyter.ksql.runtime.partitioner import partitions_of
from kalam_jupyter.ksql.testing import serde
from kalam_jupyter.ksql.testing.compare import difference, show
from kalam_jupyter.ksql.testing.records import RecordSpec, WindowKind

DEFAULT_PARTITIONS = 4
NO_PARTITIONS: Mapping[str, int] = MappingProxyType({})


class MissingTopicError(Exception):
    """Records belong into a topic, or should be in one, that nothing has made."""


@dataclass(frozen=True)
class Output:
    """A record that was found in a topic."""

    key: Any
    value: Any
    timestamp: int
    window: tuple[int, int, WindowKind] | None
    headers: tuple[tuple[str, bytes | None], ...]


def create_topics(
    ksql: Ksql,
    script: str,
    inputs: Iterable[RecordSpec],
    outputs: Iterable[RecordSpec],
    given: Mapping[str, int] = NO_PARTITIONS,
) -> None:
    """Make the topics that there are before the first statement; those of queries are made by them.

    Parameters
    ----------
    given : mapping
        Partitions of topics that are there whatever the statements say.
    """
    declared: dict[str, int] = {}
    for parsed in parse_script(script):
        statement = parsed.tree
        if isinstance(statement, CreateSource) and isinstance(statement.properties.get("KAFKA_TOPIC"), str):
            wanted = str(statement.properties.get("PARTITIONS"))
            # What is no number of partitions is refused by the statement itself.
            known = int(wanted) if wanted.isascii() and wanted.isdecimal() else 0
            declared[statement.properties.get("KAFKA_TOPIC")] = known or DEFAULT_PARTITIONS
    partitions = declared | dict(given)
    outputs = list(outputs)
    for record in (*inputs, *outputs):
        partitions.setdefault(record.topic, DEFAULT_PARTITIONS)
    sinks = {r.topic for r in outputs} - given.keys()
    for name, count in partitions.items():
        if name not in sinks or name in declared:
            ksql.engine.transact(partial(_create_topic, name=name, partitions=count))


def _create_topic(tx: Transaction, name: str, partitions: int) -> None:
    tx.create_topic(name, partitions)


def _append(tx: Transaction, topic: str, batch: Batch) -> None:
    tx.append(topic, batch)


def append(
    ksql: Ksql,
    records: Sequence[RecordSpec],
    *,
    batch_size: int | None = None,
    exact: bool = True,
    spread: bool = False,
) -> None:
    """Append records to their topics, in their order, as the bytes that a producer would send.

    Parameters
    ----------
    batch_size : int, optional
        Most records appended together; None: as many as follow each other in one topic.
    exact : bool
        Whether JSON numbers are exact.
    spread : bool
        Whether keys choose the partition; else everything goes to the first.
    """
    for topic, run_ in groupby(records, key=lambda r: r.topic):
        key, value = _codecs(ksql, _source_of(ksql, topic), exact)
        together = list(run_)
        for part in _cut(together, batch_size or len(together)):
            batch = Batch(
                timestamps=[r.timestamp or 0 for r in part],
                raw=(
                    [serde.write_window(_written(key, r.key, topic, "key"), r.window) for r in part],
                    [_written(value, r.value, topic, "value") for r in part],
                ),
                headers=[serde.headers(r.headers) for r in part] if any(r.headers for r in part) else None,
            )
            if spread:
                batch.partitions = partitions_of(batch, ksql.engine.topic(topic).partitions)
            ksql.engine.transact(partial(_append, topic=topic, batch=batch))


def _written(codec: serde.Codec, value: Any, topic: str, side: str) -> bytes | None:
    try:
        return codec.write(value)
    except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, struct.error) as error:
        # What the formats' libraries raise for values that do not fit the schema.
        raise serde.InvalidCaseError(
            f"{topic}: {show(value)} cannot be written as the topic's {side}: {error}"
        ) from error


def read(ksql: Ksql, name: str, *, exact: bool = True) -> Iterator[Output]:
    """Yield all records of a topic, read as its source's formats say."""
    topic = ksql.engine.find_topic(name)
    if topic is None:
        raise MissingTopicError(f"topic {name} does not exist")
    source = _source_of(ksql, name)
    key, value = _codecs(ksql, source, exact)
    kind: WindowKind | None = None
    if source.window is not None:
        kind = "session" if source.window.type == "SESSION" else "time"
    size_ms = source.window.size_ms if source.window is not None else None
    for stored in topic.read(topic.start_sequence, 1 << 30):
        batch = stored.batch
        keys, values = batch.encoded()
        for i in range(batch.num_rows):
            bare, window = serde.read_window(keys[i], kind, size_ms)
            yield Output(
                _top_level(key.read(bare)),
                _top_level(value.read(values[i])),
                int(batch.timestamps[i]),
                window,
                batch.headers[i] if batch.headers is not None else (),
            )


def record_difference(want: RecordSpec, got: Output) -> str | None:
    """Return how a record differs from the one expected, None if it does not."""
    wrong = difference(want.key, got.key, "key") or difference(want.value, got.value, "value")
    if wrong:
        return wrong
    if want.window != got.window:
        return f"window: expected {show(want.window)}, got {show(got.window)}"
    if want.timestamp is not None and want.timestamp != got.timestamp:
        return f"timestamp: expected {want.timestamp}, got {got.timestamp}"
    if serde.headers(want.headers) != got.headers:
        return f"headers: expected {show(serde.headers(want.headers))}, got {show(got.headers)}"
    return None


def _codecs(ksql: Ksql, source: Source, exact: bool) -> tuple[serde.Codec, serde.Codec]:
    schema = source.stored_schema
    make = serde.codec_of
    return (
        make(ksql, source, source.key_format, schema.key, is_key=True, exact_numbers=exact),
        make(ksql, source, source.value_format, schema.value, is_key=False, exact_numbers=exact),
    )


def _source_of(ksql: Ksql, topic: str) -> Source:
    for source in ksql.state.metastore.sources.values():
        if source.topic == topic:
            return source
    raise MissingTopicError(f"no source uses topic {topic}")


def _top_level(value: Any) -> Any:
    """Empty bytes of a field of a record count as null."""
    if isinstance(value, dict):
        return {k: None if v == b"" else v for k, v in value.items()}
    return value


def _cut(records: Sequence[RecordSpec], size: int) -> Iterator[Sequence[RecordSpec]]:
    for start in range(0, len(records), size):
        yield records[start : start + size]

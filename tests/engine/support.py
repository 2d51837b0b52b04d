"""What the engine's tests share: schemas, a codec, processors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kalam_jupyter.engine import Engine, StepContext
from kalam_jupyter.engine.batch import Batch, Decoded, DecodeError, Payload, StoredBatch
from kalam_jupyter.engine.encoding import schema_from_json, schema_to_json
from kalam_jupyter.engine.types import BIGINT, DOUBLE, STRING, Column, Schema

USERS = Schema.of(
    [Column("id", BIGINT, key=True, nullable=False), Column("name", STRING), Column("score", DOUBLE)]
)
EVENTS = Schema.of([Column("word", STRING), Column("n", BIGINT)])
COUNTS = Schema.of([Column("word", STRING, key=True), Column("n", BIGINT)])


@dataclass(frozen=True)
class JsonCodec:
    """Keys and values as JSON arrays."""

    schema: Schema
    lossless: bool = True

    def encode(self, payload: Payload) -> tuple[list[bytes | None], list[bytes | None]]:
        return (
            [None if k is None else json.dumps(k).encode() for k in payload.keys],
            [None if v is None else json.dumps(v).encode() for v in payload.values],
        )

    def decode(self, keys: Sequence[bytes | None], values: Sequence[bytes | None]) -> Decoded:
        rows: list[Any] = []
        errors = []
        for i, value in enumerate(values):
            try:
                rows.append((_row(keys[i]), _row(value)))
            except ValueError as error:
                errors.append(DecodeError(i, "value", str(error), value))
        payload = Payload.from_rows(self.schema, [k for k, _ in rows], [v for _, v in rows])
        return Decoded(payload, None, tuple(errors))

    def descriptor(self) -> Mapping[str, Any]:
        return {"codec": "test-json", "schema": schema_to_json(self.schema), "lossless": self.lossless}


def _row(data: bytes | None) -> tuple[Any, ...] | None:
    return None if data is None else tuple(json.loads(data))


def rebuild_codec(descriptor: Mapping[str, Any]) -> JsonCodec:
    return JsonCodec(schema_from_json(descriptor["schema"]), descriptor["lossless"])


COUNTS_CODEC = JsonCodec(COUNTS)


def words(*values: str, at: int = 0) -> Batch:
    """Raw records, one for each word, of the word's bytes."""
    return Batch([at] * len(values), raw=([None] * len(values), [v.encode() for v in values]))


class WordCount:
    """Counts the records of each word; emits the new count of each record's word."""

    def __init__(self, id: str = "word-count", source: str = "words", sink: str = "counts") -> None:
        self.id = id
        self.inputs: tuple[str, ...] = (source,)
        self.sink = sink
        self.counts: dict[str, int] = {}
        self.contexts: list[StepContext] = []
        self.errors: list[BaseException] = []

    def process(self, topic: str, batch: StoredBatch, context: StepContext) -> list[tuple[str, Batch]]:
        self.contexts.append(context)
        keys, values = [], []
        for value in batch.batch.encoded()[1]:
            word = (value or b"").decode()
            if word == "boom":
                raise RuntimeError("boom")
            self.counts[word] = self.counts.get(word, 0) + 1
            keys.append((word,))
            values.append((self.counts[word],))
        payload = Payload.from_rows(COUNTS, keys, values)
        return [(self.sink, Batch(batch.batch.timestamp_list(), payload, COUNTS_CODEC))]

    def checkpoint(self) -> bytes:
        return json.dumps(self.counts).encode()

    def restore(self, state: bytes) -> None:
        self.counts = json.loads(state)

    def reset(self) -> None:
        self.counts = {}

    def failed(self, error: BaseException) -> None:
        self.errors.append(error)


def open_engine(path: Any = None, **options: Any) -> Engine:
    engine = Engine.open(path, **options)
    engine.codecs["test-json"] = rebuild_codec
    return engine


def topic_values(engine: Engine, topic: str) -> list[tuple[Any, Any]]:
    """All (key, value) rows of a topic of counts."""
    found: list[tuple[Any, Any]] = []
    for stored in engine.topic(topic).read(engine.topic(topic).start_sequence, 1 << 30):
        payload = stored.batch.typed(COUNTS_CODEC).payload
        found.extend(zip(payload.keys, payload.values, strict=True))
    return found

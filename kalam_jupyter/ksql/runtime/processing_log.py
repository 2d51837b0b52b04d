"""The processing log as a stream: what `Reporter` writes can be read like any stream."""

from __future__ import annotations

from kalam_jupyter.engine.types import BIGINT, INTEGER, STRING, Array, Column, DataType, Schema, Struct
from kalam_jupyter.ksql.config import Config
from kalam_jupyter.ksql.formats import SerdeFormat
from kalam_jupyter.ksql.metastore import Source


def _struct(**fields: DataType) -> Struct:
    return Struct(tuple(fields.items()))


_CAUSE = Array(STRING)

MESSAGE = _struct(
    TYPE=INTEGER,
    DESERIALIZATIONERROR=_struct(
        TARGET=STRING, ERRORMESSAGE=STRING, RECORDB64=STRING, CAUSE=_CAUSE, TOPIC=STRING
    ),
    RECORDPROCESSINGERROR=_struct(
        ERRORMESSAGE=STRING, RECORD=STRING, CAUSE=_CAUSE, TOPIC=STRING, OFFSET=BIGINT
    ),
    SERIALIZATIONERROR=_struct(TARGET=STRING, ERRORMESSAGE=STRING, RECORD=STRING, CAUSE=_CAUSE, TOPIC=STRING),
    DROPPED=BIGINT,
)


def processing_log_source(config: Config, topic: str) -> Source:
    """Return the stream KSQL_PROCESSING_LOG (``ksql.logging.processing.stream.name``)."""
    schema = Schema(
        (
            Column("LOGGER", STRING),
            Column("LEVEL", STRING),
            Column("TIME", BIGINT),
            Column("MESSAGE", MESSAGE),
        )
    )
    return Source(
        name=str(config["ksql.logging.processing.stream.name"]).upper(),
        kind="STREAM",
        schema=schema,
        topic=topic,
        key_format=SerdeFormat.of("NONE"),
        value_format=SerdeFormat.of("JSON"),
        read_only=True,
    )

"""Short ways to write schemas, codecs and records in these tests."""

from __future__ import annotations

from typing import Any

from kalam_jupyter.engine.batch import Payload
from kalam_jupyter.engine.types import Column, DataType, Schema
from kalam_jupyter.ksql.formats import NO_FEATURES, UNWRAP_SINGLES, FormatInfo, KsqlCodec, SerdeFormat

Columns = dict[str, DataType]
UNWRAPPED = frozenset({UNWRAP_SINGLES})


def codec_of(
    format_: str,
    values: Columns,
    keys: Columns | None = None,
    *,
    key: str = "KAFKA",
    features=NO_FEATURES,
    **properties,
) -> KsqlCodec:
    """A codec with `values` in `format_` and `keys` in `key` (NONE without keys)."""
    keys = keys or {}
    schema = Schema.of(
        [Column(n, t, key=True) for n, t in keys.items()] + [Column(n, t) for n, t in values.items()]
    )
    key_features = UNWRAPPED if len(keys) == 1 and key == "JSON" else NO_FEATURES
    return KsqlCodec(
        schema,
        SerdeFormat(FormatInfo.of(key if keys else "NONE"), key_features),
        SerdeFormat(FormatInfo.of(format_, properties), features),
    )


def write(codec: KsqlCodec, *rows: Any) -> list[bytes | None]:
    """The value bytes of `rows`."""
    return codec.encode(Payload.from_rows(codec.schema, [None] * len(rows), rows))[1]


def read(codec: KsqlCodec, *data: bytes | None) -> list[Any]:
    """The rows of `data`; a bad record is the text of its error."""
    decoded = codec.decode([None] * len(data), data)
    kept = range(len(data)) if decoded.kept is None else decoded.kept.tolist()
    found: list[Any] = [None] * len(data)
    for i, row in zip(kept, decoded.payload.values, strict=True):
        found[i] = row
    for error in decoded.errors:
        found[error.index] = error.message
    return found

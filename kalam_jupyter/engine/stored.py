"""Topic batches as Arrow data and as JSON: how the log and the segments of checkpoints hold them.

A payload is stored typed, with the number of a descriptor: the codec's descriptor and the schema, which
`Descriptors` keeps. The codec itself is rebuilt when somebody needs it, since the dialects register
their factories after the engine is open.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa

from kalam_jupyter.engine.batch import SMALL_BATCH, Batch, Codec, Columns, Headers, Payload, Row, StoredCodec
from kalam_jupyter.engine.encoding import (
    row_checker,
    rows_from_json,
    rows_to_json,
    schema_from_json,
    schema_to_json,
)
from kalam_jupyter.engine.errors import EngineError, LogCorruptError
from kalam_jupyter.engine.types import Schema

_HEADERS: Final = pa.list_(pa.struct([("key", pa.string()), ("value", pa.binary())]))
CodecFactory = Callable[[Mapping[str, Any]], Codec]


class Descriptors:
    """Numbers for what payloads are typed by: a schema and a codec's descriptor, as JSON text."""

    def __init__(self, factories: Mapping[str, CodecFactory]) -> None:
        self._factories = factories
        self._texts: dict[int, bytes] = {}
        self._numbers: dict[bytes, int] = {}
        self._recent: dict[tuple[int, int], tuple[Codec, Schema, int]] = {}
        self._loaded: dict[int, tuple[Schema, StoredCodec]] = {}
        self.unwritten: list[tuple[int, bytes]] = []

    def load(self, number: int, text: bytes) -> None:
        """Take in a descriptor that is in the log."""
        self._texts[number] = text
        self._numbers[text] = number

    def number(self, codec: Codec | StoredCodec, schema: Schema) -> int:
        """Return the number of a codec and schema, a new one if need be."""
        if isinstance(codec, StoredCodec):
            return codec.number
        found = self._recent.get((id(codec), id(schema)))
        if found is not None:
            return found[2]
        text = orjson.dumps([schema_to_json(schema), codec.descriptor()])
        number = self._numbers.get(text)
        if number is None:
            number = len(self._texts)
            self.load(number, text)
            self.unwritten.append((number, text))
        if len(self._recent) >= 1024:
            self._recent.clear()
        self._recent[id(codec), id(schema)] = (codec, schema, number)
        return number

    def written(self) -> None:
        """Note that the log has all descriptors."""
        self.unwritten = []

    def get(self, number: int) -> tuple[Schema, StoredCodec]:
        """Return the schema and codec of a number."""
        found = self._loaded.get(number)
        if found is None:
            text = self._texts.get(number)
            if text is None:
                raise LogCorruptError(f"the log has no descriptor {number}")
            schema_json, descriptor = orjson.loads(text)
            codec = StoredCodec(number, lambda: self._rebuild(descriptor))
            found = self._loaded[number] = (schema_from_json(schema_json), codec)
        return found

    def _rebuild(self, descriptor: Mapping[str, Any]) -> Codec:
        factory = self._factories.get(descriptor["codec"])
        if factory is None:
            raise EngineError(f"no codec '{descriptor['codec']}' is registered")
        return factory(descriptor)


# JSON


def check_payload(batch: Batch) -> None:
    """Check the rows of a small payload; columns have their types, and large ones become columns.

    Raises
    ------
    RowError
    """
    payload = batch.payload
    if payload is not None and payload.has_rows and not payload.has_columns and batch.num_rows < SMALL_BATCH:
        check = row_checker(payload.schema)
        check(flat_rows(payload))


def flat_rows(payload: Payload) -> list[Row]:
    """Return key and value of each record as one row, for records that have both."""
    return [
        (*k, *v) for k, v in zip(payload.keys, payload.values, strict=True) if k is not None and v is not None
    ]


def batch_to_json(batch: Batch, descriptors: Descriptors) -> dict[str, Any]:
    """Return a batch as a JSON object; what is absent is the usual: partition 0, no headers."""
    found: dict[str, Any] = {"t": batch.timestamp_list()}
    if not isinstance(batch.partitions, int):
        found["p"] = batch.partitions.tolist()
    elif batch.partitions:
        found["p"] = batch.partitions
    if batch.headers is not None:
        found["h"] = [[(k, _text(v)) for k, v in headers] for headers in batch.headers]
    payload = batch.payload
    if payload is None:
        keys, values = batch.encoded()
        found["rk"], found["rv"] = [_text(k) for k in keys], [_text(v) for v in values]
        return found
    codec = batch.codec
    assert codec is not None
    found["c"] = descriptors.number(codec, payload.schema)
    found["k"] = rows_to_json(payload.schema, payload.keys, "key")
    found["v"] = rows_to_json(payload.schema, payload.values, "value")
    if payload.windows is not None:
        found["w"] = payload.windows
    return found


def batch_from_json(found: Mapping[str, Any], descriptors: Descriptors) -> Batch:
    """Return the batch that `batch_to_json` was given."""
    partitions = found.get("p", 0)
    if not isinstance(partitions, int):
        partitions = np.array(partitions, dtype=np.int32)
    headers = found.get("h")
    if headers is not None:
        headers = [tuple((k, _bytes(v)) for k, v in one) for one in headers]
    if "c" not in found:
        raw = [_bytes(k) for k in found["rk"]], [_bytes(v) for v in found["rv"]]
        return Batch(found["t"], raw=raw, headers=headers, partitions=partitions)
    schema, codec = descriptors.get(found["c"])
    windows = found.get("w")
    payload = Payload.from_rows(
        schema,
        rows_from_json(schema, found["k"], "key"),
        rows_from_json(schema, found["v"], "value"),
        None if windows is None else [(start, end) for start, end in windows],
    )
    return Batch(found["t"], payload, codec, headers=headers, partitions=partitions)


def _text(value: bytes | None) -> str | None:
    return None if value is None else b64encode(value).decode("ascii")


def _bytes(value: str | None) -> bytes | None:
    return None if value is None else b64decode(value)


# Arrow


def batch_to_arrow(batch: Batch, descriptors: Descriptors) -> pa.RecordBatch:
    """Return a batch as one Arrow record batch; columns are named by their role and number."""
    columns: dict[str, Any] = {"t": pa.array(batch.timestamp_array())}
    metadata = {"partition": "0"}
    if isinstance(batch.partitions, int):
        metadata["partition"] = str(batch.partitions)
    else:
        columns["p"] = pa.array(batch.partitions)
    if batch.headers is not None:
        rows = [[{"key": k, "value": v} for k, v in one] for one in batch.headers]
        columns["h"] = pa.array(rows, type=_HEADERS)
    payload = batch.payload
    if payload is None:
        keys, values = batch.encoded()
        columns["rk"], columns["rv"] = pa.array(keys, pa.binary()), pa.array(values, pa.binary())
    else:
        codec = batch.codec
        assert codec is not None
        metadata["descriptor"] = str(descriptors.number(codec, payload.schema))
        _payload_columns(payload.columns, columns)
    schema = pa.schema([pa.field(k, v.type) for k, v in columns.items()], metadata=metadata)
    return pa.RecordBatch.from_arrays(list(columns.values()), schema=schema)


def _payload_columns(found: Columns, columns: dict[str, Any]) -> None:
    for role, arrays in (("k", found.key), ("v", found.value)):
        for i, array in enumerate(arrays):
            columns[f"{role}{i}"] = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    for name, valid in (("kv", found.key_valid), ("vv", found.value_valid)):
        if valid is not None:
            columns[name] = pa.array(valid)
    if found.windows is not None:
        columns["ws"], columns["we"] = (pa.array(a) for a in found.windows)


def batch_from_arrow(found: pa.RecordBatch, descriptors: Descriptors) -> Batch:
    """Return the batch that `batch_to_arrow` was given, without copying what it holds."""
    names = found.schema.names
    metadata = found.schema.metadata

    def column(name: str) -> Any:
        return found.column(name).to_numpy(zero_copy_only=False) if name in names else None

    partitions = column("p") if "p" in names else int(metadata[b"partition"])
    headers: Sequence[Headers] | None = None
    if "h" in names:
        lists = found.column("h").to_pylist()
        headers = [tuple((h["key"], h["value"]) for h in one) for one in lists]
    if "rk" in names:

        def raw() -> Any:
            return found.column("rk").to_pylist(), found.column("rv").to_pylist()

        return Batch(column("t"), raw=raw, headers=headers, partitions=partitions)
    schema, codec = descriptors.get(int(metadata[b"descriptor"]))
    windows = (column("ws"), column("we")) if "ws" in names else None
    columns = Columns(
        tuple(found.column(f"k{i}") for i in range(len(schema.key))),
        tuple(found.column(f"v{i}") for i in range(len(schema.value))),
        column("kv"),
        column("vv"),
        windows,
    )
    payload = Payload.from_columns(schema, columns, found.num_rows)
    return Batch(column("t"), payload, codec, headers=headers, partitions=partitions)


def to_ipc(batch: pa.RecordBatch) -> pa.Buffer:
    """Return one record batch as an Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def from_ipc(data: bytes | pa.Buffer) -> pa.RecordBatch:
    """Return the record batch of `to_ipc`."""
    with pa.ipc.open_stream(data) as reader:
        return reader.read_next_batch()

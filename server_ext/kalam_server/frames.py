"""Results as Arrow IPC, for our own client.

A whole answer is a sequence of Arrow IPC streams, one per result, one after the other. The schema
metadata of each, under `RESULT_KEY`, is JSON with what does not fit a table (message, counts). A
result without rows is a stream without columns. A push query is one stream that goes on: each batch
carries the kinds of its changes, a byte per row, as custom metadata under `KINDS_KEY`; its end, or
its failure, is in the metadata of a last, empty batch under `RESULT_KEY`. Until it has caught up, batches
also say under `BEHIND_KEY` how many records are still to be read; an empty one with 0 says that it has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson
import pyarrow as pa

RESULT_KEY = b"kalam.result"
KINDS_KEY = b"kalam.kinds"
BEHIND_KEY = b"kalam.behind"


def encode(table: pa.Table | None, info: Mapping[str, Any]) -> bytes:
    """Return one result as an IPC stream.

    Parameters
    ----------
    table : pyarrow.Table or None
    info : mapping
        JSON values that go with it.
    """
    schema = pa.schema([]) if table is None else table.schema
    metadata = {**(schema.metadata or {}), RESULT_KEY: orjson.dumps(info)}
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema.with_metadata(metadata)) as writer:
        if table is not None:
            for batch in table.to_batches(max_chunksize=65536):
                writer.write_batch(batch)
    return bytes(sink.getvalue())


def decode(data: bytes) -> Iterator[tuple[pa.Table | None, dict[str, Any]]]:
    """Yield the results that `encode` wrote one after the other."""
    source = pa.BufferReader(data)
    while source.tell() < len(data):
        with pa.ipc.open_stream(source) as reader:
            info = orjson.loads((reader.schema.metadata or {}).get(RESULT_KEY, b"{}"))
            table = reader.read_all()
        metadata = {k: v for k, v in (table.schema.metadata or {}).items() if k != RESULT_KEY}
        yield (table.replace_schema_metadata(metadata) if table.schema.names else None), info


class FrameWriter:
    """Writes one push query as an IPC stream, piece by piece."""

    def __init__(self, schema: pa.Schema, info: Mapping[str, Any]) -> None:
        self._sink = _Sink()
        self._schema = schema.with_metadata({RESULT_KEY: orjson.dumps(info)})
        self._writer = pa.ipc.new_stream(pa.PythonFile(self._sink, mode="w"), self._schema)

    def head(self) -> bytes:
        """Return the beginning: the schema, which Arrow writes with the first batch, here an empty one."""
        return self._written(self._empty(), {})

    def _empty(self) -> pa.RecordBatch:
        return pa.RecordBatch.from_pylist([], schema=self._schema)

    def batch(self, batch: pa.RecordBatch, kinds: bytes, behind: int = 0) -> bytes:
        """Return some changes as they go over the wire; `behind`: as far as it is known without asking."""
        metadata = {KINDS_KEY: kinds}
        if behind:
            metadata[BEHIND_KEY] = b"%d" % behind
        return self._written(batch, metadata)

    def pause(self, behind: int) -> bytes:
        """Return what says that there are no changes now, and how many records are still to be read."""
        return self._written(self._empty(), {BEHIND_KEY: b"%d" % behind})

    def end(self, info: Mapping[str, Any]) -> bytes:
        """Return the stream's end: JSON values such as `message` or `error`."""
        last = self._written(self._empty(), {RESULT_KEY: orjson.dumps(info)})
        self._writer.close()
        return last + self._sink.take()

    def _written(self, batch: pa.RecordBatch, metadata: Mapping[bytes, bytes]) -> bytes:
        self._writer.write_batch(batch, custom_metadata=dict(metadata))
        return self._sink.take()


class _Sink:
    """A file to write to whose content is taken away."""

    closed = False

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._parts.append(piece)
        return len(piece)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        self.closed = True

    def take(self) -> bytes:
        data = b"".join(self._parts)
        self._parts.clear()
        return data

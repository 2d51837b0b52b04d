"""Batches of topic records, typed or as bytes, each form made only when somebody asks for it.

Vocabulary
----------
record
    A key, a value, a timestamp (event time, ms), optional headers, in one partition of a topic.
payload
    The typed keys and values of n records, as rows (tuples) or as columns (Arrow arrays): see `payload`.
codec
    Turns payloads into bytes and back: a schema plus a serialization format. Codecs are values:
    two that read and write the same bytes the same way compare equal.
batch
    The records of one append: a payload together with its codec, or bytes; plus timestamps,
    headers and partitions. Immutable.

A chain of queries hands payloads on; bytes are made when a consumer has another codec or wants
bytes. Decoding is cached in the batch, so ten readers of one stream decode once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from kalam_jupyter.engine.payload import Bools, Columns, Int64s, Payload, Row, Window
from kalam_jupyter.engine.types import Schema

__all__ = [
    "SMALL_BATCH",
    "Batch",
    "Bools",
    "Codec",
    "Columns",
    "DecodeError",
    "Decoded",
    "Headers",
    "Int64s",
    "Payload",
    "Raw",
    "Row",
    "StoredBatch",
    "StoredCodec",
    "Window",
    "merge",
    "merge_key",
]

#: Batches of fewer records are small: stored as JSON, and merged when there are many.
SMALL_BATCH: Final = 32

Headers = tuple[tuple[str, bytes | None], ...]
Raw = tuple[Sequence[bytes | None], Sequence[bytes | None]]


@dataclass(frozen=True)
class DecodeError:
    """A record whose bytes could not be read.

    Attributes
    ----------
    index : int
        Position of the record in its batch.
    target : str
        ``key`` or ``value``.
    message : str
    data : bytes or None
        The offending bytes.
    """

    index: int
    target: str
    message: str
    data: bytes | None


class Decoded(NamedTuple):
    """What decoding gave: the good records, and an error for each bad one.

    Attributes
    ----------
    payload : Payload
        The records that could be read.
    kept : numpy int64 array or None
        Position in the batch of each payload record; None when every record is there.
    errors : tuple of DecodeError
    """

    payload: Payload
    kept: Int64s | None = None
    errors: tuple[DecodeError, ...] = ()


class Codec(Hashable, Protocol):
    """Reads and writes the bytes of keys and values of one schema in one format."""

    @property
    def schema(self) -> Schema:
        """What payloads hold."""

    @property
    def lossless(self) -> bool:
        """Whether decode(encode(payload)) equals payload for every payload of the schema."""

    def encode(self, payload: Payload) -> tuple[list[bytes | None], list[bytes | None]]:
        """Return key bytes and value bytes, None for null."""

    def decode(self, keys: Sequence[bytes | None], values: Sequence[bytes | None]) -> Decoded:
        """Read records; a bad one becomes a `DecodeError` and never stops the next."""

    def descriptor(self) -> Mapping[str, Any]:
        """Return JSON from which the registered factory (see `Engine.codecs`) rebuilds this codec.

        ``descriptor()["codec"]`` is the factory's name.
        """


class StoredCodec:
    """A codec that was stored: rebuilt at first use, since the dialects register after recovery.

    Attributes
    ----------
    number : int
        Number of its descriptor in the log.
    """

    __slots__ = ("_codec", "_rebuild", "number")

    def __init__(self, number: int, rebuild: Callable[[], Codec]) -> None:
        self.number = number
        self._rebuild = rebuild
        self._codec: Codec | None = None

    def __call__(self) -> Codec:
        """Return the codec."""
        if self._codec is None:
            self._codec = self._rebuild()
        return self._codec


class Batch(msgspec.Struct, eq=False, gc=False):
    """Records of one append, in arrival order. Never changed after it is built.

    `payload` (with `codec`), or `raw`, or both forms of the same records are given; the other is
    derived on demand.

    Attributes
    ----------
    timestamps : numpy int64 array of n, or list of int
        Event time in ms since the epoch.
    payload : Payload or None
    codec : Codec, StoredCodec or None
        What the payload is written with, as it was given; see `payload_codec`.
    raw : (keys, values) of bytes or None
        May be given as a function that makes it, called at first use; see `made_raw` and `encoded`.
    headers : sequence of n Headers, or None
        None when no record has headers.
    partitions : numpy int32 array of n, or int
        Partition of each record, or the one partition of all.
    """

    timestamps: Int64s | list[int]
    payload: Payload | None = None
    codec: Codec | StoredCodec | None = None
    raw: Raw | Callable[[], Raw] | None = None
    headers: Sequence[Headers] | None = None
    partitions: npt.NDArray[np.int32] | int = 0
    _decoded: dict[Codec, Decoded] | None = None

    @property
    def payload_codec(self) -> Codec | None:
        """The codec of the payload, rebuilt if it was stored."""
        codec = self.codec
        return codec() if isinstance(codec, StoredCodec) else codec

    @property
    def made_raw(self) -> Raw | None:
        """Key bytes and value bytes where they exist already."""
        if callable(self.raw):
            self.raw = self.raw()
        return self.raw

    @property
    def num_rows(self) -> int:
        """Number of records."""
        return len(self.timestamps)

    def timestamp_array(self) -> Int64s:
        """Return the timestamps as a numpy array."""
        return np.asarray(self.timestamps, dtype=np.int64)

    def timestamp_list(self) -> list[int]:
        """Return the timestamps as a list of int."""
        return self.timestamps if isinstance(self.timestamps, list) else self.timestamps.tolist()

    def partition_array(self) -> npt.NDArray[np.int32]:
        """Return the partition of each record."""
        if isinstance(self.partitions, int):
            return np.full(self.num_rows, self.partitions, dtype=np.int32)
        return self.partitions

    def payload_as(self, codec: Codec) -> Payload | None:
        """Return the payload if that is what `codec` would decode: its own is equal, and lossless."""
        if self.payload is None or not codec.lossless:
            return None
        return self.payload if self.codec is codec or self.payload_codec == codec else None

    def typed(self, codec: Codec) -> Decoded:
        """Return the records as `codec` sees them, decoding at most once per codec."""
        payload = self.payload_as(codec)
        if payload is not None:
            return Decoded(payload)
        if self._decoded is None:
            self._decoded = {}
        found = self._decoded.get(codec)
        if found is None:
            found = self._decoded[codec] = codec.decode(*self.encoded())
        return found

    def encoded(self) -> tuple[Sequence[bytes | None], Sequence[bytes | None]]:
        """Return key bytes and value bytes, encoding at most once."""
        raw = self.made_raw
        if raw is None:
            codec = self.payload_codec
            assert self.payload is not None and codec is not None
            raw = self.raw = codec.encode(self.payload)
        return raw

    def slice(self, start: int, stop: int) -> Batch:
        """Return records `start` to `stop` (exclusive) as a batch of their own."""
        raw = self.made_raw
        return Batch(
            self.timestamps[start:stop],
            None if self.payload is None else self.payload.slice(start, stop),
            self.codec,
            None if raw is None else (raw[0][start:stop], raw[1][start:stop]),
            None if self.headers is None else self.headers[start:stop],
            self.partitions if isinstance(self.partitions, int) else self.partitions[start:stop],
        )


def merge_key(batch: Batch) -> Hashable | None:
    """Return what batches must have in common to be merged; None for one that holds columns."""
    payload = batch.payload
    form: Hashable
    if payload is None:
        form = None
    elif payload.has_rows and not payload.has_columns:
        form = (batch.codec, payload.schema, payload.windows is None)
    else:
        return None
    partition = batch.partitions if isinstance(batch.partitions, int) else -1
    return (form, batch.headers is None, partition)


def merge(batches: Sequence[Batch]) -> Batch:
    """Return the records of batches with one `merge_key` as one batch."""
    first = batches[0]
    timestamps = [t for b in batches for t in b.timestamp_list()]
    headers = None if first.headers is None else [h for b in batches for h in b.headers or ()]
    partitions = (
        first.partitions
        if isinstance(first.partitions, int)
        else np.concatenate([b.partition_array() for b in batches])
    )
    if first.payload is None:
        pairs = [b.encoded() for b in batches]
        raw = [k for keys, _ in pairs for k in keys], [v for _, values in pairs for v in values]
        return Batch(timestamps, raw=raw, headers=headers, partitions=partitions)
    payloads = [b.payload for b in batches if b.payload is not None]
    windows = [w for p in payloads for w in p.windows or ()]
    payload = Payload.from_rows(
        first.payload.schema,
        [k for p in payloads for k in p.keys],
        [v for p in payloads for v in p.values],
        windows or None,
    )
    return Batch(timestamps, payload, first.codec, headers=headers, partitions=partitions)


class StoredBatch(msgspec.Struct, eq=False, gc=False, frozen=True):
    """A batch in a topic: where it is.

    Attributes
    ----------
    batch : Batch
    position : int
        Log position of the append; orders batches across topics.
    sequence : int
        Arrival number in the topic of the first record (0, 1, 2, ... over all partitions).
    offsets : numpy int64 array of n, or int
        Offset of each record in its partition, or that of the first when all are in one partition.
    positions : numpy int64 array of n, or None
        Log position of each record where appends were merged into one batch; `position` is that of
        the first.
    sequences : numpy int64 array of n, or None
        Arrival number of each record where compaction left gaps; None where they follow each other.
    """

    batch: Batch
    position: int
    sequence: int
    offsets: Int64s | int
    positions: Int64s | None = None
    sequences: Int64s | None = None

    @property
    def num_rows(self) -> int:
        """Number of records."""
        return len(self.batch.timestamps)

    @property
    def end(self) -> int:
        """Arrival number behind the last record: where a reader goes on."""
        if self.sequences is None:
            return self.sequence + len(self.batch.timestamps)
        return int(self.sequences[-1]) + 1

    def index(self, sequence: int) -> int:
        """Return how many of the records arrived before the one of this number."""
        if sequence <= self.sequence:
            return 0
        if self.sequences is None:
            return min(sequence - self.sequence, self.num_rows)
        return int(np.searchsorted(self.sequences, sequence))

    def offset_array(self) -> Int64s:
        """Return the partition offset of each record."""
        return _counted(self.offsets, self.num_rows)

    def sequence_array(self) -> Int64s:
        """Return the arrival number of each record."""
        return _counted(self.sequence if self.sequences is None else self.sequences, self.num_rows)

    def position_array(self) -> Int64s:
        """Return the log position of each record."""
        return np.full(self.num_rows, self.position) if self.positions is None else self.positions

    def slice(self, start: int, stop: int) -> StoredBatch:
        """Return records `start` to `stop` (exclusive), where they are."""
        if start == 0 and stop >= self.num_rows:
            return self
        offsets = self.offsets + start if isinstance(self.offsets, int) else self.offsets[start:stop]
        positions = None if self.positions is None else self.positions[start:stop]
        empty = start >= min(stop, self.num_rows)
        sequences = None if self.sequences is None or empty else self.sequences[start:stop]
        position = self.position if positions is None or not len(positions) else int(positions[0])
        sequence = self.sequence + start if sequences is None else int(sequences[0])
        return StoredBatch(self.batch.slice(start, stop), position, sequence, offsets, positions, sequences)

    def since(self, sequence: int) -> StoredBatch:
        """Return the records from an arrival number on."""
        return self.slice(self.index(sequence), self.num_rows)

    def before(self, sequence: int) -> StoredBatch:
        """Return the records that arrived before a number."""
        return self.slice(0, self.index(sequence))


def _counted(numbers: Int64s | int, n: int) -> Int64s:
    return np.arange(numbers, numbers + n, dtype=np.int64) if isinstance(numbers, int) else numbers

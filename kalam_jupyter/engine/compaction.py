"""Log compaction: of the records of a key, the last one stays (Kafka's ``cleanup.policy=compact``).

What stays keeps its sequence, offset, timestamp and log position; the numbers of what went are gaps.
A tombstone goes, too, once it is old and nobody can miss it. Two steps: `choose` says which records
stay, which is what the log keeps of a compaction; `rebuilt` makes their batches, now and at recovery.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from kalam_jupyter.engine.batch import Batch, Bools, Columns, Headers, Int64s, Payload, StoredBatch
from kalam_jupyter.engine.types import Schema

MAX_BATCH: Final = 65_536
#: Records whose keys are counted to see what a compaction would do.
SAMPLE: Final = 1024


@dataclass(frozen=True)
class Compaction:
    """What stays of a topic's records below a sequence.

    Attributes
    ----------
    upto : int
        First sequence that was not looked at.
    kept : numpy int64 array
        Sequences of the records that stay, ascending.
    starts : numpy int64 array
        First sequence of each batch that they make.
    purged : int
        Every last record of a key that goes (an old tombstone, an expired record) arrived before this.
    """

    upto: int
    kept: Int64s
    starts: Int64s
    purged: int


@dataclass(frozen=True)
class Cleaned:
    """How far a topic is compacted.

    Attributes
    ----------
    end : int
        First sequence after what is compacted.
    records : int
        How many records it has below.
    purged : int
        As in `Compaction`, of all compactions so far.
    position : int
        Log position of the last compaction.
    offsets : tuple of int
        Of each partition, the offset of the first record from `end` on.
    """

    end: int = 0
    records: int = 0
    purged: int = 0
    position: int = 0
    offsets: tuple[int, ...] = ()


def choose(
    items: Sequence[StoredBatch],
    upto: int,
    partitions: int,
    tombstones: int,
    expired: int,
    worth: float = 0.0,
) -> Compaction | None:
    """Find the records that stay: the last of each key and partition.

    Parameters
    ----------
    items : sequence of StoredBatch
        All records below `upto`.
    partitions : int
        How many the topic has.
    tombstones : int
        Tombstones go that arrived before this sequence.
    expired : int
        Any record goes that arrived before this sequence.
    worth : float
        None is returned if a smaller share of the records would go, as far as a sample tells.

    Raises
    ------
    EngineError
        If key bytes are needed of a payload whose codec nobody registered.
    """
    keys, valid = _keys(items)
    if partitions > 1:
        keys.append(pa.array(np.concatenate([i.batch.partition_array() for i in items])))
    arrived = np.concatenate([i.sequence_array() for i in items])
    if worth and max(1 - _share_of_last(keys), float(np.mean(~valid | (arrived < expired)))) < worth:
        return None
    rows = _last_of_each(keys)
    rows = rows[valid[rows]]  # as in Kafka, what has no key does not stay
    sequences = arrived[rows]
    tombstone = np.concatenate([_tombstones(i.batch) for i in items])[rows]
    gone = (tombstone & (sequences < tombstones)) | (sequences < expired)
    purged = int(sequences[gone].max()) + 1 if gone.any() else 0
    kept = sequences[~gone]
    return Compaction(upto, kept, _batch_starts(items, kept), purged)


def _share_of_last(keys: Sequence[pa.Array]) -> float:
    """Estimate which share of the rows are the last of their group.

    Of any row, one over the size of its group is that share on average. Counting the groups of a few
    rows takes a sixth of the time of grouping all.
    """
    names = [f"k{i}" for i in range(len(keys))]
    table = pa.table(list(keys), names=names)
    rows = np.random.default_rng(len(table)).integers(0, len(table), SAMPLE)
    drawn = table.take(pa.array(rows)).group_by(names, use_threads=False).aggregate([([], "count_all")])
    # a key with a null in it finds nothing here, and so counts as one that goes
    groups = table.join(drawn, names, join_type="inner", use_threads=False)
    groups = groups.group_by([*names, "count_all"], use_threads=False)
    sizes = groups.aggregate([(names[0], "count")])
    share = sizes.column("count_all").to_numpy() / sizes.column(f"{names[0]}_count").to_numpy()
    return float(share.sum()) / SAMPLE


def _last_of_each(keys: Sequence[pa.Array]) -> Int64s:
    """Return the number of the last row of each group, ascending."""
    names = [f"k{i}" for i in range(len(keys))]
    table = pa.table([*keys, pa.array(np.arange(len(keys[0])))], names=[*names, "row"])
    last = table.group_by(names, use_threads=False).aggregate([("row", "max")])
    return np.sort(last.column("row_max").to_numpy())


def _keys(items: Sequence[StoredBatch]) -> tuple[list[pa.Array], Bools]:
    """Return the key columns of all records, and where there is a key.

    Payloads of one codec are compared by their typed keys. Otherwise the bytes count, as in Kafka.
    """
    codecs = {i.batch.payload_codec for i in items}
    if None not in codecs and len(codecs) == 1:
        typed = [_typed_keys(i.batch) for i in items]
        arrays = [
            _comparable(pa.chunked_array(column)) for column in zip(*(c for c, _ in typed), strict=True)
        ]
        if arrays and not any(pa.types.is_nested(a.type) for a in arrays):
            return arrays, np.concatenate([valid for _, valid in typed])
    data = pa.chunked_array([pa.array(_key_bytes(i.batch), pa.binary()) for i in items])
    return [data.combine_chunks()], np.asarray(data.is_valid())


def _comparable(column: pa.ChunkedArray) -> pa.Array:
    """Return floating point numbers as their bits, so that -0.0 differs from 0.0 as its bytes do."""
    array = column.combine_chunks()
    if pa.types.is_floating(array.type):
        return array.view(pa.int64() if array.type.bit_width == 64 else pa.int32())
    return array


def _typed_keys(batch: Batch) -> tuple[list[pa.Array], Bools]:
    columns = _key_payload(batch).columns
    windows = () if columns.windows is None else columns.windows
    valid = np.ones(batch.num_rows, dtype=np.bool_) if columns.key_valid is None else columns.key_valid
    return [*(_one(a) for a in columns.key), *(pa.array(w) for w in windows)], valid


def _key_payload(batch: Batch) -> Payload:
    """Return the keys alone, so that no values are converted."""
    payload = batch.payload
    assert payload is not None
    schema = Schema.of(payload.schema.key)
    if payload.has_columns:
        c = payload.columns
        return Payload.from_columns(schema, Columns(c.key, (), c.key_valid, None, c.windows), batch.num_rows)
    return Payload.from_rows(schema, payload.keys, [()] * batch.num_rows, payload.windows)


def _key_bytes(batch: Batch) -> Sequence[bytes | None]:
    codec = batch.payload_codec
    if batch.payload is None or batch.made_raw is not None or codec is None:
        return batch.encoded()[0]
    keys = _key_payload(batch)
    nothing = [None] * batch.num_rows
    return codec.encode(Payload.from_rows(batch.payload.schema, keys.keys, nothing, keys.windows))[0]


def _tombstones(batch: Batch) -> Bools:
    payload = batch.payload
    if payload is not None and payload.has_columns:
        valid = payload.columns.value_valid
        return np.zeros(batch.num_rows, dtype=np.bool_) if valid is None else ~valid
    values = batch.encoded()[1] if payload is None else payload.values
    return np.array([v is None for v in values], dtype=np.bool_)


def _batch_starts(items: Sequence[StoredBatch], kept: Int64s) -> Int64s:
    """Return where batches begin: of at most 65,536 records, and of one form."""
    starts: list[int] = []
    form: Hashable = None
    count = 0
    for item, rows in _by_item(items, kept):
        batch = item.batch
        schema = None if batch.payload is None else batch.payload.schema
        windowed = batch.payload is not None and batch.payload.windows is not None
        now = (batch.payload_codec, schema, windowed, batch.headers is None)
        sequences = item.sequence_array()[rows]
        if now != form:
            starts.append(int(sequences[0]))
            form, count = now, 0
        starts.extend(sequences[MAX_BATCH - count :: MAX_BATCH].tolist())
        count = (count + len(rows) - 1) % MAX_BATCH + 1
    return np.array(starts, dtype=np.int64)


def _by_item(items: Sequence[StoredBatch], kept: Int64s) -> Iterator[tuple[StoredBatch, Int64s]]:
    """Yield each batch of which something stays, and the numbers of those records in it."""
    for item in items:
        low, high = np.searchsorted(kept, (item.sequence, item.end))
        if low < high:
            mine = kept[low:high]
            found = np.searchsorted(item.sequence_array(), mine)
            yield item, found


def rebuilt(items: Sequence[StoredBatch], compaction: Compaction) -> list[StoredBatch]:
    """Return the batches of the records that stay.

    Recovery may find that retention has taken some of them meanwhile.
    """
    made: dict[int, list[tuple[StoredBatch, Int64s]]] = {}
    for item, rows in _by_item(items, compaction.kept):
        numbers = np.searchsorted(compaction.starts, item.sequence_array()[rows], "right")
        for number in np.unique(numbers).tolist():
            made.setdefault(number, []).append((item, rows[numbers == number]))
    return [_joined(parts) for parts in made.values()]


def _joined(parts: Sequence[tuple[StoredBatch, Int64s]]) -> StoredBatch:
    """Return records of several batches as one."""
    batches = [(item.batch, rows) for item, rows in parts]
    first = batches[0][0]
    headers: list[Headers] | None = None
    if first.headers is not None:
        headers = [b.headers[i] for b, rows in batches for i in rows.tolist() if b.headers is not None]
    partitions: Any = first.partitions
    if not all(isinstance(b.partitions, int) and b.partitions == partitions for b, _ in batches):
        partitions = np.concatenate([b.partition_array()[rows] for b, rows in batches])
    timestamps = np.concatenate([b.timestamp_array()[rows] for b, rows in batches])
    if first.payload is None:
        pairs = [(b.encoded(), rows.tolist()) for b, rows in batches]
        raw = (
            [keys[i] for (keys, _), rows in pairs for i in rows],
            [v[i] for (_, v), rows in pairs for i in rows],
        )
        batch = Batch(timestamps, raw=raw, headers=headers, partitions=partitions)
    else:
        payload = _joined_payload([(b.payload, rows) for b, rows in batches if b.payload is not None])
        batch = Batch(timestamps, payload, first.codec, headers=headers, partitions=partitions)
    offsets, positions, sequences = (
        np.concatenate([numbers(item)[rows] for item, rows in parts])
        for numbers in (StoredBatch.offset_array, StoredBatch.position_array, StoredBatch.sequence_array)
    )
    return StoredBatch(batch, int(positions[0]), int(sequences[0]), offsets, positions, sequences)


def _joined_payload(parts: Sequence[tuple[Payload, Int64s]]) -> Payload:
    taken = [_taken(payload, rows) for payload, rows in parts]
    schema, n = parts[0][0].schema, sum(len(rows) for _, rows in parts)
    if len(taken) == 1:
        return Payload.from_columns(schema, taken[0], n)
    windows = [c.windows for c in taken if c.windows is not None]
    columns = Columns(
        tuple(pa.concat_arrays(arrays) for arrays in zip(*(c.key for c in taken), strict=True)),
        tuple(pa.concat_arrays(arrays) for arrays in zip(*(c.value for c in taken), strict=True)),
        _joined_valid([c.key_valid for c in taken], parts),
        _joined_valid([c.value_valid for c in taken], parts),
        (np.concatenate([w[0] for w in windows]), np.concatenate([w[1] for w in windows]))
        if windows
        else None,
    )
    return Payload.from_columns(schema, columns, n)


def _joined_valid(valid: Sequence[Bools | None], parts: Sequence[tuple[Payload, Int64s]]) -> Bools | None:
    if all(v is None for v in valid):
        return None
    pairs = zip(valid, parts, strict=True)
    return np.concatenate([np.ones(len(rows), dtype=np.bool_) if v is None else v for v, (_, rows) in pairs])


def _taken(payload: Payload, rows: Int64s) -> Columns:
    if not payload.has_columns:
        numbers = rows.tolist()
        windows = payload.windows
        chosen = Payload.from_rows(
            payload.schema,
            [payload.keys[i] for i in numbers],
            [payload.values[i] for i in numbers],
            None if windows is None else [windows[i] for i in numbers],
        )
        return chosen.columns
    c, indices = payload.columns, pa.array(rows)
    return Columns(
        tuple(_one(a.take(indices)) for a in c.key),
        tuple(_one(a.take(indices)) for a in c.value),
        None if c.key_valid is None else c.key_valid[rows],
        None if c.value_valid is None else c.value_valid[rows],
        None if c.windows is None else (c.windows[0][rows], c.windows[1][rows]),
    )


def _one(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array

"""The messages of a topic in a backup: every record with its offset, and where the consumer groups are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kalam_jupyter.engine.batch import Batch
from kalam_jupyter.engine.compaction import MAX_BATCH
from kalam_jupyter.engine.errors import NotFoundError, OverrunError
from kalam_jupyter.engine.topic import Topic
from kalam_jupyter.engine.transaction import Transaction

_SCHEMA = pa.schema(
    [
        pa.field("partition", pa.int32()),
        pa.field("timestamp", pa.int64()),
        pa.field("key", pa.binary()),
        pa.field("value", pa.binary()),
        pa.field("headers", pa.list_(pa.struct([("name", pa.string()), ("value", pa.binary())]))),
    ]
)


class TopicBackup:
    """A topic as it is now: made while nothing is written, read afterwards.

    Parameters
    ----------
    topic : Topic
    """

    def __init__(self, topic: Topic) -> None:
        self._topic = topic
        self._start, self._end = topic.start_sequence, topic.end_sequence
        self._ends = [topic.partition_bounds(p)[1] for p in range(topic.partitions)]
        self._groups = {
            group: {
                str(p): offset
                for p in range(topic.partitions)
                if (offset := topic.committed(group, p)) is not None
            }
            for group in topic.groups()
        }

    def write(self, path: Path) -> dict[str, Any]:
        """Write the records to a Parquet file; return what else there is to know.

        Records that retention, or DROP TOPIC, takes meanwhile are left out.
        """
        first = list(self._ends)
        sequence = self._start
        with pq.ParquetWriter(path, _SCHEMA) as writer:
            while sequence < self._end:
                try:
                    found = self._topic.read(sequence, min(MAX_BATCH, self._end - sequence))
                except OverrunError as error:
                    sequence += error.lost
                    continue
                except NotFoundError:
                    break
                for stored in found:
                    partitions = stored.batch.partition_array()
                    for p, at in zip(*np.unique(partitions, return_index=True), strict=True):
                        first[p] = min(first[p], int(stored.offset_array()[at]))
                    writer.write_batch(_record_batch(stored.batch))
                    sequence = stored.end
        return {"name": self._topic.name, "file": path.name, "starts": first, "groups": self._groups}


def _record_batch(batch: Batch) -> pa.RecordBatch:
    keys, values = batch.encoded()
    headers = [
        [{"name": n, "value": v} for n, v in given] for given in batch.headers or [()] * batch.num_rows
    ]
    columns = [batch.partition_array(), batch.timestamp_array(), list(keys), list(values), headers]
    return pa.record_batch(
        [pa.array(c, f.type) for c, f in zip(columns, _SCHEMA, strict=True)], schema=_SCHEMA
    )


def restore_topic(tx: Transaction, definition: dict[str, Any], said: dict[str, Any], data: pa.Table) -> None:
    """Make a topic and its records again, with the offsets they had."""
    name = said["name"]
    retention = {
        "retention_ms": definition["retention_seconds"] * 1000,
        "retention_bytes": definition["retention_max_bytes"],
    }
    tx.create_topic(name, definition["partitions"], retention)
    if any(said["starts"]):
        _skip(tx, name, said["starts"])
    for batch in data.to_batches(max_chunksize=MAX_BATCH):
        headers = [tuple((h["name"], h["value"]) for h in given) for given in batch.column(4).to_pylist()]
        raw = (batch.column(2).to_pylist(), batch.column(3).to_pylist())
        partitions = batch.column(0).to_numpy()
        tx.append(name, Batch(batch.column(1).to_pylist(), raw=raw, headers=headers, partitions=partitions))
    for group, offsets in said["groups"].items():
        for partition, offset in offsets.items():
            tx.commit_offset(name, group, int(partition), offset)


def _skip(tx: Transaction, name: str, starts: list[int]) -> None:
    """Let each partition begin at an offset: empty records up to there, which go again."""
    partitions = np.repeat(np.arange(len(starts), dtype=np.int32), starts)
    for at in range(0, len(partitions), MAX_BATCH):
        part = partitions[at : at + MAX_BATCH]
        nothing = [None] * len(part)
        tx.append(name, Batch([tx.now_ms] * len(part), raw=(nothing, nothing), partitions=part))
    tx.truncate_topic(name)

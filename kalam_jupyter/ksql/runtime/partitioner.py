"""Which partition a record goes to: Kafka's default, murmur2 of the key's bytes."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from kalam_jupyter.engine.batch import Batch

_MASK = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """Return Kafka's murmur2 hash of `data` as an unsigned 32-bit number."""
    length = len(data)
    m, h = 0x5BD1E995, 0x9747B28C ^ length
    for i in range(0, length - length % 4, 4):
        k = int.from_bytes(data[i : i + 4], "little") * m & _MASK
        k = (k ^ k >> 24) * m & _MASK
        h = (h * m & _MASK) ^ k
    rest = length - length % 4
    if length % 4:
        h = (h ^ int.from_bytes(data[rest:], "little")) * m & _MASK
    h = (h ^ h >> 13) * m & _MASK
    return h ^ h >> 15


@lru_cache(65_536)
def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition of a key."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def partitions_of(batch: Batch, partitions: int) -> npt.NDArray[np.int32]:
    """Return the partition of each record; those without a key go to the first.

    The windows of a key go to one partition: what the codec writes of them is left out, as Kafka Streams
    does.
    """
    if partitions == 1:
        return np.zeros(batch.num_rows, dtype=np.int32)
    keys, _ = batch.encoded()
    window = getattr(batch.payload_codec, "window", None)
    end = None if window is None else -window.width
    return np.array([0 if k is None else partition_of(k[:end], partitions) for k in keys], dtype=np.int32)

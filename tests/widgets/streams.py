"""A stream that gives what a test hands it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from kalam_jupyter.client import Changes, ClientError, Stream

SCHEMA = pa.schema([("K", pa.string()), ("N", pa.int64())])


def changes(rows: Sequence[tuple[Any, ...]], kinds: Sequence[int] | None = None) -> Changes:
    """Changes of schema `SCHEMA`."""
    columns = [[row[i] for row in rows] for i in range(len(SCHEMA))]
    batch = pa.RecordBatch.from_arrays(
        [pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)], schema=SCHEMA
    )
    return Changes(batch, np.array(kinds if kinds is not None else [0] * len(rows), np.int8))


class HandStream(Stream):
    """`give` puts changes in, `end` ends it."""

    def __init__(self, key: tuple[str, ...] = (), schema: pa.Schema = SCHEMA) -> None:
        self.id, self.dialect, self.sql = "transient_T_1", "ksql", "SELECT * FROM t EMIT CHANGES;"
        self.schema, self.key = schema, key
        self.closed = threading.Event()
        self._waiting: list[Changes] = []
        self._over = False
        self._callback: Callable[[], None] | None = None

    def give(self, some: Changes) -> None:
        self._waiting.append(some)
        self._call()

    def end(self, error: ClientError | None = None) -> None:
        self.error = error
        self._over = True
        self._call()

    @property
    def finished(self) -> bool:
        return self.closed.is_set() or (self._over and not self._waiting)

    def poll(self, max_rows: int = 1000) -> Changes | None:
        return self._waiting.pop(0) if self._waiting else None

    def wait(self, timeout: float | None = None) -> bool:
        return bool(self._waiting) or self.closed.wait(timeout)

    def close(self) -> None:
        self.closed.set()

    def on_wake(self, callback: Callable[[], None] | None) -> None:
        self._callback = callback

    def _call(self) -> None:
        if self._callback is not None:
            self._callback()

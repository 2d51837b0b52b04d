"""A node: one engine with both dialects on it. Server and in-process client each hold one."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kalam_jupyter.engine import Clock, Engine
from kalam_jupyter.kalam import Kalam, KalamConfig
from kalam_jupyter.ksql import Ksql


class Node:
    """An engine and its dialects.

    Attributes
    ----------
    engine : Engine
    ksql : Ksql
    kalam : Kalam
    """

    def __init__(self, engine: Engine, ksql: Ksql, kalam: Kalam) -> None:
        self.engine, self.ksql, self.kalam = engine, ksql, kalam
        self._closing = threading.Lock()
        self._closed = False

    @classmethod
    def open(
        cls,
        path: str | Path | None = None,
        *,
        url: str | None = None,
        clock: Clock | None = None,
        ksql: Mapping[str, Any] | None = None,
        kalam: KalamConfig | None = None,
    ) -> Node:
        """Open an engine, put both dialects on it, and let its persistent queries run.

        Parameters
        ----------
        path : path, optional
            Directory of the data; in memory without it.
        url : str, optional
            Where this process can be reached; written into the lock file for the next process.
        clock : Clock, optional
            Processing time; the system's by default.
        ksql : mapping, optional
            ksqlDB server properties, such as ``{"ksql.service.id": "lab_"}``.
        kalam : KalamConfig, optional

        Raises
        ------
        EngineLockedError
            If another process has `path` open.
        LogCorruptError
            If the data cannot be read.
        """
        engine = Engine.open(path, clock=clock or Clock(), url=url)
        try:
            node = cls(engine, Ksql(engine, dict(ksql or {})), Kalam(engine, kalam or KalamConfig()))
            engine.start()
        except BaseException:
            engine.close()
            raise
        return node

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def close(self) -> None:
        """Stop queries, write a checkpoint when there is a path, and let go of the data. Idempotent."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self.kalam.close()
                self.engine.close()

    def __enter__(self) -> Node:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

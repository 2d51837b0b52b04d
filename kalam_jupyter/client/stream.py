"""A query that goes on: a push query, a PRINT, or a live query.

A `Stream` hands out `Changes`: an Arrow batch and, for each of its rows, whether the row was
inserted, updated or deleted. It never buffers more than the transport needs, and a reader that
stops polling stops the query behind it (back-pressure).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING

from kalam_jupyter.changes import DELETE, INSERT, KIND_NAMES, UPDATE, Changes

if TYPE_CHECKING:
    import pyarrow as pa

    from kalam_jupyter.client.errors import ClientError
    from kalam_jupyter.client.result import Dialect


class Stream(ABC):
    """A running query. Poll it from one thread; `close` may come from any.

    Attributes
    ----------
    id : str
        The server's name of the query.
    dialect : {"ksql", "kalam"}
    sql : str
    schema : pyarrow.Schema
        Schema of every batch.
    key : tuple of str
        Columns that identify a row; empty when rows only get appended.
    finished : bool
        Whether no more rows will come: a LIMIT was reached, or it was closed or failed, and all
        rows were polled.
    message : str
        Why it ended ("Limit Reached"), "" otherwise.
    error : ClientError or None
        Why it failed.
    interruption : str
        Why no rows come at the moment, while the connection is made again; "" otherwise.
    """

    id: str
    dialect: Dialect
    sql: str
    schema: pa.Schema
    key: tuple[str, ...] = ()
    message: str = ""
    error: ClientError | None = None
    interruption: str = ""

    @property
    @abstractmethod
    def finished(self) -> bool: ...

    @abstractmethod
    def poll(self, max_rows: int = 1000) -> Changes | None:
        """Return up to `max_rows` changes that are there now, None when there are none. Never waits."""

    @abstractmethod
    def wait(self, timeout: float | None = None) -> bool:
        """Wait until `poll` may have something or the stream is finished.

        Parameters
        ----------
        timeout : float or None
            Seconds; None waits as long as it takes.

        Returns
        -------
        bool
            False when the time was up.
        """

    def behind(self) -> int | None:
        """Return how many records it and the queries upstream have still to read; None: nobody knows.

        When it is 0 and `poll` then has nothing, all there was has been polled.
        """
        return None

    @abstractmethod
    def close(self) -> None:
        """End the query. Closing twice is fine."""

    @abstractmethod
    def on_wake(self, callback: Callable[[], None] | None) -> None:
        """Have `callback` called, from some thread, when something arrived; it must not block."""

    def __iter__(self) -> Iterator[Changes]:
        """Yield changes until the query ends; raise its error if it failed."""
        while not self.finished:
            changes = self.poll()
            if changes is not None:
                yield changes
            elif not self.finished:
                self.wait(None)
        if self.error is not None:
            raise self.error

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


__all__ = ["DELETE", "INSERT", "KIND_NAMES", "UPDATE", "Changes", "Stream"]

"""The verbs of a `Connection`, for ``await``: a thread does the work, the event loop goes on.

Cancellation is safe: what was sent may still take effect, as when a connection breaks, but a query that
begins after its caller has gone is ended, and no row of a stream is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from kalam_jupyter.client.connection import Connection
from kalam_jupyter.client.discovery import connect
from kalam_jupyter.client.stream import Stream

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from kalam_jupyter.changes import Changes
    from kalam_jupyter.client.messages import Message
    from kalam_jupyter.client.replay import Replay
    from kalam_jupyter.client.result import Result
    from kalam_jupyter.ksql.plan.graph import TopologyData
    from kalam_jupyter.ksql.stepping import Stepping

T = TypeVar("T")


class AsyncStream:
    """A running query for ``async for``. Of one task at a time, in one event loop.

    Attributes
    ----------
    stream : Stream
        What it wraps: `id`, `schema`, `key`, `finished`, `message` and `error` are there.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        self._polling: asyncio.Future[Changes | None] | None = None
        stream.on_wake(self._wake)

    async def poll(self, max_rows: int = 1000) -> Changes | None:
        """Return up to `max_rows` changes that are there now, None when there are none."""
        if self._polling is None:
            self._woken.clear()  # what comes from now on wakes: this poll may have looked already
            poll = functools.partial(self.stream.poll, max_rows)
            self._polling = self._loop.run_in_executor(None, poll)
        # Shielded and kept: rows that a cancelled caller asked for are the next one's.
        changes = await asyncio.shield(self._polling)
        self._polling = None
        return changes

    async def __aiter__(self) -> AsyncIterator[Changes]:
        """Yield changes until the query ends; raise its error if it failed."""
        while not self.stream.finished:
            changes = await self.poll()
            if changes is not None:
                yield changes
            elif not self.stream.finished:
                await self._woken.wait()
        if self.stream.error is not None:
            raise self.stream.error

    async def close(self) -> None:
        """End the query. Closing twice is fine."""
        await asyncio.to_thread(self.stream.close)

    async def __aenter__(self) -> AsyncStream:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def _wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(self._woken.set)


class AsyncConnection:
    """Runs statements of both dialects. Made by `connect_async`; see `Connection` for each verb.

    Attributes
    ----------
    connection : Connection
        The same, for code that may block.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def __repr__(self) -> str:
        return f"AsyncConnection({self.connection.target!r})"

    async def ksql(
        self,
        text: str,
        *,
        properties: Mapping[str, Any] | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> list[Result]:
        """See `Connection.ksql`; the stream of a push query is for `AsyncStream`."""
        work = functools.partial(self.connection.ksql, text, properties=properties, variables=variables)
        return await _call(work, _close_all)

    async def kalam(
        self,
        text: str,
        params: Sequence[Any] = (),
        *,
        namespace: str | None = None,
        files: Mapping[str, bytes | Path] | None = None,
    ) -> list[Result]:
        """See `Connection.kalam`."""
        work = functools.partial(self.connection.kalam, text, params, namespace=namespace, files=files)
        return await _call(work, _close_all)

    async def push(
        self,
        sql: str,
        *,
        properties: Mapping[str, Any] | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> AsyncStream:
        """See `Connection.push`."""
        work = functools.partial(self.connection.push, sql, properties=properties, variables=variables)
        return AsyncStream(await _call(work, _close))

    async def live(self, sql: str, *, initial: bool = True, **options: Any) -> AsyncStream:
        """See `Connection.live`."""
        work = functools.partial(self.connection.live, sql, initial=initial, **options)
        return AsyncStream(await _call(work, _close))

    async def table(self, name: str) -> pa.Table:
        """See `Connection.table`."""
        return await _call(lambda: self.connection.table(name))

    async def frame(self, name: str) -> pd.DataFrame:
        """See `Connection.frame`."""
        return await _call(lambda: self.connection.frame(name))

    async def send(self, name: str, table: pa.Table) -> int:
        """See `Connection.send`."""
        return await _call(lambda: self.connection.send(name, table))

    async def stream_frame(
        self,
        frame: pd.DataFrame | pa.Table,
        name: str,
        *,
        key: str | None = None,
        timestamp: str | None = None,
        rate: float | None = None,
    ) -> Replay:
        """See `Connection.stream_frame`."""
        options: dict[str, Any] = {"key": key, "timestamp": timestamp, "rate": rate}
        return await _call(lambda: self.connection.stream_frame(frame, name, **options), lambda r: r.stop())

    async def table_frame(self, frame: pd.DataFrame | pa.Table, name: str, *, key: str | None = None) -> int:
        """See `Connection.table_frame`."""
        return await _call(lambda: self.connection.table_frame(frame, name, key=key))

    async def consume(
        self,
        topic: str,
        group: str,
        *,
        start: str | int = "latest",
        limit: int = 100,
        partition: int = 0,
        timeout: float = 0,
    ) -> list[Message]:
        """See `Connection.consume`."""
        options: dict[str, Any] = {"start": start, "limit": limit, "partition": partition, "timeout": timeout}
        return await _call(lambda: self.connection.consume(topic, group, **options))

    async def acknowledge(self, topic: str, group: str, upto: int, *, partition: int = 0) -> None:
        """See `Connection.acknowledge`."""
        await _call(lambda: self.connection.acknowledge(topic, group, upto, partition=partition))

    async def read_file(self, table: str, reference: str | Mapping[str, Any]) -> bytes:
        """See `Connection.read_file`."""
        return await _call(lambda: self.connection.read_file(table, reference))

    async def topology(self, query: str) -> TopologyData:
        """See `Connection.topology`."""
        return await _call(lambda: self.connection.topology(query))

    async def stepping(self, query: str, *, properties: Mapping[str, Any] | None = None) -> Stepping:
        """See `Connection.stepping`."""
        return await _call(lambda: self.connection.stepping(query, properties=properties))

    async def close(self) -> None:
        """See `Connection.close`."""
        await _call(self.connection.close)

    async def __aenter__(self) -> AsyncConnection:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


async def connect_async(target: str | None = None, **options: Any) -> AsyncConnection:
    """Connect to an engine, for code that awaits.

    Parameters
    ----------
    target, **options
        As for `connect`.

    Raises
    ------
    ClientError
        If the server cannot be reached or refuses the credential.
    """
    work = functools.partial(connect, target, **options)
    return AsyncConnection(await _call(work, _close))


def _close(made: Stream | Connection) -> None:
    made.close()


def _close_all(results: list[Result]) -> None:
    for result in results:
        if result.stream is not None:
            result.stream.close()


async def _call(work: Callable[[], T], abandon: Callable[[T], Any] | None = None) -> T:
    """Run `work` in a thread. Cancelled, it still ends; `abandon` then gets what it returned."""
    future = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        future.add_done_callback(lambda done: _abandoned(done, abandon))
        raise


def _abandoned(done: asyncio.Future[T], abandon: Callable[[T], Any] | None) -> None:
    # Asking for the exception also says that somebody saw it.
    if not done.cancelled() and done.exception() is None and abandon is not None:
        abandon(done.result())

"""The verbs of a `Connection`, for ``await``: a thread does the work, the event loop goes on.

Cancellation is safe: what was sent may still take effect, as when a connection breaks, but a query that
begins after its caller has gone is ended, and no row of a stream is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from kalam_jupyter.client.connection import Connection
from kalam_jupyter.client.discovery import connect
from kalam_jupyter.client.stream import Stream

if TYPE_CHECKING:
    from kalam_jupyter.changes import Changes
    from kalam_jupyter.client.replay import Replay
    from kalam_jupyter.client.result import Result

P = ParamSpec("P")
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


def _close(made: Stream | Connection) -> None:
    made.close()


def _close_all(results: list[Result]) -> None:
    for result in results:
        if result.stream is not None:
            result.stream.close()


def _stop(replay: Replay) -> None:
    replay.stop()


def _awaited(
    verb: Callable[Concatenate[Connection, P], T], abandon: Callable[[T], None] | None = None
) -> Callable[Concatenate[AsyncConnection, P], Coroutine[Any, Any, T]]:
    """Return a verb of `Connection` for ``await``, with its parameters and its documentation.

    Cancelled, it still ends; `abandon` then gets what it returned.
    """

    async def call(shared: AsyncConnection, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await _call(functools.partial(verb, shared.connection, *args, **kwargs), abandon)

    functools.update_wrapper(call, verb)
    return call


def _iterated(
    verb: Callable[Concatenate[Connection, P], Stream],
) -> Callable[Concatenate[AsyncConnection, P], Coroutine[Any, Any, AsyncStream]]:
    """Return a verb that starts a query, for ``await`` and then ``async for``."""
    start = _awaited(verb, _close)

    async def call(shared: AsyncConnection, /, *args: P.args, **kwargs: P.kwargs) -> AsyncStream:
        return AsyncStream(await start(shared, *args, **kwargs))

    functools.update_wrapper(call, verb)
    shown = inspect.signature(verb).replace(return_annotation="AsyncStream")
    setattr(call, "__signature__", shown)  # noqa: B010  (its type does not know the attribute)
    return call


class AsyncConnection:
    """Runs statements of both dialects. Made by `connect_async`; the verbs are those of `Connection`.

    A push or live query is an `AsyncStream`; the stream in a result of `ksql` can be wrapped in one.

    Attributes
    ----------
    connection : Connection
        The same, for code that may block.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def __repr__(self) -> str:
        return f"AsyncConnection({self.connection.target!r})"

    ksql = _awaited(Connection.ksql, _close_all)
    kalam = _awaited(Connection.kalam)
    push = _iterated(Connection.push)
    live = _iterated(Connection.live)
    table = _awaited(Connection.table)
    frame = _awaited(Connection.frame)
    send = _awaited(Connection.send)
    stream_frame = _awaited(Connection.stream_frame, _stop)
    table_frame = _awaited(Connection.table_frame)
    consume = _awaited(Connection.consume)
    acknowledge = _awaited(Connection.acknowledge)
    read_file = _awaited(Connection.read_file)
    topology = _awaited(Connection.topology)
    stepping = _awaited(Connection.stepping)
    close = _awaited(Connection.close)

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

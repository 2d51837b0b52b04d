"""Carries a running query to one client: rows as they come, back-pressure, and an end on disconnect."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tornado.iostream import StreamClosedError

from kalam_server.ksql_handlers.base import KsqlRoute, generic_error
from kalam_server.negotiate import ARROW
from kalam_server.service import Service, ServiceClosedError

if TYPE_CHECKING:
    from kalam_jupyter.ksql import TransientQuery
    from kalam_server.ksql_handlers.outputs import Output

#: Rows asked of the engine at a time; the next are asked when the client has taken these.
BATCH = 200
ARROW_BATCH = 8192
#: Bytes of a pull query's rows put together before they are flushed.
FLUSH_BYTES = 64 * 1024
#: Setting: how often an idle answer in the legacy form writes an empty line, in milliseconds.
IDLE_INTERVAL = "query.stream.disconnect.check"
IDLE_INTERVAL_MS = 1000
#: A query that took longer than this to poll is not polled on the event loop any more.
QUICK_S = 0.005


class Feed:
    """A query polled from the event loop: it wakes the loop, which runs it, or has a worker thread run it.

    A change of threads costs more than most polls do, so a query that is near the end of its input runs on
    the event loop, until it once took long. Used as a context manager: leaving it closes the query.
    """

    def __init__(self, service: Service, query: TransientQuery) -> None:
        self._service, self.query = service, query
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        self._gone = False
        self._near = query.kind == "pull"  # it is computed already
        self._quick = True
        query.on_wake = self._wake

    def _wake(self) -> None:
        if not self._woken.is_set():
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._woken.set)

    def abandon(self) -> None:
        """The client is gone, or the server stops: end the query soon. From the event loop only."""
        self._gone = True
        self._woken.set()

    @property
    def gone(self) -> bool:
        """Whether nobody wants the rows any more."""
        return self._gone

    async def rows(self, limit: int, patience: float | None = None) -> list[Any] | None:
        """Return the next rows, waiting for them; [] when the query has ended.

        Parameters
        ----------
        limit : int
        patience : float, optional
            Seconds after which None says that there are none yet.
        """
        while not self._gone:
            self._woken.clear()
            rows = await self._poll(limit)
            if rows or self.query.finished:
                return rows
            if patience is None:
                await self._woken.wait()
            else:
                try:
                    await asyncio.wait_for(self._woken.wait(), patience)
                except TimeoutError:
                    return None
        return []

    def behind(self) -> int:
        """Return how many records the query and those upstream have still to read."""
        return self._service.node().engine.behind() + sum(self.query.lag().values())

    async def _poll(self, limit: int) -> list[Any]:
        def poll() -> tuple[list[Any], float]:
            begin = time.perf_counter()
            return self.query.poll(limit), time.perf_counter() - begin

        if not (self._near and self._quick):
            rows, seconds = await self._service.run(lambda _: poll())
        elif self._service.closed:
            raise ServiceClosedError
        else:
            rows, seconds = poll()
        self._near = len(rows) < limit
        self._quick = self._quick and seconds < QUICK_S
        return rows

    def __enter__(self) -> Feed:
        self._service.on_close.add(self.abandon)
        return self

    def __exit__(self, *_: object) -> None:
        self._service.on_close.discard(self.abandon)
        self.query.on_wake = None
        self.query.close()


class StreamingRoute(KsqlRoute):
    """A route that answers with the rows of a query."""

    _feed: Feed | None = None
    _disconnected = False

    def on_connection_close(self) -> None:
        """End the query: nobody reads it."""
        self._disconnected = True
        if self._feed is not None:
            self._feed.abandon()
        super().on_connection_close()

    def watch(self, feed: Feed) -> None:
        """Have `feed` abandoned when the client goes, or at once if it has gone already."""
        self._feed = feed
        if self._disconnected:
            feed.abandon()

    def idle_seconds(self) -> float:
        """Return how often an idle answer says that it goes on, in the shapes that have it."""
        config = self.context.service.node().ksql.config
        return float(config.get(IDLE_INTERVAL) or IDLE_INTERVAL_MS) / 1000

    async def send_query(self, query: TransientQuery, output: Output) -> None:
        """Send a query's answer in the shape of `output`.

        Each row of a push query is a chunk, or frame, of its own, since clients parse each by itself. A
        pull query is sent in larger pieces. `await` is the back-pressure: a client that does not read
        stops the query from running on.
        """
        with Feed(self.context.service, query) as feed:
            self.watch(feed)
            if feed.gone:
                return
            self.stream_plainly()
            self.set_header("Content-Type", output.content_type)
            with contextlib.suppress(StreamClosedError):
                if query.ready_rows is not None and query.ready_rows <= BATCH:
                    self.cork()
                self.write(output.head())
                await self.flush()
                error = await self._send_rows(feed, output)
                if not feed.gone:
                    self.write(output.end(query.final_message, error))
                self.finish()

    async def _send_rows(self, feed: Feed, output: Output) -> dict[str, Any] | None:
        """Send rows until the query ends; return the error it ended with."""
        query = feed.query
        limit = ARROW_BATCH if output.content_type == ARROW else BATCH
        send = self.send_pieces if query.kind == "push" else self._gather
        try:
            while (rows := await feed.rows(limit, output.patience)) != []:
                await send(output.rows(rows) if rows else [output.pause(feed.behind())])
                if query.finished:
                    break
        except ServiceClosedError:
            return generic_error("The server is shutting down", 50303)
        if query.error is not None:
            return generic_error(query.error.message, query.error.error_code)
        return None

    async def _gather(self, pieces: Sequence[bytes]) -> None:
        """Send pieces together, once there are enough of them."""
        self.write(b"".join(pieces))
        if sum(map(len, self._write_buffer)) >= FLUSH_BYTES:
            await self.flush()

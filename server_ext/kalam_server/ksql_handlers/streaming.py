"""Carries a running query to one client: rows as they come, back-pressure, and an end on disconnect."""

from __future__ import annotations

import asyncio
import contextlib
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


class Feed:
    """A query polled from the event loop: it wakes the loop, a worker thread runs it.

    Used as a context manager: leaving it closes the query.
    """

    def __init__(self, service: Service, query: TransientQuery) -> None:
        self._service, self.query = service, query
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        self._gone = False
        query.on_wake = self._wake

    def _wake(self) -> None:
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

    async def rows(self, limit: int) -> list[Any]:
        """Return the next rows, waiting for them; [] when the query has ended."""
        while not self._gone:
            self._woken.clear()
            rows = await self._service.run(lambda _: self.query.poll(limit))
            if rows or self.query.finished:
                return list(rows)
            await self._woken.wait()
        return []

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

    async def send_query(self, query: TransientQuery, output: Output, content_type: str) -> None:
        """Send a query's answer in the shape of `output`.

        A push query is flushed row by row: clients parse each chunk by itself. A pull query is
        flushed in larger pieces. `await flush()` is the back-pressure: a client that does not read
        stops the query from running on.
        """
        with Feed(self.context.service, query) as feed:
            self._feed = feed
            if self._disconnected:
                return
            self.stream_plainly()
            self.set_header("Content-Type", content_type)
            with contextlib.suppress(StreamClosedError):
                self.write(output.head())
                await self.flush()
                error = await self._send_rows(feed, output)
                if not feed.gone:
                    self.write(output.end(query.final_message, error))
                self.finish()

    async def _send_rows(self, feed: Feed, output: Output) -> dict[str, Any] | None:
        """Send rows until the query ends; return the error it ended with."""
        query = feed.query
        arrow = output.content_type == ARROW
        one_by_one = query.kind == "push" and not arrow
        pending = 0
        try:
            while rows := await feed.rows(ARROW_BATCH if arrow else BATCH):
                for part in [[row] for row in rows] if one_by_one else [rows]:
                    if text := output.rows(part):
                        self.write(text)
                        pending += len(text)
                        if query.kind == "push" or pending >= FLUSH_BYTES:
                            await self.flush()
                            pending = 0
        except ServiceClosedError:
            return generic_error("The server is shutting down", 50303)
        if query.error is not None:
            return generic_error(query.error.message, query.error.error_code)
        return None


async def send_print(route: StreamingRoute, query: TransientQuery, content_type: str) -> None:
    """Send the lines of a PRINT as text."""
    with Feed(route.context.service, query) as feed:
        route._feed = feed
        route.stream_plainly()
        route.set_header("Content-Type", content_type)
        with contextlib.suppress(StreamClosedError):
            await route.flush()
            with contextlib.suppress(ServiceClosedError):
                while rows := await feed.rows(BATCH):
                    for row in rows:
                        route.write(f"{row.values[0]}\n")
                    await route.flush()
            route.finish()

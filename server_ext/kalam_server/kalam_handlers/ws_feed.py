"""One subscription of a connection: a live query polled in worker threads, its frames sent in order."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from kalam_server.kalam_handlers.ws_messages import FrameEncoder, Subscription
from kalam_server.service import Service

if TYPE_CHECKING:
    from kalam_jupyter.kalam import LiveQuery, Session

#: Changes polled at a time; the next are polled when the client has taken these.
BATCH = 1000
Deliver = Callable[[str | bytes], Awaitable[None]]


class LiveFeed:
    """A live query on its way to one client.

    Attributes
    ----------
    id : str
        The client's name of the subscription.
    query : LiveQuery
    """

    def __init__(self, service: Service, query: LiveQuery, wanted: Subscription, deliver: Deliver) -> None:
        self.id, self.query = wanted.id, query
        self._service, self._deliver = service, deliver
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        self._closed = False
        #: Initial rows and changes must not overtake each other.
        self._order = asyncio.Lock()
        query.on_wake = self._wake

    @classmethod
    async def start(
        cls,
        service: Service,
        session: Session,
        wanted: Subscription,
        connection_id: str,
        deliver: Deliver,
    ) -> LiveFeed:
        """Start the live query.

        Raises
        ------
        KalamError
        """
        options = _options(wanted)
        query = await service.run(
            lambda node: node.kalam.subscribe(
                session, wanted.sql, options, subscription_id=wanted.id, connection_id=connection_id
            )
        )
        return cls(service, query, wanted, deliver)

    def _wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._woken.set)

    def close(self) -> None:
        """End the live query. Idempotent."""
        self._closed = True
        self._woken.set()
        self.query.on_wake = None
        self.query.close()

    async def greet(self, encoder: FrameEncoder) -> None:
        """Send the ack and, if they were asked for, the first initial rows."""
        async with self._order:
            for message in await self._service.run(lambda _: (self.query.ack(), self.query.initial())):
                if message is not None:
                    await self._deliver(encoder.data(message))

    async def next_batch(self, last_seq: int | None, encoder: FrameEncoder) -> None:
        """Send the initial rows after `last_seq`.

        Raises
        ------
        KalamError
        """
        async with self._order:
            message = await self._service.run(lambda _: self.query.next_batch(last_seq))
            await self._deliver(encoder.data(message))
        self._woken.set()

    async def run(self, encoder: FrameEncoder) -> None:
        """Send changes until the query ends."""
        while not (self._closed or self.query.closed):
            self._woken.clear()
            async with self._order:
                changes = await self._service.run(lambda _: self.query.poll(BATCH))
                for change in changes:
                    await self._deliver(encoder.change(change, self.id))
            if not changes:
                await self._woken.wait()


def _options(wanted: Subscription) -> dict[str, Any] | None:
    options = wanted.options
    if options is None:
        return None
    found = {
        "batch_size": options.batch_size,
        "last_rows": options.last_rows,
        "from": options.from_seq if options.from_seq is not None else options.from_seq_id,
    }
    return {name: value for name, value in found.items() if value is not None}

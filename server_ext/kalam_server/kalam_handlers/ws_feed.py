"""Live queries on their way to their clients: one wake-up, one round, one write for each client.

`LiveHub` follows each `Channel` that has subscribers here. When a table changed, the hub is told once
and goes round its feeds on the event loop: poll (what changes mean is worked out once for all), frame,
write. A client whose socket does not take what it was sent is passed over, and holds nothing but its
cursor on the history, until its socket is ready again; the others do not notice.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tornado.iostream import IOStream, StreamClosedError

from kalam_jupyter.kalam.errors import KalamError
from kalam_jupyter.kalam.live_poll import FEW, Companions, Found, News
from kalam_server.kalam_handlers.ws_frames import Framer
from kalam_server.kalam_handlers.ws_messages import Subscription
from kalam_server.service import Service, ServiceClosedError

if TYPE_CHECKING:
    from kalam_jupyter.kalam import LiveQuery, Session
    from kalam_jupyter.kalam.live_channel import Channel
    from kalam_jupyter.node import Node

#: Changes polled at a time; the next are polled when the client has taken these.
BATCH = 1000
#: Feeds served before the event loop gets to do other things.
SLICE = 200
#: Bytes that are not held back to be sent with others.
ENOUGH = 64 * 1024


class Outlet:
    """The sending side of one connection: what is to be sent at the same time goes out in one write."""

    def __init__(self, stream: IOStream) -> None:
        self._stream = stream
        self._loop = asyncio.get_running_loop()
        #: Whether the socket has yet to take what it was sent.
        self.blocked = False
        self._frames: list[bytes] = []
        self._size = 0
        self._waiting: dict[Callable[[], None], None] = {}

    def write(self, frames: bytes) -> None:
        """Send frames in this turn of the event loop."""
        if not self._frames:
            self._loop.call_soon(self.flush)
        self.add(frames)

    def add(self, frames: bytes) -> None:
        """Send frames with the next `flush`, which is up to the caller."""
        self._frames.append(frames)
        self._size += len(frames)
        if self._size >= ENOUGH:
            self.flush()

    def flush(self) -> None:
        """Send what there is now."""
        if not self._frames:
            return
        frames = b"".join(self._frames)
        self._frames, self._size = [], 0
        stream = self._stream
        if not (stream.writing() or stream.closed()):
            # What the socket takes at once, which is nearly always all, needs no future and no callback.
            try:
                sent = stream.write_to_fd(memoryview(frames))
            except OSError:  # full, or broken: that is for the stream to find out
                sent = 0
            if sent == len(frames):
                return
            frames = frames[sent:]
        with contextlib.suppress(StreamClosedError):  # the connection's own handler notices
            written = stream.write(frames)
            if not self.blocked and stream.writing():
                self.blocked = True
                written.add_done_callback(self._flushed)

    def when_free(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the socket has taken what it was sent."""
        self._waiting[callback] = None

    def _flushed(self, _: Any) -> None:
        self.blocked = False
        waiting, self._waiting = self._waiting, {}
        for callback in waiting:
            callback()


@dataclass(frozen=True, slots=True)
class Client:
    """One connection, and who is behind it.

    Attributes
    ----------
    ended : callable
        Called when a feed ends by itself: with the error, or None when its query was closed.
    """

    session: Session
    connection_id: str
    outlet: Outlet
    framer: Framer
    ended: Callable[[LiveFeed, KalamError | None], None]


class LiveFeed:
    """A live query on its way to its client.

    Attributes
    ----------
    id : str
        The client's name of the subscription.
    query : LiveQuery
    """

    __slots__ = ("_busy", "_closed", "_head", "_hub", "_round", "client", "id", "query")

    def __init__(self, hub: LiveHub, client: Client, query: LiveQuery) -> None:
        self._hub, self.client, self.query = hub, client, query
        self.id = query.id
        self._head = client.framer.head("change", query.id)
        #: Initial rows are being fetched: changes must not overtake them.
        self._busy = False
        self._closed = False
        self._round: _Round | None = None

    def begin(self, frames: bytes) -> None:
        """Send the first frames, then changes as they come."""
        self.client.outlet.write(frames)
        self._round = self._hub.enter(self)
        if self.query.ready:
            self.serve()

    def serve(self) -> None:
        """Have the feed served soon."""
        if self._round is not None:
            self._round.serve(self)

    async def next_batch(self, last_seq: int | None) -> None:
        """Send the initial rows after `last_seq`.

        Raises
        ------
        KalamError
        """
        self._busy = True
        try:
            framer = self.client.framer
            frames = await self._hub.service.run(
                lambda _: framer.frames(self.id, [self.query.next_batch(last_seq)])
            )
            self.client.outlet.write(frames)
        finally:
            self._busy = False
        self.serve()

    def close(self) -> None:
        """End the live query. Idempotent."""
        if not self._closed:
            self._closed = True
            if self._round is not None:
                self._hub.leave(self, self._round)
            self.query.close()

    # ---- for the round

    def ready(self) -> bool:
        """Whether changes may be sent now; if not, the feed comes back by itself."""
        if self._closed or self._busy:
            return False
        if self.client.outlet.blocked:
            self.client.outlet.when_free(self.serve)
            return False
        return True

    def send(self, found: Found) -> None:
        """Add changes to what the client is sent; end the feed when its query ended."""
        if self._closed:
            return
        if isinstance(found, KalamError):
            self.client.ended(self, found)
            return
        if found:
            frame, head = self.client.framer.frame, self._head
            self.client.outlet.add(b"".join([frame(head, change.told) for change in found]))
        if self.query.closed:
            self.client.ended(self, None)

    def go_on(self) -> None:
        """Come back for what is there besides what was sent, or by now."""
        if not self._closed and self.query.ready and not self.query.loading:
            self.serve()


class _Round:
    """The feeds of one channel, and those of them that are to be served next."""

    def __init__(self, service: Service, channel: Channel) -> None:
        self._service, self._channel = service, channel
        self._loop = asyncio.get_running_loop()
        self.feeds: dict[LiveFeed, None] = {}
        self._due: dict[LiveFeed, None] = {}
        self._everybody = self._told = False
        self._task: asyncio.Task[None] | None = None
        channel.listen(self.wake)

    def end(self) -> None:
        """Nobody is left."""
        self._channel.unlisten(self.wake)

    def wake(self) -> None:
        """Something changed; called from the engine's writer."""
        if not self._told:
            self._told = True
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._serve_everybody)

    def _serve_everybody(self) -> None:
        self._told, self._everybody = False, True
        self._go()

    def serve(self, feed: LiveFeed) -> None:
        """Serve one feed soon."""
        self._due[feed] = None
        self._go()

    def _go(self) -> None:
        if self._task is None:
            self._task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        try:
            while self._due or self._everybody:
                due, news = list(self.feeds if self._everybody else self._due), News(FEW)
                self._due, self._everybody = {}, False
                for first in range(0, len(due), SLICE):
                    if first:
                        await asyncio.sleep(0)
                    feeds = [f for f in due[first : first + SLICE] if f.ready() and news.concerns(f.query)]
                    if feeds:
                        await self._serve(feeds)
        except ServiceClosedError:
            pass
        finally:
            self._task = None

    async def _serve(self, feeds: Sequence[LiveFeed]) -> None:
        together = Companions([feed.query for feed in feeds])
        if together.light:
            found = together.poll(BATCH)
        else:
            found = await self._service.run(lambda _: together.poll(BATCH))
        for feed, changes in zip(feeds, found, strict=True):
            feed.send(changes)
            if together.behind:
                feed.go_on()
        for outlet in dict.fromkeys([feed.client.outlet for feed in feeds]):
            outlet.flush()


class LiveHub:
    """All feeds of one mount."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._rounds: dict[Channel, _Round] = {}

    def open_at_once(self, client: Client, wanted: Subscription) -> LiveFeed:
        """Start a live query that can be started without waiting for anything.

        Raises
        ------
        KalamError
        TakesLongError
            If it cannot; nothing has happened.
        """
        query = self.service.node().kalam.live.subscribe_at_once(
            client.session,
            wanted.sql,
            _options(wanted),
            subscription_id=wanted.id,
            connection_id=client.connection_id,
        )
        feed = LiveFeed(self, client, query)
        feed.begin(client.framer.frames(query.id, query.start()))
        return feed

    async def open(self, client: Client, wanted: Subscription) -> LiveFeed:
        """Start a live query.

        Raises
        ------
        KalamError
        """

        def work(node: Node) -> tuple[LiveQuery, bytes]:
            query = node.kalam.subscribe(
                client.session,
                wanted.sql,
                _options(wanted),
                subscription_id=wanted.id,
                connection_id=client.connection_id,
            )
            return query, client.framer.frames(query.id, query.start())

        query, frames = await self.service.run(work)
        feed = LiveFeed(self, client, query)
        feed.begin(frames)
        return feed

    def enter(self, feed: LiveFeed) -> _Round:
        """Serve a feed from now on."""
        channel = feed.query.channel
        found = self._rounds.get(channel)
        if found is None:
            found = self._rounds[channel] = _Round(self.service, channel)
        found.feeds[feed] = None
        return found

    def leave(self, feed: LiveFeed, round_: _Round) -> None:
        """Serve a feed no more."""
        round_.feeds.pop(feed, None)
        if not round_.feeds and self._rounds.get(feed.query.channel) is round_:
            del self._rounds[feed.query.channel]
            round_.end()


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

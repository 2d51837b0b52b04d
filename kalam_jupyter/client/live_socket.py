"""Live queries over KalamDB's WebSocket protocol: each in a thread with an event loop of its own."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from kalam_jupyter.changes import INSERT, KIND_NAMES, UPDATE, Changes
from kalam_jupyter.client.buffered import BufferedStream
from kalam_jupyter.client.errors import ClientError, ConnectionLostError
from kalam_jupyter.client.foreign import kalam_table
from kalam_jupyter.client.wire import CONNECT_TIMEOUT_S, Wire

_ID = "live"
#: The server hangs up on clients that say nothing for 10 s.
_PING_INTERVAL_S = 4.0
_MAX_MESSAGE = 64 * 1024 * 1024
#: How long a broken connection is tried again, and the longest pause between two tries.
RETRY_SECONDS, RETRY_PAUSE_S = 60.0, 8.0


def _delays() -> Iterator[float]:
    """Yield pauses, each twice as long, until all of them are `RETRY_SECONDS`."""
    pause, left = 0.25, RETRY_SECONDS
    while left > 0:
        yield min(pause, left)
        pause, left = min(2 * pause, RETRY_PAUSE_S), left - pause


class LiveSocketStream(BufferedStream):
    """A live query of a server.

    When the connection breaks it connects again for `RETRY_SECONDS`, and goes on behind the last row it saw:
    no row is lost or repeated, though of one that was deleted meanwhile only a server that tells will tell.
    `interruption` says so while it lasts. What cannot be resumed ends with an error instead.
    """

    dialect = "kalam"

    def __init__(
        self, wire: Wire, sql: str, options: Mapping[str, int] | None, renew: Callable[[], None]
    ) -> None:
        super().__init__(sql)
        self.id = ""
        self._wire, self._options, self._renew = wire, options, renew
        #: Highest `_seq` seen.
        self._seen: int | None = None
        self._got_rows = self._resuming = False
        self._ready = threading.Event()
        self._room: asyncio.Event | None = None
        self._closing: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._fields: Sequence[Mapping[str, Any]] = ()

    @classmethod
    def open(
        cls, wire: Wire, sql: str, options: Mapping[str, int] | None, renew: Callable[[], None] = lambda: None
    ) -> LiveSocketStream:
        """Subscribe; return when the server has acknowledged.

        Parameters
        ----------
        renew : callable
            Called before a reconnection after the server refused the token: logs in again if it can.

        Raises
        ------
        ClientError
        """
        self = cls(wire, sql, options, renew)
        threading.Thread(target=self._run, name="live-query", daemon=True).start()
        try:
            self._ready.wait()
        except BaseException:
            self.close()
            raise
        if self.error is not None and not self.schema:
            raise self.error
        return self

    schema = pa.schema([])

    # ---- the thread

    def _run(self) -> None:
        try:
            asyncio.run(self._persist())
        except ClientError as error:
            self._end(error=error)
        finally:
            self._end()
            self._ready.set()

    async def _persist(self) -> None:
        """Serve, over as many connections as it takes."""
        self._loop = asyncio.get_running_loop()
        self._room, self._closing = asyncio.Event(), asyncio.Event()
        delays: Iterator[float] = iter(())
        while not self._closing.is_set():
            try:
                await self._serve()
            except (ClientError, OSError, TimeoutError) as error:
                lost = error if isinstance(error, ClientError) else self._wire.unreachable(error)
                refused = not isinstance(lost, ConnectionLostError)
                expired = refused and bool(self.interruption) and lost.status == 401
                if not self._can_resume or (refused and not expired):
                    raise lost from None
                if not self.interruption:
                    delays = _delays()
                self.interruption = lost.message
                delay = next(delays, None)
                if delay is None:
                    raise lost from None
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._closing.wait(), delay)
                if expired:
                    await asyncio.to_thread(self._renew)

    @property
    def _can_resume(self) -> bool:
        """Whether another connection can go on where this one ended."""
        if not self._ready.is_set():
            return False
        from_start = not self._got_rows and self._options is not None
        return self._seen is not None or bool(from_start)

    async def _serve(self) -> None:
        from tornado.httpclient import HTTPClientError, HTTPRequest
        from tornado.websocket import websocket_connect

        assert self._closing is not None
        headers = {} if self._wire.authorization is None else {"Authorization": self._wire.authorization}
        url = "ws" + self._wire.url.removeprefix("http") + "/v1/ws"
        request = HTTPRequest(url, headers=headers, connect_timeout=CONNECT_TIMEOUT_S)
        try:
            socket = await websocket_connect(request, max_message_size=_MAX_MESSAGE)
        except HTTPClientError as error:
            if error.code == 401:
                raise ClientError(
                    f"live queries need a login: {error}", code="UNAUTHORIZED", status=401
                ) from error
            raise ConnectionLostError(f"{self._wire.url} refused a live query: {error}") from error
        reader = asyncio.ensure_future(self._converse(socket))
        pinger = asyncio.ensure_future(self._ping(socket))
        closing = asyncio.ensure_future(self._closing.wait())
        try:
            await asyncio.wait({reader, closing}, return_when=asyncio.FIRST_COMPLETED)
            if reader.done():
                reader.result()
        except (LookupError, TypeError, ValueError) as error:  # a message of another form
            text = f"{self._wire.url} sent no message of a live query: {error!r}"
            raise ClientError(text, code="PROTOCOL") from error
        finally:
            for task in (reader, pinger, closing):
                task.cancel()
            socket.close()

    async def _ping(self, socket: Any) -> None:
        from tornado.websocket import WebSocketClosedError

        while True:
            await asyncio.sleep(_PING_INTERVAL_S)
            with contextlib.suppress(WebSocketClosedError):  # the reader hears of it
                await socket.write_message('{"type":"ping"}')

    async def _converse(self, socket: Any) -> None:
        await self._authenticated(socket)
        await socket.write_message(json.dumps(self._subscription()))
        last_seq = None
        self._resuming = self._got_rows
        while (message := await self._next(socket)) is not None:
            match message["type"]:
                case "subscription_ack":
                    self._acknowledged(message)
                case "initial_data_batch":
                    self._initial(message["rows"])
                    control = message["batch_control"]
                    last_seq = control["last_seq_id"] or last_seq
                    self._saw(last_seq)
                    if control["has_more"]:
                        await self._until_room()
                        more = {"type": "next_batch", "subscription_id": _ID, "last_seq_id": last_seq}
                        await socket.write_message(json.dumps(more))
                    else:
                        self._said(0)  # what a query has now is its snapshot
                case "change":
                    self._changed_row(message)
                    await self._until_room()
                case "error":
                    raise ClientError(message["message"], code=message["code"])
        raise ConnectionLostError(f"the connection to {self._wire.url} was lost")

    async def _authenticated(self, socket: Any) -> None:
        """Wait for the answer to the token of the upgrade request."""
        message = await self._next(socket)
        if message is None or message["type"] != "auth_success":
            text = (message or {}).get("message", "the server hung up")
            raise ClientError(f"live queries need a login: {text}", code="UNAUTHORIZED", status=401)

    def _subscription(self) -> dict[str, Any]:
        options = self._options if self._seen is None else {**(self._options or {}), "from": self._seen}
        subscription = {"id": _ID, "sql": self.sql.rstrip(";")}
        return {"type": "subscribe", "subscription": {**subscription, "options": options}}

    async def _next(self, socket: Any) -> dict[str, Any] | None:
        raw = await socket.read_message()
        if raw is None:
            return None
        if isinstance(raw, bytes):
            raw = gzip.decompress(raw)
        message: dict[str, Any] = json.loads(raw)
        return message

    async def _until_room(self) -> None:
        assert self._room is not None
        while self._is_full:
            self._room.clear()
            if self._is_full:
                await self._room.wait()

    # ---- rows

    def _acknowledged(self, message: Mapping[str, Any]) -> None:
        self.id = message["subscription_id"]
        self._fields = message["schema"]
        self.key = tuple(f["name"] for f in self._fields if "pk" in f.get("flags", ()))
        self.interruption = ""
        self.schema = kalam_table(self._fields, []).schema
        self._ready.set()

    def _initial(self, rows: Sequence[Mapping[str, Any]]) -> None:
        if not rows:
            return
        resumed = self._resuming
        kind = UPDATE if resumed and self.key else INSERT
        self._note(rows)
        self._push(Changes(self._batch(rows), np.full(len(rows), kind, np.int8), initial=not resumed))

    def _note(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self._got_rows = True
        for row in rows:
            self._saw(row.get("_seq"))

    def _saw(self, seq: str | int | None) -> None:
        if seq is not None:
            self._seen = max(int(seq), self._seen or 0)

    def _changed_row(self, message: Mapping[str, Any]) -> None:
        kind = message["change_type"]
        rows = message["old_values"] if kind == "delete" else message["rows"]
        self._note(rows)
        kinds = np.full(len(rows), KIND_NAMES.index(kind), np.int8)
        self._push(Changes(self._batch(rows), kinds))

    def _batch(self, rows: Sequence[Mapping[str, Any]]) -> pa.RecordBatch:
        """Return rows as Arrow. A column that an update leaves out is null: the contract omits nulls."""
        names = [f["name"] for f in self._fields]
        table = kalam_table(self._fields, [[row.get(name) for name in names] for row in rows])
        return table.combine_chunks().to_batches()[0]

    # ---- BufferedStream

    def _took(self) -> None:
        self._signal(self._room)

    def _abort(self) -> None:
        self._signal(self._closing)

    def _signal(self, event: asyncio.Event | None) -> None:
        if self._loop is not None and event is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended: so has the stream
                self._loop.call_soon_threadsafe(event.set)

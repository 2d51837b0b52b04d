"""One HTTP/2 connection: its streams, its flow control, and what it takes from a hostile peer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import struct
import time
from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
from tornado import httputil, iostream
from tornado.httpserver import HTTPServer

from kalam_server.http2.stream import Codes, H2Stream

log = logging.getLogger("kalam_server.http2")

MAX_STREAMS = 100
MAX_HEADER_LIST = 64 * 1024
STREAM_WINDOW = 1024 * 1024
CONNECTION_WINDOW = 8 * 1024 * 1024
#: Of a connection, and of a stream whose peer did not say.
DEFAULT_WINDOW = 65535
MAX_UNSENT = 64 * 1024 * 1024
#: A peer may reset this many streams, and gets one reset back every tenth of a second.
RESET_BUDGET, RESETS_PER_SECOND = 200, 10.0
#: As for resets: PING, SETTINGS, PRIORITY, and DATA without data.
CONTROL_BUDGET, CONTROLS_PER_SECOND = 1000, 100.0
IDLE_TIMEOUT = 600.0
#: Length (24 bits), type 0, flags, stream.
_DATA_HEAD = struct.Struct(">HBBBI")


class Budget:
    """A token bucket of one connection.

    Parameters
    ----------
    size : int
    per_second : float
        How many come back.
    """

    def __init__(self, size: int, per_second: float) -> None:
        self._size, self._per_second = size, per_second
        self._left, self._at = float(size), time.monotonic()

    def take(self) -> bool:
        """Take one; False when there is none."""
        now = time.monotonic()
        self._left = min(self._size, self._left + (now - self._at) * self._per_second) - 1
        self._at = now
        return self._left >= 0


class H2Connection:
    """One HTTP/2 connection and its streams."""

    def __init__(self, server: HTTPServer, stream: iostream.IOStream, context: Any) -> None:
        self.server, self.stream, self.context = server, stream, context
        stream.max_write_buffer_size = MAX_UNSENT
        stream.set_nodelay(True)  # small frames that follow each other would wait for an acknowledgement
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        )
        self.streams: dict[int, H2Stream] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._resets = Budget(RESET_BUDGET, RESETS_PER_SECOND)
        self._controls = Budget(CONTROL_BUDGET, CONTROLS_PER_SECOND)
        #: Frames that are not h2's.
        self._frames: list[bytes | memoryview] = []
        self._draining = False
        self._used = time.monotonic()
        self._empty = asyncio.Event()
        self._empty.set()

    async def serve(self) -> None:
        """Serve until either side has enough."""
        watch = asyncio.ensure_future(self._close_when_idle())
        try:
            self._open()
            while True:
                data = await self.stream.read_bytes(65536, partial=True)
                for event in self.h2.receive_data(data):
                    self._handle(event)
                self.flush()
        except h2.exceptions.ProtocolError as error:
            log.info("HTTP/2 protocol error from %s: %s", self.context.remote_ip, error)
            self.flush()
        except (iostream.StreamClosedError, iostream.StreamBufferFullError):
            pass
        finally:
            watch.cancel()
            for stream in list(self.streams.values()):
                stream.abort()
            self.stream.close()

    def _open(self) -> None:
        codes = h2.settings.SettingCodes
        self.h2.local_settings = h2.settings.Settings(
            client=False,
            initial_values={
                codes.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
                codes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
                codes.MAX_HEADER_LIST_SIZE: MAX_HEADER_LIST,
            },
        )
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(CONNECTION_WINDOW - 65535)
        self.flush()

    async def _close_when_idle(self) -> None:
        while True:
            await asyncio.sleep(IDLE_TIMEOUT / 4)
            if not self.streams and time.monotonic() - self._used > IDLE_TIMEOUT:
                self.goodbye(Codes.NO_ERROR)
                self.stream.close()
                return

    async def drain(self, timeout: float) -> None:
        """Take no new streams, let open ones end for `timeout` seconds, then say goodbye and close.

        GOAWAY comes last: once h2 has sent it, it sends nothing more on open streams.
        """
        self._draining = True
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._empty.wait(), timeout)
        self.goodbye(Codes.NO_ERROR)
        self.stream.close()

    def goodbye(self, code: h2.errors.ErrorCodes) -> None:
        """Send GOAWAY."""
        with contextlib.suppress(h2.exceptions.ProtocolError):
            self.h2.close_connection(code)
        self.flush()

    def flush(self) -> asyncio.Future[None] | None:
        """Hand what h2 wants sent to the socket; return the write's future."""
        self._frames.append(self.h2.data_to_send())
        data = b"".join(self._frames)
        self._frames.clear()
        if not data or self.stream.closed():
            return None
        try:
            future = self.stream.write(data)
        except iostream.StreamBufferFullError:
            log.info("closing HTTP/2 connection from %s: it does not read", self.context.remote_ip)
            self.stream.close()
            return None
        future.add_done_callback(lambda f: f.exception())
        return future

    def _handle(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.RequestReceived():
                self._start(event)
            case h2.events.DataReceived():
                if not event.data and event.stream_ended is None:
                    self._count_control()
                self._received_data(event)
            case h2.events.PingReceived() | h2.events.PriorityUpdated():
                self._count_control()
            case h2.events.StreamEnded():
                if found := self.streams.get(event.stream_id or 0):
                    found.inbox.put_nowait(None)
            case h2.events.StreamReset():
                self._was_reset(event.stream_id or 0)
            case h2.events.WindowUpdated() if event.stream_id:
                if found := self.streams.get(event.stream_id):
                    self.pump(found)
            case h2.events.WindowUpdated() | h2.events.RemoteSettingsChanged():
                if isinstance(event, h2.events.RemoteSettingsChanged):
                    self._count_control()
                for stream in list(self.streams.values()):
                    self.pump(stream)
            case h2.events.ConnectionTerminated():
                self.stream.close()

    def _received_data(self, event: h2.events.DataReceived) -> None:
        stream = self.streams.get(event.stream_id or 0)
        length = event.flow_controlled_length or 0
        if stream is not None:
            stream.inbox.put_nowait((event.data or b"", length))
        else:
            with contextlib.suppress(h2.exceptions.ProtocolError):
                self.h2.acknowledge_received_data(length, event.stream_id or 0)

    def _was_reset(self, stream_id: int) -> None:
        if stream := self._forget(stream_id):
            stream.abort()
        if not self._resets.take():
            self._refuse("too many resets")

    def _count_control(self) -> None:
        """Count a frame that costs us an answer or at least a look, and carries nothing."""
        if not self._controls.take():
            self._refuse("too many control frames")

    def _refuse(self, why: str) -> None:
        if not self.stream.closed():
            log.warning("closing HTTP/2 connection from %s: %s", self.context.remote_ip, why)
            self.goodbye(Codes.ENHANCE_YOUR_CALM)
            self.stream.close()

    def _start(self, event: h2.events.RequestReceived) -> None:
        stream_id = event.stream_id or 0
        # Handlers of reset streams still work: they count, or resets would buy unlimited work.
        if self._draining or len(self._tasks) >= 2 * MAX_STREAMS:
            self.h2.reset_stream(stream_id, Codes.REFUSED_STREAM)
            return
        pseudo, headers = _split(event.headers or [])
        method = pseudo[":method"]
        stream = H2Stream(
            self, stream_id, head=method == "HEAD", max_body=self.server.conn_params.max_body_size or 2**63
        )
        self.streams[stream_id] = stream
        self._empty.clear()
        if headers.get("Expect", "").lower() == "100-continue":
            self.h2.send_headers(stream_id, [(":status", "100")])
        line = httputil.RequestStartLine(method, pseudo.get(":path", "/"), "HTTP/2.0")
        stream.delegate = self.server.start_request(self, stream)
        task = asyncio.ensure_future(stream.run(line, headers))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _forget(self, stream_id: int) -> H2Stream | None:
        stream = self.streams.pop(stream_id, None)
        self._used = time.monotonic()
        if not self.streams:
            self._empty.set()
        return stream

    def send_headers(self, stream: H2Stream, fields: list[tuple[str, str]]) -> None:
        """Send a response head."""
        with contextlib.suppress(h2.exceptions.ProtocolError):
            self.h2.send_headers(stream.stream_id, fields)

    def acknowledge(self, stream: H2Stream, length: int) -> None:
        """Give back receive window: a handler has consumed `length` bytes."""
        if length:
            with contextlib.suppress(h2.exceptions.ProtocolError):
                self.h2.acknowledge_received_data(length, stream.stream_id)
            self.flush()

    def reset(self, stream: H2Stream, code: h2.errors.ErrorCodes) -> None:
        """End a stream from our side."""
        with contextlib.suppress(h2.exceptions.ProtocolError):
            self.h2.reset_stream(stream.stream_id, code)
        self._forget(stream.stream_id)
        stream.abort()
        self.flush()

    def pump(self, stream: H2Stream) -> None:
        """Send what flow control allows; settle the pending write when all of it is out."""
        if stream.dead or not stream.headers_sent or stream.finished:
            return
        try:
            self._send_data(stream)
            if not stream.outbox and stream.finishing:
                stream.finished = True
                self.h2.end_stream(stream.stream_id)
                self._forget(stream.stream_id)
                stream.inbox.put_nowait(None)
        except h2.exceptions.ProtocolError:
            self._forget(stream.stream_id)
            stream.abort()
        sent = self.flush()
        if not stream.outbox:
            stream.settle(sent)

    def _send_data(self, stream: H2Stream) -> None:
        """Send what fits the window.

        A piece is not cut where waiting for window helps: some clients parse each frame by itself.
        """
        outbox, together, size_together = stream.outbox, list[bytes | memoryview](), 0
        room = self.h2.local_flow_control_window(stream.stream_id) if outbox else 0
        limit = self.h2.max_outbound_frame_size
        whole = min(limit, self.h2.remote_settings.initial_window_size // 2, DEFAULT_WINDOW // 2)
        while outbox and room > 0:
            piece = outbox[0]
            size = len(piece)
            if size > room and size <= whole:
                break
            if size <= min(room, limit):
                outbox.popleft()
            else:
                view, size = memoryview(piece), min(room, limit)
                piece, outbox[0] = view[:size], view[size:]
            room -= size
            if size_together + size > limit:
                self._send_frames(stream.stream_id, together)
                together, size_together = [], 0
            together.append(piece)
            size_together += size
        if together:
            self._send_frames(stream.stream_id, together)

    def _send_frames(self, stream_id: int, pieces: list[bytes | memoryview]) -> None:
        """Send pieces, a frame each. To h2, which judges and counts, they are one frame.

        It takes longer for a frame than everything else takes for a row.
        """
        if len(pieces) == 1:
            self.h2.send_data(stream_id, pieces[0])
            return
        self._frames.append(self.h2.data_to_send())
        self.h2.send_data(stream_id, b"".join(pieces))
        self.h2.data_to_send()  # the one frame, instead of which these leave
        for piece in pieces:
            size = len(piece)
            self._frames += (_DATA_HEAD.pack(size >> 8, size & 255, 0, 0, stream_id), piece)


def _split(fields: Any) -> tuple[dict[str, str], httputil.HTTPHeaders]:
    """Take HTTP/2 header fields apart into pseudo headers and ordinary ones."""
    pseudo: dict[str, str] = {}
    headers = httputil.HTTPHeaders()
    for name, value in fields:
        if name.startswith(":"):
            pseudo[name] = value
        elif name == "cookie" and "Cookie" in headers:
            headers["Cookie"] += f"; {value}"  # HTTP/2 may split the cookie
        else:
            headers.add(name, value)
    if ":authority" in pseudo:
        headers["Host"] = pseudo[":authority"]
    return pseudo, headers

"""HTTP/2 beside HTTP/1.1 on one port, over real sockets."""

import asyncio
import socket
from contextlib import asynccontextmanager

import h2.connection
import h2.errors
import h2.events
import h2.settings
import httpx
import pytest
from tornado import httpclient, httpserver, netutil, web, websocket

from kalam_server import http2

BIG = b"0123456789abcdef" * 65536


class Echo(web.RequestHandler):
    def post(self):
        self.set_header("X-Version", self.request.version)
        self.write(self.request.body)

    def get(self):
        self.set_header("X-Version", self.request.version)
        self.write("hello")


class Big(web.RequestHandler):
    async def get(self):
        for _ in range(4):
            self.write(BIG)
            await self.flush()


@web.stream_request_body
class Duplex(web.RequestHandler):
    """Answers each chunk of the body as it arrives."""

    async def prepare(self):
        await self.flush()

    async def data_received(self, chunk):
        self.write(b"<" + chunk + b">")
        await self.flush()

    def post(self):
        self.finish(b"end")


class Hanging(web.RequestHandler):
    """Never answers; says when its client is gone."""

    started = asyncio.Event()
    gone = asyncio.Event()

    async def get(self):
        self.write("first")
        await self.flush()
        type(self).started.set()
        await asyncio.Event().wait()

    def on_connection_close(self):
        type(self).gone.set()


class Pieces(web.RequestHandler):
    """Answers with lines, each in a frame of its own."""

    async def get(self):
        if self.get_argument("cork", ""):
            self.request.connection.cork()
        await self.flush()
        await self.request.connection.write_pieces([b"%d,%s\n" % (i, b"x" * 300) for i in range(1000)])


class Socket(websocket.WebSocketHandler):
    def on_message(self, message):
        self.write_message(message)


@asynccontextmanager
async def serving():
    application = web.Application(
        [
            ("/echo", Echo),
            ("/big", Big),
            ("/duplex", Duplex),
            ("/hanging", Hanging),
            ("/pieces", Pieces),
            ("/ws", Socket),
        ]
    )
    server = httpserver.HTTPServer(application, max_body_size=1024 * 1024)
    http2.install(server)
    sockets = netutil.bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    try:
        yield server, sockets[0].getsockname()[1]
    finally:
        server.stop()
        await http2.drain(server)
        await server.close_all_connections()


def h2_client():
    return httpx.AsyncClient(http1=False, http2=True, timeout=20)


class Peer:
    """A bare HTTP/2 client, for what proper clients do not do."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.h2 = h2.connection.H2Connection()
        self.h2.initiate_connection()

    @classmethod
    async def connect(cls, port):
        self = cls(*await asyncio.open_connection("127.0.0.1", port))
        await self.send()
        return self

    async def send(self):
        self.writer.write(self.h2.data_to_send())
        await self.writer.drain()

    def request(self, path, method="GET", end_stream=True):
        stream = self.h2.get_next_available_stream_id()
        headers = [(":method", method), (":path", path), (":scheme", "http"), (":authority", "localhost")]
        self.h2.send_headers(stream, headers, end_stream=end_stream)
        return stream

    async def until(self, *kinds):
        """Events up to the first of the kinds; None in the end when the server closed."""
        seen = []
        while True:
            data = await asyncio.wait_for(self.reader.read(65536), 20)
            if not data:
                return [*seen, None]
            for event in self.h2.receive_data(data):
                seen.append(event)
                if isinstance(event, h2.events.DataReceived):
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            await self.send()
            if any(isinstance(e, kinds) for e in seen):
                return seen


async def test_prior_knowledge_is_served_as_http2():
    async with serving() as (_, port), h2_client() as client:
        answer = await client.post(f"http://127.0.0.1:{port}/echo", content=b"x" * 300_000)
        assert (answer.http_version, answer.content) == ("HTTP/2", b"x" * 300_000)
        assert answer.headers["x-version"] == "HTTP/2.0"


async def test_http1_and_websockets_go_on_as_before():
    async with serving() as (_, port):
        answer = await httpclient.AsyncHTTPClient().fetch(f"http://127.0.0.1:{port}/echo")
        assert answer.headers["X-Version"] == "HTTP/1.1"
        socket_ = await websocket.websocket_connect(f"ws://127.0.0.1:{port}/ws")
        await socket_.write_message("round")
        assert await socket_.read_message() == "round"
        socket_.close()


async def test_large_answers_pass_flow_control():
    async with serving() as (_, port), h2_client() as client:
        answers = await asyncio.gather(*(client.get(f"http://127.0.0.1:{port}/big") for _ in range(3)))
        assert [a.content == BIG * 4 for a in answers] == [True] * 3


async def test_a_head_request_gets_no_body():
    async with serving() as (_, port), h2_client() as client:
        answer = await client.head(f"http://127.0.0.1:{port}/echo")
        assert answer.status_code == 405
        assert answer.content == b""


async def test_answers_come_while_the_request_goes_on():
    async with serving() as (_, port):
        peer = await Peer.connect(port)
        stream = peer.request("/duplex", "POST", end_stream=False)
        await peer.send()
        await peer.until(h2.events.ResponseReceived)
        for piece in (b"one", b"two"):
            peer.h2.send_data(stream, piece)
            await peer.send()
            events = await peer.until(h2.events.DataReceived)
            data = b"".join(e.data for e in events if isinstance(e, h2.events.DataReceived))
            assert data == b"<" + piece + b">"
        peer.h2.end_stream(stream)
        await peer.send()
        await peer.until(h2.events.StreamEnded)


async def test_a_body_beyond_the_limit_is_refused():
    async with serving() as (_, port), h2_client() as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post(f"http://127.0.0.1:{port}/echo", content=b"x" * (1024 * 1024 + 1))


async def test_a_reset_and_a_disconnect_reach_the_handler():
    for leave in ("reset", "disconnect"):
        Hanging.started, Hanging.gone = asyncio.Event(), asyncio.Event()
        async with serving() as (_, port):
            peer = await Peer.connect(port)
            stream = peer.request("/hanging")
            await peer.send()
            await asyncio.wait_for(Hanging.started.wait(), 20)
            if leave == "reset":
                peer.h2.reset_stream(stream)
                await peer.send()
            else:
                peer.writer.close()
            await asyncio.wait_for(Hanging.gone.wait(), 20)


async def test_rapid_resets_end_the_connection():
    async with serving() as (_, port):
        peer = await Peer.connect(port)
        for _ in range(http2.RESET_BUDGET + 50):
            peer.h2.reset_stream(peer.request("/echo"))
        await peer.send()
        events = await peer.until(h2.events.ConnectionTerminated)
        assert events[-1] is None or isinstance(events[-1], h2.events.ConnectionTerminated)


async def test_more_streams_than_allowed_are_a_protocol_error():
    async with serving() as (_, port):
        peer = await Peer.connect(port)
        peer.h2.remote_settings[h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS] = 10_000
        for _ in range(http2.MAX_STREAMS + 5):
            peer.request("/hanging")
        await peer.send()
        events = await peer.until(h2.events.ConnectionTerminated)
        assert events[-1] is None or isinstance(events[-1], h2.events.ConnectionTerminated)


async def test_a_protocol_error_ends_the_connection():
    async with serving() as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        data_on_an_idle_stream = b"\x00\x00\x01\x00\x00\x00\x00\x00\x01x"
        writer.write(http2.PREFACE + data_on_an_idle_stream)
        assert await asyncio.wait_for(_drained(reader), 20)


async def _drained(reader):
    while await reader.read(65536):
        pass
    return True


async def test_a_preface_in_pieces_is_understood():
    async with serving() as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = h2.connection.H2Connection()
        connection.initiate_connection()
        data = connection.data_to_send()
        for i in range(len(http2.PREFACE)):
            writer.write(data[i : i + 1])
            await writer.drain()
            await asyncio.sleep(0)
        writer.write(data[len(http2.PREFACE) :])
        events = connection.receive_data(await asyncio.wait_for(reader.read(65536), 20))
        assert any(isinstance(e, h2.events.RemoteSettingsChanged) for e in events)
        writer.close()


async def test_drain_lets_answers_finish_and_refuses_new_streams():
    Hanging.started, Hanging.gone = asyncio.Event(), asyncio.Event()
    async with serving() as (server, port):
        peer = await Peer.connect(port)
        peer.request("/hanging")
        await peer.send()
        await asyncio.wait_for(Hanging.started.wait(), 20)
        draining = asyncio.ensure_future(http2.drain(server))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        late = peer.request("/echo")
        await peer.send()
        events = await peer.until(h2.events.StreamReset)
        assert [e.stream_id for e in events if isinstance(e, h2.events.StreamReset)] == [late]
        await draining
        assert Hanging.gone.is_set()


def frames_of(events):
    return [e.data for e in events if isinstance(e, h2.events.DataReceived) and e.data]


async def test_each_piece_is_a_frame():
    async with serving() as (_, port):
        for path in ("/pieces", "/pieces?cork=1"):
            peer = await Peer.connect(port)
            peer.request(path)
            await peer.send()
            frames = frames_of(await peer.until(h2.events.StreamEnded))
            assert [int(f.partition(b",")[0]) for f in frames] == list(range(1000))
            assert {f[-1:] for f in frames} == {b"\n"}
            peer.writer.close()


@pytest.mark.parametrize("window", [300, 1000, 20_000])
async def test_pieces_pass_any_window_in_order_and_whole_where_that_is_possible(window):
    async with serving() as (_, port):
        peer = Peer(*await asyncio.open_connection("127.0.0.1", port))
        peer.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
        await peer.send()
        peer.request("/pieces")
        await peer.send()
        frames = frames_of(await peer.until(h2.events.StreamEnded))
        assert b"".join(frames) == b"".join(b"%d,%s\n" % (i, b"x" * 300) for i in range(1000))
        if window >= 1000:
            assert len(frames) == 1000


async def test_who_does_not_read_holds_the_handler_back():
    async with serving() as (_, port):
        peer = Peer(*await asyncio.open_connection("127.0.0.1", port))
        peer.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
        await peer.send()
        stream = peer.request("/big")
        await peer.send()
        await peer.until(h2.events.ResponseReceived)
        peer.h2.ping(b"are we  ")
        await peer.send()
        assert frames_of(await peer.until(h2.events.PingAckReceived)) == []
        peer.h2.increment_flow_control_window(2**31 - 1, stream)
        peer.h2.increment_flow_control_window(2**30)
        await peer.send()
        assert b"".join(frames_of(await peer.until(h2.events.StreamEnded))) == BIG * 4


def flood_of(kind, peer):
    """More frames of a kind than a connection may send."""
    if kind == "ping":
        return b"".join(
            [b"\x00\x00\x08\x06\x00\x00\x00\x00\x00" + b"12345678"] * (http2.CONTROL_BUDGET + 100)
        )
    if kind == "settings":
        return b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" * (http2.CONTROL_BUDGET + 100)
    stream = peer.request("/duplex", "POST", end_stream=False)
    head = peer.h2.data_to_send()
    return head + (b"\x00\x00\x00\x00\x00" + stream.to_bytes(4)) * (http2.CONTROL_BUDGET + 100)


@pytest.mark.parametrize("kind", ["ping", "settings", "empty data"])
async def test_floods_of_frames_that_carry_nothing_end_the_connection(kind):
    async with serving() as (_, port):
        peer = await Peer.connect(port)
        await peer.until(h2.events.RemoteSettingsChanged)
        peer.writer.write(flood_of(kind, peer))
        assert await asyncio.wait_for(_ended(peer.reader), 20)


async def _ended(reader):
    try:
        return await _drained(reader)
    except ConnectionResetError:
        return True


async def test_header_lists_are_limited():
    async with serving() as (_, port):
        peer = await Peer.connect(port)
        await peer.until(h2.events.RemoteSettingsChanged)
        stream = peer.h2.get_next_available_stream_id()
        headers = [(":method", "GET"), (":path", "/echo"), (":scheme", "http"), (":authority", "localhost")]
        peer.h2.send_headers(stream, [*headers, ("x-much", "y" * 100_000)])
        peer.writer.write(peer.h2.data_to_send())
        events = await peer.until(h2.events.ConnectionTerminated)
        assert not any(isinstance(e, h2.events.ResponseReceived) for e in events)


async def test_continuations_without_end_end_the_connection():
    async with serving() as (_, port):
        peer = await Peer.connect(port)
        headers = b"\x00\x00\x01\x01\x00\x00\x00\x00\x01\x82"  # HEADERS without END_HEADERS
        peer.writer.write(headers + b"\x00\x00\x00\x09\x00\x00\x00\x00\x01" * 10_000)
        assert await asyncio.wait_for(_ended(peer.reader), 20)


async def test_connections_that_nobody_uses_are_closed(monkeypatch):
    monkeypatch.setattr("kalam_server.http2.connection.IDLE_TIMEOUT", 0.02)
    async with serving() as (_, port):
        peer = await Peer.connect(port)
        events = await peer.until(h2.events.ConnectionTerminated)
        terminated = [e for e in events if isinstance(e, h2.events.ConnectionTerminated)]
        assert [e.error_code for e in terminated] == [h2.errors.ErrorCodes.NO_ERROR]


async def test_drain_says_goodbye():
    async with serving() as (server, port):
        peer = await Peer.connect(port)
        await peer.until(h2.events.RemoteSettingsChanged)
        await http2.drain(server)
        events = await peer.until(h2.events.ConnectionTerminated)
        terminated = [e for e in events if isinstance(e, h2.events.ConnectionTerminated)]
        assert [e.error_code for e in terminated] == [h2.errors.ErrorCodes.NO_ERROR]

"""A live query of a server that talks otherwise."""

import asyncio
import threading

import pytest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application
from tornado.websocket import WebSocketHandler

from kalam_jupyter.client import ClientError
from kalam_jupyter.client.live_socket import LiveSocketStream
from kalam_jupyter.client.wire import Wire


@pytest.fixture
def wire(request):
    """A connection to a server that answers the subscription with `request.param`."""

    class Strange(WebSocketHandler):
        def open(self):
            self.write_message('{"type": "auth_success"}')

        def on_message(self, _):
            self.write_message(request.param)

    loop, stop = asyncio.new_event_loop(), asyncio.Event()
    (socket,) = bind_sockets(0, "127.0.0.1")

    async def serve():
        server = HTTPServer(Application([("/v1/ws", Strange)]))
        server.add_sockets([socket])
        await stop.wait()
        server.stop()
        await server.close_all_connections()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    yield Wire.to(f"http://127.0.0.1:{socket.getsockname()[1]}")
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()


@pytest.mark.parametrize("wire", ["[1, 2", "[]", '{"kind": "ack"}', '{"type": "change"}'], indirect=True)
def test_it_is_said_which_server_sent_what_is_no_message(wire):
    with pytest.raises(ClientError, match="sent no message of a live query") as refused:
        LiveSocketStream.open(wire, "SELECT * FROM app.t", {})
    assert refused.value.code == "PROTOCOL" and wire.url in refused.value.message

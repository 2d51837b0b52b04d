"""Clients that cost next to nothing: HTTP/1.1 and WebSocket over blocking sockets, bytes counted."""

from __future__ import annotations

import base64
import json
import os
import resource
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import h2.connection
import h2.events
import h2.settings
import psutil

TOKEN, PASSWORD = "benchmark", "RootPass123!"


def request(method: str, path: str, body: Any = None, token: str = TOKEN) -> bytes:
    """Return a keep-alive request with a JSON body."""
    data = b"" if body is None else json.dumps(body).encode()
    return (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    ).encode() + data


def sql(text: str, token: str = TOKEN, namespace: str | None = None) -> bytes:
    """Return the request that runs a statement."""
    body = {"sql": text} if namespace is None else {"sql": text, "namespace_id": namespace}
    return request("POST", "/v1/api/sql", body, token)


def complete(data: bytes) -> bool:
    """Whether an answer is there to its end."""
    head, found, body = data.partition(b"\r\n\r\n")
    if not found:
        return False
    lower = head.lower()
    if b"content-length: " in lower:
        return len(body) >= int(lower.split(b"content-length: ")[1].split(b"\r\n")[0])
    return b"chunked" not in lower or body.endswith(b"0\r\n\r\n")


class Http:
    """One keep-alive connection."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def start(self, data: bytes) -> None:
        """Send a request."""
        self.socket.sendall(data)

    def answer(self, *, refused: bool = False) -> bytes:
        """Return the body of the answer to the request sent last."""
        data = b""
        while not complete(data):
            part = self.socket.recv(1 << 20)
            if not part:
                raise RuntimeError("the server closed the connection")
            data += part
        if not refused and not data.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(data[:500].decode())
        return data.partition(b"\r\n\r\n")[2]

    def send(self, data: bytes) -> bytes:
        """Send a request and return the body of its answer."""
        self.start(data)
        return self.answer()

    def sql(self, text: str) -> Any:
        """Run a statement and return its first result."""
        return json.loads(self.send(sql(text)))["results"][0]

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()


def at_once(connections: Sequence[Http], requests: Sequence[bytes]) -> None:
    """Send each request over a connection of its own, in turns when there are more, and await all answers."""
    for first in range(0, len(requests), len(connections)):
        part = list(zip(connections, requests[first : first + len(connections)], strict=False))
        for connection, data in part:
            connection.start(data)
        for connection, _ in part:
            connection.answer()


class Http2:
    """One HTTP/2 connection; `start` may be called again before answers have come."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._h2, self._answers, self._pieces = h2.connection.H2Connection(), 0, 0
        self._h2.initiate_connection()
        self._h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 2**30})
        self._h2.increment_flow_control_window(2**30)
        self._flush()

    def _flush(self) -> None:
        self.socket.sendall(self._h2.data_to_send())

    def start(self, method: str, path: str, body: Any = None, token: str = TOKEN) -> int:
        """Send a request with a JSON body; return its stream."""
        self._pieces = 0
        stream = self._h2.get_next_available_stream_id()
        head = [(":method", method), (":path", path), (":scheme", "http"), (":authority", "127.0.0.1")]
        head += [("authorization", f"Bearer {token}"), ("content-type", "application/json")]
        self._h2.send_headers(stream, head, end_stream=body is None)
        if body is not None:
            self._h2.send_data(stream, json.dumps(body).encode(), end_stream=True)
        self._flush()
        return stream

    def take(self, *, answers: int = 0, pieces: int = 0) -> None:
        """Read until so many answers have ended and so many DATA frames have come."""
        while self._answers < answers or self._pieces < pieces:
            data = self.socket.recv(1 << 20)
            if not data:
                raise RuntimeError("the server closed the connection")
            for event in self._h2.receive_data(data):
                if (
                    isinstance(event, h2.events.ResponseReceived)
                    and (b":status", b"200") not in event.headers
                ):
                    raise RuntimeError(str(event.headers))
                if isinstance(event, h2.events.DataReceived):
                    self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    self._pieces += 1
                self._answers += isinstance(event, h2.events.StreamEnded)
            self._flush()
        self._answers -= answers

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()


class Ws:
    """One WebSocket of the local user, authenticated by its upgrade."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            (
                f"GET /v1/ws?compress=false HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n"
                f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
                "Sec-WebSocket-Version: 13\r\n\r\n"
            ).encode()
        )
        self.until(b"auth_success")

    def until(self, mark: bytes, times: int = 1) -> None:
        """Read until something has come so many times."""
        data, found, last = b"", 0, time.monotonic()
        while found < times:
            part = self.socket.recv(1 << 20)
            if time.monotonic() - last > 2:  # the server asks every few seconds
                last = time.monotonic()
                self.pong()
            if not part:
                raise RuntimeError("the server closed the WebSocket")
            data = data[-len(mark) + 1 :] + part if len(mark) > 1 else part
            found += data.count(mark)

    def send(self, *messages: Any) -> None:
        """Send messages, in one write."""
        self.socket.sendall(b"".join(map(_masked, messages)))

    def subscribe(self, name: str, text: str, **options: int) -> None:
        """Subscribe and wait for the last initial rows."""
        self.send({"type": "subscribe", "subscription": {"id": name, "sql": text, "options": options}})
        self.until(b"initial_data_batch")

    def pong(self) -> None:
        """Say that this client is there."""
        self.socket.sendall(b"\x8a\x80\0\0\0\0")

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()


def _masked(message: Any) -> bytes:
    """Return the frame of a client's message (under a mask of zeros)."""
    data = json.dumps(message).encode()
    size = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
    return b"\x81" + size + b"\0\0\0\0" + data


class Audience:
    """Many WebSockets whose messages are counted."""

    def __init__(self, sockets: Iterable[Ws] = ()) -> None:
        self.sockets: dict[int, Ws] = {}
        self._poll = select.epoll()
        self._buffer = bytearray(1 << 20)
        for ws in sockets:
            self.add(ws)

    def add(self, ws: Ws) -> None:
        """Listen to one more."""
        self.sockets[ws.socket.fileno()] = ws
        self._poll.register(ws.socket, select.EPOLLIN)

    def take(self, messages: int, mark: bytes = b'"change_type"') -> None:
        """Wait until so many messages that hold `mark` once have come in all."""
        buffer, got, last = self._buffer, 0, time.monotonic()
        most = len(mark) - 1
        view = memoryview(buffer)
        ends: dict[int, bytes] = {}  # of what was read before: a mark may come in two pieces
        while got < messages:
            for number, _ in self._poll.poll(20):
                ws = self.sockets[number]
                end = ends.get(number, b"")
                buffer[: len(end)] = end
                size = ws.socket.recv_into(view[len(end) :])
                if not size:
                    raise RuntimeError("the server closed a WebSocket")
                size += len(end)
                got += buffer.count(mark, 0, size)
                ends[number] = bytes(buffer[max(0, size - most) : size])
            if time.monotonic() - last > 5:
                last = time.monotonic()
                for ws in self.sockets.values():
                    ws.pong()

    def close(self) -> None:
        """Close them all."""
        self._poll.close()
        for ws in self.sockets.values():
            ws.close()


def many_files() -> None:
    """Allow as many sockets as the machine does."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@dataclass(frozen=True)
class Server:
    """A server process.

    Attributes
    ----------
    port : int
        Of KalamDB's API.
    """

    port: int
    process: subprocess.Popen[str]
    usage: psutil.Process

    @property
    def memory(self) -> int:
        """Resident bytes."""
        return int(self.usage.memory_info().rss)

    @property
    def cpu(self) -> float:
        """Processor time used so far, in seconds."""
        used = self.usage.cpu_times()
        return float(used.user + used.system)


@contextmanager
def kalam_serve(data: str, **settings: object) -> Iterator[Server]:
    """Run ``kalam serve`` on a directory.

    Parameters
    ----------
    settings : object
        Of ``KALAMDB_`` variables.
    """
    variables = {f"KALAMDB_{name.upper()}": str(value) for name, value in settings.items()}
    environment = {**os.environ, "BENCHMARK_TOKEN": TOKEN, "KALAMDB_ROOT_PASSWORD": PASSWORD, **variables}
    command = [sys.executable, "-m", "kalam_server.cli", "serve", "--data", data, "--development"]
    command += ["--kalam-port", "0", "--ksql-port", "0", "--token-env", "BENCHMARK_TOKEN"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline().rsplit(":", 1)[1])
        yield Server(port, process, psutil.Process(process.pid))
    finally:
        process.terminate()
        process.wait(60)

"""The server that REST cases talk to: the real listener on a real port, a node of its own for each case."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import threading
from collections.abc import Coroutine, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any, TypeVar

from kalam_jupyter.kalam import KalamConfig
from kalam_jupyter.ksql import Ksql
from kalam_jupyter.ksql.testing.records import exact_json
from kalam_jupyter.node import Node
from kalam_server.context import Context
from kalam_server.identity import Gate
from kalam_server.listener import Listener
from kalam_server.negotiate import KSQL_PROTOBUF
from kalam_server.service import Service
from tests.conformance import functions

T = TypeVar("T")


def exact(text: str) -> Any:
    """Return JSON with every number as it was printed."""
    return json.loads(text, parse_float=Decimal)


#: Server properties of the suite.
PROPERTIES = {
    "ksql.streams.auto.offset.reset": "earliest",
    "ksql.query.pull.table.scan.enabled": "true",
    "ksql.query.push.v2.enabled": "true",
}
START_SECONDS = 30.0
#: A push query that has not ended by then waits for rows that will not come.
ANSWER_SECONDS = 8.0


@dataclass(frozen=True)
class Refusal:
    """An answer with another status than 200."""

    status: int
    body: Any


class Stream:
    """The answer to a query, element by element as it arrives."""

    def __init__(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
        self._connection, self._response = connection, response

    def first(self) -> Any:
        """Return the header."""
        return self._element(self._response.readline())

    def rest(self) -> list[Any]:
        """Return all other elements, waiting for the end of the answer."""
        try:
            lines = self._response.read().splitlines()
        finally:
            self._connection.close()
        return [self._element(line) for line in lines]

    @staticmethod
    def _element(line: bytes) -> Any:
        """One line without what makes the whole a JSON array (HTTP contract, section 7.4)."""
        text = line.decode().strip()
        return exact(text.removeprefix("[").removesuffix(",").removesuffix("]"))


class Server:
    """A listening node.

    Attributes
    ----------
    ksql : Ksql
        What it serves, for producing to topics and reading them.
    port : int
    """

    def __init__(self, ksql: Ksql, port: int) -> None:
        self.ksql, self.port = ksql, port

    def statements(self, text: str, properties: Mapping[str, Any]) -> list[Any] | Refusal:
        """Send statements to ``/ksql``; return the entities."""
        connection, response = self._post("/ksql", {"ksql": text, "streamsProperties": dict(properties)})
        with contextlib.closing(connection):
            body = exact(response.read().decode())
        return body if response.status == 200 else Refusal(response.status, body)

    def query(self, text: str, properties: Mapping[str, Any]) -> Stream | Refusal:
        """Send a query to ``/query``."""
        return self._stream("/query", {"ksql": text, "streamsProperties": dict(properties)}, {})

    def protobuf_query(self, text: str, properties: Mapping[str, Any]) -> Stream | Refusal:
        """Send a query to ``/query-stream``, asking for Protobuf."""
        body = {"sql": text, "properties": dict(properties)}
        return self._stream("/query-stream", body, {"Accept": KSQL_PROTOBUF})

    def _stream(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> Stream | Refusal:
        connection, response = self._post(path, body, headers)
        if response.status == 200:
            return Stream(connection, response)
        with contextlib.closing(connection):
            text = response.read().decode()
            is_json = text.startswith("{")
            return Refusal(response.status, exact(text) if is_json else text)

    def _post(
        self, path: str, body: Mapping[str, Any], headers: Mapping[str, str] = {}
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_SECONDS)
        connection.request("POST", path, exact_json(body).encode(), dict(headers))
        return connection, connection.getresponse()


@contextlib.contextmanager
def serve() -> Iterator[Server]:
    """Serve a new node on a free port."""
    node = Node.open(ksql=PROPERTIES, kalam=KalamConfig(bcrypt_cost=4))
    functions.register(node.ksql)
    service = Service(lambda: node, workers=4)
    service.node()

    async def start() -> Listener:
        listener = Listener(Context(service, Gate(lambda: ()), root="ksql"), open_ksql=True)
        listener.listen(0)
        return listener

    async def stop() -> None:
        await listener.close()
        await service.close()

    listener = _run(start())
    try:
        yield Server(node.ksql, listener.port)
    finally:
        _run(stop())


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """The event loop of this process's servers, in a thread of its own."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="conformance-server", daemon=True).start()
    return loop


def _run(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run_coroutine_threadsafe(coroutine, _loop()).result(START_SECONDS)


__all__ = ["PROPERTIES", "Refusal", "Server", "Stream", "serve"]

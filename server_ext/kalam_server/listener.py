"""A port of its own for the two APIs, without Jupyter: HTTP/1.1 and HTTP/2 on the same port."""

from __future__ import annotations

import asyncio
import errno
import logging
import re
import socket
import ssl
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from tornado import httputil, netutil, web
from tornado.httpserver import HTTPServer

from kalam_server import http1, http2
from kalam_server.context import Context
from kalam_server.identity import Gate, is_loopback
from kalam_server.kalam_handlers.express import SqlExpress
from kalam_server.kalam_handlers.plain import Expresses
from kalam_server.kalam_handlers.topics import ConsumeExpress
from kalam_server.route import Entry, NotFound, PlainBase, bind
from kalam_server.routes import KALAM_ROUTES, KSQL_ROOT, KSQL_ROUTES, KalamNotFound

log = logging.getLogger("kalam_server")

#: A pattern that one path matches, or one and the same with a slash behind it.
_FIXED_PATH = re.compile(r"(/[\w/-]*)(/\?)?")
_ABSOLUTE = re.compile(r"^https?://[^/?#]*", re.IGNORECASE)
#: Bodies are limited by the APIs' own rules; this only bounds memory.
MAX_BODY_BYTES = 100 * 1024 * 1024
IDLE_SECONDS = 3600.0
#: Connections taken before others have their turn on the event loop.
ACCEPTED_AT_ONCE = 128
#: How long connections wait when descriptors or memory for them ran out.
PATIENCE_SECONDS = 0.5
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class OpenAddressError(ValueError):
    """An unauthenticated listener may only be on a loopback address."""


class PlainApplication(web.Application):
    """Routes absolute-form targets (``POST http://host/ksql``) like origin-form ones.

    Paths without parameters, which most requests have, are found in a dictionary.
    """

    def __init__(self, table: Sequence[tuple[str, type[web.RequestHandler], dict[str, Any]]]) -> None:
        super().__init__(list(table), log_function=_log_nothing)
        self._fixed: dict[str, tuple[type[web.RequestHandler], dict[str, Any]]] = {}
        for pattern, handler, arguments in table:
            if found := _FIXED_PATH.fullmatch(pattern):
                for path in (found[1], found[1] + "/") if found[2] else (found[1],):
                    self._fixed.setdefault(path, (handler, arguments))

    def find_handler(self, request: httputil.HTTPServerRequest, **kwargs: Any) -> Any:
        """See `tornado.web.Application`."""
        if not request.path.startswith("/") and (found := _ABSOLUTE.match(request.path)):
            request.path = request.path[found.end() :] or "/"
        fixed = self._fixed.get(request.path)
        if fixed is not None:
            return self.get_handler_delegate(request, *fixed, path_args=[], path_kwargs={})
        return super().find_handler(request, **kwargs)


class PatientServer(HTTPServer):
    """Where descriptors run out, waits a while before it accepts again: at once, it would do nothing else."""

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        """See `tornado.tcpserver.TCPServer`."""
        for sock in sockets:
            self._sockets[sock.fileno()] = sock
            self._handlers[sock.fileno()] = _accept(sock, self._handle_connection)


def _accept(sock: socket.socket, callback: Callable[[socket.socket, Any], None]) -> Callable[[], None]:
    """Call `callback` with each connection; return what ends that."""
    loop = asyncio.get_running_loop()
    ended = exhausted = False

    def begin() -> None:
        if not ended:
            loop.add_reader(sock, ready)

    def ready() -> None:
        nonlocal exhausted
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                connection, address = sock.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                if not exhausted:
                    log.error("connections have to wait: %s", error)
                exhausted = True
                loop.remove_reader(sock)
                loop.call_later(PATIENCE_SECONDS, begin)
                return
            exhausted = False
            callback(connection, address)

    def end() -> None:
        nonlocal ended
        ended = True
        loop.remove_reader(sock)

    begin()
    return end


class Listener:
    """Serves both APIs at the root of one port.

    Parameters
    ----------
    context : Context
        ``context.root`` names the API that answers unknown paths.
    open_ksql : bool
        Whether ksqlDB's API takes requests without credentials. KalamDB's never does.
    tls : ssl.SSLContext, optional
        Serve https; HTTP/2 is then offered by ALPN.
    """

    def __init__(
        self, context: Context, *, open_ksql: bool = False, tls: ssl.SSLContext | None = None
    ) -> None:
        self._context, self._open_ksql = context, open_ksql
        if tls is not None:
            tls.set_alpn_protocols(["h2", "http/1.1"])
        self._tls = tls
        self._server: HTTPServer | None = None
        self._http1: http1.Installed | None = None
        self.port = 0

    def listen(self, port: int, host: str = "127.0.0.1") -> None:
        """Begin to listen; port 0 takes a free one, see `port`.

        Raises
        ------
        OpenAddressError
            If the ksqlDB API is open and `host` is not loopback.
        OSError
            If the address cannot be had.
        """
        loopback = is_loopback(host)
        if self._open_ksql and not loopback:
            raise OpenAddressError(f"ksqlDB's API without authentication is for loopback, not for {host}")
        sockets = netutil.bind_sockets(port, host)
        self.port = sockets[0].getsockname()[1]
        context = replace(self._context, check_host=loopback)
        ksql_context = replace(context, gate=Gate(context.gate.secrets, open=self._open_ksql))
        kalam, ksql = (
            bind(KALAM_ROUTES, PlainBase, context),
            bind(KSQL_ROUTES + (KSQL_ROOT if context.root == "ksql" else []), PlainBase, ksql_context),
        )
        fallback = bind([Entry(r".*", FALLBACKS[context.root or "ksql"])], PlainBase, context)
        application = PlainApplication(kalam + ksql + fallback)
        server = PatientServer(
            application,
            ssl_options=self._tls,
            max_body_size=MAX_BODY_BYTES,
            max_buffer_size=MAX_BODY_BYTES,
            idle_connection_timeout=IDLE_SECONDS,
        )
        express = Expresses([SqlExpress(context), ConsumeExpress(context)])
        self._http1 = http1.install(
            server, max_body=MAX_BODY_BYTES, idle_timeout=IDLE_SECONDS, express=express
        )
        http2.install(server)
        server.add_sockets(sockets)
        self._server = server

    async def close(self) -> None:
        """Stop accepting, let answers in flight finish shortly, close connections."""
        if self._server is not None:
            self._server.stop()
            await http2.drain(self._server)
            if self._http1 is not None:
                await self._http1.drain()
            await self._server.close_all_connections()


class KsqlNotFound(NotFound):
    """ksqlDB's answer to an unknown path."""

    def failure(self, error: BaseException) -> tuple[int, Any]:
        """See `Route.failure`."""
        return 404, "Not Found"


FALLBACKS: dict[str, type[NotFound]] = {"ksql": KsqlNotFound, "kalam": KalamNotFound}


def _log_nothing(handler: web.RequestHandler) -> None:
    """No access log: query strings may hold tokens."""

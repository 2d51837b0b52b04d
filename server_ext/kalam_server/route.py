"""Base of all handlers, in plain Tornado and under Jupyter Server alike.

A handler is written once, against `Route`. `plain` and `jupyter` each bind it to their own way of
finding out who is calling (`PlainBase`, `JupyterBase`); everything else is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson
from tornado import web
from tornado.httputil import HTTPServerRequest

from kalam_server.context import Context
from kalam_server.identity import ANONYMOUS, Caller, client_ip, is_loopback, stranger

JSON_TYPE = "application/json"


class Route(web.RequestHandler):
    """A handler of one of the two APIs.

    Attributes
    ----------
    context : Context
    caller : Caller
        Set before the method runs.
    public : frozenset of str
        Methods that whoever reaches the port may call.
    cors_methods, cors_headers : tuple of str
        What web pages of admitted origins may use.
    cors_credentials : bool
        Whether such pages may send credentials, whatever the mount's setting.
    """

    context: Context
    caller: Caller = ANONYMOUS
    public: frozenset[str] = frozenset()
    cors_methods: tuple[str, ...] = ("GET", "POST", "HEAD")
    cors_headers: tuple[str, ...] = ("X-Requested-With", "Content-Type", "Accept", "Origin", "Authorization")
    cors_credentials: bool = False

    def initialize(self, context: Context) -> None:
        """Take the mount's context."""
        self.context = context

    def identify(self) -> Caller | None:
        """Return the caller that the ``Authorization`` header names, None when it names none."""
        return self.context.gate.caller(self.request.headers)

    @property
    def client_ip(self) -> str:
        """Address the request comes from, as KalamDB determines it."""
        return client_ip(self.request.remote_ip or "", self.request.headers, self.context.trusted_proxies)

    def located(self, caller: Caller) -> Caller:
        """Return a caller of this request with where it comes from."""
        address = self.client_ip
        return caller if is_loopback(address) else replace(caller, address=address)

    def failure(self, error: BaseException) -> tuple[int, Any]:
        """Return status and body for an error: the API's own envelope. Bytes and str go out as they are."""
        raise NotImplementedError

    def is_expected(self, error: BaseException | None) -> bool:
        """Whether an error is an answer to the client rather than a defect to log."""
        return isinstance(error, web.HTTPError)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer with the API's error envelope."""
        exc_info = kwargs.get("exc_info")
        error = exc_info[1] if exc_info else web.HTTPError(status_code)
        status, body = self.failure(error)
        self.set_status(status)
        if isinstance(body, (bytes, str)):
            self.set_header("Content-Type", "text/plain; charset=utf-8")
            self.finish(body)
        else:
            self.send_json(body)

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        """Log defects with their traceback, refusals not at all (the access log has them)."""
        if not self.is_expected(value):
            super().log_exception(typ, value, tb)

    def send_json(self, body: Any, *, status: int | None = None) -> None:
        """Finish with a JSON body."""
        if status is not None:
            self.set_status(status)
        self.set_header("Content-Type", JSON_TYPE)
        self.finish(body if isinstance(body, bytes) else orjson.dumps(body))

    def send_nothing(self, status: int) -> None:
        """Finish without a body."""
        self.set_status(status)
        self.clear_header("Content-Type")
        self.finish()

    def cork(self) -> None:
        """Have the whole answer leave in one write, where the connection can; it is small."""
        hold_back = getattr(self.request.connection, "cork", None)
        if hold_back is not None:
            hold_back()

    async def send_pieces(self, pieces: Sequence[bytes]) -> None:
        """Send pieces of a streamed body, each as a chunk or DATA frame of its own, all in one write.

        The answer's head has been flushed, and nothing was written since.
        """
        connection: Any = self.request.connection
        write_pieces = getattr(connection, "write_pieces", None)  # ours have it
        if write_pieces is not None:
            await write_pieces(pieces)
        elif self.request.version == "HTTP/1.1":
            await connection.stream.write(b"".join([b"%x\r\n%b\r\n" % (len(p), p) for p in pieces if p]))
        else:
            await connection.stream.write(b"".join(pieces))

    def on_finish(self) -> None:
        """The answer is complete: what is missing of a body that is read as it comes is not waited for."""
        super().on_finish()
        web.RequestHandler.on_connection_close(self)  # not a WebSocket's, which goes on

    def compute_etag(self) -> None:
        """No ETag: answers are never cached, and hashing them would cost."""
        return

    def stream_plainly(self) -> None:
        """Keep transforms that buffer or compress away from a stream."""
        self._transforms: list[web.OutputTransform] = []


class NotFound(Route):
    """Any path nobody knows."""

    def prepare(self) -> None:
        raise web.HTTPError(404)


@dataclass(frozen=True)
class Entry:
    """A line of a route table.

    Attributes
    ----------
    pattern : str
        Regular expression of the path below the mount, beginning with ``/``.
    handler : type
    """

    pattern: str
    handler: type[Route]


def is_json(request: HTTPServerRequest) -> bool:
    """Whether the body is declared as JSON."""
    return request.headers.get("Content-Type", "").partition(";")[0].strip().lower() == JSON_TYPE


class PlainBase(Route):
    """Binds a handler to a listener without Jupyter."""

    def set_default_headers(self) -> None:
        self.set_header("X-Content-Type-Options", "nosniff")
        self.clear_header("Server")
        if hasattr(self, "context"):  # Tornado calls this before `initialize`, and again for an error
            self._share()

    def _share(self) -> None:
        """Let the web page that calls read the answer, if its origin may."""
        origin = self.request.headers.get("Origin")
        if origin is not None and self.context.origin_allowed(origin, self.request.host):
            self.set_header("Access-Control-Allow-Origin", origin)
            if self.cors_credentials or self.context.allow_credentials:
                self.set_header("Access-Control-Allow-Credentials", "true")
            self.add_header("Vary", "Origin")

    async def prepare(self) -> None:
        """Check host and origin, find out who is calling."""
        self._share()
        admit(self)
        self.caller = self.located(self.identify() or stranger(self.request.headers))
        await start(self)

    def options(self, *_: str) -> None:
        """Answer a browser's question whether its page may call (CORS preflight)."""
        if "Access-Control-Request-Method" not in self.request.headers:
            raise web.HTTPError(405)
        self.set_header("Access-Control-Allow-Methods", ",".join(self.cors_methods))
        self.set_header("Access-Control-Allow-Headers", ",".join(self.cors_headers))
        self.set_header("Access-Control-Max-Age", "3600")
        self.send_nothing(204)

    def check_xsrf_cookie(self) -> None:
        """No cookie of this listener gives any right, but KalamDB's, which are SameSite=Strict."""


def admit(handler: Route) -> None:
    """Refuse a request that names another machine, or comes from a web page that may not."""
    context, request = handler.context, handler.request
    if not context.host_allowed(request.host):
        raise web.HTTPError(403, "Host not allowed")
    origin = request.headers.get("Origin")
    if origin is not None and not context.origin_allowed(origin, request.host):
        raise web.HTTPError(403, "Origin not allowed")


def admitted_origin(handler: Route, origin: str) -> bool:
    """Whether a web page of `origin` may open a WebSocket: Jupyter's rule there, the mount's elsewhere."""
    rule = getattr(handler, "origin_rule", None)
    if rule is not None:
        return bool(rule())
    return handler.context.origin_allowed(origin, handler.request.host)


async def start(handler: Route) -> None:
    """Run the API's own checks (`begin`), the same under Jupyter and without."""
    begin = getattr(handler, "begin", None)
    if begin is not None and handler.request.method != "OPTIONS":
        await begin()


def bind(entries: Sequence[Entry], base: type, context: Context, prefix: str = "") -> list[Any]:
    """Return Tornado's route table for `entries`, each handler bound to `base`."""
    return [
        (
            f"{prefix}{entry.pattern}",
            type(entry.handler.__name__, (entry.handler, base), {}),
            {"context": context},
        )
        for entry in entries
    ]

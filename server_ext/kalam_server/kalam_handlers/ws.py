"""``GET /v1/ws``: live queries. One connection, its authentication, its subscriptions."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from tornado.ioloop import PeriodicCallback
from tornado.websocket import WebSocketClosedError, WebSocketHandler, WebSocketProtocol

from kalam_server.identity import LOCAL, Caller, same_secret
from kalam_server.kalam_handlers import ws_messages as m
from kalam_server.kalam_handlers.base import KalamRoute
from kalam_server.kalam_handlers.ws_frames import Framer, frame
from kalam_server.limits import RateLimiter
from kalam_server.route import admitted_origin
from kalam_server.service import ServiceClosedError

if TYPE_CHECKING:
    from kalam_jupyter.kalam import KalamConfig, KalamError, Session
    from kalam_server.kalam_handlers.ws_feed import Client, LiveFeed

POLICY, GOING_AWAY, MALFORMED, NORMAL = 1008, 1001, 1011, 1000
MAX_REASON = 123
#: Messages that wait for those before them; then the client is not read from.
MAX_WAITING = 1000
AUTH_TIMEOUT_TEXT = "Authentication timeout - no auth message received within 3 seconds"


class LiveSocket(KalamRoute, WebSocketHandler):
    """``GET /v1/ws``."""

    _session: Session | None = None
    _client: Client | None = None
    _attempted = False

    def envelope(self, error: BaseException) -> tuple[int, Any]:
        """See `KalamRoute.envelope`: before the upgrade, plain text."""
        return 500, "Internal server error"

    async def begin(self) -> None:
        """Check the origin before the upgrade, in the contract's words."""
        await super().begin()
        origin = self.request.headers.get("Origin")
        config = await self.context.kalam_config()
        allowed = config.cors_allowed_origins
        listed = bool(allowed) and "*" not in allowed
        if origin is None and listed and config.strict_ws_origin_check:
            self.refuse_upgrade("Origin header required")
        elif origin is not None and not (
            origin in allowed or "*" in allowed or (not listed and admitted_origin(self, origin))
        ):
            self.refuse_upgrade("Origin not allowed")
        self._limits: KalamConfig = config

    def refuse_upgrade(self, message: str) -> None:
        """Answer 403 instead of upgrading."""
        self.set_status(403)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(message)

    def check_origin(self, origin: str) -> bool:
        """Whether a web page may connect: `begin` has found out."""
        return True

    def open(self, *args: str, **kwargs: str) -> None:
        """Start the connection's clock; authenticate if the upgrade carried a token."""
        from kalam_server.kalam_handlers.ws_feed import Outlet

        self._encoder = m.FrameEncoder(compress=self.get_query_argument("compress", "").lower() != "false")
        self.set_nodelay(True)  # small frames that follow each other would wait for an acknowledgement
        assert isinstance(self.ws_connection, WebSocketProtocol) and self.ws_connection.stream is not None
        self._outlet = Outlet(self.ws_connection.stream)
        self._feeds: dict[str, LiveFeed] = {}
        self._rate = RateLimiter()
        self._opened = self._active = time.monotonic()
        self._connection_id = uuid.uuid4().hex
        self._inbox: asyncio.Queue[str | bytes | None] = asyncio.Queue(MAX_WAITING)
        self._working = False
        self._worker = asyncio.ensure_future(self._work())
        self._watch = PeriodicCallback(self._check_life, self._limits.ws_heartbeat_interval * 1000)
        self._watch.start()
        self.context.service.on_close.add(self._shut_down)
        header = self.request.headers.get("Authorization", "")
        if header.startswith("Bearer ") or (self.caller.kind == "local" and self._explicit()):
            self._inbox.put_nowait(None)  # in turn: messages that follow at once find it authenticated

    def _explicit(self) -> bool:
        """Whether the request named a credential itself (a browser's cookie authenticates in band too)."""
        return "Authorization" in self.request.headers or bool(self.get_query_argument("token", ""))

    def on_message(self, message: str | bytes) -> Awaitable[None] | None:
        """Carry a message out: at once where that is possible, else in turn, while reading goes on."""
        self._active = time.monotonic()
        if isinstance(message, str):
            limit = self._limits.max_ws_message_size
            if len(message) * 4 > limit and len(message.encode()) > limit:
                self._error("protocol", "MESSAGE_TOO_LARGE", f"Message exceeds maximum size of {limit} bytes")
                return None
            if not self._rate.allow("messages", self._limits.max_messages_per_sec):
                self._error("rate_limit", "RATE_LIMIT_EXCEEDED", "Too many messages")
                return None
        if not self._working and self._inbox.empty() and self._at_once(message):
            return None
        return self._inbox.put(message)

    def on_ping(self, data: bytes) -> None:
        """Count a ping as activity; Tornado has answered it."""
        self._active = time.monotonic()

    def on_pong(self, data: bytes) -> None:
        """Count a pong as activity."""
        self._active = time.monotonic()

    def on_close(self) -> None:
        """End everything this connection started."""
        self.context.service.on_close.discard(self._shut_down)
        self._watch.stop()
        for feed in list(self._feeds.values()):
            self._drop(feed)
        self._worker.cancel()

    def _shut_down(self) -> None:
        self.close(GOING_AWAY, "Server shutting down")

    def _check_life(self) -> None:
        """Close connections that do not authenticate or say nothing; ping the others."""
        now = time.monotonic()
        config = self._limits
        if self._session is None and not self._attempted and now - self._opened > config.ws_auth_timeout:
            self._send(self._encoder.control({"type": "auth_error", "message": AUTH_TIMEOUT_TEXT}))
            self.close(POLICY, "Authentication timeout")
        elif now - self._active > config.ws_client_timeout:
            self.close(NORMAL, "Heartbeat timeout")
        else:
            with contextlib.suppress(WebSocketClosedError):
                self.ping()

    # ---- messages

    async def _work(self) -> None:
        while True:
            message = await self._inbox.get()
            self._working = True
            try:
                await self._handle(message)
            except ServiceClosedError:
                self._shut_down()
            except WebSocketClosedError:
                return
            except Exception as error:
                # One message's failure, whatever it is, must not silence the connection.
                self.log_exception(type(error), error, error.__traceback__)
                self._error("protocol", "SUBSCRIPTION_FAILED", "Internal server error")
            finally:
                self._working = False

    def _at_once(self, raw: str | bytes) -> bool:
        """Carry out a message that takes microseconds; False if it is none, and nothing has happened."""
        if self._client is None or self._outlet.blocked or self.context.service.closed:
            return False
        try:
            message = self._read(raw)
        except m.MalformedError:
            return False
        if isinstance(message, m.Subscribe):
            return self._subscribe_at_once(self._client, message.subscription)
        return isinstance(message, m.Ping)

    def _read(self, raw: str | bytes) -> m.Message:
        return m.read_text(raw) if isinstance(raw, str) else m.read_binary(raw)

    async def _handle(self, raw: str | bytes | None) -> None:
        """Carry a message out; None stands for the token that the upgrade carried."""
        if raw is None:
            await self._authenticate_upgrade()
            return
        if isinstance(raw, bytes) and self._encoder.protocol.serialization != "msgpack":
            self._error("protocol", "UNSUPPORTED_DATA", "Binary not supported")
            return
        try:
            message = self._read(raw)
        except m.MalformedError as error:
            if isinstance(raw, bytes):
                self._error("protocol", "UNSUPPORTED_DATA", f"Invalid message: {error}")
            else:
                reason = f"Invalid message: {error}".encode()[:MAX_REASON].decode(errors="ignore")
                self.close(MALFORMED, reason)
            return
        if self._outlet.blocked:  # who does not read is not answered: that would only pile up
            free = asyncio.Event()
            self._outlet.when_free(free.set)
            await free.wait()
        match message:
            case m.Authenticate():
                await self._authenticate(message)
            case m.Subscribe():
                await self._subscribe(message.subscription)
            case m.NextBatch() if self._session is not None:
                await self._next_batch(message)
            case m.Unsubscribe() if self._session is not None:
                if feed := self._find(message.subscription_id):
                    self._drop(feed)

    def _find(self, subscription_id: str) -> LiveFeed | None:
        """Return a subscription by the client's id, or by its full live-query id."""
        found = self._feeds.get(subscription_id)
        if found is not None:
            return found
        return next((f for f in self._feeds.values() if f.query.live_id == subscription_id), None)

    # ---- authentication

    async def _authenticate_upgrade(self) -> None:
        compression: m.Compression = "gzip"
        if self.get_query_argument("compression", "") == "none":
            compression = "none"
        packed = self.get_query_argument("serialization", "") == "msgpack"
        protocol = m.Protocol("msgpack" if packed else "json", compression)
        await self._log_in(self.caller, protocol)

    async def _authenticate(self, message: m.Authenticate) -> None:
        if self._session is not None:
            self._greet()
            return
        caller = self.located(Caller("kalam", message.token, "Bearer"))
        if same_secret(message.token, self.context.gate.secrets()):
            caller = self.located(LOCAL)
        elif self.caller.kind == "local" and not message.token:
            caller = self.caller  # a page of this very server, known by its cookie
        await self._log_in(caller, message.protocol or m.DEFAULT_PROTOCOL)

    async def _log_in(self, caller: Caller, protocol: m.Protocol) -> None:
        from kalam_jupyter.kalam import KalamError
        from kalam_server.kalam_handlers.ws_feed import Client

        self._attempted = True
        if not self.allow_auth(self._limits.max_auth_requests_per_ip_per_sec):
            self._refuse("Too many authentication attempts. Please retry shortly.")
            return
        context, service = self.context, self.context.service
        session = context.known_session(service.node(), caller) if service.opened else None
        if session is None:
            try:
                session = await service.run(lambda node: context.session(node, caller))
            except KalamError as error:
                self._refuse(error.message)
                return
        self._session = session
        self._encoder.protocol = protocol
        framer = Framer(self._encoder)
        self._client = Client(session, self._connection_id, self._outlet, framer, self._ended)
        self._greet()

    def _greet(self) -> None:
        assert self._session is not None
        self._send(
            self._encoder.control(
                {
                    "type": "auth_success",
                    "user": self._session.user_id,
                    "role": self._session.role,
                    "protocol": self._encoder.protocol.json(),
                }
            )
        )

    def _refuse(self, message: str) -> None:
        self._send(m.FrameEncoder(compress=False).control({"type": "auth_error", "message": message}))
        self.close(POLICY, "Authentication failed")

    # ---- subscriptions

    async def _subscribe(self, wanted: m.Subscription) -> None:
        from kalam_jupyter.kalam import KalamError

        if self._client is None:
            self._error("subscribe", "AUTH_REQUIRED", "Authentication required before subscribing")
            return
        if not wanted.id.strip():
            self._error("invalid_subscription", "INVALID_SUBSCRIPTION_ID", "Subscription ID cannot be empty")
            return
        try:
            feed = await self.context.live.open(self._client, wanted)
        except KalamError as error:
            self._error(wanted.id, error.code, error.message)
            return
        if self.ws_connection is None:
            feed.close()
        else:
            self._admit(feed)

    def _subscribe_at_once(self, client: Client, wanted: m.Subscription) -> bool:
        from kalam_jupyter.kalam.errors import KalamError, TakesLongError

        if not wanted.id.strip():
            return False
        try:
            self._admit(self.context.live.open_at_once(client, wanted))
        except TakesLongError:
            return False
        except KalamError as error:
            self._error(wanted.id, error.code, error.message)
        return True

    def _admit(self, feed: LiveFeed) -> None:
        if old := self._feeds.get(feed.id):
            self._drop(old)  # only now: a refused subscription leaves the one before it alone
        self._feeds[feed.id] = feed

    def _ended(self, feed: LiveFeed, error: KalamError | None) -> None:
        if error is not None:
            self._error(feed.id, error.code, error.message)
        self._drop(feed)

    async def _next_batch(self, message: m.NextBatch) -> None:
        from kalam_jupyter.kalam import KalamError

        feed = self._feeds.get(message.subscription_id)
        if feed is None:
            text = f"Not found: Subscription not found: {message.subscription_id}"
            self._error(message.subscription_id, "BATCH_FETCH_FAILED", text)
            return
        try:
            await feed.next_batch(message.last_seq_id)
        except KalamError as error:
            self._error(message.subscription_id, "BATCH_FETCH_FAILED", error.message)

    def _drop(self, feed: LiveFeed) -> None:
        if self._feeds.get(feed.id) is feed:
            del self._feeds[feed.id]
        feed.close()

    # ---- sending

    def _send(self, payload: str | bytes) -> None:
        if self.ws_connection is not None:
            self._outlet.write(frame(payload))

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Close the connection behind what was sent."""
        self._outlet.flush()
        super().close(code, reason)

    def _error(self, subscription_id: str, code: str, message: str) -> None:
        self._send(
            self._encoder.control(
                {"type": "error", "subscription_id": subscription_id, "code": code, "message": message}
            )
        )

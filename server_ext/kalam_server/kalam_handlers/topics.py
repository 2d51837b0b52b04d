"""Consuming topics: ``/v1/api/topics/consume`` and ``/ack``. Error bodies are ``{"error", "code"}``."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from kalam_server.context import Context
from kalam_server.http1.request import Answer, OnGone
from kalam_server.kalam_handlers.base import FrameworkError, KalamRoute, json_object
from kalam_server.kalam_handlers.plain import Head, Plain

if TYPE_CHECKING:
    from kalam_jupyter.engine.history import Subscription
    from kalam_jupyter.kalam import KalamError
    from kalam_jupyter.kalam.errors import StatementError
    from kalam_jupyter.kalam.topics import Consumed, Message
    from kalam_jupyter.node import Node

ROLES = ("service", "dba", "system")
#: So many messages are read and encoded in a millisecond.
FEW = 100
#: More bytes than this are not encoded on the event loop.
MUCH = 256 * 1024


def is_unsigned(value: Any) -> bool:
    """Whether a JSON value is an offset, a partition or a count."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


class TopicRoute(KalamRoute):
    """A topic route: bearer only, role service and up."""

    role_message = ""

    def envelope(self, error: BaseException) -> tuple[int, Any]:
        """See `KalamRoute.envelope`: authentication answers as the SQL route does, the rest as TopicError."""
        from kalam_jupyter.kalam import KalamError

        if isinstance(error, KalamError):
            if error.status == 401:
                body = {"code": error.code, "message": error.message}
                return 401, {"status": "error", "results": [], "took": 0.0, "error": body}
            return error.status, {"error": error.message, "code": error.code}
        return 500, {"error": "Internal server error", "code": "INTERNAL_ERROR"}

    def check_role(self, role: str) -> None:
        """Refuse ordinary users."""
        if role not in ROLES:
            from kalam_jupyter.kalam import KalamError

            raise KalamError("FORBIDDEN", self.role_message, 403)


def _text(body: dict[str, Any], name: str) -> str:
    """Return a required, non-empty string."""
    if name not in body:
        raise FrameworkError(f"Json deserialize error: missing field `{name}`")
    value = body[name]
    if not isinstance(value, str) or not value.strip():
        raise FrameworkError(f"Json deserialize error: `{name}` must be a non-empty string")
    return value


def _number(body: dict[str, Any], name: str, default: int | None) -> int:
    """Return an unsigned number."""
    value = body.get(name, default)
    if value is None:
        raise FrameworkError(f"Json deserialize error: missing field `{name}`")
    if not is_unsigned(value):
        raise FrameworkError(f"Json deserialize error: `{name}` must be an unsigned number")
    return int(value)


class Wanted(NamedTuple):
    """What a consumer asks for; `timeout` in seconds."""

    topic: str
    group: str
    start: str | int
    limit: int
    partition: int
    timeout: int

    @classmethod
    def read(cls, body: dict[str, Any]) -> Wanted:
        """Read the body of a request.

        Raises
        ------
        FrameworkError
        """
        waits = body.get("timeout_seconds") is not None
        return cls(
            _text(body, "topic_id"),
            _text(body, "group_id"),
            _start(body.get("start", "Latest")),
            _number(body, "limit", 100),
            _number(body, "partition_id", 0),
            _number(body, "timeout_seconds", 0) if waits else 0,
        )


class ConsumeExpress(Plain):
    """The quick way to messages that are there. See `plain`."""

    def __init__(self, context: Context) -> None:
        super().__init__(context, "v1/api/topics/consume")

    def take(self, head: Head, body: bytes, answer: Answer, on_gone: OnGone) -> bool:
        """Answer, if messages are there or nobody waits for them."""
        from kalam_jupyter.kalam.errors import StatementError, TakesLongError

        admitted = self.admit(head)
        if admitted is None or admitted.session.role not in ROLES:
            return False
        try:
            wanted = Wanted.read(json_object(body))
            if not 0 < wanted.limit <= FEW:
                return False
            found = admitted.node.kalam.topics.consume_at_once(
                wanted.topic,
                wanted.group,
                start=wanted.start,
                limit=wanted.limit,
                partition=wanted.partition,
            )
        except (FrameworkError, StatementError, TakesLongError):
            return False
        if not found.messages and wanted.timeout:
            return False
        if sum(len(m.payload) for m in found.messages) <= MUCH:
            answer(200, _encoded(found))
        else:
            encoding = asyncio.get_running_loop().run_in_executor(None, _encoded, found)
            encoding.add_done_callback(lambda done: answer(200, done.result()))
        return True


class ConsumeHandler(TopicRoute):
    """``POST /v1/api/topics/consume``."""

    role_message = "Topic consumption requires service, dba, or system role"

    async def post(self) -> None:
        """Return the next messages of a consumer group and claim them; wait for a first one if asked to."""
        session = await self.context.run_as(self.caller, lambda _, session: session)
        self.check_role(session.role)
        wanted = Wanted.read(self.json_object())

        def take(node: Node) -> Consumed:
            from kalam_jupyter.kalam.errors import StatementError

            _check_partition(node, wanted.topic, wanted.partition)
            try:
                return node.kalam.topics.consume(
                    wanted.topic,
                    wanted.group,
                    start=wanted.start,
                    limit=wanted.limit,
                    partition=wanted.partition,
                )
            except StatementError as error:
                raise _topic_error(error) from error

        found = await self.context.service.run(take)
        if not found.messages and wanted.timeout and wanted.limit:
            config = await self.context.kalam_config()
            timeout = min(wanted.timeout, config.max_consume_wait)
            found = await self._wait(wanted.topic, take, timeout) or found
        self.send_json(_consumed(found))

    async def _wait(self, topic: str, take: Callable[[Node], Consumed], timeout: float) -> Consumed | None:
        """Try again whenever something arrives in the topic, and each second, as claims of others end.

        Holds no worker thread meanwhile.
        """
        loop, arrived = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(arrived.set)

        run = self.context.service.run

        def follow(node: Node) -> Subscription[Any] | None:
            found = node.engine.find_topic(topic)
            return None if found is None else found.subscribe("latest", wake)

        subscription = await run(follow)
        if subscription is None:  # dropped meanwhile
            return None
        self._arrived = arrived
        try:
            async with asyncio.timeout(timeout):
                while not self._gone:
                    found = await run(take)
                    if found.messages:
                        return found
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(arrived.wait(), 1.0)
                    arrived.clear()
        except TimeoutError:
            pass
        finally:
            subscription.close()
        return None

    _gone = False
    _arrived: asyncio.Event | None = None

    def on_connection_close(self) -> None:
        """Claim nothing for a client that is gone."""
        self._gone = True
        if self._arrived is not None:
            self._arrived.set()
        super().on_connection_close()


class AckHandler(TopicRoute):
    """``POST /v1/api/topics/ack``."""

    role_message = "Topic acknowledgment requires service, dba, or system role"

    async def post(self) -> None:
        """Commit a group's offset."""
        session = await self.context.run_as(self.caller, lambda _, session: session)
        self.check_role(session.role)
        body = self.json_object()
        topic, group = _text(body, "topic_id"), _text(body, "group_id")
        partition, offset = _number(body, "partition_id", 0), _number(body, "upto_offset", None)

        def commit(node: Node) -> int:
            from kalam_jupyter.kalam.errors import StatementError

            _check_partition(node, topic, partition)
            try:
                return node.kalam.topics.acknowledge(topic, group, partition, offset)
            except StatementError as error:
                raise _topic_error(error) from error

        acknowledged = await self.context.service.run(commit)
        self.send_json({"success": True, "acknowledged_offset": acknowledged})


def _check_partition(node: Node, name: str, partition: int) -> None:
    from kalam_jupyter.kalam import KalamError
    from kalam_jupyter.kalam.errors import StatementError

    try:
        count = node.kalam.topics.topic(name).partitions
    except StatementError as error:
        raise _topic_error(error) from error
    if partition >= count:
        raise KalamError("NOT_FOUND", f"Topic '{name}' has no partition {partition}", 404)


def _topic_error(error: StatementError) -> KalamError:
    from kalam_jupyter.kalam import KalamError

    if error.kind == "not_found":
        return KalamError("NOT_FOUND", error.text, 404)
    return KalamError("INTERNAL_ERROR", error.text, 500)


def _consumed(found: Consumed) -> dict[str, Any]:
    return {
        "messages": [_message(m) for m in found.messages],
        "next_offset": found.next_offset,
        "has_more": found.has_more,
    }


def _encoded(found: Consumed) -> bytes:
    return orjson.dumps(_consumed(found))


def _message(message: Message) -> dict[str, Any]:
    found: dict[str, Any] = {
        "topic_id": message.topic,
        "partition_id": message.partition,
        "offset": message.offset,
        "payload": base64.b64encode(message.payload).decode(),
        "key": message.key,
        "timestamp_ms": message.timestamp_ms,
    }
    if message.user is not None:
        found["user"] = message.user
    found["op"] = message.op.capitalize()
    return found


def _start(value: Any) -> str | int:
    """Read ``start``: ``latest``, ``earliest`` or an offset."""
    if isinstance(value, str) and value.lower() in ("latest", "earliest"):
        return value.lower()
    if isinstance(value, dict) and len(value) == 1:
        ((name, offset),) = value.items()
        if name.lower() == "offset" and is_unsigned(offset):
            assert isinstance(offset, int)
            return offset
    raise FrameworkError('Json deserialize error: `start` must be "Latest", "Earliest" or {"Offset": n}')

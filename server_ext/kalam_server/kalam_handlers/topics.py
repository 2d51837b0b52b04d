"""Consuming topics: ``/v1/api/topics/consume`` and ``/ack``. Error bodies are ``{"error", "code"}``."""

from __future__ import annotations

from typing import Any

from kalam_server.kalam_handlers.base import FrameworkError, KalamRoute

ROLES = ("service", "dba", "system")


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

    def text(self, body: dict[str, Any], name: str) -> str:
        """Return a required, non-empty string."""
        if name not in body:
            raise FrameworkError(f"Json deserialize error: missing field `{name}`")
        value = body[name]
        if not isinstance(value, str) or not value.strip():
            raise FrameworkError(f"Json deserialize error: `{name}` must be a non-empty string")
        return value

    def number(self, body: dict[str, Any], name: str, default: int | None) -> int:
        """Return an unsigned number."""
        value = body.get(name, default)
        if value is None:
            raise FrameworkError(f"Json deserialize error: missing field `{name}`")
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise FrameworkError(f"Json deserialize error: `{name}` must be an unsigned number")
        return value


class ConsumeHandler(TopicRoute):
    """``POST /v1/api/topics/consume``."""

    role_message = "Topic consumption requires service, dba, or system role"

    async def post(self) -> None:
        """Return the next messages of a consumer group and claim them."""
        session = await self.context.run_as(self.caller, lambda _, session: session)
        self.check_role(session.role)
        body = self.json_object()
        topic, group = self.text(body, "topic_id"), self.text(body, "group_id")
        start = _start(body.get("start", "Latest"))
        limit, partition = self.number(body, "limit", 100), self.number(body, "partition_id", 0)
        answer = await self.context.service.run(
            lambda node: node.kalam.consume(
                session, topic, group, start=start, limit=limit, partition=partition
            )
        )
        self.send_json(answer)


class AckHandler(TopicRoute):
    """``POST /v1/api/topics/ack``."""

    role_message = "Topic acknowledgment requires service, dba, or system role"

    async def post(self) -> None:
        """Commit a group's offset."""
        session = await self.context.run_as(self.caller, lambda _, session: session)
        self.check_role(session.role)
        body = self.json_object()
        topic, group = self.text(body, "topic_id"), self.text(body, "group_id")
        partition, offset = self.number(body, "partition_id", 0), self.number(body, "upto_offset", None)
        await self.context.service.run(
            lambda node: node.kalam.ack(session, topic, group, partition=partition, upto_offset=offset)
        )
        self.send_json({"success": True, "acknowledged_offset": offset})


def _start(value: Any) -> str | int:
    """Read ``start``: ``latest``, ``earliest`` or an offset."""
    if isinstance(value, str) and value.lower() in ("latest", "earliest"):
        return value.lower()
    if isinstance(value, dict) and len(value) == 1:
        ((name, offset),) = value.items()
        if (
            name.lower() == "offset"
            and isinstance(offset, int)
            and not isinstance(offset, bool)
            and offset >= 0
        ):
            return offset
    raise FrameworkError('Json deserialize error: `start` must be "Latest", "Earliest" or {"Offset": n}')

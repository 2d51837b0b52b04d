"""What a request waits for, or is refused by, before its route does anything."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kalam_jupyter.ksql import Ksql
    from kalam_server.service import Service

#: States in which the server answers nobody: message and error code.
SHUT = {
    "TERMINATING": ("The server is shutting down", 50303),
    "TERMINATED": ("The server is shut down", 50304),
}
COMMAND_TIMEOUT = "ksql.server.command.response.timeout.ms"
COMMAND_TIMEOUT_MS = 5000
TIMED_OUT = 50301


def check_ready(service: Service) -> None:
    """Refuse when the cluster was terminated (KsqlError, 503)."""
    if service.opened:
        shut = SHUT.get(service.node().ksql.server_state)
        if shut is not None:
            from kalam_jupyter.ksql import KsqlError

            raise KsqlError(shut[0], error_code=shut[1])


def sequence_number(body: Mapping[str, Any]) -> int | None:
    """Return ``commandSequenceNumber`` of a request.

    Raises
    ------
    KsqlError
        If it is not an integer, or text that is one.
    """
    from kalam_jupyter.ksql import KsqlError

    value = body.get("commandSequenceNumber")
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return int(value)
    raise KsqlError("Invalid JSON in request: 'commandSequenceNumber' must be an integer", error_code=40000)


async def wait_for_command(service: Service, body: Mapping[str, Any]) -> None:
    """Wait until the command that a request names has been applied. Holds no thread.

    Raises
    ------
    KsqlError
        50301, if that takes longer than `COMMAND_TIMEOUT`.
    """
    number = sequence_number(body)
    if number is None or number < 0:
        return
    ksql = (service.node() if service.opened else await service.run(lambda node: node)).ksql
    if ksql.next_sequence > number:
        return
    timeout_ms = float(ksql.config.get(COMMAND_TIMEOUT) or COMMAND_TIMEOUT_MS)
    try:
        await asyncio.wait_for(_applied(ksql, number), timeout_ms / 1000)
    except TimeoutError:
        from kalam_jupyter.ksql import KsqlError

        message = "Timed out while waiting for a previous command to execute. command sequence number: "
        raise KsqlError(f"{message}{number}", error_code=TIMED_OUT) from None


async def _applied(ksql: Ksql, number: int) -> None:
    loop, woken = asyncio.get_running_loop(), asyncio.Event()

    def wake() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(woken.set)

    ksql.on_command.add(wake)
    try:
        while ksql.next_sequence <= number:
            woken.clear()
            if ksql.next_sequence > number:
                return
            await woken.wait()
    finally:
        ksql.on_command.discard(wake)

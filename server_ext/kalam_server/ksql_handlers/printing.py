"""Sends a PRINT: lines of text, on ``/query`` with the formats they were read in (HTTP contract, 8.4)."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tornado.iostream import StreamClosedError

from kalam_server.ksql_handlers.outputs import CAUGHT_UP_S
from kalam_server.ksql_handlers.streaming import BATCH, Feed, StreamingRoute
from kalam_server.service import ServiceClosedError

if TYPE_CHECKING:
    from kalam_jupyter.ksql.statements.print_topic import PrintQuery


async def send_print(
    route: StreamingRoute,
    query: PrintQuery,
    content_type: str,
    *,
    formats: bool = False,
    caught_up: bool = False,
) -> None:
    """Send the lines of a PRINT.

    Parameters
    ----------
    formats : bool
        Whether lines say what keys and values seem to be, whenever that changes, and an empty line
        comes once a second while nothing else does.
    caught_up : bool
        Whether an empty line says when the records that were there have been sent.
    """
    with Feed(route.context.service, query) as feed:
        route.watch(feed)
        route.stream_plainly()
        route.set_header("Content-Type", content_type)
        patience = route.idle_seconds() if formats else CAUGHT_UP_S if caught_up else None
        told = ""
        with contextlib.suppress(StreamClosedError):
            await route.flush()
            with contextlib.suppress(ServiceClosedError):
                while (rows := await feed.rows(BATCH, patience)) != []:
                    if formats and (now := _formats(query)) != told:
                        told = now
                        route.write(now)
                    route.write("".join([f"{row.values[0]}\n" for row in rows]) if rows else "\n")
                    await route.flush()
                    if caught_up and not rows and not feed.behind():
                        patience = None
            route.finish()


def _formats(query: PrintQuery) -> str:
    return f"Key format: {query.keys}\nValue format: {query.values}\n"

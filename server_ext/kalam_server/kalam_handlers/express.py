"""``POST /v1/api/sql`` without a handler, which costs more than most statements do.

Only what is `plain` is taken. One statement that `kalam.quick` can start is answered on the event loop,
other requests in a worker thread. Errors before the statements go the ordinary way through `SqlHandler`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import threading
import time
import uuid
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson
from msgspec import structs

from kalam_server.context import Context
from kalam_server.http1.request import Answer, OnGone
from kalam_server.kalam_handlers import sql_answer
from kalam_server.kalam_handlers.plain import Head, Plain
from kalam_server.service import ServiceClosedError

if TYPE_CHECKING:
    from kalam_jupyter.kalam import Result, Session
    from kalam_jupyter.kalam.quick import Quick
    from kalam_jupyter.node import Node

log = logging.getLogger("kalam_server")
#: What became of a statement.
Found: TypeAlias = "list[Result] | BaseException"
#: Text, parameters and namespace.
Asked: TypeAlias = tuple[str, list[Any], str]
#: So many writes need not wait for more.
MANY = 64
_FILE_CALL = re.compile(r"\bfile\s*\(", re.IGNORECASE)


class SqlExpress(Plain):
    """The short way of one mount. See `plain`."""

    def __init__(self, context: Context) -> None:
        super().__init__(context, "v1/api/sql")
        self._working: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._quick: Quick | None = None
        self._outcomes: deque[tuple[Answer, Session, float, Found]] = deque()
        self._told = False

    def take(self, head: Head, body: bytes, answer: Answer, on_gone: OnGone) -> bool:
        """Start the statements of a known caller."""
        began = time.perf_counter()
        context = self.context
        asked = _read(body)
        found = None if asked is None else self.admit(head)
        if asked is None or found is None:
            return False
        node, session, local = found
        if not (
            local or context.limits.queries.allow(session.user_id, node.kalam.config.max_queries_per_sec)
        ):
            return False
        started = self._lane(node).start(
            session,
            *asked,
            limit=True,
            done=partial(self._done, answer, session, began),
        )
        if not started:
            session = structs.replace(session, request_id=head.request_id or uuid.uuid4().hex)
            task = self._loop.create_task(self._work(node, session, asked, began, answer, on_gone))
            self._working.add(task)
            task.add_done_callback(self._working.discard)
        return True

    async def _work(
        self, node: Node, session: Session, asked: Asked, began: float, answer: Answer, on_gone: OnGone
    ) -> None:
        """Run statements in a worker thread, and answer."""
        from kalam_jupyter.kalam import Stop

        stop = Stop(node.kalam.config.query_timeout)
        on_gone(stop.cancel)
        sql, params, namespace = asked

        def work(node: Node) -> tuple[int, bytes]:
            found: Found
            try:
                found = node.kalam.execute(
                    session, sql, params=params, namespace=namespace, limit=True, stop=stop
                )
            except Exception as error:  # whatever it is, it is these statements' answer
                found = error
            return _answer_to(session, began, found)

        try:
            status, text = await self.context.service.run(work)
        except ServiceClosedError as error:
            status, text = _answer_to(session, began, error)
        answer(status, text)

    def _lane(self, node: Node) -> Quick:
        if self._quick is None:
            from kalam_jupyter.kalam.quick import Quick

            self._quick = Quick(node.kalam, partial(self._gather, 0))
        return self._quick

    def _gather(self, before: int) -> None:
        """Commit writes together, once a turn of the loop has brought no more, or they are many.

        Clients that write at the same time are not read in the same turn, and a commit costs more than
        several turns.
        """
        assert self._quick is not None
        if before < self._quick.collected < MANY:
            self._loop.call_soon(self._gather, self._quick.collected)
        else:
            self._quick.commit()

    def _done(self, answer: Answer, session: Session, began: float, found: Found) -> None:
        """Answer; called on the event loop, or by the engine's writer, for many at a time."""
        if threading.get_ident() == self._thread:
            answer(*_answer_to(session, began, found))
            return
        self._outcomes.append((answer, session, began, found))
        if not self._told:
            self._told = True
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._answer)

    def _answer(self) -> None:
        self._told = False
        while self._outcomes:
            answer, session, began, found = self._outcomes.popleft()
            answer(*_answer_to(session, began, found))


def _answer_to(session: Session, began: float, found: Found) -> tuple[int, bytes]:
    """Return status and body of an answer."""
    took = round((time.perf_counter() - began) * 1000, 3)
    try:
        if isinstance(found, BaseException):
            raise found
        return 200, sql_answer.success(session, found, took)
    except Exception as error:
        # One statement's failure, whatever it is, is its own answer and nobody else's.
        status, body = sql_answer.failure(error, took)
        if status == 500:
            log.error("a statement failed", exc_info=error)
        return status, orjson.dumps(body)


def _read(body: bytes) -> Asked | None:
    """Return what is asked; None for what the ordinary way should look at."""
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(given, dict):
        return None
    sql, params, namespace = given.get("sql"), given.get("params"), given.get("namespace_id") or "default"
    if params is None:
        params = []
    if not (isinstance(sql, str) and isinstance(params, list) and isinstance(namespace, str)):
        return None
    if "file" in sql.lower() and _FILE_CALL.search(sql):
        return None
    return sql, params, namespace

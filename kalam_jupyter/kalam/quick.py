"""Statements that are done in microseconds but for the commit: they need no thread to wait in.

INSERT of values, UPDATE and DELETE by primary key are checked, collected, and committed together. SELECT of
one row by its key, or of a small table, is answered at once. What is anything else, or would have to wait,
is left to `Kalam.execute`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from kalam_jupyter.engine.errors import EngineError
from kalam_jupyter.kalam import direct, dml
from kalam_jupyter.kalam.auth import Session
from kalam_jupyter.kalam.context import Change, Context
from kalam_jupyter.kalam.errors import KalamError, StatementError
from kalam_jupyter.kalam.execute import Step, answer_to
from kalam_jupyter.kalam.expressions import Call, Expression, Literal, Parameter
from kalam_jupyter.kalam.predicate import key_column
from kalam_jupyter.kalam.result import Result
from kalam_jupyter.kalam.statements import nodes

if TYPE_CHECKING:
    from kalam_jupyter.engine.transaction import Transaction
    from kalam_jupyter.kalam.database import Kalam

#: Texts longer than this take a while to parse.
MAX_TEXT = 16 * 1024
#: Called with the results, or why there are none: at once, or by the engine's writer.
Done = Callable[[list[Result] | BaseException], None]


class Quick:
    """The quick way for one thread.

    Parameters
    ----------
    kalam : Kalam
    on_write : callable
        Called for the first write that is collected: have `commit` called soon, once there are more.
    """

    def __init__(self, kalam: Kalam, on_write: Callable[[], None]) -> None:
        self._kalam, self._on_write = kalam, on_write
        self._collected: list[tuple[Callable[[Transaction], int], _Waiting]] = []

    def start(
        self, session: Session, sql: str, params: Sequence[Any], namespace: str, *, limit: bool, done: Done
    ) -> bool:
        """Run the statement without waiting for anything, if it is one that can be.

        Returns
        -------
        bool
            False if it is none: nothing has happened then, and `done` is not called.
        """
        if len(sql) > MAX_TEXT:
            return False
        try:
            steps = self._kalam.executor.steps(session, sql)
            plan = _PLANS.get(type(steps[0].statement)) if len(steps) == 1 else None
            if plan is None:
                return False
            values = self._kalam.executor.check_params(session, params)
        except KalamError as error:
            done(error)
            return True
        ctx = Context(self._kalam, session, values, (namespace or "default").lower(), limit)
        try:
            found = plan(self._kalam, ctx, steps[0].statement)
            if isinstance(found, Change):
                self._collect(ctx.recorded(found.apply), _Waiting(found, ctx, steps[0], done))
            elif found is not None:
                done(_as(ctx, found))
            return found is not None
        except (StatementError, EngineError) as error:
            done(answer_to(error, session.role, steps[0]))
            return True

    def _collect(self, function: Callable[[Transaction], int], waiting: _Waiting) -> None:
        self._collected.append((function, waiting))
        if len(self._collected) == 1:
            self._on_write()

    def commit(self) -> None:
        """Commit what was collected, as one group: here, where that takes no longer than handing it over."""
        collected, self._collected = self._collected, []
        try:
            futures = self._kalam.engine.submit_all([function for function, _ in collected])
        except EngineError as error:
            for _, waiting in collected:
                waiting.refused(error)
            return
        for future, (_, waiting) in zip(futures, collected, strict=True):
            future.add_done_callback(waiting)


class _Waiting:
    """What becomes of a write when it is committed, or was refused."""

    def __init__(self, write: Change[int], ctx: Context, step: Step, done: Done) -> None:
        self._write, self._ctx, self._step, self._done = write, ctx, step, done

    def __call__(self, future: Future[int]) -> None:
        error = future.exception()
        if error is None:
            self._done(_as(self._ctx, self._write.answer(future.result())))
        else:
            self.refused(error)

    def refused(self, error: BaseException) -> None:
        """Answer that the write was not made."""
        if isinstance(error, (StatementError, EngineError)):
            error = answer_to(error, self._ctx.session.role, self._step)
        self._done(error)


def _as(ctx: Context, result: Result) -> list[Result]:
    result.as_user = ctx.session.user_id
    return [result]


def _plain(kalam: Kalam, node: Expression) -> bool:
    """Whether a value is there as it stands, or made by a function of ours."""
    if isinstance(node, Call):
        return not node.arguments and (node.name in dml.NOW or node.name in kalam.generators.functions)
    return isinstance(node, (Literal, Parameter))


def _insert(kalam: Kalam, ctx: Context, statement: nodes.Insert) -> Change[int] | None:
    if statement.query is not None or not all(_plain(kalam, e) for row in statement.rows for e in row):
        return None
    return dml.insert(kalam, ctx, statement)


def _keyed(kalam: Kalam, ctx: Context, statement: nodes.Update | nodes.Delete) -> bool:
    """Whether a statement is about one primary key of a table."""
    table = kalam.find_table(statement.table[0] or ctx.namespace, statement.table[1])
    return table is not None and key_column(table.schema, statement.where) is not None


def _update(kalam: Kalam, ctx: Context, statement: nodes.Update) -> Change[int] | None:
    return dml.update(kalam, ctx, statement) if _keyed(kalam, ctx, statement) else None


def _delete(kalam: Kalam, ctx: Context, statement: nodes.Delete) -> Change[int] | None:
    return dml.delete(kalam, ctx, statement) if _keyed(kalam, ctx, statement) else None


def _select(kalam: Kalam, ctx: Context, statement: nodes.Select) -> Result | None:
    query = direct.recognise(statement.sql)
    lock = kalam.engine.lock
    if query is None or not lock.acquire(blocking=False):  # a commit is under way: that is waiting
        return None
    try:
        return direct.run(kalam, ctx.session, query, ctx.params, ctx.namespace, limit=ctx.limit)
    finally:
        lock.release()


_PLANS: dict[type[nodes.Statement], Callable[..., Change[int] | Result | None]] = {
    nodes.Insert: _insert,
    nodes.Update: _update,
    nodes.Delete: _delete,
    nodes.Select: _select,
}

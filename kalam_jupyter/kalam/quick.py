"""Statements that are done in microseconds but for the commit: they need no thread to wait in.

INSERT of values, UPDATE and DELETE by primary key, transactions of these, and definitions of what is small
are checked, collected, and committed together. SELECT of one row by its key, or of a small table, is
answered at once. What is anything else, or would have to wait, is left to `Kalam.execute`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from kalam_jupyter.engine.errors import EngineError
from kalam_jupyter.kalam import direct, dml, shapes
from kalam_jupyter.kalam.auth import Session
from kalam_jupyter.kalam.block import ExplicitTransaction, SinglyError, UndoneError
from kalam_jupyter.kalam.context import Change, Context
from kalam_jupyter.kalam.errors import KalamError, StatementError
from kalam_jupyter.kalam.execute import Step, answer_to
from kalam_jupyter.kalam.expressions import Call, Expression, Literal, Opaque, Parameter, walk
from kalam_jupyter.kalam.predicate import key_column
from kalam_jupyter.kalam.result import Result
from kalam_jupyter.kalam.statements import nodes

if TYPE_CHECKING:
    from kalam_jupyter.engine.transaction import Transaction
    from kalam_jupyter.kalam.database import Kalam

#: Texts longer than this take a while to parse.
MAX_TEXT = 16 * 1024
#: Tables with more rows than this take a while to alter.
MAX_ALTERED = 256
#: Called with the results, or why there are none: at once, or by the engine's writer.
Done = Callable[[list[Result] | BaseException], None]


class _Write(Struct):
    """A statement's change on its way to the commit, and what will be said of it."""

    ctx: Context
    step: Step
    change: Change[Any]
    done: Done

    @property
    def apply(self) -> Callable[[Transaction], Any]:
        """Makes the change in a transaction."""
        return self.ctx.recorded(self.change.apply)

    def told(self, value: Any, error: BaseException | None) -> None:
        """Answer, once the change was made or refused: see `Engine.submit_all`."""
        found: list[Result] | BaseException
        try:
            if error is None:
                found = _as(self.ctx, self.change.answer(value))
            elif isinstance(error, (StatementError, EngineError)):
                found = answer_to(error, self.ctx.session.role, self.step)
            else:
                found = error
        except Exception as defect:  # whoever asked is told of it, rather than left waiting
            found = defect
        self.done(found)


class _Block(Struct):
    """As `_Write`, of BEGIN .. COMMIT."""

    kalam: Kalam
    session: Session
    block: ExplicitTransaction
    done: Done

    @property
    def apply(self) -> Callable[[Transaction], Any]:
        """Makes the changes in a transaction."""
        return self.block.apply

    def told(self, value: Any, error: BaseException | None) -> None:
        """Answer, or try again with each INSERT by itself when one of several failed."""
        if isinstance(error, SinglyError):
            self.kalam.engine.submit_all([(self.block.apply_singly, self.told)])
            return
        found: list[Result] | BaseException
        try:
            if error is None:
                found = self.kalam.executor.summed(self.session, self.block.committed(value))
            elif isinstance(error, (UndoneError, EngineError)):
                found = self.kalam.executor.summed(self.session, self.block.undone(error))
            else:
                found = error
        except Exception as refused:  # what the block says of itself, or a defect: whoever asked is told
            found = refused
        self.done(found)


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
        self._collected: list[_Write | _Block] = []

    @property
    def collected(self) -> int:
        """How many writes the next commit has."""
        return len(self._collected)

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
        executor, namespace = self._kalam.executor, (namespace or "default").lower()
        if not params and 4 * len(sql) <= self._kalam.config.max_sql_length:
            found = shapes.find(sql)
            if found is not None:
                ctx = Context(self._kalam, session, found[1], namespace, limit)
                try:
                    if self._one(ctx, Step(1, sql, found[0]), done):
                        return True
                except (StatementError, EngineError):
                    pass  # told in the words of the ordinary way
        try:
            steps = executor.steps(session, sql)
            values = executor.check_params(session, params)
        except KalamError as error:
            done(error)
            return True
        ctx = Context(self._kalam, session, values, namespace, limit)
        if len(steps) > 1:
            return not values and self._transaction(ctx, steps, done)
        try:
            return self._one(ctx, steps[0], done)
        except (StatementError, EngineError) as error:
            done(answer_to(error, session.role, steps[0]))
            return True

    def _one(self, ctx: Context, step: Step, done: Done) -> bool:
        """Run one statement, if it is quick.

        Raises
        ------
        StatementError, EngineError
            `done` was not called then.
        """
        if isinstance(step.statement, nodes.Select):
            return self._select(ctx, step.statement, done)
        if not _is_quick(ctx, step.statement):
            return False
        found = self._kalam.executor.start(ctx, step.statement)
        if isinstance(found, Result):
            done(_as(ctx, found))
        else:
            self._collect(_Write(ctx, step, found, done))
        return True

    def _select(self, ctx: Context, statement: nodes.Select, done: Done) -> bool:
        query = direct.recognise(statement.sql)
        lock = self._kalam.engine.lock
        if query is None or not lock.acquire(blocking=False):  # a commit is under way: that is waiting
            return False
        try:
            found = direct.run(self._kalam, ctx.session, query, ctx.params, ctx.namespace, limit=ctx.limit)
        finally:
            lock.release()
        if found is not None:
            done(_as(ctx, found))
        return found is not None

    def _transaction(self, ctx: Context, steps: Sequence[Step], done: Done) -> bool:
        """Start BEGIN .. COMMIT, if what is between is quick and nothing follows."""
        begin, *body, closing = [step.statement for step in steps]
        if not (
            isinstance(begin, nodes.Begin)
            and isinstance(closing, nodes.Commit)
            and all(isinstance(s, (nodes.Insert, nodes.Update, nodes.Delete)) for s in body)
            and all(_is_quick(ctx, s) for s in body)
        ):
            return False
        block = self._kalam.executor.explicit(ctx, steps)
        self._collect(_Block(self._kalam, ctx.session, block, done))
        return True

    def _collect(self, write: _Write | _Block) -> None:
        self._collected.append(write)
        if len(self._collected) == 1:
            self._on_write()

    def commit(self) -> None:
        """Commit what was collected, as one group: here, where that takes no longer than handing it over."""
        collected, self._collected = self._collected, []
        self._kalam.engine.submit_all([(write.apply, write.told) for write in collected])


def _as(ctx: Context, result: Result) -> list[Result]:
    result.as_user = ctx.session.user_id
    return [result]


# ---- what is quick -----------------------------------------------------------------------------------------


def _is_quick(ctx: Context, statement: nodes.Statement) -> bool:
    """Whether checking and applying a statement takes no longer than a commit, whatever the data."""
    judge = _QUICK.get(type(statement))
    return judge is not None and judge(ctx, statement)


def _insert(ctx: Context, statement: nodes.Insert) -> bool:
    if statement.values:
        return True
    return statement.query is None and all(_plain(ctx.kalam, e) for row in statement.rows for e in row)


def _plain(kalam: Kalam, node: Expression) -> bool:
    """Whether a value is there as it stands, or made by a function of ours."""
    if isinstance(node, Call):
        return not node.arguments and (node.name in dml.NOW or node.name in kalam.generators.functions)
    return isinstance(node, (Literal, Parameter))


def _update(ctx: Context, statement: nodes.Update) -> bool:
    opaque = any(isinstance(n, Opaque) for _, value, _ in statement.assignments for n in walk(value))
    return not opaque and _keyed(ctx, statement)


def _keyed(ctx: Context, statement: nodes.Update | nodes.Delete) -> bool:
    """Whether a statement is about one primary key of a table."""
    table = ctx.kalam.find_table(statement.table[0] or ctx.namespace, statement.table[1])
    return table is not None and key_column(table.schema, statement.where) is not None


def _small(ctx: Context, statement: Any) -> bool:
    """Whether the table that a statement alters is small."""
    namespace, name = statement.table
    table = ctx.kalam.find_table((namespace or ctx.namespace).lower(), name.lower())
    if table is None:
        return True
    relation = ctx.kalam.relation(table)
    if table.owned:
        return not relation.owners()
    return relation.count() <= MAX_ALTERED


def _always(ctx: Context, statement: nodes.Statement) -> bool:
    return True


_QUICK: dict[type[nodes.Statement], Callable[[Context, Any], bool]] = {
    nodes.Insert: _insert,
    nodes.Update: _update,
    nodes.Delete: _keyed,
    nodes.CreateNamespace: _always,
    nodes.CreateTable: _always,
    nodes.AddColumn: _small,
    nodes.DropColumn: _small,
    nodes.ModifyColumn: _small,
    nodes.RenameColumn: _small,
    nodes.SetDefault: _small,
    nodes.SetNullable: _small,
    nodes.SetAccessLevel: _small,
    nodes.DropUser: _always,
}

"""Explicit transactions: BEGIN .. COMMIT of one request, run as one transaction of the engine."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING, Any

import msgspec

from kalam_jupyter.engine.errors import EngineError
from kalam_jupyter.engine.transaction import Transaction
from kalam_jupyter.kalam.context import Block, Context
from kalam_jupyter.kalam.dml import inserted
from kalam_jupyter.kalam.errors import KalamError, StatementError, failure, from_engine
from kalam_jupyter.kalam.result import Result
from kalam_jupyter.kalam.statements import nodes

if TYPE_CHECKING:
    from kalam_jupyter.kalam.execute import Step

#: Runs one statement; whatever it raises is a `KalamError`.
Run = Callable[[Context, "Step"], Result]
Answers = list[tuple["Step", Result]]


class UndoneError(Exception):
    """Undoes the engine's transaction: of a block that ends with ROLLBACK or not at all, or that failed.

    Attributes
    ----------
    error : KalamError or None
        Why it failed.
    answers : list
        What the statements answered before.
    """

    def __init__(self, answers: Answers, error: KalamError | None = None) -> None:
        self.answers, self.error = answers, error
        super().__init__()


class SinglyError(Exception):
    """INSERTs that were run as one failed: run them one by one, to see which it is."""


class ExplicitTransaction:
    """BEGIN, the statements behind it, and what ends them.

    INSERTs that follow each other and differ in nothing but their rows are run as one; when that fails, the
    whole block is run again as it is written, for the answer is about one statement.

    Parameters
    ----------
    steps : sequence of Step
        From BEGIN to COMMIT or ROLLBACK, or to the end of the request.
    run : callable
        Runs the statements between.
    """

    def __init__(self, ctx: Context, steps: Sequence[Step], run: Run) -> None:
        ends = isinstance(steps[-1].statement, (nodes.Commit, nodes.Rollback))
        self._ctx, self._run, self._id = ctx, run, str(uuid.uuid4())
        self._begin, self._closing = steps[0], steps[-1] if ends else None
        self._body = steps[1:-1] if ends else steps[1:]

    def apply(self, tx: Transaction) -> Answers:
        """Run the block in a transaction.

        Raises
        ------
        UndoneError
            When the transaction is not to be kept.
        SinglyError
            When `apply_singly` has to say why it cannot be.
        """
        return self._apply(tx, list(_runs(self._body)))

    def apply_singly(self, tx: Transaction) -> Answers:
        """Run the block, one statement after the other. Raises `UndoneError` only."""
        return self._apply(tx, [[step] for step in self._body])

    def _apply(self, tx: Transaction, runs: Sequence[Sequence[Step]]) -> Answers:
        block = Block(self._id, tx)
        session = msgspec.structs.replace(self._ctx.session, in_block=True)
        ctx = msgspec.structs.replace(self._ctx, block=block, session=session)
        answers = [(self._begin, self._said(f"Transaction started ({self._id})"))]
        closing = self._closing
        try:
            for steps in runs:
                answers += self._insert_all(ctx, steps) if len(steps) > 1 else self._one(ctx, steps[0])
            if closing is not None and isinstance(closing.statement, nodes.Commit):
                block.check_age(ctx.kalam.config.transaction_timeout)
                return answers
        except KalamError as error:
            raise UndoneError(answers, error) from None
        except StatementError as error:
            assert closing is not None
            late = failure(error, ctx.session.role, number=closing.number, sql=closing.sql)
            raise UndoneError(answers, late) from None
        raise UndoneError(answers)

    def _one(self, ctx: Context, step: Step) -> Answers:
        return [(step, self._run(ctx, step))]

    def _insert_all(self, ctx: Context, steps: Sequence[Step]) -> Answers:
        """Run INSERTs as one: a fraction of the work."""
        first = steps[0].statement
        assert isinstance(first, nodes.Insert)
        rows = tuple(row for step in steps for row in _rows(step))
        whole = replace(first, values=rows) if first.values else replace(first, rows=rows)
        try:
            self._run(ctx, msgspec.structs.replace(steps[0], statement=whole))
        except KalamError:
            raise SinglyError from None
        said = cache(self._inserted)
        return [(step, said(len(_rows(step)))) for step in steps]

    def _inserted(self, rows: int) -> Result:
        result = inserted(rows)
        result.as_user = self._ctx.session.user_id
        return result

    def committed(self, answers: Answers) -> Answers:
        """Return what all statements answered."""
        return self._closed(answers, "committed")

    def undone(self, error: UndoneError | EngineError) -> Answers:
        """Return what all statements answered when the transaction was not kept.

        Raises
        ------
        KalamError
            Unless it was rolled back as it says.
        """
        if isinstance(error, EngineError):
            raise failure(from_engine(error), self._ctx.session.role, number=self._begin.number) from None
        if error.error is not None:
            raise error.error from None
        if self._closing is None:
            raise KalamError(
                "SQL_EXECUTION_ERROR",
                "Request completed with an open explicit transaction; rolled back automatically",
            ) from None
        return self._closed(error.answers, "rolled back")

    def _closed(self, answers: Answers, word: str) -> Answers:
        assert self._closing is not None
        return [*answers, (self._closing, self._said(f"Transaction {word} ({self._id})"))]

    def _said(self, message: str) -> Result:
        result = Result.say(message)
        result.as_user = self._ctx.session.user_id
        return result


def _rows(step: Step) -> tuple[tuple[Any, ...], ...]:
    assert isinstance(step.statement, nodes.Insert)
    return step.statement.values or step.statement.rows


def _runs(steps: Sequence[Step]) -> Iterator[Sequence[Step]]:
    """Group steps: INSERTs of rows alike into the same columns of one table, and what else there is."""
    return (list(found) for _, found in groupby(steps, _kind))


def _kind(step: Step) -> tuple[Any, ...]:
    statement = step.statement
    if not isinstance(statement, nodes.Insert) or statement.query is not None:
        return (step.number,)
    widths = {len(row) for row in _rows(step)}
    if len(widths) > 1:
        return (step.number,)
    return (statement.table, statement.columns, bool(statement.values), *widths)


def check_in_block(ctx: Context, statement: nodes.Statement) -> None:
    """Raise `StatementError` for what may not be part of an explicit transaction."""
    block = ctx.block
    if block is None:
        return
    if isinstance(statement, nodes.Begin):
        raise StatementError(
            "conflict",
            f"request owner 'sql-req-{ctx.session.request_id}' already has an active transaction "
            f"'{block.id}'",
        )
    if statement.family == "ddl":
        raise StatementError(
            "invalid_operation", f"DDL is not allowed inside explicit transaction '{block.id}'"
        )

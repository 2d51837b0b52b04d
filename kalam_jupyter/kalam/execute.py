"""From the text of a request to its results: splitting, gates, parameters, batches, transactions."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct, structs

from kalam_jupyter.engine.errors import EngineClosedError, EngineError
from kalam_jupyter.kalam import (
    access,
    alter_table,
    commands,
    ddl,
    dml,
    storage_statements,
    topic_statements,
    users,
)
from kalam_jupyter.kalam.auth import Session
from kalam_jupyter.kalam.block import Answers, ExplicitTransaction, SinglyError, UndoneError, check_in_block
from kalam_jupyter.kalam.context import Also, Change, Context
from kalam_jupyter.kalam.errors import (
    GateError,
    KalamError,
    StatementError,
    failure,
    from_engine,
    redact,
)
from kalam_jupyter.kalam.nesting import check_brackets
from kalam_jupyter.kalam.result import Result
from kalam_jupyter.kalam.statements import engine_gate, nodes, parse_statement
from kalam_jupyter.kalam.statements.data import plain_insert
from kalam_jupyter.kalam.statements.gates import gate_of_words
from kalam_jupyter.kalam.tokens import UnterminatedQuoteError, split_statements

if TYPE_CHECKING:
    from kalam_jupyter.kalam.database import Kalam
    from kalam_jupyter.kalam.stopping import Stop

HANDLERS: dict[type[nodes.Statement], Any] = {
    nodes.Insert: dml.insert,
    nodes.Update: dml.update,
    nodes.Delete: dml.delete,
    **commands.HANDLERS,
    **ddl.HANDLERS,
    **alter_table.HANDLERS,
    **users.HANDLERS,
    **topic_statements.HANDLERS,
    **storage_statements.HANDLERS,
}
_DML_WORDS = {nodes.Insert: "Inserted", nodes.Update: "Updated", nodes.Delete: "Deleted"}
#: Texts up to this long are kept parsed: longer ones are bulk inserts that do not come twice. What could
#: hold a password is never kept.
_CACHED_TEXT = 4096

_parse_cached = functools.lru_cache(maxsize=2048)(parse_statement)


def _parse(sql: str) -> nodes.Statement:
    plain = plain_insert(sql)
    if plain is not None:
        return plain
    if len(sql) > _CACHED_TEXT:
        check_brackets(sql)
        return parse_statement(sql)
    if "password" in sql.lower():
        return parse_statement(sql)
    return _parse_cached(sql)


def _parsed(sql: str) -> nodes.Statement:
    """Parse a statement; what is refused for another reason than its grammar fails in its turn."""
    try:
        return _parse(sql)
    except StatementError as error:
        if error.kind == "invalid_sql":
            raise
        return nodes.Refused(error)


class Step(Struct, frozen=True):
    """One statement of a request: its 1-based number, text and parsed form."""

    number: int
    sql: str
    statement: nodes.Statement


def answer_to(error: StatementError | EngineError, role: str, step: Step) -> KalamError:
    """Return the API's answer to what a statement raised."""
    if isinstance(error, GateError):
        return failure(error, role)
    if isinstance(error, EngineClosedError):
        return KalamError("INTERNAL_ERROR", str(error), 503)
    if isinstance(error, EngineError):
        error = from_engine(error)
    elif error.kind == "plain":
        return failure(error, role)
    return failure(error, role, number=step.number, sql=step.sql)


class Executor:
    """Runs requests for one `Kalam`."""

    def __init__(self, kalam: Kalam) -> None:
        self._kalam = kalam

    def execute(
        self,
        session: Session,
        sql: str,
        params: Sequence[Any] = (),
        namespace: str = "default",
        *,
        limit: bool = False,
        stop: Stop | None = None,
        also: Also | None = None,
    ) -> list[Result]:
        """Run every statement of `sql` in order and return their results.

        DML results of a request with several statements are summed up and come last, as the contract has it.

        Raises
        ------
        KalamError
        """
        steps = self.steps(session, sql)
        values = self.check_params(session, params)
        if values and len(steps) > 1:
            raise KalamError("PARAMS_WITH_BATCH", "Parameters not supported with multi-statement batches")
        ctx = Context(
            self._kalam, session, values, (namespace or "default").lower(), limit, stop=stop, also=also
        )
        done: Answers = []
        i = 0
        while i < len(steps):
            if isinstance(steps[i].statement, nodes.Begin):
                end = _end_of_block(steps, i)
                done += self._block(ctx, steps[i:end])
                i = end
            else:
                done.append((steps[i], self._guarded(ctx, steps[i])))
                i += 1
        return self.summed(session, done) if len(steps) > 1 else [done[0][1]]

    # ---- before anything runs

    def steps(self, session: Session, sql: str) -> list[Step]:
        """Split, parse and pass the role gates; nothing has run when this raises."""
        size = len(sql) if sql.isascii() else len(sql.encode())
        longest = self._kalam.config.max_sql_length
        if size > longest:
            text = f"SQL query too long: {size} bytes (maximum {longest} bytes)"
            raise KalamError("INVALID_SQL", redact("INVALID_SQL", text, session.role, public=False))
        try:
            parts = split_statements(sql)
        except UnterminatedQuoteError as error:
            text = redact(
                "BATCH_PARSE_ERROR", f"Failed to parse SQL batch: {error}", session.role, public=False
            )
            raise KalamError("BATCH_PARSE_ERROR", text) from None
        if not parts:
            raise KalamError("EMPTY_SQL", "No SQL statements provided")
        steps = []
        for number, part in enumerate(parts, 1):
            try:
                steps.append(Step(number, part, self._classified(session, part)))
            except StatementError as error:
                raise failure(error, session.role) from None
        return steps

    def _classified(self, session: Session, sql: str) -> nodes.Statement:
        """Parse a statement, and pass the gate: by the actor's role, also inside EXECUTE AS USER."""
        try:
            statement = _parsed(sql)
        except StatementError:
            self._check_gate(session, gate_of_words(sql))
            raise
        inner = statement.inner if isinstance(statement, nodes.ExecuteAs) else statement
        if isinstance(inner, nodes.EngineCommand):
            self._check_gate(session, engine_gate(inner))
        elif isinstance(inner, nodes.Refused):
            self._check_gate(session, gate_of_words(sql))
        else:
            self._check_gate(session, inner.gate)
        return statement

    @staticmethod
    def _check_gate(session: Session, gate: str | None) -> None:
        if gate is not None and not session.is_admin:
            raise GateError(gate)

    def check_params(self, session: Session, params: Sequence[Any]) -> Sequence[Any]:
        config = self._kalam.config
        if len(params) > config.max_parameters:
            raise KalamError(
                "SQL_EXECUTION_ERROR",
                f"Parameter count exceeded: maximum {config.max_parameters} parameters allowed, got "
                f"{len(params)}",
            )
        for i, value in enumerate(params):
            if isinstance(value, (list, dict)):
                what = "Array" if isinstance(value, list) else "Object"
                raise KalamError(
                    "INVALID_PARAMETER", f"Parameter ${i + 1} invalid: {what} parameters not yet supported"
                )
            if isinstance(value, (str, bytes)) and len(value) * 4 > config.max_parameter_size:
                size = len(value.encode() if isinstance(value, str) else value)
                if size > config.max_parameter_size:
                    raise KalamError(
                        "SQL_EXECUTION_ERROR",
                        f"Parameter size exceeded: parameter at index {i} is {size} bytes (max "
                        f"{config.max_parameter_size} bytes)",
                    )
        return params

    # ---- statements

    def _guarded(self, ctx: Context, step: Step) -> Result:
        """Run one statement; whatever it raises becomes the answer of the API."""
        try:
            if ctx.stop is not None:
                ctx.stop.check()
            return self._run(ctx, step.statement)
        except (StatementError, EngineError) as error:
            raise answer_to(error, ctx.session.role, step) from None

    def _run(self, ctx: Context, statement: nodes.Statement) -> Result:
        if isinstance(statement, nodes.ExecuteAs):
            return self._execute_as(ctx, statement)
        if isinstance(statement, (nodes.Commit, nodes.Rollback)):
            word = type(statement).__name__.upper()
            raise StatementError("invalid_operation", f"{word} requires an active explicit SQL transaction")
        check_in_block(ctx, statement)
        found = self.start(ctx, statement)
        result = found.answer(ctx.run(found.apply)) if isinstance(found, Change) else found
        ctx.audit = None
        result.as_user = ctx.session.user_id
        return result

    def start(self, ctx: Context, statement: nodes.Statement) -> Result | Change[Any]:
        """Check a statement: its result, or the change that is left to be applied.

        Raises
        ------
        StatementError
        """
        if statement.family == "ddl" or statement.gate is not None:
            ctx.audit = (_action(statement), _subject(statement), None)
        found: Result | Change[Any] = HANDLERS[type(statement)](self._kalam, ctx, statement)
        return found

    def _execute_as(self, ctx: Context, statement: nodes.ExecuteAs) -> Result:
        actor, target = ctx.session, statement.user
        target_role = self._kalam.auth.role_of(target)
        audit = self._kalam.audit
        if not access.may_act_for(actor, target, target_role):
            if ctx.block is None:
                audit.note(actor, "EXECUTE_AS_USER_DENIED", target)
            raise GateError(
                f"Unauthorized: EXECUTE AS USER is not authorized: actor '{actor.user_id}' with role "
                f"{access.role_name(actor.role)} cannot target '{target}' with role "
                f"{access.role_name(target_role)}"
            )
        as_target = structs.replace(actor, user_id=target, role="user", actor=actor.user_id)
        inner = structs.replace(ctx, session=as_target)
        ctx.run(
            lambda tx: audit.record(tx, inner.session, "EXECUTE_AS_USER", target, _action(statement.inner))
        )
        result = self._run(inner, statement.inner)
        result.masked = True
        return result

    def _block(self, ctx: Context, steps: Sequence[Step]) -> Answers:
        """Run an explicit transaction."""
        block = self.explicit(ctx, steps)
        transact = self._kalam.engine.transact
        try:
            try:
                return block.committed(transact(block.apply))
            except SinglyError:
                return block.committed(transact(block.apply_singly))
        except (UndoneError, EngineError) as error:
            return block.undone(error)

    def explicit(self, ctx: Context, steps: Sequence[Step]) -> ExplicitTransaction:
        """Return BEGIN .. COMMIT | ROLLBACK, to be run in a transaction of the engine."""
        return ExplicitTransaction(ctx, steps, self._guarded)

    # ---- results

    @staticmethod
    def summed(session: Session, done: Sequence[tuple[Step, Result]]) -> list[Result]:
        """Sum up the counts of INSERT, UPDATE and DELETE behind the other results."""
        results: list[Result] = []
        counts = dict.fromkeys(_DML_WORDS, 0)
        for step, result in done:
            statement = step.statement
            kind = type(statement.inner if isinstance(statement, nodes.ExecuteAs) else statement)
            if kind in counts:
                counts[kind] += result.row_count
            else:
                results.append(result)
        for kind, count in counts.items():
            if count:
                summary = Result.say(f"{_DML_WORDS[kind]} {count} row(s)", count)
                summary.as_user = session.user_id
                results.append(summary)
        return results


def _end_of_block(steps: Sequence[Step], begin: int) -> int:
    """Return where the request goes on behind COMMIT or ROLLBACK."""
    for i in range(begin + 1, len(steps)):
        if isinstance(steps[i].statement, (nodes.Commit, nodes.Rollback)):
            return i + 1
    return len(steps)


#: Actions that do not have the name of their node.
_ACTIONS: dict[type[nodes.Statement], str] = {
    **dict.fromkeys(
        (
            *(nodes.AddColumn, nodes.DropColumn, nodes.ModifyColumn, nodes.RenameColumn),
            *(nodes.SetNullable, nodes.SetDefault, nodes.SetAccessLevel, nodes.AlterIndex),
        ),
        "ALTER_TABLE",
    ),
    nodes.AddSource: "ALTER_TOPIC",
    nodes.Backup: "BACKUP_DATABASE",
    nodes.Restore: "RESTORE_DATABASE",
}


def _action(statement: nodes.Statement) -> str:
    """``CREATE_TABLE`` for CreateTable."""
    if (action := _ACTIONS.get(type(statement))) is not None:
        return action
    name = type(statement).__name__
    return "".join(f"_{c}" if c.isupper() and i else c for i, c in enumerate(name)).upper()


def _subject(statement: nodes.Statement) -> str:
    """What a statement is about, for the audit log: never a password."""
    for attribute in ("topic", "table", "view", "name", "user", "storage_id", "job_id", "path"):
        value = getattr(statement, attribute, None)
        if isinstance(value, tuple):
            return ".".join(p for p in value if p)
        if isinstance(value, str):
            return value
    return ""

"""INSERT INTO .. VALUES: one record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kalam_jupyter.engine.batch import Batch, Payload
from kalam_jupyter.engine.types import BIGINT, Column, DataType
from kalam_jupyter.ksql.analysis.layout import Layout
from kalam_jupyter.ksql.errors import KsqlError, RequestError, StatementError
from kalam_jupyter.ksql.expressions.codegen import compile_raising
from kalam_jupyter.ksql.functions.definitions import EvaluationContext
from kalam_jupyter.ksql.lang import ast
from kalam_jupyter.ksql.metastore import ROWOFFSET, ROWPARTITION, ROWTIME, Source
from kalam_jupyter.ksql.statements.insert_types import coerce
from kalam_jupyter.ksql.statements.run import Run
from kalam_jupyter.ksql.values.errors import failure_text


def insert_values(run: Run, s: ast.InsertValues, text: str) -> None:
    """Append one record to a source's topic."""
    if not run.config.flag("ksql.insert.into.values.enabled"):
        raise KsqlError("The server has disabled INSERT INTO ... VALUES functionality.")
    source = insertable(run, s.target)
    values = row_values(run, source, s.columns, s.values)
    timestamp = values.pop(ROWTIME, None)
    if timestamp is None:
        timestamp = run.ksql.engine.clock.now_ms()
    if timestamp < 0:
        raise _failed(source, f"Invalid timestamp: {timestamp}. Timestamps cannot be negative.")
    key = _key(source, values)
    value = tuple(values.get(c.name) for c in source.stored_schema.value)
    if run.dry:
        return
    append_rows(run, source, [key], [value], [timestamp])


def row_values(
    run: Run, source: Source, names: Sequence[str], expressions: Sequence[ast.Expression]
) -> dict[str, Any]:
    """Return what expressions give for columns of a source (all, without `names`), converted to their types.

    Raises
    ------
    KsqlError
        If columns and values do not go together.
    """
    columns = _columns(source, names, len(expressions))
    context = EvaluationContext(seed=run.sequence, now_ms=run.ksql.engine.clock.now_ms())
    return {
        column.name: _evaluate(run, context, source, column, e)
        for column, e in zip(columns, expressions, strict=True)
    }


def insertable(run: Run, name: str) -> Source:
    """Return the source called `name`; KsqlError if records cannot be inserted into it."""
    source = run.source(name)
    if source is None:
        raise RequestError(
            f"Cannot insert values into an unknown stream/table: `{name}`{run.metastore.hint(name)}"
        )
    if source.read_only:
        raise KsqlError(f"Cannot insert values into read-only {source.kind.lower()}: {name}")
    check_writable(run, source.topic, "insert values into")
    if source.window is not None:
        raise StatementError("Cannot insert values into windowed stream/table!")
    return source


def check_writable(run: Run, topic: str, verb: str) -> None:
    """Refuse to write to the processing log, or to a topic of ``ksql.readonly.topics``."""
    if topic == run.ksql.processing_log_topic or run.config.matches("ksql.readonly.topics", topic):
        raise KsqlError(f"Cannot {verb} read-only topic: {topic}")


def _columns(source: Source, names: Sequence[str], values: int) -> list[Column]:
    if names:
        found = []
        for name in names:
            if name in (ROWPARTITION, ROWOFFSET):
                raise StatementError(f"Inserting into column `{name}` is not allowed.")
            if name == ROWTIME:
                found.append(Column(ROWTIME, BIGINT))
            elif name in source.schema.index:
                found.append(source.schema.column(name))
            else:
                raise _failed(source, f"Column name `{name}` does not exist.")
    else:
        found = list(source.schema.columns)
    twice = [c.name for i, c in enumerate(found) if c in found[:i]]
    if twice:
        raise _failed(source, f"Column name `{twice[0]}` is listed more than once.")
    headers = [c.name for c in found if c.name in source.header_names]
    if headers:
        raise KsqlError(f"Cannot insert into HEADER columns: {', '.join(headers)}")
    if len(found) != values:
        raise StatementError(
            f"Failed to prepare statement: Expected number columns and values to match: {len(found)}, "
            f"{values}"
        )
    return found


def _failed(source: Source, reason: str) -> StatementError:
    return StatementError(f"Failed to insert values into '{source.name}'. {reason}")


def _evaluate(run: Run, context: EvaluationContext, source: Source, column: Column, e: ast.Expression) -> Any:
    for node in ast.walk(e):
        if isinstance(node, ast.ColumnRef) and node.qualifier is not None:
            raise StatementError(
                f"Failed to prepare statement: '{node.qualifier}' is not a valid stream/table name or alias."
            )
    binder = run.planner(context).binder(Layout(()))
    try:
        bound = binder.bind(e)
    except KsqlError as error:
        raise _failed(source, error.message) from None
    try:
        value = compile_raising(bound)(())
        return _converted(value, bound.type, column, e)
    except KsqlError as error:
        raise _failed(source, error.message) from None
    except (
        Exception
    ) as error:  # boundary: whatever the user's expression raises is told as this statement's failure
        raise _failed(source, f"Could not evaluate {e}: {failure_text(error)}") from None


def _converted(value: Any, type_: DataType | None, column: Column, e: ast.Expression) -> Any:
    if value is None or type_ is None:
        return None
    target = column.type
    if type_ == target:
        return value
    return coerce(value, type_, target, column, e)


def _key(source: Source, values: dict[str, Any]) -> tuple[Any, ...] | None:
    key = tuple(values.get(c.name) for c in source.schema.key)
    if not source.is_stream and any(v is None for v in key):
        names = ", ".join(c.name for c, v in zip(source.schema.key, key, strict=True) if v is None)
        raise _failed(source, f"Value for primary key column(s) {names} is required for tables")
    return None if not key or all(v is None for v in key) else key


def append_rows(
    run: Run,
    source: Source,
    keys: Sequence[tuple[Any, ...] | None],
    values: Sequence[tuple[Any, ...] | None],
    timestamps: list[int],
) -> None:
    """Append records to a source's topic, durably."""
    ksql = run.ksql
    codec = ksql.codec(source)
    batch = Batch(timestamps, payload=Payload.from_rows(codec.schema, keys, values), codec=codec)
    ksql.append(source, batch)

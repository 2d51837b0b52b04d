"""INSERT, UPDATE and DELETE.

Values are evaluated and coerced before the transaction; inside it rows get their `_seq`, are written and
published to topics. The definition of the table is looked up again inside, because an ALTER may have come in
between.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from kalam_jupyter.engine.transaction import Transaction
from kalam_jupyter.engine.types import DataType, Schema, Timestamp, to_arrow
from kalam_jupyter.kalam import expressions as ex
from kalam_jupyter.kalam.catalog import ColumnDef, TableDef
from kalam_jupyter.kalam.coercion import EPOCH, Coercer, coercer, column_coercer
from kalam_jupyter.kalam.context import Change
from kalam_jupyter.kalam.errors import StatementError, classify
from kalam_jupyter.kalam.predicate import Compiled, Compiler, UnsupportedError, parameter
from kalam_jupyter.kalam.result import Result, python_rows
from kalam_jupyter.kalam.selection import Selection
from kalam_jupyter.kalam.sizes import check_answer
from kalam_jupyter.kalam.statements import nodes

if TYPE_CHECKING:
    from kalam_jupyter.kalam.context import Context
    from kalam_jupyter.kalam.database import Kalam

Row = tuple[Any, ...]
NOW = frozenset({"NOW", "CURRENT_TIMESTAMP"})
_EMPTY = Schema(())
#: Column index, name, expression and text of one assignment.
_Assignment = tuple[int, str, ex.Expression, str]


def inserted(rows: int) -> Result:
    """Return what an INSERT answers."""
    return Result.say(f"Inserted {rows} row(s)", rows)


def _updated(rows: int) -> Result:
    return Result.say(f"Updated {rows} row(s)", rows)


def _deleted(rows: int) -> Result:
    return Result.say(f"Deleted {rows} row(s)", rows)


# ---- values ------------------------------------------------------------------------------------------------


def constant(kalam: Kalam, ctx: Context, node: ex.Expression) -> Any:
    """Return the value of an expression that reads no column."""
    if isinstance(node, ex.Literal):
        return node.value
    if isinstance(node, ex.Parameter):
        return parameter(ctx.params, node.index)
    if isinstance(node, ex.Call) and not node.arguments:
        if node.name in NOW:
            return now(kalam)
        generator = kalam.generators.functions.get(node.name)
        if generator is not None:
            return generator()
    if not isinstance(node, ex.Opaque):
        try:
            compiled = Compiler(_EMPTY, ctx.params, ctx.session.user_id, ctx.session.role).compile(node)
            return compiled.function(())
        except UnsupportedError:
            pass
    table = kalam.queries.collect(
        ctx.session, f"SELECT {ex.render(node)} AS v", ctx.params, ctx.namespace, ctx.stop
    )
    return None if table.num_rows == 0 else table.column(0)[0].as_py()


def now(kalam: Kalam) -> dt.datetime:
    """Return the current time of the engine's clock."""
    clock = kalam.engine.clock
    return EPOCH + dt.timedelta(milliseconds=clock.now_ms()) if clock.manual else dt.datetime.now(dt.UTC)


def default(kalam: Kalam, ctx: Context, column: ColumnDef) -> Any:
    """Return a column's default, not yet coerced."""
    if column.default is None:
        return None
    if column.default.kind == "literal":
        return column.default.value
    if column.default.value == "NOW":
        return now(kalam)
    if column.default.value == "CURRENT_USER":
        return ctx.session.user_id
    return kalam.generators.functions[column.default.value]()


def not_null(column: str, row: int, *, missing: bool) -> StatementError:
    """Make the error of a NOT NULL column without a value; `row` counts from 0."""
    if missing:
        return classify(
            f"NOT NULL constraint violation: column '{column}' is missing in row {row + 1} (row index {row})"
        )
    return classify(f"NOT NULL constraint violation: column '{column}' cannot be NULL (row {row + 1})")


class _Slot(NamedTuple):
    """How one table column is filled: from the statement's value `source`, or by its default when that
    is None; `coerce` takes one value, `coerce_all` those of several rows."""

    column: ColumnDef
    source: int | None
    coerce: Coercer
    coerce_all: Callable[[Sequence[Any]], Sequence[Any]]


def _slots(table: TableDef, columns: tuple[str, ...] | None, width: int) -> tuple[_Slot, ...]:
    """Return how the columns are filled; found out once for all statements alike."""
    key = ("dml.slots", columns, width)
    if key not in table.derived:
        table.derived[key] = _new_slots(table, columns, width)
    found: tuple[_Slot, ...] = table.derived[key]
    return found


def _new_slots(table: TableDef, columns: tuple[str, ...] | None, width: int) -> tuple[_Slot, ...]:
    names = tuple(c.name for c in table.columns) if columns is None else columns
    if columns is None and width > len(names):
        names = names[:width]
    sources: dict[str, int] = {}
    for i, name in enumerate(names[:width] if columns is None else names):
        if name in ("_seq", "_deleted"):
            raise StatementError(
                "invalid_operation", f"Column '{name}' is a system column and cannot be inserted"
            )
        if name not in table.by_name:
            raise StatementError("invalid_operation", f"Column '{name}' does not exist")
        if name in sources:
            raise StatementError("invalid_operation", f"Column '{name}' is named more than once")
        sources[name] = i
    if width != len(names) and (columns is not None or width > len(table.columns)):
        raise StatementError("invalid_operation", f"INSERT has {width} values but {len(names)} columns")
    if columns is None and width != len(table.columns):
        raise StatementError(
            "invalid_operation",
            f"INSERT has {width} values but table '{table.qualified}' has {len(table.columns)} columns",
        )
    return tuple(
        _Slot(c, sources.get(c.name), coercer(c.type, c.name), column_coercer(c.type, c.name))
        for c in table.columns
    )


def _build(
    kalam: Kalam, ctx: Context, slots: tuple[_Slot, ...], values: Sequence[Sequence[Any]]
) -> list[Row]:
    """Return full rows (without system columns) from the statement's values."""
    if len(values) < 2:
        return [_row(kalam, ctx, slots, row) for row in values]
    given = list(zip(*values, strict=True))
    columns = []
    for column, source, _, coerce_all in slots:
        found: Sequence[Any] = (
            [default(kalam, ctx, column) for _ in values] if source is None else given[source]
        )
        found = coerce_all(found)
        if not column.nullable and None in found:
            raise not_null(column.name, found.index(None), missing=source is None)
        columns.append(found)
    return list(zip(*columns, strict=True))


def _row(kalam: Kalam, ctx: Context, slots: tuple[_Slot, ...], given: Sequence[Any]) -> Row:
    """As `_build`, for one row."""
    row = []
    for column, source, coerce, _ in slots:
        value = coerce(default(kalam, ctx, column) if source is None else given[source])
        if value is None and not column.nullable:
            raise not_null(column.name, 0, missing=source is None)
        row.append(value)
    return tuple(row)


def _evaluated(
    kalam: Kalam,
    ctx: Context,
    table: TableDef,
    columns: tuple[str, ...] | None,
    rows: Sequence[Sequence[ex.Expression]],
) -> list[list[Any]]:
    """Return the values of expressions; of DEFAULT, those of their columns, as far as there are such."""
    names = tuple(c.name for c in table.columns) if columns is None else columns

    def value(i: int, node: ex.Expression) -> Any:
        if not isinstance(node, ex.Default):
            return constant(kalam, ctx, node)
        index = table.by_name.get(names[i]) if i < len(names) else None
        return None if index is None else default(kalam, ctx, table.columns[index])

    return [[value(i, node) for i, node in enumerate(row)] for row in rows]


# ---- INSERT ------------------------------------------------------------------------------------------------


def insert(kalam: Kalam, ctx: Context, statement: nodes.Insert) -> Change[int]:
    """Evaluate and check an INSERT; all of its rows will be written, or none."""
    table = kalam.writable(ctx, statement.table, "insert")
    columns = statement.columns
    if statement.query is not None:
        found = kalam.queries.collect(ctx.session, statement.query, ctx.params, ctx.namespace, ctx.stop)
        if ctx.limit:
            check_answer(found, kalam.config.query_memory)
        values: Sequence[Sequence[Any]] = python_rows(found)
        width = found.num_columns
    else:
        given: Sequence[Sequence[Any]] = statement.values or statement.rows
        width = len(given[0])
        if set(map(len, given)) != {width}:
            raise StatementError("invalid_operation", "INSERT rows have different numbers of values")
        values = statement.values or _evaluated(kalam, ctx, table, columns, statement.rows)
    rows = _build(kalam, ctx, _slots(table, columns, width), values)
    kalam.charge(ctx, rows)

    def apply(tx: Transaction) -> int:
        current = kalam.table(table.namespace, table.name)
        if current is not table:
            again = _build(kalam, ctx, _slots(current, columns, width), values)
            return write_inserts(kalam, tx, current, ctx.owner(current), again)
        return write_inserts(kalam, tx, table, ctx.owner(table), rows)

    return Change(apply, inserted)


def write_inserts(
    kalam: Kalam, tx: Transaction, table: TableDef, owner: str, rows: Sequence[Sequence[Any]]
) -> int:
    """Write new rows inside a transaction; a row under a tombstone's key takes its place."""
    if not rows:
        return 0
    full = [(*row, seq, False) for row, seq in zip(rows, kalam.seqs.take(len(rows)), strict=True)]
    if table.type == "stream":
        kalam.evict(tx, table, owner)
        tx.insert(table.relation, full, owner=owner)
        replaced: Sequence[Row | None] = [None] * len(full)
    else:
        replaced = tx.upsert(table.relation, full, owner=owner)
        if replaced.count(None) != len(full):
            _check_replaced(table, full, replaced)
    kalam.topics.publish(tx, table, owner, "insert", replaced, full)
    kalam.segments.wrote(tx, table, len(full))
    return len(full)


def _check_replaced(table: TableDef, rows: Sequence[Row], replaced: Sequence[Row | None]) -> None:
    """Raise `StatementError` if a row has replaced another than a tombstone."""
    key, deleted = table.key_index, table.seq_index + 1
    if len({row[key] for row in rows}) != len(rows):
        raise _repeated(table, rows)
    for row, old in zip(rows, replaced, strict=True):
        if old is not None and not old[deleted]:
            raise classify(
                f"Primary key violation: value '{row[key]}' already exists in column "
                f"'{table.schema.names[key]}'"
            )


def _repeated(table: TableDef, rows: Sequence[Row]) -> StatementError:
    seen: set[Any] = set()
    for row in rows:
        value = row[table.key_index]
        if value in seen:
            break
        seen.add(value)
    name = table.schema.names[table.key_index]
    return classify(
        f"Primary key violation: value '{value}' appears multiple times in the INSERT for column '{name}'"
    )


# ---- UPDATE, DELETE ----------------------------------------------------------------------------------------


def _assignments(table: TableDef, statement: nodes.Update) -> list[_Assignment]:
    """Check the SET list."""
    found = []
    for name, node, text in statement.assignments:
        index = table.by_name.get(name)
        if index is None:
            if name in ("_seq", "_deleted"):
                raise StatementError(
                    "invalid_operation", f"Column '{name}' is a system column and cannot be updated"
                )
            raise StatementError("invalid_operation", f"Column '{name}' does not exist")
        if table.columns[index].primary_key:
            raise StatementError("invalid_operation", f"UPDATE cannot modify primary key column '{name}'")
        found.append((index, name, node, text))
    return found


def _is_constant(node: ex.Expression) -> bool:
    """Whether an assigned value is the same for all rows, and needs no evaluation."""
    at_hand = isinstance(node, (ex.Literal, ex.Parameter, ex.Default))
    return at_hand or (isinstance(node, ex.Call) and not node.arguments)


def _compile(ctx: Context, table: TableDef, node: ex.Expression) -> Compiled | None:
    session = ctx.session
    try:
        return Compiler(table.schema, ctx.params, session.user_id, session.role).compile(node)
    except UnsupportedError:
        return None


def _new_values(
    kalam: Kalam,
    ctx: Context,
    table: TableDef,
    assignments: Sequence[_Assignment],
    rows: list[Row],
    selection: Selection,
) -> list[list[Any]]:
    """Return, per assignment, the new coerced value for each row."""
    found: list[list[Any]] = []
    asked: list[int] = []
    for n, (index, name, node, _) in enumerate(assignments):
        column = table.columns[index]
        coerce = coercer(column.type, name)
        if _is_constant(node):
            given = isinstance(node, ex.Default)
            value = coerce(default(kalam, ctx, column) if given else constant(kalam, ctx, node))
            found.append([value] * len(rows))
            continue
        function = _compile(ctx, table, node)
        try:
            if function is not None:
                convert = _from_physical(function.type, coerce)
                found.append([convert(function.function(row)) for row in rows])
                continue
        except (TypeError, ArithmeticError):
            pass  # values that only the query engine can compute with
        found.append([])
        asked.append(n)
    if asked:
        answers = selection.values(table, [assignments[n][3] for n in asked])
        keys = _python_keys(table, rows)
        for i, n in enumerate(asked):
            index, name = assignments[n][:2]
            coerce = coercer(table.columns[index].type, name)
            found[n] = [coerce(answers[k][i]) for k in keys]
    for (index, name, *_), values in zip(assignments, found, strict=True):
        if not table.columns[index].nullable and None in values:
            raise not_null(name, values.index(None), missing=False)
    return found


def _python_keys(table: TableDef, rows: Sequence[Row]) -> list[Any]:
    """Return the rows' keys in the form the query engine's results have in Python."""
    column = table.schema.columns[table.key_index]
    return list(to_arrow([row[table.key_index] for row in rows], column.type).to_pylist())


def _from_physical(type_: DataType | None, coerce: Coercer) -> Coercer:
    """A timestamp column's physical value is a number; going to text it must be a moment again."""
    if isinstance(type_, Timestamp):
        return lambda v: None if v is None else coerce(EPOCH + dt.timedelta(microseconds=v))
    return coerce


def update(kalam: Kalam, ctx: Context, statement: nodes.Update) -> Change[int]:
    """Check an UPDATE; rows whose values stay the same are not counted and get no new version."""
    table = kalam.writable(ctx, statement.table, "update")
    if table.type == "stream":
        raise StatementError("invalid_operation", "UPDATE not supported for STREAM tables")
    assigned = _assignments(table, statement)
    hard = [a[3] for a in assigned if not _is_constant(a[2]) and _compile(ctx, table, a[2]) is None]
    selection = Selection(ctx, table, statement.where, statement.where_sql, hard)

    def apply(tx: Transaction) -> int:
        current = kalam.table(table.namespace, table.name)
        owner = ctx.owner(current)
        assignments = assigned if current is table else _assignments(current, statement)
        rows = selection.rows(current)
        if not rows:
            return 0
        values = _new_values(kalam, ctx, current, assignments, rows, selection)
        seq = current.seq_index
        old_rows, new_rows = [], []
        for n, old in enumerate(rows):
            new = list(old)
            for (index, *_), column in zip(assignments, values, strict=True):
                new[index] = column[n]
            if tuple(new) != old:
                new[seq] = kalam.seqs.next()
                old_rows.append(old)
                new_rows.append(tuple(new))
        if new_rows:
            kalam.charge(ctx, new_rows)
            tx.upsert(current.relation, new_rows, owner=owner)
            kalam.topics.publish(tx, current, owner, "update", old_rows, new_rows)
            kalam.segments.wrote(tx, current, len(new_rows))
        return len(new_rows)

    return Change(apply, _updated)


def delete(kalam: Kalam, ctx: Context, statement: nodes.Delete) -> Change[int]:
    """Check a DELETE: tombstones for tables, removal for streams."""
    table = kalam.writable(ctx, statement.table, "delete")
    selection = Selection(ctx, table, statement.where, statement.where_sql)

    def apply(tx: Transaction) -> int:
        current = kalam.table(table.namespace, table.name)
        owner = ctx.owner(current)
        rows = selection.rows(current)
        if not rows:
            return 0
        seq = current.seq_index
        if current.type == "stream":
            tx.delete(current.relation, [(row[seq],) for row in rows], owner=owner)
            return len(rows)
        seqs = kalam.seqs.take(len(rows))
        tombstones = [(*row[:seq], s, True) for row, s in zip(rows, seqs, strict=True)]
        tx.upsert(current.relation, tombstones, owner=owner)
        kalam.topics.publish(tx, current, owner, "delete", rows, tombstones)
        kalam.segments.wrote(tx, current, len(rows))
        return len(rows)

    return Change(apply, _deleted)

"""ALTER TABLE: the handlers of its statements. Every change makes a new version of the definition."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from kalam_jupyter.engine import Constant, Transaction
from kalam_jupyter.engine.errors import EngineError
from kalam_jupyter.kalam import access, names
from kalam_jupyter.kalam.catalog import TABLE, TABLE_HISTORY, ColumnDef, TableDef
from kalam_jupyter.kalam.coercion import coercer
from kalam_jupyter.kalam.context import Change
from kalam_jupyter.kalam.ddl import target
from kalam_jupyter.kalam.dml import default
from kalam_jupyter.kalam.errors import StatementError
from kalam_jupyter.kalam.statements import nodes
from kalam_jupyter.kalam.types import sql_type

if TYPE_CHECKING:
    from kalam_jupyter.kalam.context import Context
    from kalam_jupyter.kalam.database import Kalam


def _altered(kalam: Kalam, ctx: Context, name: nodes.Name) -> TableDef:
    namespace, table_name = target(ctx, name, "alter")
    table = kalam.find_table(namespace, table_name)
    if table is None:
        raise StatementError("not_found", f"Table '{table_name}' not found in namespace '{namespace}'")
    access.check_alter(ctx.session, table)
    return table


def _column(table: TableDef, name: str) -> ColumnDef:
    if name in names.SYSTEM_COLUMNS or name == "_commit_seq":
        raise StatementError(
            "invalid_operation", f"Cannot alter column '{name}': system column cannot be modified"
        )
    index = table.by_name.get(name)
    if index is None:
        raise StatementError("invalid_operation", f"Column '{name}' does not exist")
    return table.columns[index]


def _save(tx: Transaction, old: TableDef, new: TableDef) -> None:
    tx.put(TABLE_HISTORY, old.version_name(old.version), tx.get(TABLE, old.qualified))
    tx.put(TABLE, new.qualified, new.to_json())


def _alter(kalam: Kalam, ctx: Context, name: nodes.Name, change: str, step: Any) -> Change[str]:
    """Run one ALTER: `step(tx, table)` gives (new definition, sources of its columns) or None for no
    change."""

    def apply(tx: Transaction) -> str:
        table = _altered(kalam, ctx, name)
        found = step(tx, table)
        if found is None:
            return (
                f"Table {table.qualified} unchanged: {change} (version {table.version} - no changes needed)"
            )
        columns, sources, extra = found
        new = table.next_version(tx.now_ms, columns=tuple(columns), **extra)
        kalam.topics.check_sources(new)
        if sources is not None:
            try:
                tx.alter_relation(table.relation, new.schema, sources)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError, EngineError) as error:
                raise StatementError("invalid_operation", f"Cannot change existing values: {error}") from None
        _save(tx, table, new)
        tx.on_commit(lambda: kalam.live.table_altered(new))
        return f"Table {table.qualified} altered successfully: {change} (version {new.version})"

    return Change.said(apply)


def _identity(table: TableDef) -> list[int | Constant]:
    return list(range(len(table.columns) + 2))


def add_column(kalam: Kalam, ctx: Context, st: nodes.AddColumn) -> Change[str]:
    """ALTER TABLE .. ADD COLUMN."""
    column = st.column

    def step(tx: Transaction, table: TableDef) -> Any:
        if column.name in table.by_name:
            raise StatementError("invalid_operation", f"Column '{column.name}' already exists")
        if column.primary_key:
            raise StatementError("invalid_operation", "A PRIMARY KEY column cannot be added to a table")
        value = coercer(column.type, column.name)(default(kalam, ctx, column))
        relation = kalam.relation(table)
        held = any(relation.count(owner) for owner in kalam.owners(table))
        if value is None and not column.nullable and held:
            raise StatementError(
                "invalid_operation",
                f"Cannot add NOT NULL column '{column.name}' without DEFAULT: table '{table.qualified}' "
                f"has rows",
            )
        n = len(table.columns)
        added = replace(column, id=max(c.id for c in table.columns) + 1)
        return [*table.columns, added], [*range(n), Constant(value), n, n + 1], {}

    return _alter(kalam, ctx, st.table, f"ADD COLUMN {column.name} {sql_type(column.type)}", step)


def drop_column(kalam: Kalam, ctx: Context, st: nodes.DropColumn) -> Change[str]:
    """ALTER TABLE .. DROP COLUMN."""

    def step(tx: Transaction, table: TableDef) -> Any:
        if st.column in names.SYSTEM_COLUMNS or st.column == "_commit_seq":
            raise StatementError(
                "invalid_operation", f"Cannot drop column '{st.column}': system column cannot be modified"
            )
        column = _column(table, st.column)
        if column.primary_key:
            raise StatementError(
                "invalid_operation", f"Cannot drop column '{st.column}': it is the PRIMARY KEY"
            )
        if len(table.columns) == 1:
            raise StatementError(
                "invalid_operation", f"Cannot drop column '{st.column}': it is the only column"
            )
        gone = table.by_name[st.column]
        vectors = {k: v for k, v in table.vectors.items() if k != st.column}
        sources = [i for i in _identity(table) if i != gone]
        return [c for c in table.columns if c is not column], sources, {"vectors": vectors}

    return _alter(kalam, ctx, st.table, f"DROP COLUMN {st.column}", step)


def _checked_nulls(kalam: Kalam, table: TableDef, column: ColumnDef, nullable: bool) -> None:
    """Refuse NULL for a primary key, and NOT NULL for a column that holds NULLs."""
    if nullable and column.primary_key:
        raise StatementError(
            "invalid_operation", f"Column '{column.name}' is a PRIMARY KEY and cannot be nullable"
        )
    if nullable or not column.nullable:
        return
    relation, index = kalam.relation(table), table.by_name[column.name]
    for owner in kalam.owners(table):
        if any(b.column(index).null_count for b in relation.snapshot(owner).batches()):
            raise StatementError(
                "constraint", f"NOT NULL constraint violation: column '{column.name}' contains NULL values"
            )


def modify_column(kalam: Kalam, ctx: Context, st: nodes.ModifyColumn) -> Change[str]:
    """ALTER TABLE .. MODIFY COLUMN."""

    def step(tx: Transaction, table: TableDef) -> Any:
        column = _column(table, st.column)
        nullable = column.nullable if st.nullable is None else st.nullable
        if column.type == st.type and nullable == column.nullable:
            return None
        _checked_nulls(kalam, table, column, nullable)
        changed = replace(column, type=st.type, nullable=nullable)
        return [changed if c is column else c for c in table.columns], _identity(table), {}

    return _alter(kalam, ctx, st.table, f"MODIFY COLUMN {st.column} {sql_type(st.type)}", step)


def set_nullable(kalam: Kalam, ctx: Context, st: nodes.SetNullable) -> Change[str]:
    """ALTER TABLE .. ALTER COLUMN .. SET | DROP NOT NULL."""

    def step(tx: Transaction, table: TableDef) -> Any:
        column = _column(table, st.column)
        _checked_nulls(kalam, table, column, st.nullable)
        if column.nullable == st.nullable:
            return None
        changed = replace(column, nullable=st.nullable)
        return [changed if c is column else c for c in table.columns], _identity(table), {}

    change = f"ALTER COLUMN {st.column} {'DROP' if st.nullable else 'SET'} NOT NULL"
    return _alter(kalam, ctx, st.table, change, step)


def set_default(kalam: Kalam, ctx: Context, st: nodes.SetDefault) -> Change[str]:
    """ALTER TABLE .. ALTER COLUMN .. SET | DROP DEFAULT."""

    def step(tx: Transaction, table: TableDef) -> Any:
        column = _column(table, st.column)
        if column.default == st.default:
            return None
        changed = replace(column, default=st.default)
        coercer(column.type, column.name)(default(kalam, ctx, changed))
        return [changed if c is column else c for c in table.columns], None, {}

    change = f"ALTER COLUMN {st.column} " + (
        "DROP DEFAULT" if st.default is None else f"SET DEFAULT {st.text}"
    )
    return _alter(kalam, ctx, st.table, change, step)


def rename_column(kalam: Kalam, ctx: Context, st: nodes.RenameColumn) -> Change[str]:
    """ALTER TABLE .. RENAME COLUMN: the data stays under the new name."""

    def step(tx: Transaction, table: TableDef) -> Any:
        column = _column(table, st.column)
        if (problem := names.column_problem(st.new_name)) is not None:
            raise StatementError("invalid_operation", problem)
        if st.new_name == st.column:
            return None
        if st.new_name in table.by_name:
            raise StatementError("invalid_operation", f"Column '{st.new_name}' already exists")
        vectors = {st.new_name if k == st.column else k: v for k, v in table.vectors.items()}
        changed = replace(column, name=st.new_name)
        return [changed if c is column else c for c in table.columns], _identity(table), {"vectors": vectors}

    return _alter(kalam, ctx, st.table, f"RENAME COLUMN {st.column} TO {st.new_name}", step)


def set_access_level(kalam: Kalam, ctx: Context, st: nodes.SetAccessLevel) -> Change[str]:
    """ALTER TABLE .. SET ACCESS LEVEL."""

    def step(tx: Transaction, table: TableDef) -> Any:
        if table.type != "shared":
            raise StatementError("invalid_operation", "ACCESS LEVEL can only be set on SHARED tables")
        if table.access_level == st.level:
            return None
        return table.columns, None, {"options": {**table.options, "access_level": st.level}}

    return _alter(kalam, ctx, st.table, f"SET ACCESS LEVEL {st.level.capitalize()}", step)


def alter_index(kalam: Kalam, ctx: Context, st: nodes.AlterIndex) -> Change[str]:
    """ALTER TABLE .. CREATE | DROP VECTOR INDEX."""

    def apply(tx: Transaction) -> str:
        table = _altered(kalam, ctx, st.table)
        if table.type == "stream":
            raise StatementError(
                "invalid_operation", "Vector indexing is only supported for USER/SHARED tables"
            )
        column = _column(table, st.column)
        if column not in table.embeddings:
            raise StatementError("invalid_operation", f"Column '{st.column}' is not EMBEDDING")
        vectors = {k: v for k, v in table.vectors.items() if k != st.column}
        if st.metric is not None:
            vectors[st.column] = st.metric.lower()
        if vectors != table.vectors:
            _save(tx, table, table.next_version(tx.now_ms, vectors=vectors))
        target = f"{table.qualified}.{st.column}"
        if st.metric is None:
            return f"Vector index disabled on {target}"
        shown = "L2" if st.metric == "L2" else st.metric.capitalize()
        return f"Vector index enabled on {target} ({shown})"

    return Change.said(apply)


HANDLERS: dict[type[nodes.Statement], Any] = {
    nodes.AddColumn: add_column,
    nodes.DropColumn: drop_column,
    nodes.ModifyColumn: modify_column,
    nodes.SetNullable: set_nullable,
    nodes.SetDefault: set_default,
    nodes.RenameColumn: rename_column,
    nodes.SetAccessLevel: set_access_level,
    nodes.AlterIndex: alter_index,
}

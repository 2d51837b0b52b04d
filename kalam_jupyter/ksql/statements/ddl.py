"""CREATE, DROP and ALTER of streams, tables and types."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kalam_jupyter.engine.transaction import Transaction
from kalam_jupyter.engine.types import Column, Schema
from kalam_jupyter.ksql.errors import KsqlError, RequestError, StatementError
from kalam_jupyter.ksql.formats import check_side
from kalam_jupyter.ksql.functions.missing import StoredFunctions
from kalam_jupyter.ksql.lang import ast
from kalam_jupyter.ksql.lang.format import quote
from kalam_jupyter.ksql.lang.parser import parse_statement
from kalam_jupyter.ksql.metastore import Source
from kalam_jupyter.ksql.statements.definitions import Definition, check_column_name, create_definition
from kalam_jupyter.ksql.statements.entities import Entity, command, entity
from kalam_jupyter.ksql.statements.run import QueryInfo, Run
from kalam_jupyter.ksql.statements.schemas import Taken, taken, with_inferred_columns, with_schemas

_TOPIC_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")


def create_source(run: Run, s: ast.CreateSource, text: str) -> Entity:
    """CREATE STREAM, CREATE TABLE."""
    existing = run.source(s.name)
    found = check_existing(existing, s.kind, s.name, s.or_replace, s.if_not_exists, s.read_only, text)
    if found is not None:
        return found
    s, inferred = with_inferred_columns(run, s)
    definition = create_definition(s, text, run.metastore, run.config)
    source = with_schemas(run, definition.source, inferred)
    topic = source.topic
    if not run.topic_exists(topic) and "PARTITIONS" not in definition.properties:
        raise StatementError(
            f"Topic '{topic}' does not exist. If you want to create a new topic for the {s.kind.lower()} "
            "please re-run the statement providing the required 'PARTITIONS' configuration in the WITH "
            f"clause (and optionally 'REPLICAS'). For example: {_with_partitions(text)}"
        )
    check_topic_name(run, topic)
    if existing is not None:
        check_upgrade(existing, source)
    query_id = _maintaining_id(run, source)
    source = replace(source, query_id=query_id)
    sequence = run.next_sequence()

    def change(tx: Transaction) -> None:
        ensure_topic(run, tx, definition)
        store_statement(tx, sequence, text, s.name, run, query_id, taken(source, inferred))

    run.change(change)
    run.state.topics.setdefault(topic, int(definition.properties.get("PARTITIONS", 1)))
    run.metastore.put(source)
    message = f"{s.kind.capitalize()} created"
    if query_id is not None:
        run.state.queries[query_id] = _maintaining_query(run, source, query_id)
        message = f"Created query with ID {query_id}"
    return command(text, f"{s.kind.lower()}/`{s.name}`/create", message, sequence, query_id)


def _maintaining_id(run: Run, source: Source) -> str | None:
    """Return the id of the query that keeps a SOURCE TABLE's rows; None for anything else."""
    if run.restored is not None:
        return run.restored.query_id
    if source.is_stream or not source.read_only:
        return None
    if not run.config.flag("ksql.source.table.materialization.enabled"):
        return None
    check_active_limit(run)
    return f"CST_{source.name}_{run.sequence}"


def _maintaining_query(run: Run, source: Source, query_id: str) -> QueryInfo:
    query = parse_statement(f"SELECT * FROM {quote(source.name)};")
    assert isinstance(query, ast.Query)
    plan = run.planner().plan(query, source.name)
    kept = replace(plan.root.input, materialize=True)  # type: ignore[call-arg]
    plan = replace(plan, root=replace(plan.root, input=kept))
    return QueryInfo(query_id, source.statement, (source.name,), source.name, True, plan, maintains=True)


def check_active_limit(run: Run) -> None:
    """Refuse one more persistent query than the configuration allows; those that exist are made again."""
    count, limit = len(run.state.queries), int(run.config["ksql.query.persistent.active.limit"])
    if run.restored is None and count >= limit:
        raise RequestError(
            "Not executing statement(s) as it would cause the number of active, persistent queries to exceed "
            f"the configured limit. Current persistent query count: {count}. Configured limit: {limit}."
        )


def _with_partitions(text: str) -> str:
    head, _, tail = text.rpartition(")")
    return f"{head}, PARTITIONS=1){tail}"


def check_existing(
    existing: Source | None,
    kind: str,
    name: str,
    or_replace: bool,
    if_not_exists: bool,
    read_only: bool,
    text: str,
) -> Entity | None:
    """Return the warning of IF NOT EXISTS; StatementError if the name is taken and may not be replaced."""
    lower = kind.lower()
    if or_replace and (read_only or (existing is not None and existing.read_only)):
        raise KsqlError(
            f"Cannot add {lower} '{name}': CREATE OR REPLACE is not supported on source {lower}s."
        )
    if existing is None:
        return None
    if if_not_exists:
        return entity(
            "warning_entity",
            text,
            message=f"Cannot add {lower} `{name}`: A {lower} with the same name already exists.",
        )
    if not or_replace:
        raise StatementError(
            f"Cannot add {lower} '{name}': A {existing.kind.lower()} with the same name already exists"
        )
    return None


def check_upgrade(old: Source, new: Source) -> None:
    """Refuse a replacement that running queries could not live with."""
    kind = new.kind.lower()
    what = f"Cannot upgrade data source: DataSource '{new.name}'"
    if old.kind != new.kind:
        raise KsqlError(f"{what} (type {old.kind.lower()}) cannot be replaced by a {kind}.")
    for label, a, b in (
        ("topic", old.topic, new.topic),
        ("key format", old.key_format.info, new.key_format.info),
        ("value format", old.value_format.info, new.value_format.info),
        ("windowing", old.window, new.window),
    ):
        if a != b:
            raise KsqlError(f"{what}: {label} cannot change.")
    if old.schema.key != new.schema.key:
        changed = [c for c in old.schema.key if c not in new.schema.key] or list(old.schema.key)
        raise KsqlError(
            f"{what} has incompatible schema. (Key columns must be identical. The following key columns "
            f"are changed, missing or reordered: [{_columns_text(changed)}])"
        )
    before, after = old.schema.value, new.schema.value
    changed = [c for i, c in enumerate(before) if i >= len(after) or after[i] != c]
    if changed:
        raise KsqlError(
            f"{what} has incompatible schema. (The following columns are changed, missing or reordered: "
            f"[{_columns_text(changed)}])"
        )


def _columns_text(columns: list[Column]) -> str:
    return ", ".join(f"`{c.name}` {c.type}{' KEY' if c.key else ''}" for c in columns)


def check_topic_name(run: Run, topic: str) -> None:
    """Refuse to make a topic whose name Kafka does not take; those that are there may have any."""
    if not run.topic_exists(topic) and (not _TOPIC_NAME.fullmatch(topic) or topic in (".", "..")):
        raise StatementError(
            f"Topic name '{topic}' is illegal: it takes 1 to 249 ASCII letters, digits, '.', '_' and '-', "
            "and is neither '.' nor '..'."
        )


def ensure_topic(run: Run, tx: Transaction, definition: Definition, partitions: int = 1) -> None:
    """Create the topic of a source if there is none."""
    source, properties = definition.source, definition.properties
    if run.ksql.engine.find_topic(source.topic) is not None:
        return
    tx.create_topic(
        source.topic, int(properties.get("PARTITIONS", partitions)), topic_config(source, properties)
    )


def topic_config(
    source: Source, properties: Mapping[str, Any], window_retention: int = 0, inherited: int = -1
) -> dict[str, Any]:
    """Return the configuration of a new topic: what it keeps, and how many replicas were asked for.

    As ksqlDB has it: streams delete what is old, tables are compacted, windowed tables both. But nothing is
    old unless the statement, or the topic that it reads (`inherited`, in ms), says what is.
    """
    retention = int(properties.get("RETENTION_MS", inherited))
    config = {"replicas": int(properties.get("REPLICAS", 1)), "cleanup_policy": "compact"}
    if source.is_stream or source.window is not None:
        config["cleanup_policy"] = "delete" if source.is_stream else "compact,delete"
        config["retention_ms"] = retention if retention < 0 else max(retention, window_retention)
    return config


def store_statement(
    tx: Transaction,
    sequence: int,
    text: str,
    name: str,
    run: Run,
    query_id: str | None,
    schemas: Taken | None = None,
    functions: StoredFunctions = (),
) -> None:
    """Keep a definition, and what it calls of users', to be made again when the engine is opened again."""
    tx.put(
        "ksql.statement",
        f"{sequence:012d}",
        {
            "text": text,
            "name": name,
            "queryId": query_id,
            "properties": dict(run.session.properties),
            "schemas": schemas,
            "functions": functions,
        },
    )


def forget_statements(run: Run, tx: Transaction, name: str | None, query_id: str | None = None) -> None:
    """Forget the definitions of a source, or of a query."""
    for key, value in run.ksql.engine.catalogue.items("ksql.statement"):
        if (name is not None and value["name"] == name) or (query_id and value["queryId"] == query_id):
            tx.remove("ksql.statement", key)


def drop_source(run: Run, s: ast.DropSource, text: str) -> Entity:
    """DROP STREAM, DROP TABLE: the query that made the source ends with it; other queries block it."""
    kind = s.kind.lower()
    command_id = f"{kind}/{s.name}/drop"
    source = run.source(s.name)
    if source is None:
        if s.if_exists:
            return command(text, command_id, f"Source `{s.name}` does not exist.", run.no_change())
        raise StatementError(f"{s.kind.capitalize()} {s.name} does not exist.{run.metastore.hint(s.name)}")
    if s.name in run.metastore.system:
        raise StatementError(f"{s.name} is part of the server and cannot be dropped.")
    if source.kind != s.kind:
        raise StatementError(
            f"Incompatible data source type is {source.kind.lower()}, but statement was DROP {kind}"
        )
    if s.delete_topic and source.read_only:
        raise KsqlError(f"Cannot delete topic for read-only source: {s.name}")
    _check_unused(run, s.name)
    own = [q for q in run.state.writers(s.name) if q.creates]
    kept = run.state.maintainer(s.name)
    sequence = run.next_sequence()

    def change(tx: Transaction) -> None:
        for q in own:
            run.ksql.queries.remove(tx, q.id)
        for q in kept:
            resume_maintaining(run, tx, q.id)
        forget_statements(run, tx, s.name)
        if s.delete_topic and run.ksql.engine.find_topic(source.topic) is not None:
            tx.drop_topic(source.topic)

    if s.delete_topic and not run.dry:
        run.ksql.schema_deleted(source)
    run.change(change)
    for q in own + kept:
        del run.state.queries[q.id]
        if not run.dry:
            run.ksql.queries.forget(q.id)
    del run.metastore.sources[s.name]
    if s.delete_topic:
        run.state.topics.pop(source.topic, None)
    return command(text, command_id, f"Source `{s.name}` (topic: {source.topic}) was dropped.", sequence)


def pause_maintaining(run: Run, tx: Transaction, info: QueryInfo) -> None:
    """Keep a SOURCE TABLE's rows as they are now."""
    if run.ksql.engine.catalogue.get("ksql.paused", info.id) is None:
        topic = run.ksql.engine.topic(info.plan.sources[0].topic)
        tx.put("ksql.paused", info.id, topic.end_sequence)


def resume_maintaining(run: Run, tx: Transaction, query_id: str) -> None:
    """Let a SOURCE TABLE's rows follow its topic again."""
    if run.ksql.engine.catalogue.get("ksql.paused", query_id) is not None:
        tx.remove("ksql.paused", query_id)


def _check_unused(run: Run, name: str) -> None:
    readers = run.state.readers(name)
    writers = [q for q in run.state.writers(name) if not q.creates]
    sinks = [q.sink for q in readers if q.creates]
    if sinks:
        raise StatementError(
            f"Cannot drop {name}.\nThe following streams and/or tables read from this source: "
            f"[{', '.join(sinks)}].\n"
            f"You need to drop them before dropping {name}."
        )
    if readers or writers:
        raise StatementError(
            f"Cannot drop {name}.\nThe following queries read from this source: "
            f"[{', '.join(q.id for q in readers)}].\n"
            f"The following queries write into this source: [{', '.join(q.id for q in writers)}].\n"
            f"You need to terminate them before dropping {name}."
        )


def alter_source(run: Run, s: ast.AlterSource, text: str) -> Entity:
    """ALTER .. ADD COLUMN: appends value columns; running queries keep the old schema."""
    kind = s.kind.lower()
    source = run.source(s.name)
    if source is None:
        raise KsqlError(f"Source {s.name} does not exist")
    if source.kind != s.kind:
        raise KsqlError(
            f"Incompatible data source type is {source.kind.lower()}, but statement was ALTER {kind}"
        )
    if source.read_only:
        raise KsqlError(
            f"Cannot alter {kind} '{s.name}': ALTER operations are not supported on source {kind}s."
        )
    if source.query_id is not None:
        raise KsqlError("ALTER command is not supported for CREATE ... AS statements.")
    columns = list(source.schema.columns)
    for name, type_ in s.columns:
        check_column_name(name)
        if name in {c.name for c in columns}:
            raise KsqlError(
                f"Cannot add column `{name}` to schema. A column with the same name already exists."
            )
        columns.append(Column(name, run.metastore.resolve_type(type_)))
    unregistered = replace(source.value_format, schema_id=None)
    altered = replace(source, schema=Schema(tuple(columns)), value_format=unregistered)
    check_side(
        altered.value_format.info,
        altered.stored_schema.value,
        is_key=False,
        features=altered.value_format.features,
    )
    altered = with_schemas(run, altered)
    sequence = run.next_sequence()
    run.change(lambda tx: store_statement(tx, sequence, text, s.name, run, None, taken(altered)))
    run.metastore.put(altered)
    return command(text, f"{kind}/{s.name}/alter", f"{s.kind.capitalize()} {s.name} altered.", sequence)


def create_type(run: Run, s: ast.CreateType, text: str) -> Entity:
    """CREATE TYPE."""
    existing = run.metastore.types.get(s.name)
    if existing is not None:
        message = f"{s.name} is already registered with type {existing}"
        if s.if_not_exists:
            return command(text, f"type/{s.name}/create", message, run.no_change())
        raise StatementError(
            f"Cannot register custom type '{s.name}' since it is already registered with type: {existing}"
        )
    type_ = run.metastore.resolve_type(s.type)
    sequence = run.next_sequence()
    run.change(lambda tx: store_statement(tx, sequence, text, f"type {s.name}", run, None))
    run.metastore.types[s.name] = type_
    return command(
        text,
        f"type/{s.name}/create",
        f"Registered custom type with name '{s.name}' and SQL type {type_}",
        sequence,
    )


def drop_type(run: Run, s: ast.DropType, text: str) -> Entity:
    """DROP TYPE."""
    if s.name not in run.metastore.types:
        message = f"Type '{s.name}' does not exist"
        if s.if_exists:
            return command(text, f"type/{s.name}/drop", message, run.no_change())
        raise StatementError(f"Type {s.name} does not exist.")
    sequence = run.next_sequence()
    run.change(lambda tx: forget_statements(run, tx, f"type {s.name}"))
    del run.metastore.types[s.name]
    return command(text, f"type/{s.name}/drop", f"Dropped type '{s.name}'", sequence)

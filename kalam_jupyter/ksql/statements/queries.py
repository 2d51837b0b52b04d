"""CREATE .. AS SELECT, INSERT INTO .. SELECT, TERMINATE, PAUSE, RESUME: persistent queries."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kalam_jupyter.engine.transaction import Transaction
from kalam_jupyter.engine.types import Column
from kalam_jupyter.ksql.analysis.analysed import analysed_query
from kalam_jupyter.ksql.errors import KsqlError, StatementError
from kalam_jupyter.ksql.functions.definitions import EvaluationContext
from kalam_jupyter.ksql.functions.missing import users_functions
from kalam_jupyter.ksql.lang import ast
from kalam_jupyter.ksql.lang.properties import typed_properties
from kalam_jupyter.ksql.plan.fit import fitted
from kalam_jupyter.ksql.plan.query_plan import QueryPlan
from kalam_jupyter.ksql.plan.upgrade import check_query_upgrade
from kalam_jupyter.ksql.statements.ddl import (
    check_active_limit,
    check_existing,
    check_topic_name,
    check_upgrade,
    pause_maintaining,
    resume_maintaining,
    store_statement,
    topic_config,
)
from kalam_jupyter.ksql.statements.definitions import sink_definition, timestamp_name
from kalam_jupyter.ksql.statements.entities import Entity, command, entity
from kalam_jupyter.ksql.statements.insert import check_writable
from kalam_jupyter.ksql.statements.run import QueryInfo, Run
from kalam_jupyter.ksql.statements.schemas import checked_against_schema, taken, with_schemas

_RESERVED_IDS = re.compile(r"(CSAS|CTAS|INSERTQUERY|CST|TRANSIENT)_", re.IGNORECASE)


def create_source_as(run: Run, s: ast.CreateSourceAs, text: str) -> Entity:
    """CREATE STREAM AS SELECT, CREATE TABLE AS SELECT."""
    existing = run.source(s.name)
    found = check_existing(existing, s.kind, s.name, s.or_replace, s.if_not_exists, False, text)
    if found is not None:
        return found
    if s.query.limit is not None:
        raise StatementError(f"CREATE {s.kind} AS SELECT statements don't support LIMIT clause.")
    context = EvaluationContext()
    timestamp = timestamp_name(typed_properties(s.properties))
    plan = run.planner(context).plan(s.query, s.name, timestamp)
    if plan.is_table != (s.kind == "TABLE"):
        got = "TABLE" if plan.is_table else "STREAM"
        raise StatementError(
            f"Invalid result type. Your SELECT query produces a {got}. Please use CREATE {got} AS SELECT "
            "statement instead."
        )
    check_window_sources(plan)
    check_states(plan)
    try:
        definition = sink_definition(s.name, s.kind, plan, s.properties, text, run.config)
    except KsqlError as error:
        analysed = replace(s, query=analysed_query(s.query, run.metastore, plan.items))
        error.detail = f"{error.message}\nStatement: {analysed}"
        raise
    if run.restored is None:
        check_writable(run, definition.source.topic, "write the result of a query to")
        check_topic_name(run, definition.source.topic)
    checked_against_schema(run, definition.source, definition.properties)
    definition = replace(definition, source=with_schemas(run, definition.source))
    replaced = None
    if existing is not None:
        check_upgrade(existing, definition.source)
        replaced = existing.query_id
        if replaced is not None and run.restored is None:
            check_query_upgrade(replaced, run.state.queries[replaced].plan, plan)
    if replaced is None:
        check_active_limit(run)
    prefix = "CSAS" if s.kind == "STREAM" else "CTAS"
    sequence = run.next_sequence()
    query_id = _restored_id(run) or replaced or f"{prefix}_{s.name}_{sequence}"
    source = replace(definition.source, query_id=query_id)
    info = QueryInfo(query_id, text, _names(plan), s.name, creates=True, plan=plan)
    partitions = run.partitions(plan.sources[0].topic)
    called = users_functions(s.query, run.ksql.functions)

    def change(tx: Transaction) -> None:
        if run.ksql.engine.find_topic(source.topic) is None:
            aggregation = plan.aggregation
            retention = 0 if aggregation is None else aggregation.retention_ms or 0
            inherited = run.retention(plan.sources[0].topic)
            config = topic_config(source, definition.properties, retention, inherited)
            tx.create_topic(source.topic, int(definition.properties.get("PARTITIONS", partitions)), config)
        store_statement(tx, sequence, text, s.name, run, query_id, taken(source), called)
        run.ksql.queries.start(tx, info, plan, source, context, run.config, replaces=replaced is not None)

    run.change(change)
    if run.restored is not None and run.restored.query_id is None:
        run.metastore.put(replace(source, query_id=None))
        return command(text, "", "", sequence)
    if run.restored is not None:
        run.ksql.queries.restore(info, plan, source, context, run.config)
    run.state.topics.setdefault(source.topic, int(definition.properties.get("PARTITIONS", partitions)))
    run.state.queries[query_id] = info
    run.metastore.put(source)
    return command(
        text,
        f"{s.kind.lower()}/`{s.name}`/create",
        f"Created query with ID {query_id}",
        sequence,
        query_id,
    )


def _restored_id(run: Run) -> str | None:
    return None if run.restored is None else run.restored.query_id


def _names(plan: QueryPlan) -> tuple[str, ...]:
    return tuple(dict.fromkeys(s.name for s in plan.sources))


def check_window_sources(plan: QueryPlan) -> None:
    """Refuse persistent queries that read a windowed table and do not aggregate or join it."""
    if len(plan.sources) == 1 and plan.aggregation is None:
        source = plan.sources[0]
        if not source.is_stream and source.window is not None:
            raise KsqlError("KSQL does not support persistent queries on windowed tables.")


def check_states(plan: QueryPlan) -> None:
    """Refuse aggregates whose intermediate state the value format cannot hold."""
    if plan.aggregation is None:
        return
    value_format = plan.sources[0].value_format.info
    for aggregate in plan.aggregation.aggregates:
        type_ = aggregate.function.state_type
        if type_ is None:
            continue
        try:
            value_format.format.check([Column("STATE", type_)], value_format)
        except KsqlError:
            raise KsqlError(
                "One of the functions used in the statement has an intermediate type that the value format "
                "can not handle. Please remove the function or change the format."
            ) from None


def insert_into(run: Run, s: ast.InsertInto, text: str) -> Entity:
    """INSERT INTO .. SELECT."""
    sink = run.source(s.target)
    if sink is None:
        where = "" if s.name_location is None else s.name_location.prefix
        raise StatementError(f"{where}Source `{s.target}` does not exist.{run.metastore.hint(s.target)}")
    if not sink.is_stream:
        raise StatementError(f"INSERT INTO can only be used to insert into a stream. {s.target} is a table.")
    if sink.read_only:
        raise KsqlError(f"Cannot insert into read-only stream: {s.target}")
    if run.restored is None:
        check_writable(run, sink.topic, "insert into")
    if sink.headers:
        raise KsqlError(f"Cannot insert into {s.target} because it has header columns")
    if s.query.limit is not None:
        raise StatementError("INSERT INTO statements don't support LIMIT clause.")
    context = EvaluationContext()
    plan = run.planner(context).plan(s.query, s.target)
    if plan.is_table:
        raise StatementError(
            f"Incompatible data sink and query result. Data sink ({s.target}) type is STREAM but select "
            "query result is TABLE."
        )
    plan = fitted(plan, sink)
    check_active_limit(run)
    sequence = run.next_sequence()
    query_id = _restored_id(run) or _query_id(s.properties, run) or f"INSERTQUERY_{sequence}"
    info = QueryInfo(query_id, text, _names(plan), s.target, creates=False, plan=plan)
    called = users_functions(s.query, run.ksql.functions)

    def change(tx: Transaction) -> None:
        store_statement(tx, sequence, text, s.target, run, query_id, functions=called)
        run.ksql.queries.start(tx, info, plan, sink, context, run.config)

    run.change(change)
    if run.restored is not None:
        run.ksql.queries.restore(info, plan, sink, context, run.config)
    run.state.queries[query_id] = info
    return command(
        text, f"stream/`{s.target}`/create", f"Created query with ID {query_id}", sequence, query_id
    )


def _query_id(properties: ast.Properties, run: Run) -> str | None:
    given: Mapping[str, Any] = typed_properties(properties)
    name = given.get("QUERY_ID")
    if name is None:
        return None
    name = str(name).upper()
    if not re.fullmatch(r"[A-Z0-9_]+", name) or _RESERVED_IDS.match(name):
        raise StatementError(
            f"Invalid query id: {name}. It must be of letters, digits and '_', without a reserved prefix."
        )
    if name in run.state.queries:
        raise StatementError(f"Query ID '{name}' already exists.")
    return name


def terminate(run: Run, s: ast.Terminate, text: str) -> Entity:
    """TERMINATE: ends persistent queries for good, or a push query."""
    found = None if s.query_id is None else run.state.find_query(s.query_id)
    if s.query_id is not None and found is None:
        transient = run.ksql.find_transient(s.query_id)
        if transient is not None:
            if not run.dry:
                transient.close()
            return entity("terminate_query", text, queryId=transient.id, wasTerminated=True)
        raise StatementError(f"Unknown queryId: {s.query_id}")
    if found is not None and found.maintains:
        raise StatementError(
            f"Query {found.id} cannot be terminated: it keeps the rows of the source table {found.sink}, and "
            "ends when that is dropped."
        )
    ending = [q.id for q in run.state.queries.values() if not q.maintains]
    chosen = ending if found is None else [found.id]
    sequence = run.next_sequence()

    def change(tx: Transaction) -> None:
        for query_id in chosen:
            run.ksql.queries.remove(tx, query_id)
            run.ksql.queries.note_terminated(tx, run.state.queries[query_id])

    run.change(change)
    for query_id in chosen:
        info = run.state.queries.pop(query_id)
        if not run.dry:
            run.ksql.queries.forget(query_id)
        if info.creates and run.source(info.sink) is not None:
            run.metastore.set_query(info.sink, None)
    return command(text, f"terminate/{s.query_id or 'ALL'}/execute", "Query terminated.", sequence)


def pause(run: Run, s: ast.Pause, text: str) -> Entity:
    """PAUSE: stop feeding persistent queries."""
    return _switch(run, s.query_id, text, "pause", "Query paused.")


def resume(run: Run, s: ast.Resume, text: str) -> Entity:
    """RESUME: feed paused persistent queries again."""
    return _switch(run, s.query_id, text, "resume", "Query resumed.")


def _switch(run: Run, query_id: str | None, text: str, verb: str, message: str) -> Entity:
    found = None if query_id is None else run.state.find_query(query_id)
    if query_id is not None and found is None:
        raise StatementError(f"Unknown queryId: {query_id}")
    chosen = list(run.state.queries.values()) if found is None else [found]
    sequence = run.next_sequence()

    def change(tx: Transaction) -> None:
        for each in chosen:
            if each.maintains and verb == "pause":
                pause_maintaining(run, tx, each)
            elif each.maintains:
                resume_maintaining(run, tx, each.id)
            elif verb == "pause":
                run.ksql.engine.pause_processor(each.id)
            else:
                run.ksql.engine.resume_processor(each.id)

    run.change(change)
    for each in chosen:
        if each.maintains and not run.dry:
            run.ksql.materializations.hold_or_follow(run.metastore.sources[each.sink])
    return command(text, f"{verb}/{query_id or 'ALL'}/execute", message, sequence)

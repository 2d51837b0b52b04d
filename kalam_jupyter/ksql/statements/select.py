"""SELECT and PRINT: which kind of query it is, and how it starts."""

from __future__ import annotations

import random
from typing import Any

from kalam_jupyter.ksql.errors import NotAQueryError, StatementError
from kalam_jupyter.ksql.functions.definitions import EvaluationContext
from kalam_jupyter.ksql.lang import ast
from kalam_jupyter.ksql.metastore import ROWOFFSET, ROWPARTITION
from kalam_jupyter.ksql.plan.query_plan import QueryPlan
from kalam_jupyter.ksql.runtime.reports import Reporter
from kalam_jupyter.ksql.runtime.transient import StreamingQuery, TransientQuery, result_columns
from kalam_jupyter.ksql.statements.print_topic import print_query
from kalam_jupyter.ksql.statements.pull import PULL_SUFFIX, check_pseudo_columns, pull_query
from kalam_jupyter.ksql.statements.run import Run
from kalam_jupyter.ksql.statements.switches import check_switched_on


def start_transient(run: Run, statement: ast.Statement, text: str) -> TransientQuery:
    """Start a SELECT or PRINT.

    Raises
    ------
    KsqlError
        If it is neither, or cannot be planned.
    """
    if isinstance(statement, ast.Print):
        return print_query(run, statement, text)
    if not isinstance(statement, ast.Query):
        raise NotAQueryError(type(statement).__name__)
    check_switched_on(run, statement)
    if statement.emit is not None:
        return _push(run, statement, text)
    return run.ksql.pull_limits.answer(run.ksql, lambda: _pull(run, statement, text))


def _push(run: Run, query: ast.Query, text: str) -> TransientQuery:
    config = run.config
    if query.limit is not None and query.limit < 0:
        raise StatementError("Push queries don't support negative integers in the LIMIT clause.")
    limit = int(config["ksql.max.push.queries"])
    running = len(run.ksql.transient_queries())
    if running >= limit:
        raise StatementError(
            "Not executing statement(s) as it would cause the number of active, push queries to exceed the "
            f"configured limit. Current push query count: {running}. Configured limit: {limit}."
        )
    return _streaming(run, query, text, until_end=False)


def _pull(run: Run, query: ast.Query, text: str) -> TransientQuery:
    if not run.config.flag("ksql.pull.queries.enable"):
        raise StatementError(
            "Pull queries are disabled. See https://cnfl.io/queries for more info.\n"
            "Add EMIT CHANGES if you intended to issue a push query.\n"
            "Please set ksql.pull.queries.enable=true to enable this feature."
        )
    for clause, used in (
        ("JOIN", isinstance(query.relation, ast.Join)),
        ("WINDOW", query.window is not None),
        ("GROUP BY", query.group_by is not None),
        ("PARTITION BY", query.partition_by is not None),
        ("HAVING", query.having is not None),
    ):
        if used:
            raise StatementError(f"Pull queries don't support {clause} clauses.{PULL_SUFFIX}")
    if query.limit is not None and not run.config.flag("ksql.query.pull.limit.clause.enabled"):
        raise StatementError(
            "LIMIT clause in pull queries is currently disabled. You can enable them by setting "
            f"ksql.query.pull.limit.clause.enabled=true.{PULL_SUFFIX}"
        )
    if query.limit is not None and query.limit < 0:
        raise StatementError(
            f"Pull queries don't support negative integers in the LIMIT clause.{PULL_SUFFIX}"
        )
    ref = query.sources[0]
    source = run.source(ref.name)
    _check_functions(run, query, source is not None and source.is_stream)
    if source is not None and source.is_stream:
        if not run.config.flag("ksql.query.pull.stream.enabled"):
            raise StatementError(
                "Pull queries on streams are disabled. To create a push query on the stream, add EMIT "
                "CHANGES to the end. To enable pull queries on streams, set the "
                "ksql.query.pull.stream.enabled config to 'true'."
            )
        check_pseudo_columns(query)
        run.ksql.materializations.settle(source)
        return _streaming(run, query, text, until_end=True)
    return pull_query(run, query, text)


def _check_functions(run: Run, query: ast.Query, of_stream: bool) -> None:
    refused = ("AGGREGATE",) if of_stream else ("AGGREGATE", "TABLE")
    for node in ast.walk(query):
        if not isinstance(node, ast.FunctionCall):
            continue
        kind = run.ksql.functions.kind(node.name)
        if kind is not None and kind in refused:
            raise StatementError(
                f"Pull queries don't support {kind.lower()} functions: {node.name}.{PULL_SUFFIX}"
            )


def _streaming(run: Run, query: ast.Query, text: str, *, until_end: bool) -> TransientQuery:
    ksql = run.ksql
    context = EvaluationContext()
    plan = run.planner(context).plan(query, None)
    scalable = not until_end and _is_scalable(run, query, plan)
    name = "SCALABLE_PUSH_QUERY" if scalable else f"transient_{query.sources[0].label}"
    query_id = f"{name}_{random.SystemRandom().getrandbits(62)}"
    topology = ksql.queries.topology(plan, context, Reporter(query_id), run.config)
    topics = {name: ksql.engine.topic(name) for name in topology.topics}
    started = StreamingQuery(
        query_id,
        "stream_pull" if until_end else "push",
        result_columns(plan.schema),
        text,
        query.limit,
        topology,
        topics,
        dict.fromkeys(topics, "latest") if scalable else _starts(run, plan, until_end),
        ksql.engine.clock.now_ms,
        until_end=until_end,
        is_table=plan.is_table,
        keyed_only=scalable and bool(plan.sources[0].schema.key),
        key_items=plan.key_items,
        bound_items=plan.bound_items,
        # What reads the log must not make it grow.
        report=lambda reports: None if ksql.processing_log_topic in topics else ksql.report(reports),
    )
    complete = set(plan.key_items.values()) == set(range(len(plan.root.key)))
    if plan.is_table and complete and (plan.window is None or plan.bound_items):
        keys = sorted((*plan.key_items, *plan.bound_items))
        started.key_names = tuple(started.columns[i].name for i in keys)
    return started


def _is_scalable(run: Run, query: ast.Query, plan: QueryPlan) -> bool:
    """Whether a push query is a scalable one.

    Such a query follows what one persistent query emits from now on, and sees no records without a key. It
    has to be switched on, to start at the latest offset, and to do no more than filter and project.
    """
    if not run.config.flag("ksql.query.push.v2.enabled") or query.emit != "CHANGES":
        return False
    if str(run.config["ksql.streams.auto.offset.reset"]).lower() != "latest":
        return False
    if len(plan.sources) != 1 or plan.aggregation is not None or query.partition_by is not None:
        return False
    used = {n.name for n in ast.walk(query) if isinstance(n, ast.ColumnRef)}
    if used & {ROWPARTITION, ROWOFFSET}:
        return False
    source = plan.sources[0]
    return source.query_id is not None and len(run.state.writers(source.name)) == 1


def _starts(run: Run, plan: QueryPlan, until_end: bool) -> dict[str, Any]:
    """Tables are read from their beginning, streams from where ``auto.offset.reset`` says."""
    earliest = until_end or str(run.config["ksql.streams.auto.offset.reset"]).lower() == "earliest"
    return {s.topic: "earliest" if earliest or not s.is_stream else "latest" for s in plan.sources}

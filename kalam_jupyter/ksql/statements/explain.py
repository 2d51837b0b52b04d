"""EXPLAIN: a running query, or a statement that would be one, as an entity and as a graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kalam_jupyter.ksql.errors import StatementError
from kalam_jupyter.ksql.functions.definitions import EvaluationContext
from kalam_jupyter.ksql.lang import ast
from kalam_jupyter.ksql.lang.parser import parse_script, parse_statement
from kalam_jupyter.ksql.metastore import Source
from kalam_jupyter.ksql.plan.explain import plan_text, topology_text
from kalam_jupyter.ksql.plan.graph import Flow, Sink, TopologyData, is_query_id, plan_graph
from kalam_jupyter.ksql.plan.query_plan import QueryPlan
from kalam_jupyter.ksql.runtime.transient import StreamingQuery, TransientQuery
from kalam_jupyter.ksql.statements.definitions import sink_definition
from kalam_jupyter.ksql.statements.entities import Entity, entity, field_of
from kalam_jupyter.ksql.statements.run import QueryInfo, Run

if TYPE_CHECKING:
    from kalam_jupyter.ksql.plan import steps


def explain(run: Run, s: ast.Explain, text: str) -> Entity:
    """EXPLAIN a running query, or a statement that would be one."""
    if s.query_id is not None:
        info = run.state.find_query(s.query_id)
        if info is not None:
            return entity("queryDescription", text, queryDescription=query_description(run, info))
        push = run.ksql.find_transient(s.query_id)
        if push is None:
            raise _unknown(s.query_id)
        return entity("queryDescription", text, queryDescription=_push_description(run, push))
    found = _explained(run, s.statement)
    description = _description(run, found.plan, "", str(s.statement), found.sink)
    description |= {"ksqlHostQueryStatus": {}, "state": None}
    return entity("queryDescription", text, queryDescription=description)


def _unknown(query_id: str) -> StatementError:
    return StatementError(
        f"Query with id:{query_id} does not exist, use SHOW QUERIES to view the full set of queries."
    )


def group_id(config: Mapping[str, Any], query_id: str) -> str:
    """Return the consumer group that a query would have in Kafka."""
    return f"_confluent-ksql-{config['ksql.service.id']}query_{query_id}"


def query_description(run: Run, info: QueryInfo) -> Entity:
    """Return all that is known of a persistent query, running or created earlier in this request."""
    found = _description(run, info.plan, info.id, info.text, _sink(run, info))
    found |= {"sinks": [info.sink], "queryType": "PERSISTENT"}
    state = run.ksql.query_state(info.id)
    error = run.ksql.query_error(info.id)
    errors = []
    if error is not None:
        errors.append({"timestamp": error.timestamp, "errorMessage": error.message, "type": "USER"})
    shown = "ERROR" if state == "ERROR" else "RUNNING"
    return found | {"queryErrors": errors, "state": state, "ksqlHostQueryStatus": {_HOST: shown}}


_HOST = "localhost:8088"


def _push_description(run: Run, query: TransientQuery) -> Entity:
    found = _explained(run, parse_statement(query.text))
    return _description(run, found.plan, query.id, query.text, None)


def _description(run: Run, plan: QueryPlan, query_id: str, statement: str, sink: Source | None) -> Entity:
    return {
        "id": query_id,
        "statementText": statement,
        "windowType": None if plan.window is None else plan.window.type,
        "fields": [field_of(c) for c in plan.schema],
        "sources": list(dict.fromkeys(x.name for x in plan.sources)),
        "sinks": [] if sink is None else [sink.name],
        "topology": topology_text(plan.root, _end(sink)),
        "executionPlan": plan_text(plan.root),
        "overriddenProperties": {},
        "ksqlHostQueryStatus": {_HOST: "RUNNING"},
        "queryType": "PUSH" if sink is None else "PERSISTENT",
        "queryErrors": [],
        "tasksMetadata": [],
        "consumerGroupId": group_id(run.config, query_id),
        "state": "RUNNING",
    }


@dataclass(frozen=True)
class _Explained:
    plan: QueryPlan
    sink: Source | None


def _explained(run: Run, statement: ast.Statement | None) -> _Explained:
    """Plan a statement that would start a query; StatementError for any other."""
    planner = run.planner(EvaluationContext())
    match statement:
        case ast.Query():
            return _Explained(planner.plan(statement, None), None)
        case ast.CreateSourceAs(name=name, query=query):
            plan = planner.plan(query, name)
            made = sink_definition(
                name, statement.kind, plan, statement.properties, str(statement), run.config
            )
            return _Explained(plan, made.source)
        case ast.InsertInto(target=target, query=query):
            return _Explained(planner.plan(query, target), run.source(target))
    raise StatementError("The provided statement does not run a ksql query")


def _sink(run: Run, info: QueryInfo) -> Source | None:
    """Return what a query writes; a SOURCE TABLE's query writes nothing."""
    if info.maintains:
        return None
    source = run.source(info.sink)
    assert source is not None, "a sink cannot be dropped while a query writes it"
    return source


def _end(sink: Source | None) -> Sink | None:
    return None if sink is None else Sink(sink.name, sink.topic, sink.schema.columns)


def topology_data(run: Run, query: str) -> TopologyData:
    """Return a query as a graph: a persistent one or a push query by its id, or a statement.

    Raises
    ------
    KsqlError
        If it is neither an id nor a statement that would start a query.
    """
    info = run.state.find_query(query.strip())
    if info is not None:
        return _running_data(run, info)
    push = run.ksql.find_transient(query.strip())
    if isinstance(push, StreamingQuery):
        flow = Flow(push.topology.taken, push.topology.emitted, push.lag())
        return _data(run, push.topology.root, None, flow, push.id, push.text, "RUNNING")
    if is_query_id(query):
        raise _unknown(query.strip())
    statements = parse_script(query)
    if len(statements) != 1:
        raise StatementError(f"Expected exactly one KSQL statement; found {len(statements)} instead")
    parsed = run.prepared(statements[0])
    found = _explained(run, parsed.ast)
    return _data(run, found.plan.root, found.sink, None, "", parsed.text, "")


def _running_data(run: Run, info: QueryInfo) -> TopologyData:
    running, flow = run.ksql.running.get(info.id), None
    if running is not None:
        engine = run.ksql.engine
        lag = {
            name: max(0, engine.topic(name).end_sequence - position)
            for name, position in engine.processor_positions(info.id).items()
        }
        flow = Flow(running.topology.taken, running.topology.emitted, lag)
    data = _data(
        run, info.plan.root, _sink(run, info), flow, info.id, info.text, run.ksql.query_state(info.id)
    )
    error = run.ksql.query_error(info.id)
    data["error"] = "" if error is None else error.message
    return data


def _data(
    run: Run, root: steps.Step, sink: Source | None, flow: Flow | None, id_: str, text: str, state: Any
) -> TopologyData:
    nodes, edges = plan_graph(root, _end(sink), flow)
    return TopologyData(
        query_id=id_,
        statement=text,
        state=state,
        error="",
        time_ms=run.ksql.engine.clock.now_ms(),
        nodes=nodes,
        edges=edges,
    )

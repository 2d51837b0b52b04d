"""A query as a graph, for pictures.

What `Ksql.topology_data`, ``GET /topology/{id}`` and `Connection.topology` return: plain data, the same in
Python and in JSON.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from kalam_jupyter.engine.types import Column
from kalam_jupyter.ksql.lang.format import format_schema
from kalam_jupyter.ksql.plan import steps


class TopologyNode(TypedDict):
    """One step of a query.

    Attributes
    ----------
    id : str
        Unique in the topology.
    kind : str
        ``SOURCE``, ``FILTER``, ``REKEY``, ``FLAT_MAP``, ``GROUP_BY``, ``AGGREGATE``, ``WINDOWED AGGREGATE``,
        ``JOIN``, ``PROJECT``, ``SINK``; of a ksqlDB cluster ``SOURCE``, ``PROCESSOR`` and ``SINK``.
    label : str
        What to call it: the name of a source or sink, else its kind, or the cluster's name of it.
    detail : str
        What it does: the condition, the columns, the window. May be empty.
    topic : str
        Topic of a source or sink, else empty.
    schema : str
        The columns that it emits, as in CREATE STREAM; empty where it is not known.
    stores : list of str
        Its state stores.
    records_in, records_out : int or None
        Records since the query began; None where nothing runs, or nobody counts.
    lag : int or None
        Sources: records of the topic that are still to come.
    """

    id: str
    kind: str
    label: str
    detail: str
    topic: str
    schema: str
    stores: list[str]
    records_in: int | None
    records_out: int | None
    lag: int | None


class TopologyData(TypedDict):
    """A query as a graph.

    Attributes
    ----------
    query_id : str
        Empty for a statement that does not run.
    statement : str
    state : str
        ``RUNNING``, ``PAUSED`` or ``ERROR``; empty for a statement that does not run.
    error : str
        Why it stopped; empty unless it did.
    time_ms : int
        When this was read (epoch): rates are differences of two readings.
    nodes : list of TopologyNode
        Inputs before what reads them.
    edges : list of [str, str]
        From node id, to node id.
    """

    query_id: str
    statement: str
    state: str
    error: str
    time_ms: int
    nodes: list[TopologyNode]
    edges: list[list[str]]


@dataclass(frozen=True)
class Flow:
    """What went through a running query.

    Attributes
    ----------
    taken, emitted : sequence of int
        By the number of the step, inputs first: see `Topology`.
    lag : mapping of str to int
        By topic.
    """

    taken: Sequence[int]
    emitted: Sequence[int]
    lag: dict[str, int]


@dataclass(frozen=True)
class Sink:
    """Where a query writes to."""

    name: str
    topic: str
    columns: tuple[Column, ...]


def is_query_id(text: str) -> bool:
    """Whether `text` can be the id of a query rather than a statement."""
    return re.fullmatch(r"\s*[\w-]+\s*", text) is not None


def node(id_: str, kind: str, **members: Any) -> TopologyNode:
    """Return a node; what is not given is empty."""
    empty = TopologyNode(
        id=id_,
        kind=kind,
        label=kind,
        detail="",
        topic="",
        schema="",
        stores=[],
        records_in=None,
        records_out=None,
        lag=None,
    )
    return empty | members  # type: ignore[return-value]


def plan_graph(
    root: steps.Step, sink: Sink | None = None, flow: Flow | None = None
) -> tuple[list[TopologyNode], list[list[str]]]:
    """Return a plan's nodes, inputs first, and edges."""
    nodes: list[TopologyNode] = []
    edges: list[list[str]] = []
    hidden = root.hidden_names()

    def add(step: steps.Step) -> TopologyNode:
        inputs = [add(below) for below in step.inputs]
        number = len(nodes)
        kind = step_name(step)
        made = node(
            f"{kind.title().replace(' ', '').replace('_', '')}-{number}",
            kind,
            detail=step_detail(step),
            schema=_schema(step, hidden),
            stores=stores_of(step),
        )
        if isinstance(step, steps.SourceStep):
            made["label"], made["topic"] = step.source.name, step.source.topic
        if flow is not None:
            made["records_out"] = flow.emitted[number]
            if isinstance(step, steps.SourceStep):
                made["records_in"] = flow.taken[number]
                made["lag"] = flow.lag.get(step.source.topic, 0)
            else:
                made["records_in"] = sum(below["records_out"] or 0 for below in inputs)
        nodes.append(made)
        edges.extend([below["id"], made["id"]] for below in inputs)
        return made

    last = add(root)
    if sink is not None:
        out = last["records_out"]
        end = node(
            f"Sink-{len(nodes)}",
            "SINK",
            label=sink.name,
            topic=sink.topic,
            schema=format_schema(sink.columns),
            records_in=out,
            records_out=out,
        )
        nodes.append(end)
        edges.append([last["id"], end["id"]])
    return nodes, edges


def _schema(step: steps.Step, hidden: frozenset[str]) -> str:
    keys = {c.name for c in step.key}
    columns = dict(reversed(step.layout.columns))
    value = [Column(n, t) for n, t in reversed(columns.items()) if n not in keys and n not in hidden]
    return format_schema((*step.key, *value))


def step_name(step: steps.Step) -> str:
    """Return what EXPLAIN calls a step."""
    match step:
        case steps.SourceStep():
            return "SOURCE"
        case steps.JoinStep():
            return "JOIN"
        case steps.AggregateStep(window=window):
            return "AGGREGATE" if window is None else "WINDOWED AGGREGATE"
    return _NAMES[type(step)]


_NAMES: dict[type[steps.Step], str] = {
    steps.FilterStep: "FILTER",
    steps.SelectKeyStep: "REKEY",
    steps.JoinKeyStep: "REKEY",
    steps.FlatMapStep: "FLAT_MAP",
    steps.GroupByStep: "GROUP_BY",
    steps.ProjectStep: "PROJECT",
}


def step_detail(step: steps.Step) -> str:
    """Return what a step does, in SQL where it was SQL."""
    found = _DETAILS.get(type(step))
    return "" if found is None else found(step)


_DETAILS: dict[type[steps.Step], Callable[[Any], str]] = {
    steps.SourceStep: lambda s: f"{s.source.kind} {s.source.name}",
    steps.FilterStep: lambda s: s.text,
    steps.SelectKeyStep: lambda s: ", ".join(s.text),
    steps.JoinKeyStep: lambda s: s.text,
    steps.FlatMapStep: lambda s: ", ".join(s.text),
    steps.GroupByStep: lambda s: ", ".join(s.text),
    steps.AggregateStep: lambda s: ", ".join(a.text for a in s.aggregates) + _window(s.window, s.emit_final),
    steps.JoinStep: lambda s: f"{s.kind} {s.join_type}{_within(s)}",
    steps.ProjectStep: lambda s: ", ".join(s.text),
}


def _window(window: steps.WindowSpec | None, final: bool) -> str:
    if window is None:
        return ""
    text = f" in {window.info.type} windows of {window.size_ms} ms"
    if window.info.type == "HOPPING":
        text += f" every {window.advance_ms} ms"
    return f"{text}, grace {window.grace_ms} ms{', emit final' if final else ''}"


def _within(step: steps.JoinStep) -> str:
    if step.join_type != "STREAM_STREAM":
        return ""
    grace = "" if step.grace_ms is None else f", grace {step.grace_ms} ms"
    return f" within {step.before_ms} ms before and {step.after_ms} ms after{grace}"


def stores_of(step: steps.Step) -> list[str]:
    """Return a step's state stores; what holds the rows of a table is called as in Kafka Streams."""
    match step:
        case steps.SourceStep(materialize=True):
            return [f"KafkaTopic_{step.alias}-Reduce"]
        case steps.AggregateStep():
            return ["Aggregate-Aggregate-Materialize"]
        case steps.FilterStep(table=True):
            return ["Filter-present-keys"]
        case steps.JoinStep(join_type="STREAM_STREAM"):
            return ["Join-left-window", "Join-right-window"]
        case steps.JoinStep(join_type="STREAM_TABLE"):
            return ["Join-right"]
        case steps.JoinStep():
            return ["Join-left", "Join-right"]
    return []

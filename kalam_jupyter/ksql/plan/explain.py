"""Plans as text: what EXPLAIN shows."""

from __future__ import annotations

from kalam_jupyter.ksql.lang.format import format_schema
from kalam_jupyter.ksql.plan import steps
from kalam_jupyter.ksql.plan.graph import Sink, TopologyNode, plan_graph, step_detail, step_name


def plan_text(root: steps.Step) -> str:
    """Return the execution plan, the root first, inputs indented below it."""
    lines: list[str] = []

    def add(step: steps.Step, depth: int) -> None:
        schema = format_schema(step.key)
        lines.append(f"{'  ' * depth} > [ {step_name(step)} ] | Key: {schema} | {step_detail(step)}")
        for below in step.inputs:
            add(below, depth + 1)

    add(root, 0)
    return "\n".join(lines)


def topology_text(root: steps.Step, sink: Sink | None) -> str:
    """Return the topology in the form in which Kafka Streams describes one, the sources first."""
    nodes, edges = plan_graph(root, sink)
    lines = ["Topologies:", "   Sub-topology: 0"]
    for found in nodes:
        lines.append(f"    {_head(found)}")
        after = ", ".join(b for a, b in edges if a == found["id"])
        before = ", ".join(a for a, b in edges if b == found["id"])
        if found["kind"] != "SINK":
            lines.append(f"      --> {after or 'none'}")
        if found["kind"] != "SOURCE":
            lines.append(f"      <-- {before or 'none'}")
    return "\n".join([*lines, "", ""])


def _head(found: TopologyNode) -> str:
    if found["kind"] == "SOURCE":
        return f"Source: {found['id']} (topics: [{found['topic']}])"
    if found["kind"] == "SINK":
        return f"Sink: {found['id']} (topic: {found['topic']})"
    return f"Processor: {found['id']} (stores: [{', '.join(found['stores'])}])"

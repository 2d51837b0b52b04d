"""Plans as text, and as data for pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kalam_jupyter.ksql.lang.format import format_schema
from kalam_jupyter.ksql.plan import steps


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


def _detail(step: steps.Step) -> str:
    found = _DETAILS.get(type(step))
    return "" if found is None else found(step)


_DETAILS: dict[type[steps.Step], Callable[[Any], str]] = {
    steps.SourceStep: lambda s: f"{s.source.kind} {s.source.name}, topic {s.source.topic}",
    steps.FilterStep: lambda s: s.text,
    steps.SelectKeyStep: lambda s: ", ".join(s.text),
    steps.JoinKeyStep: lambda s: s.text,
    steps.FlatMapStep: lambda s: ", ".join(s.text),
    steps.GroupByStep: lambda s: ", ".join(s.text),
    steps.AggregateStep: lambda s: ", ".join(a.text for a in s.aggregates) + _window(s.window, s.emit_final),
    steps.JoinStep: lambda s: f"{s.join_type} {s.kind}",
    steps.ProjectStep: lambda s: ", ".join(s.text),
}


def _window(window: steps.WindowSpec | None, final: bool) -> str:
    if window is None:
        return ""
    text = f" in {window.info.type} windows of {window.size_ms} ms"
    if window.info.type == "HOPPING":
        text += f" every {window.advance_ms} ms"
    return f"{text}, grace {window.grace_ms} ms{', emit final' if final else ''}"


def plan_text(root: steps.Step) -> str:
    """Return the execution plan, the root first, inputs indented below it."""
    lines: list[str] = []

    def add(step: steps.Step, depth: int) -> None:
        schema = format_schema(step.key)
        lines.append(f"{'  ' * depth} > [ {step_name(step)} ] | Key: {schema} | {_detail(step)}")
        for below in step.inputs:
            add(below, depth + 1)

    add(root, 0)
    return "\n".join(lines)


def topology_text(root: steps.Step) -> str:
    """Return the topology, the sources first."""
    graph = plan_graph(root)
    lines = ["Topologies:", "   Sub-topology: 0"]
    for node in graph["nodes"]:
        arrows = ", ".join(str(b) for a, b in graph["edges"] if a == node["id"]) or "none"
        kind = "Source" if node["kind"] == "SOURCE" else "Processor"
        lines.append(f"    {kind}: {node['id']} {node['kind']} ({node['detail']})\n      --> {arrows}")
    return "\n".join(lines)


def plan_graph(root: steps.Step) -> dict[str, Any]:
    """Return a plan as data: nodes (id, kind, detail), sources first, and edges (from id, to id)."""
    nodes: list[dict[str, Any]] = []
    edges: list[tuple[int, int]] = []

    def add(step: steps.Step) -> int:
        inputs = [add(below) for below in step.inputs]
        number = len(nodes)
        nodes.append({"id": number, "kind": step_name(step), "detail": _detail(step)})
        edges.extend((i, number) for i in inputs)
        return number

    add(root)
    return {"nodes": nodes, "edges": edges}

"""The topology of a ksqlDB cluster's query, read from EXPLAIN: the text that Kafka Streams makes of one.

```
Topologies:
   Sub-topology: 0
    Source: KSTREAM-SOURCE-0000000000 (topics: [orders])
      --> KSTREAM-TRANSFORMVALUES-0000000001
    Processor: Aggregate-Aggregate (stores: [Aggregate-Aggregate-Materialize])
      --> Project
      <-- KSTREAM-TRANSFORMVALUES-0000000001
    Sink: KSTREAM-SINK-0000000008 (topic: TOTALS)
      <-- Project
```
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

from kalam_jupyter.client.described import type_text
from kalam_jupyter.ksql.lang.format import quote
from kalam_jupyter.ksql.plan.graph import TopologyData, TopologyNode, node

_NODE = re.compile(
    r"\s*(?P<kind>Source|Processor|Sink): (?P<name>\S+) "
    r"\((?:topics: \[(?P<topics>[^\]]*)\]|topic: (?P<topic>.*)|stores: \[(?P<stores>[^\]]*)\])\)\s*$"
)
_ARROW = re.compile(r"\s*--> (?P<names>.*)$")


def explained_topology(description: Mapping[str, Any]) -> TopologyData:
    """Return a ``queryDescription`` of EXPLAIN as a graph.

    Topics that one sub-topology writes and another reads (repartitions) connect the two.
    """
    nodes: list[TopologyNode] = []
    edges: list[list[str]] = []
    for line in (description.get("topology") or "").splitlines():
        if (head := _NODE.match(line)) is not None:
            nodes.append(_node(head))
        elif nodes and (arrow := _ARROW.match(line)) is not None:
            targets = [t for t in _names(arrow["names"]) if t != "none"]
            edges.extend([nodes[-1]["id"], target] for target in targets)
    edges.extend(
        [sink["id"], source["id"]]
        for sink in nodes
        for source in nodes
        if sink["kind"] == "SINK" and source["kind"] == "SOURCE" and sink["topic"] in _names(source["topic"])
    )
    columns = _columns(description.get("fields") or ())
    sinks = description.get("sinks") or ()
    written = {target for _, target in edges}
    for end in nodes:
        if end["kind"] == "SINK" and not any(a == end["id"] for a, _ in edges) and end["id"] in written:
            end["schema"], end["label"] = columns, sinks[0] if sinks else end["topic"]
    return TopologyData(
        query_id=description.get("id") or "",
        statement=description.get("statementText") or "",
        state=description.get("state") or "",
        error="\n".join(e.get("errorMessage") or "" for e in description.get("queryErrors") or ()),
        time_ms=int(time.time() * 1000),
        nodes=_inputs_first(nodes, edges),
        edges=edges,
    )


def _node(head: re.Match[str]) -> TopologyNode:
    topic = head["topics"] or head["topic"] or ""
    name = head["name"]
    kind = head["kind"].upper()
    label = name if kind == "PROCESSOR" else topic
    detail = "" if kind == "PROCESSOR" else name
    return node(name, kind, label=label, detail=detail, topic=topic, stores=_names(head["stores"] or ""))


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _columns(fields: Any) -> str:
    return ", ".join(
        f"{quote(f['name'])} {type_text(f['schema'], quote)}{' KEY' if f.get('type') == 'KEY' else ''}"
        for f in fields
    )


def _inputs_first(nodes: list[TopologyNode], edges: list[list[str]]) -> list[TopologyNode]:
    """Return the nodes, each behind those that it reads."""
    before: dict[str, list[str]] = {}
    for a, b in edges:
        before.setdefault(b, []).append(a)
    by_id = {n["id"]: n for n in nodes}
    placed: dict[str, TopologyNode] = {}

    def place(name: str) -> None:
        if name in placed or name not in by_id:
            return
        found = by_id.pop(name)
        for above in before.get(name, ()):
            place(above)
        placed[name] = found

    for n in nodes:
        place(n["id"])
    return list(placed.values())

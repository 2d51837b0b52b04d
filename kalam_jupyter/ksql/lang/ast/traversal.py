"""Walking and rewriting trees."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from kalam_jupyter.ksql.lang.ast.base import Node
from kalam_jupyter.ksql.lang.ast.definitions import Properties
from kalam_jupyter.ksql.lang.ast.expressions import Expression


def children(node: Node) -> Iterator[Node]:
    """Yield the nodes directly below `node`, in source order."""
    for f in dataclasses.fields(node):
        yield from _nodes(getattr(node, f.name))


def walk(node: Node) -> Iterator[Node]:
    """Yield `node` and everything below it, parents first."""
    yield node
    for child in children(node):
        yield from walk(child)


def _nodes(value: object) -> Iterator[Node]:
    if isinstance(value, Node):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _nodes(item)
    elif isinstance(value, Properties):
        yield from _nodes(value.items)


def rewrite(node: Any, change: Callable[[Expression], Expression | None]) -> Any:
    """Return `node` with expressions replaced, from the root down.

    Parameters
    ----------
    node : Node or tuple of nodes
    change : callable
        Gets each expression; what it returns takes the place and is not looked into again. None
        means: keep it, and go on with what is below.
    """
    if isinstance(node, Expression):
        changed = change(node)
        if changed is not None:
            return changed
    if isinstance(node, Node):
        updates = {}
        for f in dataclasses.fields(node):
            old = getattr(node, f.name)
            if isinstance(old, Node | tuple):
                new = rewrite(old, change)
                if new is not old:
                    updates[f.name] = new
        return dataclasses.replace(node, **updates) if updates else node
    if isinstance(node, tuple):
        items = tuple(rewrite(item, change) for item in node)
        return items if any(a is not b for a, b in zip(items, node, strict=True)) else node
    return node

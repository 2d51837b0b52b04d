"""Writes ``docs/functions.md`` from the registry: ``python -m kalam_jupyter.ksql.functions.docs [path]``."""

from __future__ import annotations

import sys
from pathlib import Path

from kalam_jupyter.ksql.functions.builtin import LIBRARIES
from kalam_jupyter.ksql.functions.registry import Function, FunctionRegistry
from kalam_jupyter.ksql.functions.signature import Signature

_HEAD = """# ksqlDB functions

All built-in functions, as `DESCRIBE FUNCTION` knows them. This page is written by
`python -m kalam_jupyter.ksql.functions.docs`; do not edit it.

Unless a function says otherwise, a NULL argument gives NULL, and a failure gives NULL and an entry in the
processing log. `T`, `K`, `V` and other single letters stand for any type, the same wherever they stand in one
signature; `DECIMAL` for any precision and scale; `...` for any number of arguments; `literal` for a constant.
Functions of your own are written in Python: `@kalam_jupyter.udf`, `@kalam_jupyter.udaf` and
`@kalam_jupyter.udtf`.
"""


def _signature(signature: Signature) -> str:
    parameters = ", ".join(
        f"{'literal ' if p.literal else ''}{p.name} {p.type}{'...' if p.variadic else ''}"
        for p in signature.parameters
    )
    result = "" if signature.result is None else f" -> {signature.result}"
    return f"{signature.name.upper()}({parameters}){result}"


def _section(function: Function) -> str:
    lines = [f"### {function.name}", "", function.description, "", "```sql"]
    lines += [_signature(overload.signature) for overload in function.overloads]
    lines += ["```", ""]
    for expression, value in function.examples:
        lines += [f"`{expression}` gives `{value or ' '}`", ""]
    return "\n".join(lines)


def render() -> str:
    """Return the page."""
    registry = FunctionRegistry(LIBRARIES)
    categories = list(dict.fromkeys(library.category for library in LIBRARIES))
    parts = [_HEAD]
    for category in categories:
        functions = [f for f in registry.functions() if f.category == category]
        parts.append(f"## {category.capitalize()}\n")
        parts += [_section(f) for f in functions]
    return "\n".join(parts)


def main(arguments: list[str]) -> None:
    """Write the page to the path given, or to ``docs/functions.md``."""
    Path(arguments[0] if arguments else "docs/functions.md").write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])

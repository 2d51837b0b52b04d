"""Users' functions that a stored query calls and nobody has defined yet: Python is gone with its process.

A statement is stored with the signatures of the functions that it calls. While definitions are made again,
placeholders with these signatures stand in for functions that are not there, so that plans have types; a
query that got one waits for the function (`kalam_jupyter.ksql.persistent_queries`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from kalam_jupyter.ksql.errors import KsqlError
from kalam_jupyter.ksql.functions.definitions import (
    AggregateCall,
    AggregateOverload,
    AggregateParts,
    Overload,
)
from kalam_jupyter.ksql.functions.registry import Function, FunctionRegistry, Library
from kalam_jupyter.ksql.functions.signature import Lambda, Parameter, Signature, parse_signature
from kalam_jupyter.ksql.lang import ast

#: Functions as they are stored: plain data.
StoredFunctions = Sequence[dict[str, Any]]


def users_functions(statement: ast.Node, functions: FunctionRegistry) -> StoredFunctions:
    """Return the users' functions that a statement calls."""
    names = {node.name.upper() for node in ast.walk(statement) if isinstance(node, ast.FunctionCall)}
    found = [f for name in sorted(names) if (f := functions.users(name)) is not None]
    return [
        {
            "name": f.name,
            "kind": f.kind,
            "signatures": [signature_text(o.signature) for o in f.overloads],
        }
        for f in found
    ]


def signature_text(signature: Signature) -> str:
    """Return a signature as `parse_signature` takes it."""
    parameters = ", ".join(map(_parameter_text, signature.parameters))
    return f"{signature.name}({parameters}) -> {signature.result}"


def _parameter_text(p: Parameter) -> str:
    type_ = str(p.type)
    if isinstance(p.type, Lambda):
        type_ = f"LAMBDA({', '.join(map(str, p.type.parameters))}) => {p.type.result}"
    return f"{'literal ' if p.literal else ''}{p.name} {type_}{'...' if p.variadic else ''}"


def placeholders(stored: Iterable[dict[str, Any]], functions: FunctionRegistry) -> Library:
    """Return functions that stand in for those of `stored` that are not there; they cannot be called."""
    library = Library("MISSING")
    for entry in stored:
        if functions.find(entry["name"]) is None:
            signatures = [parse_signature(text) for text in entry["signatures"]]
            overloads = [_overload(entry["kind"], s) for s in signatures]
            made = Function(entry["name"], entry["kind"], library.category, "", "", overloads)
            library.functions[entry["name"].upper()] = made
    return library


def _overload(kind: str, signature: Signature) -> Overload | AggregateOverload:
    def missing(*values: Any) -> NoReturn:
        raise KsqlError(f"The function {signature.name} is not defined.")

    if kind == "AGGREGATE":

        def factory(call: AggregateCall) -> AggregateParts:
            return AggregateParts(lambda: None, missing, missing, missing, missing, None)

        return AggregateOverload(signature, factory)
    return Overload(signature, missing, nulls=True)

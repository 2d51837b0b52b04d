"""Plans of pull queries, kept for the next time: clients ask the same question again, with another key.

A plan is kept under the query's text. Where WHERE does nothing but give each key column a literal, it is
kept under the text without its literals as well, and serves every key. Plans hold until the next command
(`Ksql.next_sequence` is part of what they are kept under).
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from kalam_jupyter.engine.types import BIGINT, INTEGER, STRING, DataType
from kalam_jupyter.ksql.lang import ast
from kalam_jupyter.ksql.statements.pull import PullPlan

#: Plans kept; all are forgotten when there are more.
MAX_PLANS = 4096
#: Longer texts are planned each time.
MAX_TEXT = 10_000
#: What may be a literal. That it was part of a comment or a quoted name shows when the literals that
#: the parser found are others.
_LITERAL = re.compile(r"'((?:[^']|'')*)'|\b(\d{1,18})\b")
#: Types of key that a literal of a type has the same values as.
_SAME: dict[DataType, tuple[DataType, ...]] = {
    INTEGER: (INTEGER, BIGINT),
    BIGINT: (BIGINT,),
    STRING: (STRING,),
}


class PreparedPulls:
    """The plans of one dialect instance. Any thread may use it."""

    def __init__(self) -> None:
        self._plans: dict[Hashable, PullPlan] = {}
        self._version = 0

    def find(self, text: str, properties: Mapping[str, Any], version: int) -> PullPlan | None:
        """Return the plan of a query that was planned before.

        Parameters
        ----------
        text : str
            The request's text.
        properties : mapping
            The request's overrides.
        version : int
            `Ksql.next_sequence`.
        """
        if not self._plans or len(text) > MAX_TEXT:
            return None
        try:
            found = self._plans.get(_name(text, properties, version))
            if found is not None:
                return found
            shape, literals = _shape(text)
            found = self._plans.get(_name(shape, properties, version))
        except TypeError:  # a property whose value is a list
            return None
        return None if found is None else replace(found, keys=(tuple(value for value, _ in literals),))

    def keep(
        self, text: str, properties: Mapping[str, Any], version: int, query: ast.Query, plan: PullPlan
    ) -> None:
        """Keep a plan, unless it may be another one the next time."""
        if len(text) > MAX_TEXT or "${" in text or _calls(query):
            return
        if len(self._plans) >= MAX_PLANS or version != self._version:
            self._plans.clear()
            self._version = version
        shape, literals = _shape(text)
        by_key = _key_literals(query.where, plan)
        try:
            if by_key is not None and by_key == literals:
                lookup = replace(plan, predicate=None)
                self._plans[_name(shape, properties, version)] = lookup
            else:
                self._plans[_name(text, properties, version)] = plan
        except TypeError:
            return


def _name(text: str, properties: Mapping[str, Any], version: int) -> Hashable:
    return text, version, frozenset(properties.items())


def _shape(text: str) -> tuple[str, list[tuple[Any, DataType]]]:
    """Return a text with its literals replaced by their types, and the literals."""
    literals: list[tuple[Any, DataType]] = []

    def take(match: re.Match[str]) -> str:
        digits = match[2]
        if digits is None:
            literals.append((match[1].replace("''", "'"), STRING))
            return "\0STRING\0"
        value = int(digits)
        if value == 0:  # the only number that a minus in front of it does not change
            return match[0]
        type_ = INTEGER if value < 2**31 else BIGINT
        literals.append((value, type_))
        return f"\0{type_}\0"

    return _LITERAL.sub(take, text), literals


def _key_literals(where: ast.Expression | None, plan: PullPlan) -> list[tuple[Any, DataType]] | None:
    """Return the literals of a WHERE that does nothing but give each key column one, in the key's order."""
    if where is None or plan.keys is None:
        return None
    key = list(plan.source.schema.key)
    found = []
    for i, e in enumerate(_conjuncts(where)):
        match e:
            case ast.Comparison(
                op="=", left=ast.ColumnRef(name=name), right=ast.Literal(value=value, type=type_)
            ):
                if i >= len(key) or name != key[i].name or key[i].type not in _SAME.get(type_, ()):  # type: ignore[arg-type]
                    return None
                found.append((value, type_))
            case _:
                return None
    return found if len(found) == len(key) else None  # type: ignore[return-value]


def _conjuncts(e: ast.Expression) -> Iterator[ast.Expression]:
    if isinstance(e, ast.Logical) and e.op == "AND":
        yield from _conjuncts(e.left)
        yield from _conjuncts(e.right)
    else:
        yield e


def _calls(query: ast.Query) -> bool:
    """Whether a function is called: users redefine theirs, and some answer differently each time."""
    return any(isinstance(node, ast.FunctionCall) for node in ast.walk(query))


__all__ = ["MAX_PLANS", "PreparedPulls"]

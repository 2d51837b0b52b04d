"""Evaluates SQL expressions without columns, as a query would."""

from __future__ import annotations

from typing import Any

from kalam_jupyter.engine import types as t
from kalam_jupyter.ksql.analysis.layout import Layout
from kalam_jupyter.ksql.expressions.binder import Binder
from kalam_jupyter.ksql.expressions.codegen import compile_value
from kalam_jupyter.ksql.functions import EvaluationContext, FunctionRegistry
from kalam_jupyter.ksql.lang.parser import parse_expression
from kalam_jupyter.ksql.values.render import cast_text

REGISTRY = FunctionRegistry.builtin()


def bind(text: str, context: EvaluationContext | None = None) -> Any:
    """Return the bound expression."""
    binder = Binder(Layout(()), REGISTRY, context or EvaluationContext(seed=1, now_ms=90_000_000))
    return binder.bind(parse_expression(text))


def type_of(text: str) -> t.DataType | None:
    """Return the type of an expression."""
    return bind(text).type


def evaluate(text: str) -> Any:
    """Return the physical value of an expression; None where it fails."""
    return compile_value(bind(text))(())


def show(text: str) -> str | None:
    """Return the value of an expression as CAST to STRING writes it."""
    bound = bind(text)
    value = compile_value(bound)(())
    if value is None:
        return None
    render = cast_text(bound.type)
    assert render is not None
    return render(value)

"""Binding of WHERE and HAVING."""

from __future__ import annotations

from kalam_jupyter.engine.types import BOOLEAN
from kalam_jupyter.ksql.errors import StatementError
from kalam_jupyter.ksql.expressions.binder import Binder
from kalam_jupyter.ksql.expressions.bound import Bound
from kalam_jupyter.ksql.lang import ast


def bind_predicate(binder: Binder, e: ast.Expression, clause: str) -> Bound:
    """Bind WHERE or HAVING: BOOLEAN, and errors say which clause it is."""
    try:
        predicate = binder.bind(e)
    except StatementError as error:
        message = error.message
        if not message.startswith(("Error in ", "Invalid Predicate")):
            message = f"Error in {clause} expression: {message}"
        raise StatementError(message, line=error.line, column=error.column) from None
    if predicate.type != BOOLEAN:
        shown = f"{e} ({'null' if predicate.type is None else predicate.type})"
        raise StatementError(
            f"Type error in {clause} expression: Should evaluate to boolean but is {shown} instead."
        )
    return predicate

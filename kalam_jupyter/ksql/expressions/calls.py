"""Binding of calls: scalar and table functions, and the lambdas among their arguments."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from kalam_jupyter.engine.types import Array, DataType
from kalam_jupyter.ksql.errors import KsqlError, StatementError
from kalam_jupyter.ksql.expressions import bound as b
from kalam_jupyter.ksql.expressions.coercion import typed
from kalam_jupyter.ksql.functions.definitions import Call
from kalam_jupyter.ksql.functions.resolve import ArgumentType, LambdaArgument
from kalam_jupyter.ksql.functions.signature import INTERVAL
from kalam_jupyter.ksql.lang import ast
from kalam_jupyter.ksql.values import convert
from kalam_jupyter.ksql.values.errors import EvaluationError

if TYPE_CHECKING:
    from kalam_jupyter.ksql.expressions.binder import Binder


def scalar(binder: Binder, e: ast.FunctionCall) -> b.Bound:
    """Bind a call of a scalar function."""
    kind = binder.functions.kind(e.name)
    if kind in ("AGGREGATE", "TABLE"):
        raise StatementError(f"{kind.capitalize()} function {e.name} cannot be used here.", **e.position)
    call, arguments = _resolve(binder, e)
    return b.Call(
        type=call.type,
        name=e.name,
        function=call.function,
        arguments=arguments,
        contains=binder.rules.contain,
        null_on_null=call.null_on_null,
        columnar=call.columnar if call.deterministic else None,
    )


def table_function(binder: Binder, e: ast.FunctionCall) -> tuple[b.Bound, DataType]:
    """Return a table function as an expression that gives a list, and the type of its items."""
    call, arguments = _resolve(binder, e)
    row = typed(b.Constant(type=call.type, value=None))
    bound = b.Call(
        type=Array(row),
        name=e.name,
        function=call.function,
        arguments=arguments,
        contains=binder.rules.contain,
        null_on_null=call.null_on_null,
    )
    return bound, row


#: An argument that is bound once, however often its type is asked for: calls in calls would take for ever.
_Argument = b.Bound | Callable[[Sequence[DataType | None]], b.LambdaValue]


def _resolve(binder: Binder, e: ast.FunctionCall) -> tuple[Call, tuple[b.Bound, ...]]:
    given = [_argument(binder, a) for a in e.args]
    types = [_argument_type(a, g) for a, g in zip(e.args, given, strict=True)]
    try:
        call = binder.functions.get(e.name).resolve(types, binder.context)
    except StatementError:
        raise
    except KsqlError as error:
        raise StatementError(error.message, **e.position) from None
    arguments: list[b.Bound] = []
    for bound, function, type_, parameters in zip(
        given, call.conversions, call.types, call.lambdas, strict=True
    ):
        if not isinstance(bound, b.Bound):
            assert parameters is not None
            arguments.append(bound(parameters))
        elif function is convert.identity:
            arguments.append(bound)
        else:
            arguments.append(_converted(bound, function, type_))
    return call, tuple(arguments)


def _argument(binder: Binder, e: ast.Expression) -> _Argument:
    if not isinstance(e, ast.Lambda):
        return binder.bind(e)
    bind = functools.cache(lambda *types: _lambda(binder, e, types))
    return lambda types: bind(*types)


def _argument_type(e: ast.Expression, given: _Argument) -> ArgumentType:
    if isinstance(e, ast.Lambda):
        assert not isinstance(given, b.Bound)
        return LambdaArgument(len(e.params), lambda types: given(types).body.type)
    if isinstance(e, ast.IntervalUnit):
        return INTERVAL
    assert isinstance(given, b.Bound)
    return given.type


def _lambda(binder: Binder, e: ast.Lambda, types: Sequence[DataType]) -> b.LambdaValue:
    outer = binder.lambda_types
    for name in e.params:
        if name in outer:
            raise StatementError(
                f"Reusing lambda arguments inside of nested lambda is not allowed. Lambda argument: {name}",
                **e.position,
            )
        if binder.layout.find(name) is not None:
            raise StatementError(
                f"Lambda function argument can't be a column name. Lambda argument: {name}",
                **e.position,
            )
    binder.lambda_types = {**outer, **dict(zip(e.params, types, strict=True))}
    try:
        return b.LambdaValue(type=None, parameters=e.params, body=binder.bind(e.body))
    finally:
        binder.lambda_types = outer


def _converted(e: b.Bound, function: Callable[[Any], Any], type_: DataType | None) -> b.Bound:
    if isinstance(e, b.Constant) and e.value is not None:
        try:
            return b.Constant(type=type_, value=function(e.value))
        except EvaluationError:
            pass  # it fails for every record then, as the reference does
    return b.Conversion(type=type_, operand=e, function=function, contains=False)

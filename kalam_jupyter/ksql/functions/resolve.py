"""Choosing one overload of a function for given arguments (function contract 1.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic as Of
from typing import Protocol, TypeVar

from kalam_jupyter.engine import types as t
from kalam_jupyter.ksql.errors import KsqlError
from kalam_jupyter.ksql.functions.signature import (
    ANY,
    ANY_DECIMAL,
    ANY_STRUCT,
    INTERVAL,
    Generic,
    IntervalUnit,
    Lambda,
    Parameter,
    Signature,
    generics,
    substitute,
)
from kalam_jupyter.ksql.values import numbers as n
from kalam_jupyter.ksql.values.convert import sql_type_name, widens_to


@dataclass(frozen=True)
class LambdaArgument:
    """A lambda given to a function.

    Attributes
    ----------
    arity : int
        How many parameters it has.
    result_type : callable
        From the types of its parameters to the type of its body; raises KsqlError if that does not type.
    """

    arity: int
    result_type: Callable[[tuple[t.DataType, ...]], t.DataType | None]


#: The type of a column argument, None for an untyped NULL, a lambda, or `INTERVAL`.
ArgumentType = t.DataType | LambdaArgument | None
Bindings = dict[str, t.DataType]


class HasSignature(Protocol):
    """Anything that can be chosen by its signature."""

    @property
    def signature(self) -> Signature:
        """What it accepts."""


F = TypeVar("F", bound=HasSignature)


@dataclass(frozen=True)
class Match(Of[F]):
    """A chosen overload, one parameter for each argument, and what each argument is converted to.

    `types` holds None where the argument is an untyped NULL, a lambda or an interval unit. `lambdas` holds
    the parameter types of each lambda argument, None at other positions.
    """

    overload: F
    parameters: tuple[Parameter, ...]
    types: tuple[t.DataType | None, ...]
    bindings: Bindings
    lambdas: tuple[tuple[t.DataType, ...] | None, ...]


def argument_name(argument: ArgumentType) -> str:
    """Return an argument's type as messages print it."""
    return "LAMBDA" if isinstance(argument, LambdaArgument) else sql_type_name(argument)


def resolve(overloads: Sequence[F], arguments: Sequence[ArgumentType]) -> Match[F]:
    """Return the overload that takes `arguments`.

    Exact types first; only if nothing fits, with implicit widening. The best of several wins: not variadic,
    more declared parameters, fewer generics, no variadic ANY, a later variadic.

    Raises
    ------
    KsqlError
        If none fits, or the best two are equally good.
    """
    for widen in (False, True):
        found = [m for o in overloads if (m := _match(o, arguments, widen)) is not None]
        if not found:
            continue
        found.sort(key=lambda m: _rank(m.overload.signature), reverse=True)
        if len(found) > 1 and _rank(found[0].overload.signature) == _rank(found[1].overload.signature):
            raise KsqlError(
                f"Function '{overloads[0].signature.name}' cannot be resolved due to ambiguous method "
                f"parameters ({_names(arguments)})."
            )
        return found[0]
    alternatives = "\n".join(str(o.signature) for o in overloads)
    raise KsqlError(
        f"Function '{overloads[0].signature.name}' does not accept parameters ({_names(arguments)}).\n"
        f"Valid alternatives are:\n{alternatives}"
    )


def _names(arguments: Sequence[ArgumentType]) -> str:
    return ", ".join(map(argument_name, arguments))


def _rank(signature: Signature) -> tuple[bool, int, int, bool, int]:
    at = signature.variadic
    return (
        at is None,
        len(signature.parameters),
        -sum(generics(p.type) for p in signature.parameters),
        at is None or signature.parameters[at].type != ANY,
        -1 if at is None else at,
    )


def _match(overload: F, arguments: Sequence[ArgumentType], widen: bool) -> Match[F] | None:
    parameters = overload.signature.expand(len(arguments))
    if parameters is None:
        return None
    bindings: Bindings = {}
    lambdas: list[tuple[t.DataType, ...] | None] = []
    for parameter, argument in zip(parameters, arguments, strict=True):
        if isinstance(parameter.type, Lambda) or isinstance(argument, LambdaArgument):
            types = _bind_lambda(parameter.type, argument, bindings)
            if types is None:
                return None
            lambdas.append(types)
            continue
        lambdas.append(None)
        if not _accepts(parameter.type, argument, bindings, widen):
            return None
    pairs = zip(parameters, arguments, strict=True)
    converted = tuple(_converted(p.type, a, bindings) for p, a in pairs)
    return Match(overload, parameters, converted, bindings, tuple(lambdas))


def _bind_lambda(
    parameter: t.DataType, argument: ArgumentType, bindings: Bindings
) -> tuple[t.DataType, ...] | None:
    """Return the lambda's parameter types if it fits."""
    if not isinstance(parameter, Lambda) or not isinstance(argument, LambdaArgument):
        return None
    if argument.arity != len(parameter.parameters):
        return None
    types = [substitute(p, bindings) for p in parameter.parameters]
    known = tuple(x for x in types if x is not None)
    if len(known) != len(types):
        return None
    result = argument.result_type(known)
    return known if _accepts(parameter.result, result, bindings, False) else None


def _accepts(parameter: t.DataType, argument: t.DataType | None, bindings: Bindings, widen: bool) -> bool:
    if argument is None:
        return parameter != INTERVAL
    match parameter, argument:
        case Generic(name), _:
            return not isinstance(argument, IntervalUnit) and bindings.setdefault(name, argument) == argument
        case t.Array(inner), t.Array(given):
            return _accepts(inner, given, bindings, widen)
        case t.Map(key, value), t.Map(given_key, given_value):
            return _accepts(key, given_key, bindings, widen) and _accepts(value, given_value, bindings, widen)
    if parameter == ANY:
        return not isinstance(argument, IntervalUnit)
    if parameter == ANY_STRUCT:
        return isinstance(argument, t.Struct)
    if parameter == ANY_DECIMAL:
        return isinstance(argument, t.Decimal) or (widen and argument in (t.INTEGER, t.BIGINT))
    return parameter == argument or (widen and widens_to(argument, parameter))


def _converted(parameter: t.DataType, argument: ArgumentType, bindings: Bindings) -> t.DataType | None:
    """Return the type that an argument is converted to, wildcards made concrete."""
    if argument is None or isinstance(argument, LambdaArgument | IntervalUnit):
        return None
    match parameter, argument:
        case t.Array(inner), t.Array(given):
            element = _converted(inner, given, bindings)
            return None if element is None else t.Array(element)
        case t.Map(key, value), t.Map(given_key, given_value):
            k, v = _converted(key, given_key, bindings), _converted(value, given_value, bindings)
            return None if k is None or v is None else t.Map(k, v)
    if parameter == ANY_DECIMAL:
        return n.as_decimal_type(argument)
    return argument if parameter in (ANY, ANY_STRUCT) else substitute(parameter, bindings)

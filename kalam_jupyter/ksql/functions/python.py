"""Functions that users write in Python: the decorators `udf`, `udtf` and `udaf`.

::

    @udf
    def clip(x: float, low: float, high: float) -> float: ...

    @udf("shout(text STRING, times INT) -> STRING")
    def shout(text, times): ...

    @udtf
    def words(text: str) -> list[str]: ...

    @udaf("longest(text STRING) -> STRING")
    class Longest:
        def initial(self): return None
        def add(self, state, text): return text if state is None or len(text) > len(state) else state
        def merge(self, a, b): return self.add(a, b) if b is not None else a

Signatures are those of `kalam_jupyter.ksql.functions.signature`; without one, annotations give it:
``int`` BIGINT, ``float`` DOUBLE,
``str`` STRING, ``bool``, ``bytes``, ``date``, ``time``, ``datetime`` (TIMESTAMP, UTC), ``list[T]``,
``dict[str, T]``. A function sees
dates and times as `datetime` objects and a STRUCT as a dict of its fields; it may return the same, aware
datetimes too. A NULL
argument gives NULL without a call, unless a parameter is annotated ``T | None`` or ``nulls=True`` is given.

Functions are visible to every engine in the process at once. A second definition with the same
parameters replaces the first, a
built-in cannot be replaced.
"""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, TypeVar, overload

from kalam_jupyter.engine import types as t
from kalam_jupyter.ksql.functions.definitions import (
    AggregateCall,
    AggregateOverload,
    AggregateParts,
    Binding,
    Kind,
    Overload,
    unsupported_merge,
)
from kalam_jupyter.ksql.functions.registry import Function, Library, describe
from kalam_jupyter.ksql.functions.signature import Parameter, Signature, parse_signature, parse_type
from kalam_jupyter.ksql.values.convert import identity
from kalam_jupyter.ksql.values.errors import EvaluationError

F = TypeVar("F", bound=Callable[..., Any])
C = TypeVar("C", bound=type)

#: All functions defined with the decorators.
USER = Library("USER")

_ANNOTATIONS: dict[Any, t.DataType] = {
    bool: t.BOOLEAN,
    int: t.BIGINT,
    float: t.DOUBLE,
    str: t.STRING,
    bytes: t.BYTES,
    date: t.DATE,
    time: t.TIME,
    datetime: t.TIMESTAMP,
}
_EPOCH = datetime(1970, 1, 1)
_EPOCH_DAY = date(1970, 1, 1)
_MS = timedelta(milliseconds=1)


def annotated_type(annotation: Any) -> tuple[t.DataType, bool]:
    """Return the type that an annotation means, and whether it allows None.

    Raises
    ------
    TypeError
        If it means none.
    """
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        inner = [a for a in arguments if a is not type(None)]
        if len(inner) == 1:
            return annotated_type(inner[0])[0], len(inner) < len(arguments)
    if annotation in _ANNOTATIONS:
        return _ANNOTATIONS[annotation], False
    if origin is list and len(arguments) == 1:
        return t.Array(annotated_type(arguments[0])[0]), False
    if origin is dict and len(arguments) == 2:
        return t.Map(annotated_type(arguments[0])[0], annotated_type(arguments[1])[0]), False
    raise TypeError(f"{annotation!r} is no SQL type; give the signature as text")


def _inferred(function: Callable[..., Any], name: str) -> tuple[Signature, bool]:
    hints = typing.get_type_hints(function)
    parameters, nulls = [], False
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name not in hints:
            raise TypeError(
                f"{name}: parameter {parameter.name} has no annotation; annotate it or give the signature "
                f"as text"
            )
        type_, optional = annotated_type(hints[parameter.name])
        nulls |= optional
        parameters.append(Parameter(parameter.name, type_, parameter.kind is parameter.VAR_POSITIONAL))
    if "return" not in hints:
        raise TypeError(f"{name}: the result has no annotation; annotate it or give the signature as text")
    return Signature(name, tuple(parameters), annotated_type(hints["return"])[0]), nulls


Convert = Callable[[Any], Any]


def to_python(type_: t.DataType | None) -> Convert:
    """Return the conversion from a physical value to what a user's function sees; `identity` when it is
    the same."""
    match type_:
        case t.Primitive("DATE"):
            return lambda v: _EPOCH_DAY + timedelta(days=v)
        case t.Time():
            return lambda v: (_EPOCH + timedelta(milliseconds=v)).time()
        case t.Timestamp():
            return lambda v: _EPOCH + timedelta(milliseconds=v)
        case t.Array(element):
            item = _nullable(to_python(element))
            return identity if item is identity else lambda v: [item(x) for x in v]
        case t.Map(_, value):
            entry = _nullable(to_python(value))
            return identity if entry is identity else lambda v: {k: entry(x) for k, x in v.items()}
        case t.Struct(fields):
            parts = [(name, _nullable(to_python(f))) for name, f in fields]
            return lambda v: {name: f(x) for (name, f), x in zip(parts, v, strict=True)}
    return identity


def from_python(type_: t.DataType | None) -> Convert:
    """Return the conversion from what a user's function gives to the physical value; `identity` when it
    is the same.

    Numbers of NumPy become Python's, a STRUCT may be a dict (missing fields are NULL) or a tuple, an
    array any sequence.
    """
    match type_:
        case t.Primitive(name) if name in _SCALARS:
            return _SCALARS[name]
        case t.Time():
            return lambda v: v if isinstance(v, int) else (datetime.combine(_EPOCH_DAY, v) - _EPOCH) // _MS
        case t.Timestamp():
            return _timestamp
        case t.Array(element):
            item = _nullable(from_python(element))
            return lambda v: [item(x) for x in v]
        case t.Map(_, value):
            entry = _nullable(from_python(value))
            return lambda v: {k: entry(x) for k, x in v.items()}
        case t.Struct(fields):
            return _struct_from([(name, _nullable(from_python(f))) for name, f in fields])
    return identity


def _timestamp(value: Any) -> int:
    if isinstance(value, int):
        return value
    plain = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
    milliseconds: int = (plain - _EPOCH) // _MS
    return milliseconds


_SCALARS: dict[str, Convert] = {
    "BOOLEAN": bool,
    "INTEGER": int,
    "BIGINT": int,
    "DOUBLE": float,
    "STRING": str,
    "BYTES": bytes,
    "DATE": lambda v: v if isinstance(v, int) else (v - _EPOCH_DAY).days,
}


def _struct_from(fields: list[tuple[str, Convert]]) -> Convert:
    def convert(value: Any) -> tuple[Any, ...]:
        items = [value.get(name) for name, _ in fields] if isinstance(value, dict) else list(value)
        return tuple(f(x) for (_, f), x in zip(fields, items, strict=True))

    return convert


def _nullable(convert: Convert) -> Convert:
    return identity if convert is identity else lambda v: None if v is None else convert(v)


def _specialize(function: Callable[..., Any], rows: bool) -> Callable[[Binding], Callable[..., Any]]:
    """Wrap a user's function so that it takes and gives physical values of the types it is called with."""

    def specialize(binding: Binding) -> Callable[..., Any]:
        arguments = [_nullable(to_python(type_)) for type_ in binding.types]
        result = _nullable(from_python(binding.result))
        plain = all(convert is identity for convert in arguments)

        def call(*values: Any) -> Any:
            if not plain:
                values = tuple(f(v) for f, v in zip(arguments, values, strict=True))
            try:
                found = function(*values)
                return [result(v) for v in found or ()] if rows else result(found)
            except Exception as error:  # whatever the user's function raises: its row is NULL, and reported
                raise EvaluationError(f"{function.__name__}: {type(error).__name__}: {error}") from error

        return functools.update_wrapper(call, function)

    return specialize


def _register(kind: Kind, name: str, description: str, new: Overload | AggregateOverload) -> None:
    from kalam_jupyter.ksql.functions.builtin import LIBRARIES

    key = name.upper()
    if any(key in library.functions for library in LIBRARIES):
        raise ValueError(f"{key} is a built-in function and cannot be replaced")
    function = USER.functions.get(key)
    if function is None or function.kind != kind:
        function = USER.functions[key] = Function(key, kind, USER.category, description, author="user")
    parameters = [p.type for p in new.signature.parameters]
    same = [o for o in function.overloads if [p.type for p in o.signature.parameters] == parameters]
    function.overloads = [o for o in function.overloads if o not in same] + [new]
    function.description = description or function.description
    for listener in list(_LISTENERS):
        if not listener(key):
            _LISTENERS.remove(listener)


_LISTENERS: list[Callable[[str], bool]] = []


def on_defined(listener: Callable[[str], bool]) -> None:
    """Call `listener` with the upper-case name of each function that is defined, until it returns False."""
    _LISTENERS.append(listener)


def _scalar(kind: Kind, given: Any, nulls: bool | None) -> Any:
    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        if isinstance(given, str):
            signature, optional = parse_signature(given), False
            if signature.result is None:
                raise ValueError(f"the signature {given!r} says no result type: end it with -> TYPE")
        else:
            signature, optional = _inferred(function, function.__name__)
            if kind == "TABLE":
                if not isinstance(signature.result, t.Array):
                    raise TypeError(f"{signature.name} must return a list")
                signature = Signature(signature.name, signature.parameters, signature.result.element)
        wrapped = _specialize(function, kind == "TABLE")
        takes_nulls = optional if nulls is None else nulls
        text = describe(function)
        _register(
            kind,
            signature.name,
            text,
            Overload(signature, wrapped, None, takes_nulls, False, True, None, text),
        )
        return function

    return register(given) if callable(given) else register


@overload
def udf(given: F) -> F: ...
@overload
def udf(given: str | None = None, *, nulls: bool | None = None) -> Callable[[F], F]: ...
def udf(given: Any = None, *, nulls: bool | None = None) -> Any:
    """Make a Python function a scalar function of SQL.

    Parameters
    ----------
    given : str, optional
        Its signature, ``name(parameter TYPE, ..) -> TYPE``; without, annotations say it.
    nulls : bool, optional
        Whether it is called when an argument is NULL.

    Raises
    ------
    TypeError, ValueError
        If the signature is malformed or missing, or the name is that of a built-in.
    """
    return _scalar("SCALAR", given, nulls)


@overload
def udtf(given: F) -> F: ...
@overload
def udtf(given: str | None = None, *, nulls: bool | None = None) -> Callable[[F], F]: ...
def udtf(given: Any = None, *, nulls: bool | None = None) -> Any:
    """Make a Python function that returns an iterable a table function of SQL: one row for each item.

    The signature's result type is that of one row; an annotation is ``list[T]``. Parameters and errors
    as in `udf`.
    """
    return _scalar("TABLE", given, nulls)


def udaf(signature: str, *, state: str | None = None, nulls: bool = False) -> Callable[[C], C]:
    """Make a class an aggregate function of SQL.

    One instance is made for each query, of the values of the signature's ``literal`` parameters; if it
    has ``configure`` it gets the
    properties under ``ksql.functions.<name>.``. Methods: ``initial() -> state``, ``add(state, *values)
    -> state``, and, where the
    aggregate has them, ``undo(state, *values) -> state`` (tables as source), ``merge(older, newer) ->
    state`` (SESSION windows) and
    ``result(state) -> value`` (the state itself). States must be plain data.

    Parameters
    ----------
    signature : str
        ``name(parameter TYPE, .., literal option TYPE) -> TYPE``.
    state : str, optional
        The type of the state, where it is not that of the result.
    nulls : bool
        Whether records with a NULL among the values are added.

    Raises
    ------
    TypeError, ValueError
        If the signature is malformed, the class lacks a method, or the name is that of a built-in.
    """
    parsed = parse_signature(signature)
    if parsed.result is None:
        raise ValueError(f"the signature {signature!r} says no result type: end it with -> TYPE")
    state_type = None if state is None else parse_type(state)

    def register(definition: C) -> C:
        for method in ("initial", "add"):
            if not callable(getattr(definition, method, None)):
                raise TypeError(f"{definition.__name__} needs a method {method}")
        text = describe(definition)
        factory = functools.partial(_aggregate_parts, definition, state_type, nulls)
        _register("AGGREGATE", parsed.name, text, AggregateOverload(parsed, factory, None, text))
        return definition

    return register


def _aggregate_parts(
    definition: type, state_type: t.DataType | None, nulls: bool, call: AggregateCall
) -> AggregateParts:
    instance: Any = definition(*call.literals)
    if hasattr(instance, "configure"):
        instance.configure(call.config)
    arguments = [_nullable(to_python(type_)) for type_ in call.types]
    finish: Callable[[Any], Any] = getattr(instance, "result", identity)
    result = _nullable(from_python(call.result))

    def step(method: Callable[..., Any]) -> Callable[..., Any]:
        def apply(state: Any, *values: Any) -> Any:
            if not nulls and None in values:
                return state
            return method(state, *(f(v) for f, v in zip(arguments, values, strict=True)))

        return apply

    return AggregateParts(
        instance.initial,
        step(instance.add),
        getattr(instance, "merge", unsupported_merge),
        step(instance.undo) if hasattr(instance, "undo") else None,
        lambda state: result(finish(state)),
        state_type,
    )


def forget(names: Iterable[str]) -> None:
    """Remove functions that were defined with the decorators; unknown names are ignored."""
    for name in names:
        USER.functions.pop(name.upper(), None)

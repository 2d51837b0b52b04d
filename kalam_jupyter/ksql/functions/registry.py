"""The registry of functions: definitions by name, and what the planner gets when it resolves a call."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from kalam_jupyter.engine import types as t
from kalam_jupyter.ksql.errors import KsqlError
from kalam_jupyter.ksql.functions.definitions import (
    AggregateCall,
    AggregateOverload,
    AggregateParts,
    Aggregation,
    Binding,
    Call,
    EvaluationContext,
    Kind,
    Overload,
)
from kalam_jupyter.ksql.functions.resolve import ArgumentType, LambdaArgument, Match, resolve
from kalam_jupyter.ksql.functions.signature import parse_signature, substitute
from kalam_jupyter.ksql.values.coerce import NO_LITERAL, Operand
from kalam_jupyter.ksql.values.convert import Convert, identity, widening_function

F = TypeVar("F", bound=Callable[..., Any])


@dataclass
class Function:
    """Everything known under one name."""

    name: str
    kind: Kind
    category: str
    description: str
    author: str = "kalam-jupyter"
    overloads: list[Any] = field(default_factory=list)
    examples: list[tuple[str, str]] = field(default_factory=list)

    def resolve(self, arguments: Sequence[ArgumentType], context: EvaluationContext | None = None) -> Call:
        """Resolve a scalar or table function for argument types; KsqlError if no overload takes them."""
        match = resolve(self.overloads, arguments)
        overload: Overload = match.overload
        result = _result_type(match, overload)
        function = overload.function
        if overload.specialize:
            function = function(Binding(match.types, result, match.lambdas))
        if overload.context:
            function = functools.partial(function, context or EvaluationContext())
        return Call(
            overload.signature.name,
            function,
            _conversions(arguments, match.types),
            match.types,
            result,
            not overload.nulls,
            match.lambdas,
            overload.columnar,
            not overload.context,
        )

    def aggregate(
        self,
        arguments: Sequence[Operand],
        config: Mapping[str, Any] | None = None,
        context: EvaluationContext | None = None,
    ) -> Aggregation:
        """Resolve an aggregate for its arguments.

        Parameters
        ----------
        arguments : sequence of Operand
            `literal` must be set for constants; `text` is what messages call the expression.
        config : mapping
            Session and engine properties; those under ``ksql.functions.<name>.`` (and ``_global_.``) count.

        Raises
        ------
        KsqlError
            If no overload takes them, or a constant is missing.
        """
        match = resolve(self.overloads, [a.type for a in arguments])
        overload: AggregateOverload = match.overload
        columns, literals = [], []
        for i, (parameter, argument) in enumerate(zip(match.parameters, arguments, strict=True)):
            if not parameter.literal:
                columns.append(i)
            elif argument.literal is NO_LITERAL and argument.type is not None:
                raise KsqlError(
                    f"Parameter {i + 1} passed to function {self.name} must be a literal constant, "
                    f"but was expression: '{argument.text}'"
                )
            else:
                value = None if argument.literal is NO_LITERAL else argument.literal
                literals.append(value)
        types = tuple(match.types[i] for i in columns)
        result = _result_type(match, overload)
        call = AggregateCall(
            types,
            tuple(literals),
            result,
            _function_config(self.name, config or {}),
            context or EvaluationContext(),
        )
        parts = overload.factory(call)
        conversions = _conversions([arguments[i].type for i in columns], types)
        return Aggregation(
            self.name,
            tuple(columns),
            conversions,
            types,
            result,
            result if parts.state_type is None else parts.state_type,
            parts.initial,
            parts.add,
            parts.undo,
            parts.merge,
            parts.result,
        )


def _result_type(match: Match[Any], overload: Overload | AggregateOverload) -> t.DataType | None:
    if overload.returns is not None:
        return overload.returns(match.types)
    assert overload.signature.result is not None
    return substitute(overload.signature.result, match.bindings)


def _conversions(
    arguments: Sequence[ArgumentType], types: Sequence[t.DataType | None]
) -> tuple[Convert, ...]:
    return tuple(
        identity
        if target is None or a is None or isinstance(a, LambdaArgument)
        else widening_function(a, target)
        for a, target in zip(arguments, types, strict=True)
    )


def _function_config(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    prefix = f"ksql.functions.{name.lower()}."
    found = {}
    for wanted in ("ksql.functions._global_.", prefix):
        for key, value in config.items():
            if key.lower().startswith(wanted):
                found[key.lower()[len(wanted) :]] = value
    return found


class Library:
    """Collects the functions of one module: ``functions = Library("NUMERIC")``, then its decorators."""

    def __init__(self, category: str) -> None:
        self.category = category
        self.functions: dict[str, Function] = {}

    def scalar(
        self,
        *signatures: str,
        returns: Callable[[tuple[t.DataType | None, ...]], t.DataType | None] | None = None,
        nulls: bool = False,
        context: bool = False,
        specialize: bool = False,
        columnar: Callable[..., Any] | None = None,
        examples: Iterable[tuple[str, str]] = (),
        kind: Kind = "SCALAR",
    ) -> Callable[[F], F]:
        """Register the decorated function under `signatures`; see `Overload` for the options."""

        def register(function: F) -> F:
            text = describe(function)
            for signature in map(parse_signature, signatures):
                overload = Overload(signature, function, returns, nulls, context, specialize, columnar, text)
                self._add(signature.name, kind, text, overload)
            self.functions[parse_signature(signatures[0]).name.upper()].examples.extend(examples)
            return function

        return register

    def table(self, *signatures: str, **options: Any) -> Callable[[F], F]:
        """Register the decorated function, which returns a list of values, as a table function."""
        return self.scalar(*signatures, kind="TABLE", **options)

    def aggregate(
        self,
        *signatures: str,
        returns: Callable[[tuple[t.DataType | None, ...]], t.DataType | None] | None = None,
    ) -> Callable[[Callable[[AggregateCall], AggregateParts]], Callable[[AggregateCall], AggregateParts]]:
        """Register the decorated factory of `AggregateParts` under `signatures`."""

        def register(
            factory: Callable[[AggregateCall], AggregateParts],
        ) -> Callable[[AggregateCall], AggregateParts]:
            text = describe(factory)
            for signature in map(parse_signature, signatures):
                overload = AggregateOverload(signature, factory, returns, text)
                self._add(signature.name, "AGGREGATE", text, overload)
            return factory

        return register

    def add(self, name: str, kind: Kind, description: str, overload: Overload | AggregateOverload) -> None:
        """Register one overload that was built by hand."""
        self._add(name, kind, description, overload)

    def _add(self, name: str, kind: Kind, text: str, overload: Overload | AggregateOverload) -> None:
        key = name.upper()
        function = self.functions.setdefault(key, Function(key, kind, self.category, text))
        if function.kind != kind:
            raise ValueError(f"{key} is {function.kind} and cannot be {kind} too")
        function.overloads.append(overload)


def describe(definition: Any) -> str:
    """Return a definition's docstring as one paragraph: what DESCRIBE FUNCTION shows."""
    return " ".join((inspect.getdoc(definition) or "").split())


class FunctionRegistry:
    """All functions that statements can call.

    Parameters
    ----------
    libraries : iterable of Library
        Copied, so that later changes of theirs do not show.
    live : Library, optional
        Its functions show as they come and go; names in `libraries` win.
    """

    def __init__(self, libraries: Iterable[Library] = (), live: Library | None = None) -> None:
        self._functions: dict[str, Function] = {}
        self._live = live.functions if live is not None else {}
        for library in libraries:
            self.add(library)

    @classmethod
    def builtin(cls, *, users: bool = True) -> FunctionRegistry:
        """Return a new registry of all built-in functions, in which `users`' Python functions show up by
        themselves."""
        from kalam_jupyter.ksql.functions.builtin import LIBRARIES
        from kalam_jupyter.ksql.functions.python import USER

        return cls(LIBRARIES, USER if users else None)

    def add(self, library: Library, *, replace: bool = False) -> None:
        """Add a library's functions.

        Overloads of a name that exists in the same kind are appended; with `replace` they take its place.

        Raises
        ------
        ValueError
            If a name exists in another kind.
        """
        for name, function in library.functions.items():
            known = self._functions.get(name)
            if known is not None and known.kind != function.kind:
                raise ValueError(f"{name} is {known.kind} and cannot be {function.kind} too")
            overloads = list(function.overloads)
            if known is not None and not replace:
                overloads = known.overloads + overloads
                function = known
            self._functions[name] = Function(
                name,
                function.kind,
                function.category,
                function.description,
                function.author,
                overloads,
                list(function.examples),
            )

    def remove(self, name: str) -> None:
        """Forget a function; nothing happens if there is none."""
        self._functions.pop(name.upper(), None)

    def find(self, name: str) -> Function | None:
        """Return the function called `name`, in any case; None if there is none."""
        key = name.upper()
        return self._functions.get(key) or self._live.get(key)

    def users(self, name: str) -> Function | None:
        """Return the user's function called `name`, in any case; None if there is none."""
        return self._live.get(name.upper()) if name.upper() not in self._functions else None

    def get(self, name: str) -> Function:
        """Return the function called `name`; KsqlError if there is none."""
        function = self.find(name)
        if function is None:
            raise KsqlError(f"Can't find any functions with the name '{name.upper()}'")
        return function

    def kind(self, name: str) -> Kind | None:
        """Return SCALAR, AGGREGATE or TABLE; None if there is no such function."""
        function = self.find(name)
        return None if function is None else function.kind

    def is_aggregate(self, name: str) -> bool:
        """Whether `name` is an aggregate function."""
        return self.kind(name) == "AGGREGATE"

    def is_table_function(self, name: str) -> bool:
        """Whether `name` is a table function."""
        return self.kind(name) == "TABLE"

    def scalar(
        self, name: str, arguments: Sequence[ArgumentType], context: EvaluationContext | None = None
    ) -> Call:
        """Resolve a scalar function; KsqlError if there is none, or it does not take these arguments."""
        return self.get(name).resolve(arguments, context)

    def table(
        self, name: str, arguments: Sequence[ArgumentType], context: EvaluationContext | None = None
    ) -> Call:
        """Resolve a table function; its `Call.type` is that of one row's value."""
        return self.get(name).resolve(arguments, context)

    def aggregate(
        self,
        name: str,
        arguments: Sequence[Operand],
        config: Mapping[str, Any] | None = None,
        context: EvaluationContext | None = None,
    ) -> Aggregation:
        """Resolve an aggregate function; see `Function.aggregate`."""
        return self.get(name).aggregate(arguments, config, context)

    def functions(self) -> list[Function]:
        """Return all functions, sorted by name."""
        known = {**self._live, **self._functions}
        return [known[name] for name in sorted(known)]

"""Signatures of functions, written as text: ``substring(text STRING, position INT, length INT) -> STRING``.

Besides SQL types a parameter may be

==================== =====================================================================
``T``, ``K``, ``V``  a generic: any single capital letter, the same type wherever it stands
``DECIMAL``          a DECIMAL of any precision and scale
``STRUCT``           a STRUCT of any fields
``ANY``              any type at all
``INTERVALUNIT``     a bare time unit; its value is the unit's length in milliseconds
``LAMBDA(T) => R``   a lambda; its value is a Python function
==================== =====================================================================

``type...`` makes a parameter variadic (also in the middle), ``literal`` before the name makes it a constant.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from kalam_jupyter.engine import types as t
from kalam_jupyter.ksql.values.convert import TYPE_NAMES


@dataclass(frozen=True)
class Generic(t.DataType):
    """A type variable."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Wildcard(t.DataType):
    """Any DECIMAL, any STRUCT, or anything (ANY)."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Lambda(t.DataType):
    """A lambda from values of `parameters` to a value of `result`."""

    parameters: tuple[t.DataType, ...]
    result: t.DataType

    def __str__(self) -> str:
        inner = ", ".join(map(str, self.parameters))
        return (
            f"LAMBDA ({inner}) => {self.result}"
            if len(self.parameters) > 1
            else f"LAMBDA {inner} => {self.result}"
        )


@dataclass(frozen=True)
class IntervalUnit(t.DataType):
    """The type of a bare time unit."""

    def __str__(self) -> str:
        return "INTERVALUNIT"


INTERVAL = IntervalUnit()
ANY_DECIMAL = Wildcard("DECIMAL")
ANY_STRUCT = Wildcard("STRUCT")
ANY = Wildcard("ANY")

#: Length in milliseconds of each unit that a function takes.
INTERVAL_UNITS: Mapping[str, int] = {
    name + plural: ms
    for name, ms in (
        ("MILLISECOND", 1),
        ("SECOND", 1000),
        ("MINUTE", 60_000),
        ("HOUR", 3_600_000),
        ("DAY", 86_400_000),
    )
    for plural in ("", "S")
}


@dataclass(frozen=True)
class Parameter:
    """One parameter of a signature; `literal` ones take constants only."""

    name: str
    type: t.DataType
    variadic: bool = False
    literal: bool = False

    def __str__(self) -> str:
        return f"{self.type}{'...' if self.variadic else ''} {self.name}"


@dataclass(frozen=True)
class Signature:
    """A name as declared, parameters, and the result type (None: computed from the arguments)."""

    name: str
    parameters: tuple[Parameter, ...]
    result: t.DataType | None

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.parameters))})"

    @property
    def variadic(self) -> int | None:
        """Position of the variadic parameter, if there is one."""
        return next((i for i, p in enumerate(self.parameters) if p.variadic), None)

    def expand(self, count: int) -> tuple[Parameter, ...] | None:
        """Return one parameter for each of `count` arguments; None if the number does not fit."""
        at = self.variadic
        if at is None:
            return self.parameters if count == len(self.parameters) else None
        repeat = count - len(self.parameters) + 1
        if repeat < 0:
            return None
        return self.parameters[:at] + (self.parameters[at],) * repeat + self.parameters[at + 1 :]

    def renamed(self, name: str) -> Signature:
        """Return the same signature under another name."""
        return replace(self, name=name)


def generics(type_: t.DataType | None) -> int:
    """Return how many type variables a type mentions."""
    match type_:
        case Generic():
            return 1
        case t.Array(element):
            return generics(element)
        case t.Map(key, value):
            return generics(key) + generics(value)
        case t.Struct(fields):
            return sum(generics(f) for _, f in fields)
        case Lambda(parameters, result):
            return sum(map(generics, parameters)) + generics(result)
    return 0


def substitute(type_: t.DataType, bindings: Mapping[str, t.DataType]) -> t.DataType | None:
    """Return `type_` with its type variables replaced; None if one is not bound."""
    match type_:
        case Generic(name):
            return bindings.get(name)
        case t.Array(element):
            inner = substitute(element, bindings)
            return None if inner is None else t.Array(inner)
        case t.Map(key, value):
            k, v = substitute(key, bindings), substitute(value, bindings)
            return None if k is None or v is None else t.Map(k, v)
        case t.Struct(fields):
            parts = [(name, substitute(f, bindings)) for name, f in fields]
            known = tuple((name, f) for name, f in parts if f is not None)
            return t.Struct(known) if len(known) == len(parts) else None
    return type_


_TOKEN = re.compile(r"\s*(?:(\.\.\.)|(=>|->)|(`[^`]*`)|(\w+)|([<>(),]))")


class _Reader:
    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    def peek(self) -> str:
        match = _TOKEN.match(self.text, self.at)
        return match[0].strip() if match else ""

    def take(self, expected: str | None = None) -> str:
        match = _TOKEN.match(self.text, self.at)
        token = match[0].strip() if match else ""
        if not match or (expected is not None and token != expected):
            raise ValueError(f"{expected or 'a word'} expected at {self.text[self.at :]!r} of {self.text!r}")
        self.at = match.end()
        return token

    def skip(self, token: str) -> bool:
        if self.peek() != token:
            return False
        self.take()
        return True

    def type(self) -> t.DataType:
        name = self.take().upper()
        if name in TYPE_NAMES:
            return TYPE_NAMES[name]
        if reader := _READERS.get(name):
            return reader(self)
        if re.fullmatch(r"[A-Z]", name):
            return Generic(name)
        raise ValueError(f"Unknown type {name} in {self.text!r}")

    def list_(self, open_: str, close: str) -> list[t.DataType]:
        self.take(open_)
        items = [self.type()]
        while self.skip(","):
            items.append(self.type())
        self.take(close)
        return items

    def parameter(self) -> Parameter:
        name = self.take()
        literal = name == "literal"
        if literal:
            name = self.take()
        type_ = self.type()
        return Parameter(name, type_, self.skip("..."), literal)

    def end(self) -> None:
        if self.text[self.at :].strip():
            raise ValueError(f"unexpected {self.text[self.at :]!r} in {self.text!r}")


def _decimal(r: _Reader) -> t.DataType:
    if not r.skip("("):
        return ANY_DECIMAL
    precision = int(r.take())
    scale = int(r.take()) if r.skip(",") else 0
    r.take(")")
    return t.Decimal(precision, scale)


def _array(r: _Reader) -> t.DataType:
    (element,) = r.list_("<", ">")
    return t.Array(element)


def _map(r: _Reader) -> t.DataType:
    key, value = r.list_("<", ">")
    return t.Map(key, value)


def _struct(r: _Reader) -> t.DataType:
    if not r.skip("<"):
        return ANY_STRUCT
    fields = []
    while True:
        name = r.take()
        fields.append((name[1:-1] if name[0] == "`" else name.upper(), r.type()))
        if not r.skip(","):
            break
    r.take(">")
    return t.Struct(tuple(fields))


def _lambda(r: _Reader) -> t.DataType:
    parameters = r.list_("(", ")")
    r.take("=>")
    return Lambda(tuple(parameters), r.type())


_READERS: dict[str, Callable[[_Reader], t.DataType]] = {
    "DECIMAL": _decimal,
    "ARRAY": _array,
    "MAP": _map,
    "STRUCT": _struct,
    "LAMBDA": _lambda,
    "ANY": lambda r: ANY,
    "INTERVALUNIT": lambda r: INTERVAL,
}


def parse_type(text: str) -> t.DataType:
    """Return the type that `text` names; ValueError if it does not name one."""
    reader = _Reader(text)
    type_ = reader.type()
    reader.end()
    return type_


def parse_signature(text: str) -> Signature:
    """Return the signature that `text` is; ValueError if it is not one."""
    reader = _Reader(text)
    name = reader.take()
    reader.take("(")
    parameters = []
    if not reader.skip(")"):
        parameters.append(reader.parameter())
        while reader.skip(","):
            parameters.append(reader.parameter())
        reader.take(")")
    result = reader.type() if reader.skip("->") else None
    reader.end()
    if sum(p.variadic for p in parameters) > 1:
        raise ValueError(f"more than one variadic parameter in {text!r}")
    return Signature(name, tuple(parameters), result)

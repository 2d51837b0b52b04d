"""Types: how they are written, and how custom types are resolved."""

from __future__ import annotations

from collections.abc import Callable

from kalam_jupyter.engine.types import (
    BIGINT,
    BOOLEAN,
    BYTES,
    DATE,
    DOUBLE,
    INTEGER,
    STRING,
    Array,
    DataType,
    Decimal,
    Map,
    Struct,
    Time,
    Timestamp,
)
from kalam_jupyter.ksql.lang.ast import Location, NamedType
from kalam_jupyter.ksql.lang.cursor import Cursor

TYPE_NAMES: dict[str, DataType] = {
    "BOOLEAN": BOOLEAN,
    "INT": INTEGER,
    "INTEGER": INTEGER,
    "BIGINT": BIGINT,
    "DOUBLE": DOUBLE,
    "STRING": STRING,
    "VARCHAR": STRING,
    "BYTES": BYTES,
    "DATE": DATE,
    "TIME": Time(),
    "TIMESTAMP": Timestamp(),
}


_FRAMES = 4
"""Calls between a type and the types inside it."""


class TypeParser(Cursor):
    """``ARRAY<T>``, ``T ARRAY``, ``MAP<K, V>``, ``STRUCT<name T, ..>``, ``DECIMAL(p, s)``, and names."""

    def type(self) -> DataType:
        """Parse a type."""
        levels = 1
        self.enter(_FRAMES)
        result = self._type()
        while self.accept("ARRAY"):
            levels += 1
            self.enter(_FRAMES)
            result = Array(result)
        self.leave(levels * _FRAMES)
        return result

    def _type(self) -> DataType:
        if self.accept("ARRAY", "<"):
            element = self.type()
            self.expect(">")
            return Array(element)
        if self.accept("MAP", "<"):
            key = self.type()
            self.expect(",")
            value = self.type()
            self.expect(">")
            return Map(key, value)
        if self.accept("STRUCT", "<>") or self.accept("STRUCT", "<", ">"):
            return Struct(())
        if self.accept("STRUCT", "<"):
            at = self.token.location
            struct = Struct(self.list_of(self._field, ">"))
            if len(struct.index) < len(struct.fields):
                self.defer(f"Duplicate field names found in STRUCT: {struct}", at)
            return struct
        return self._base()

    def _field(self) -> tuple[str, DataType]:
        return self.name("name"), self.type()

    def _base(self) -> DataType:
        start = self.token
        name = self.name("type")
        if start.kind == "variable":
            return NamedType(name)
        numbers = self.list_of(self._parameter, ")") if self.accept("(") else ()
        if start.kind != "quoted":
            if name == "DECIMAL":
                return self._decimal(numbers, start.location)
            if name in TYPE_NAMES:
                return TYPE_NAMES[name]
        return NamedType(name)

    def _parameter(self) -> int | None:
        """A length, or the word STRING as in ``VARCHAR(STRING)``."""
        if not self.at("STRING", "<integer>"):
            self.mismatch("STRING", "<integer>")
        token = self.advance()
        return int(token.value) if token.kind == "integer" and len(token.value) < 10 else None

    def _decimal(self, numbers: tuple[int | None, ...], at: Location) -> DataType:
        precision, scale = numbers if len(numbers) == 2 else (None, None)
        if precision is None or scale is None:
            self.defer("DECIMAL takes two numbers: DECIMAL(precision, scale)", at)
            return Decimal(38, 0)
        text = f"DECIMAL({precision}, {scale})"
        if precision < 1:
            self.defer(f"DECIMAL precision must be >= 1: {text}", at)
        elif precision < scale:
            self.defer(f"DECIMAL precision must be >= scale: {text}", at)
        return Decimal(precision, scale)


def resolve_type(type_: DataType, lookup: Callable[[str], DataType | None]) -> DataType:
    """Replace the names of custom types, at any depth, by what they stand for.

    Parameters
    ----------
    type_ : DataType
    lookup : callable
        The type of a name, or None if there is no such type.

    Raises
    ------
    KeyError
        With the name that `lookup` does not know.
    """
    match type_:
        case NamedType(name):
            found = lookup(name)
            if found is None:
                raise KeyError(name)
            return resolve_type(found, lookup)
        case Array(element, size):
            return Array(resolve_type(element, lookup), size)
        case Map(key, value):
            return Map(resolve_type(key, lookup), resolve_type(value, lookup))
        case Struct(fields):
            return Struct(tuple((name, resolve_type(t, lookup)) for name, t in fields))
    return type_

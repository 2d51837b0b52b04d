"""What a serialization format is, and the registry of those there are.

Vocabulary
----------
format
    A way of writing one side (the key or the value) of a record: JSON, DELIMITED, AVRO, ...
format info
    A format's name with its properties (delimiter, full schema name, ...), as a source declares it.
serde features
    ``WRAP_SINGLES`` or ``UNWRAP_SINGLES``: whether a side of one column is written as a record of one
    field or as the bare value. Empty: the format's own habit.
side
    Everything a format needs to read and write the keys or the values of one source.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from kalam_jupyter.engine.batch import Row
from kalam_jupyter.engine.types import Array, Column, DataType, Decimal, Map, Struct, storage_type
from kalam_jupyter.ksql.errors import KsqlError

if TYPE_CHECKING:
    from kalam_jupyter.ksql.formats.schema_registry import SchemaRegistry

WRAP_SINGLES = "WRAP_SINGLES"
UNWRAP_SINGLES = "UNWRAP_SINGLES"
NO_FEATURES: frozenset[str] = frozenset()

#: Rows in, bytes out; None for a null side. Fails, with `SerdeError`, only where a schema of the user's does
#: not admit what the columns hold; see `KsqlCodec.total`.
Serializer = Callable[[Sequence[Row | None]], list[bytes | None]]
#: Bytes in; rows out, and the position and message of each record that could not be read.
Deserializer = Callable[[Sequence[bytes | None]], tuple[list[Row | None], list[tuple[int, str]]]]


class SerdeError(ValueError):
    """One record's bytes do not fit its schema."""


@dataclass(frozen=True)
class FormatInfo:
    """A format and its properties.

    Attributes
    ----------
    name : str
        Upper-case name of the format.
    properties : tuple of (name, value)
        Sorted; build with `FormatInfo.of`.
    """

    name: str
    properties: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, name: str, properties: Mapping[str, str] | None = None) -> FormatInfo:
        """Look the format up by its name, in any case, and check its properties.

        Raises
        ------
        KsqlError
            ``Unknown format: FOO``, ``JSON does not support the following configs: [delimiter]``.
        """
        format_ = format_of(name)
        given = dict(properties or {})
        if format_.name == "PROTOBUF":
            # The reference's own format always carries it: it shows in descriptions.
            given = {"unwrapPrimitives": "true", **given}
        if "nullableRepresentation" in given:
            given["nullableRepresentation"] = given["nullableRepresentation"].lower()
        info = cls(format_.name, tuple(sorted(given.items())))
        unsupported = [key for key, _ in info.properties if key not in format_.properties]
        if unsupported:
            names = ", ".join(unsupported)
            raise KsqlError(f"{format_.name} does not support the following configs: [{names}]")
        for key, value in info.properties:
            if key == "fullSchemaName" and not value.strip():
                raise KsqlError(f"fullSchemaName cannot be empty. Format configuration: {{{key}={value}}}")
        return info

    def get(self, key: str, default: str | None = None) -> str | None:
        """Return one property."""
        return dict(self.properties).get(key, default)

    @property
    def format(self) -> Format:
        """The format itself."""
        return format_of(self.name)


@dataclass(frozen=True)
class SerdeFormat:
    """How one side of a source is written: a format, its serde features, and its registered schema.

    Attributes
    ----------
    info : FormatInfo
    features : frozenset of str
    schema_id : int or None
        Id under which values are written, for formats whose schemas live in the schema registry.
    """

    info: FormatInfo
    features: frozenset[str] = NO_FEATURES
    schema_id: int | None = None

    @classmethod
    def of(cls, name: str, **properties: str) -> SerdeFormat:
        """Return the format called `name` with nothing but its properties."""
        return cls(FormatInfo.of(name, properties))


@dataclass(frozen=True)
class Side:
    """The keys or the values of one source, as its format sees them."""

    columns: tuple[Column, ...]
    serde: SerdeFormat
    is_key: bool = False
    registry: SchemaRegistry | None = field(default=None, compare=False, repr=False)

    @cached_property
    def unwrapped(self) -> bool:
        """Whether the one column is written bare."""
        return len(self.columns) == 1 and UNWRAP_SINGLES in self.serde.features

    @property
    def info(self) -> FormatInfo:
        """The format and its properties."""
        return self.serde.info


class Format(Protocol):
    """A serialization format.

    Attributes
    ----------
    name : str
    features : frozenset of str
        The serde features it can be asked for.
    properties : frozenset of str
        The properties it takes.
    uses_registry : bool
        Its schemas are kept in the schema registry, and columns can be inferred from there.
    schema_type : str or None
        What the registry calls its schemas: AVRO, JSON or PROTOBUF. None for formats without schemas.
    """

    name: str
    schema_type: str | None
    features: frozenset[str]
    properties: frozenset[str]
    uses_registry: bool

    def check(self, columns: Sequence[Column], info: FormatInfo) -> None:
        """Raise `KsqlError` if the format cannot hold `columns`; the message is the bare reason."""

    def serializer(self, side: Side) -> Serializer:
        """Return the writer of `side`."""

    def deserializer(self, side: Side) -> Deserializer:
        """Return the reader of `side`."""

    def lossless(self, side: Side) -> bool:
        """Whether reading what was written gives every row of `side` back unchanged."""


_FORMATS: dict[str, Format] = {}


def register(format_: Format) -> Format:
    """Add a format under its name."""
    _FORMATS[format_.name] = format_
    return format_


def format_of(name: str) -> Format:
    """Return the format called `name`, in any case; KsqlError ``Unknown format: FOO``."""
    found = _FORMATS.get(name.upper())
    if found is None:
        raise KsqlError(f"Unknown format: {name.upper()}")
    return found


def format_names() -> list[str]:
    """Return the names of all formats, sorted."""
    return sorted(_FORMATS)


def base_name(type_: DataType) -> str:
    """Return a type's name without its parameters: ``DECIMAL``, ``ARRAY``, ``INTEGER``."""
    match storage_type(type_):
        case Decimal():
            return "DECIMAL"
        case Array():
            return "ARRAY"
        case Map():
            return "MAP"
        case Struct():
            return "STRUCT"
        case plain:
            return str(plain)


def column_text(column: Column) -> str:
    """Return a column as messages show it: ```K` STRING KEY``."""
    return f"`{column.name}` {column.type}{' KEY' if column.key else ''}"


def columns_text(columns: Sequence[Column]) -> str:
    """Return columns as messages show them."""
    return f"[{', '.join(column_text(c) for c in columns)}]"


def each(read: Callable[[bytes], Row | None]) -> Deserializer:
    """Make a deserializer of a function that reads one record and raises `SerdeError`."""

    def deserialize(data: Sequence[bytes | None]) -> tuple[list[Row | None], list[tuple[int, str]]]:
        rows: list[Row | None] = []
        errors: list[tuple[int, str]] = []
        for i, record in enumerate(data):
            row = None
            if record is not None:
                try:
                    row = read(record)
                except (ValueError, ArithmeticError) as error:  # SerdeError, and numbers beyond all measure
                    errors.append((i, str(error)))
            rows.append(row)
        return rows, errors

    return deserialize


def find_type(type_: DataType, matches: Callable[[DataType], Any]) -> DataType | None:
    """Return the first type inside `type_`, itself included, that `matches`."""
    if matches(type_):
        return type_
    match type_:
        case Array(element):
            return find_type(element, matches)
        case Map(key, value):
            return find_type(key, matches) or find_type(value, matches)
        case Struct(fields):
            return next((f for _, t in fields if (f := find_type(t, matches))), None)
    return None

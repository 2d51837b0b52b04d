"""Data types and schemas, shared by both dialects.

A value has one physical Python form and one Arrow form. The physical form is what rows hold:

============== =========================== ==================================
type           Python                      Arrow
============== =========================== ==================================
BOOLEAN        bool                        bool
SMALLINT, INT  int                         int16, int32
BIGINT         int                         int64
FLOAT, DOUBLE  float                       float32, float64
DECIMAL(p, s)  decimal.Decimal             decimal128(p, s), 256 above 38
STRING         str                         string
BYTES          bytes                       binary
DATE           int, days since 1970        date32
TIME           int, units of the day       time32('ms') or time64('us')
TIMESTAMP      int, units since 1970 UTC   timestamp('ms' or 'us')
ARRAY<T>       list                        list
MAP<K, V>      dict                        map
STRUCT<f T>    tuple, in field order       struct
============== =========================== ==================================

Temporal values are integers so that neither rows nor conversion to and from Arrow ever build
``datetime`` objects. NULL is None everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal

import pyarrow as pa

TimeUnit = Literal["ms", "us"]


@dataclass(frozen=True)
class DataType:
    """Base of all types. Equal types compare and hash equal."""

    @property
    def arrow(self) -> pa.DataType:
        """The Arrow type of this type's columns."""
        raise TypeError(f"{type(self).__name__} has no Arrow type")


@dataclass(frozen=True)
class Primitive(DataType):
    """A type without parameters, known by its name."""

    name: str

    @property
    def arrow(self) -> pa.DataType:
        return _PRIMITIVE_ARROW[self.name]()

    def __str__(self) -> str:
        return self.name


BOOLEAN = Primitive("BOOLEAN")
SMALLINT = Primitive("SMALLINT")
INTEGER = Primitive("INTEGER")
BIGINT = Primitive("BIGINT")
FLOAT = Primitive("FLOAT")
DOUBLE = Primitive("DOUBLE")
STRING = Primitive("STRING")
BYTES = Primitive("BYTES")
DATE = Primitive("DATE")

_PRIMITIVE_ARROW = {
    "BOOLEAN": pa.bool_,
    "SMALLINT": pa.int16,
    "INTEGER": pa.int32,
    "BIGINT": pa.int64,
    "FLOAT": pa.float32,
    "DOUBLE": pa.float64,
    "STRING": pa.string,
    "BYTES": pa.binary,
    "DATE": pa.date32,
}


@dataclass(frozen=True)
class Time(DataType):
    """Time of day without a zone, counted in `unit` since midnight."""

    unit: TimeUnit = "ms"

    @property
    def arrow(self) -> pa.DataType:
        return pa.time32("ms") if self.unit == "ms" else pa.time64("us")

    def __str__(self) -> str:
        return "TIME"


@dataclass(frozen=True)
class Timestamp(DataType):
    """A moment, counted in `unit` since 1970-01-01T00:00:00 UTC."""

    unit: TimeUnit = "ms"
    zone: str | None = None

    @property
    def arrow(self) -> pa.DataType:
        return pa.timestamp(self.unit, tz=self.zone)

    def __str__(self) -> str:
        return "TIMESTAMP"


TIME = Time()
TIMESTAMP = Timestamp()


@dataclass(frozen=True)
class Decimal(DataType):
    """An exact number of `precision` digits, `scale` of them after the point."""

    precision: int
    scale: int

    @property
    def arrow(self) -> pa.DataType:
        if self.precision > 38:
            return pa.decimal256(min(self.precision, 76), self.scale)
        return pa.decimal128(self.precision, self.scale)

    def __str__(self) -> str:
        return f"DECIMAL({self.precision}, {self.scale})"


@dataclass(frozen=True)
class Array(DataType):
    """A list of values of one type. `size` fixes the length (embeddings)."""

    element: DataType
    size: int | None = None

    @property
    def arrow(self) -> pa.DataType:
        if self.size is not None:
            return pa.list_(self.element.arrow, self.size)
        return pa.list_(self.element.arrow)

    def __str__(self) -> str:
        return f"ARRAY<{self.element}>"


@dataclass(frozen=True)
class Map(DataType):
    """A mapping from keys of one type to values of one type."""

    key: DataType
    value: DataType

    @property
    def arrow(self) -> pa.DataType:
        return pa.map_(self.key.arrow, self.value.arrow)

    def __str__(self) -> str:
        return f"MAP<{self.key}, {self.value}>"


@dataclass(frozen=True)
class Struct(DataType):
    """Named fields, each with a type, in order."""

    fields: tuple[tuple[str, DataType], ...]

    @property
    def arrow(self) -> pa.DataType:
        return pa.struct([pa.field(name, type_.arrow) for name, type_ in self.fields])

    @cached_property
    def index(self) -> dict[str, int]:
        """Position of each field by its name."""
        return {name: i for i, (name, _) in enumerate(self.fields)}

    def __str__(self) -> str:
        inner = ", ".join(f"`{name}` {type_}" for name, type_ in self.fields)
        return f"STRUCT<{inner}>"


@dataclass(frozen=True)
class Logical(DataType):
    """A dialect's own name for values stored as `storage` (JSON, UUID, FILE, EMBEDDING, ...)."""

    name: str
    storage: DataType

    @property
    def arrow(self) -> pa.DataType:
        return self.storage.arrow

    def __str__(self) -> str:
        return self.name


def storage_type(type_: DataType) -> DataType:
    """Return the type that values of `type_` are stored as."""
    return type_.storage if isinstance(type_, Logical) else type_


@dataclass(frozen=True)
class Column:
    """One column of a relation or of a topic's records.

    Attributes
    ----------
    name : str
        As stored; each dialect folds case by its own rule before it gets here.
    type : DataType
    key : bool
        Part of the record key (topics) or of the primary key (relations).
    nullable : bool
    """

    name: str
    type: DataType
    key: bool = False
    nullable: bool = True


@dataclass(frozen=True)
class Schema:
    """Ordered columns. In a topic's schema the key columns come first."""

    columns: tuple[Column, ...]

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash(self.columns)

    @classmethod
    def of(cls, columns: Sequence[Column]) -> Schema:
        """Build a schema from any sequence of columns."""
        return cls(tuple(columns))

    def __iter__(self) -> Iterator[Column]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of all columns, in order."""
        return tuple(c.name for c in self.columns)

    @cached_property
    def index(self) -> dict[str, int]:
        """Position of each column by its name."""
        return {c.name: i for i, c in enumerate(self.columns)}

    @cached_property
    def key(self) -> tuple[Column, ...]:
        """The key columns, in order."""
        return tuple(c for c in self.columns if c.key)

    @cached_property
    def value(self) -> tuple[Column, ...]:
        """The columns that are not part of the key, in order."""
        return tuple(c for c in self.columns if not c.key)

    @cached_property
    def arrow(self) -> pa.Schema:
        """The Arrow schema of all columns."""
        return pa.schema([pa.field(c.name, c.type.arrow, nullable=c.nullable) for c in self.columns])

    def column(self, name: str) -> Column:
        """Return the column called `name`; KeyError if there is none."""
        return self.columns[self.index[name]]


@lru_cache(maxsize=1024)
def shared(schema: Schema) -> Schema:
    """Return the one object that stands for all equal schemas: caches find it without comparing columns."""
    return schema


def to_arrow(values: Sequence[Any], type_: DataType) -> pa.Array:
    """Build an Arrow array from physical Python values.

    Parameters
    ----------
    values : sequence
        Physical values of `type_`, None for NULL.
    type_ : DataType

    Raises
    ------
    pyarrow.ArrowInvalid, pyarrow.ArrowTypeError
        If a value is not of the type.
    """
    convert = _to_arrow_converter(type_)
    if convert is not None:
        values = [None if v is None else convert(v) for v in values]
    return pa.array(values, type=type_.arrow)


def from_arrow(array: pa.Array | pa.ChunkedArray, type_: DataType) -> list[Any]:
    """Return the physical Python values of an Arrow array of `type_`."""
    plain = physical_type(type_)
    if plain is not None and array.type != plain:
        array = array.view(plain) if isinstance(array, pa.Array) else array.cast(plain)
    values: list[Any] = array.to_pylist()
    convert = _from_arrow_converter(type_)
    if convert is not None:
        values = [None if v is None else convert(v) for v in values]
    return values


def physical_type(type_: DataType) -> pa.DataType | None:
    """Integer Arrow type with the same bits as a temporal type: no datetime objects are made."""
    match storage_type(type_):
        case Primitive("DATE"):
            return pa.int32()
        case Time(unit):
            return pa.int32() if unit == "ms" else pa.int64()
        case Timestamp():
            return pa.int64()
    return None


def _to_arrow_converter(type_: DataType) -> Any:
    """Converter from a physical value to what ``pa.array`` takes; None when it is the same."""
    match storage_type(type_):
        case Struct(fields):
            inner = [(name, _to_arrow_converter(t)) for name, t in fields]
            return lambda v: {
                name: (x if x is None or f is None else f(x)) for (name, f), x in zip(inner, v, strict=True)
            }
        case Array(element):
            f = _to_arrow_converter(element)
            return None if f is None else lambda v: [x if x is None else f(x) for x in v]
        case Map(key, value):
            k, w = _to_arrow_converter(key), _to_arrow_converter(value)
            return lambda v: [
                (x if k is None else k(x), y if y is None or w is None else w(y)) for x, y in v.items()
            ]
    return None


def _from_arrow_converter(type_: DataType) -> Any:
    """Converter from what ``to_pylist`` gives to the physical value; None when it is the same."""
    match storage_type(type_):
        case Struct(fields):
            inner = [(name, _from_arrow_nested(t)) for name, t in fields]
            return lambda v: tuple(
                x if x is None or f is None else f(x) for (name, f) in inner for x in (v[name],)
            )
        case Array(element):
            f = _from_arrow_nested(element)
            return None if f is None else lambda v: [x if x is None else f(x) for x in v]
        case Map(key, value):
            k, w = _from_arrow_nested(key), _from_arrow_nested(value)
            return lambda v: {
                (x if k is None else k(x)): (y if y is None or w is None else w(y)) for x, y in v
            }
    return None


def _from_arrow_nested(type_: DataType) -> Any:
    """As `_from_arrow_converter`; temporal values inside nested types do arrive as datetimes."""
    match storage_type(type_):
        case Primitive("DATE"):
            return lambda v: v.toordinal() - 719163
        case Time(unit):
            scale = 1000 if unit == "ms" else 1
            return lambda v: (((v.hour * 60 + v.minute) * 60 + v.second) * 1_000_000 + v.microsecond) // scale
        case Timestamp(unit):
            return lambda v: _epoch(v, unit)
    return _from_arrow_converter(type_)


def _epoch(value: Any, unit: TimeUnit) -> int:
    from datetime import UTC, datetime, timedelta

    moment = value if value.tzinfo else value.replace(tzinfo=UTC)
    step = timedelta(milliseconds=1) if unit == "ms" else timedelta(microseconds=1)
    count: int = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // step
    return count

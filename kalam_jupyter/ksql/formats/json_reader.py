"""Reads JSON the way the reference coerces it (15.3).

Two ways to the same rows. The exact way parses to plain objects and converts each column by the rules:
names in any case, integers from floats and texts, texts from anything, decimals digit by digit. The typed
way lets msgspec decode straight into the columns' types, a whole batch per call; it is set up so that
whatever it accepts, the exact way would read the same, and whatever it refuses is read the exact way.
From what was refused it learns how producers spell field names and which columns need coercion.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Annotated, Any, TypeVar

import msgspec
import numpy as np
import pyarrow as pa

from kalam_jupyter.engine import types as t
from kalam_jupyter.engine.batch import Int64s, Row
from kalam_jupyter.engine.types import Column, DataType, to_arrow
from kalam_jupyter.ksql.formats.columns import SideColumns, is_plain
from kalam_jupyter.ksql.formats.json_exact import (
    REFUSALS,
    Converter,
    object_converter,
    parse,
    value_converter,
)
from kalam_jupyter.ksql.formats.json_shape import ShapeReader
from kalam_jupyter.ksql.formats.text import INTEGER_BOUNDS

T = TypeVar("T")

#: So many fields that are no columns are learned by name; records with still others are read the exact way
MAX_STRANGERS = 64

_TYPED: dict[str, Any] = {
    "BOOLEAN": bool,
    "STRING": str,
    "DOUBLE": float,
    "BYTES": bytes,
    **{
        name: Annotated[int, msgspec.Meta(ge=least, le=greatest)]
        for name, (least, greatest) in INTEGER_BOUNDS.items()
    },
}


def _typed(type_: DataType) -> Any:
    """Return the Python type that msgspec decodes a type's values to; None: exact way only."""
    match t.storage_type(type_):
        case t.Array(element):
            inner = _typed(element)
            return None if inner is None else list[inner | None]  # type: ignore[valid-type]
        case t.Map(_, value):
            inner = _typed(value)
            return None if inner is None else dict[str, inner | None]  # type: ignore[valid-type]
        case t.Primitive(name):
            return _TYPED[name]
        case t.Time() | t.Timestamp() as temporal:
            return _TYPED[str(temporal)]
    return None


class _TypedWay:
    """Decoders set up for some columns, spelled and coerced in some way. Immutable: threads share readers.

    Parameters
    ----------
    columns : sequence of Column
    unwrapped : bool
    names : dict or None
        How fields are spelled, JSON name -> column, None for a stranger. None: as the columns are.
    coerced : frozenset of int
        Columns to parse to plain objects and convert exactly.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        *,
        unwrapped: bool,
        names: dict[str, int | None] | None,
        coerced: frozenset[int],
    ) -> None:
        types = [Any if i in coerced else _typed(c.type) for i, c in enumerate(columns)]
        self._converters = [(i, value_converter(columns[i].type)) for i in sorted(coerced)]
        self._types = [c.type for c in columns]
        self._getter: Callable[[Any], Row | None]
        self._cells: Callable[[Sequence[Any]], tuple[Sequence[Any], ...]]
        if unwrapped:
            target: Any = types[0]
            self._getter = lambda v: None if v is None else (v,)
            self._cells = lambda values: (values,)
        else:
            target = _struct(columns, types, names)
            astuple, width = msgspec.structs.astuple, len(columns)
            has_strangers = names is not None and None in names.values()
            self._getter = (lambda v: astuple(v)[:width]) if has_strangers else astuple
            lists = "".join(f"[v.f{i} for v in values]," for i in range(width))
            self._cells = eval(f"lambda values: ({lists})", {})
        decoder = msgspec.json.Decoder(target, float_hook=Decimal)
        self.decode, self.decode_lines = decoder.decode, decoder.decode_lines

    def rows(self, values: Sequence[Any]) -> list[Row | None]:
        """Return what was decoded as rows."""
        rows = list(map(self._getter, values))
        if self._converters:
            for n, row in enumerate(rows):
                if row is not None:
                    cells = list(row)
                    for i, convert in self._converters:
                        if cells[i] is not None:
                            cells[i] = convert(cells[i])
                    rows[n] = tuple(cells)
        return rows

    def columns(self, values: Sequence[Any]) -> tuple[pa.Array, ...]:
        """Return what was decoded as columns."""
        cells = list(self._cells(values))
        for i, convert in self._converters:
            cells[i] = [None if v is None else convert(v) for v in cells[i]]
        return tuple(map(to_arrow, cells, self._types))


def _struct(
    columns: Sequence[Column], types: Sequence[Any], names: dict[str, int | None] | None
) -> type[msgspec.Struct]:
    fields: list[Any] = [(f"f{i}", Any if type_ is Any else type_ | None) for i, type_ in enumerate(types)]
    spelled = {f"f{i}": c.name for i, c in enumerate(columns)}
    if names is None:
        # Every column must be there under its own name: then no other spelling counts, nor do strangers.
        return msgspec.defstruct("Record", fields, rename=spelled, gc=False)
    # Columns may be missing, so no name may pass unnoticed: it could be another spelling.
    fields = [(*field, None) for field in fields]
    for name, i in names.items():
        if i is None:
            spelled[f"f{len(fields)}"] = name
            fields.append((f"f{len(fields)}", msgspec.Raw, None))
        else:
            spelled[f"f{i}"] = name
    return msgspec.defstruct("Record", fields, rename=spelled, forbid_unknown_fields=True, gc=False)


class RowReader:
    """Reads rows of one schema from JSON; keeps what it has learned about the producers' habits.

    Parameters
    ----------
    columns : sequence of Column
    unwrapped : bool
        Whether the one column stands bare.
    """

    def __init__(self, columns: Sequence[Column], *, unwrapped: bool) -> None:
        self._columns = columns
        self._unwrapped = unwrapped
        self._exact: Converter = (
            value_converter(columns[0].type)
            if unwrapped
            else object_converter([(c.name, c.type) for c in columns])
        )
        self._plain = bool(columns) and all(is_plain(c.type) for c in columns)
        self._shapes = ShapeReader(columns)
        self._by_name = {c.name: i for i, c in enumerate(columns)}
        # One JSON field may fill two columns where their names differ in case only.
        self._learns = not any(c.name != c.name.upper() in self._by_name for c in columns)
        self._names: dict[str, int | None] | None = None
        self._coerced = frozenset(i for i, c in enumerate(columns) if _typed(c.type) is None)
        self._ways = self._typed_ways()

    def __call__(self, data: Sequence[bytes | None]) -> tuple[list[Row | None], list[tuple[int, str]]]:
        """Read a batch: see `base.Deserializer`."""
        lines = _lines(data) if len(data) > 1 else None
        if lines is not None:
            rows = self._decode_typed(lambda way: way.rows(way.decode_lines(lines)))
            if rows is not None and len(rows) == len(data):
                return rows, []
        return self._one_by_one(data)

    def columns(self, data: Sequence[bytes | None]) -> SideColumns | None:
        """Read a batch of records that all have values: see `ColumnReader`."""
        if not self._plain:
            return None
        shaped = None if self._unwrapped else self._shapes.read(data)
        arrays = self._typed_columns(data) if shaped is None else self._completed(data, *shaped)
        return None if arrays is None else (arrays, None)

    def _completed(
        self, data: Sequence[bytes | None], rows: Int64s, arrays: tuple[pa.Array, ...]
    ) -> tuple[pa.Array, ...] | None:
        """Return the columns of all records, of which those at `rows` are given."""
        if len(rows) == len(data):
            return arrays
        others = np.delete(np.arange(len(data)), rows)
        rest = self._typed_columns([data[i] for i in others.tolist()])
        if rest is None:
            return None
        places = pa.array(np.argsort(np.concatenate((rows, others))))
        return tuple(pa.concat_arrays(pair).take(places) for pair in zip(arrays, rest, strict=True))

    def _typed_columns(self, data: Sequence[bytes | None]) -> tuple[pa.Array, ...] | None:
        lines = _lines(data)
        if lines is None:
            return None
        arrays = self._decode_typed(lambda way: way.columns(way.decode_lines(lines)))
        if arrays is None or any(len(a) != len(data) for a in arrays):
            return None
        if self._unwrapped and arrays[0].null_count:
            return None
        return arrays

    def _one_by_one(self, data: Sequence[bytes | None]) -> tuple[list[Row | None], list[tuple[int, str]]]:
        rows: list[Row | None] = []
        errors: list[tuple[int, str]] = []
        for i, record in enumerate(data):
            row = None
            if record is not None:
                found = self._decode_typed(lambda way: way.rows([way.decode(record)]))  # noqa: B023
                if found is not None:
                    row = found[0]
                else:
                    try:
                        row = self.read_exactly(record)
                    except REFUSALS as error:
                        errors.append((i, str(error)))
            rows.append(row)
        return rows, errors

    def _decode_typed(self, decode: Callable[[_TypedWay], T]) -> T | None:
        """Decode in the way that worked last, else in the others; None if no way will do."""
        ways = self._ways
        for way in ways:
            try:
                found = decode(way)
            except REFUSALS:
                continue
            if way is not ways[0]:
                self._ways = (way, *(w for w in ways if w is not way))
            return found
        return None

    def read_exactly(self, data: bytes) -> Row | None:
        """Read one record by the rules, and learn from it; `SerdeError` if they do not allow it."""
        value = parse(data)
        if value is None:
            return None
        row: Row = self._exact(value)
        if self._unwrapped:
            row = (row,)
            value = {self._columns[0].name: value}
        if self._learns:
            self._learn(value)
        return row

    def _typed_ways(self) -> tuple[_TypedWay, ...]:
        """The way of columns spelled as they are, and that of the spelling learned, if there is one."""
        spellings = (None,) if self._names is None else (self._names, None)
        return tuple(
            _TypedWay(self._columns, unwrapped=self._unwrapped, names=names, coerced=self._coerced)
            for names in spellings
        )

    def _learn(self, value: dict[str, Any]) -> None:
        if not self._unwrapped and self._learn_names(value):
            self._ways = self._typed_ways()
        elif coerced := self._needing_coercion(value):
            self._coerced |= coerced
            self._ways = self._typed_ways()

    def _learn_names(self, value: dict[str, Any]) -> bool:
        if value.keys() >= self._by_name.keys():
            return False
        names = dict(self._names or {})
        taken = {i for i in names.values() if i is not None}
        for name in value:
            if name not in names:
                i = self._by_name.get(name, self._by_name.get(name.upper()))
                if i in taken:
                    return False  # two spellings of one column: only the exact way knows which one counts
                names[name] = i
                if i is not None:
                    taken.add(i)
        if len(names) - len(taken) > MAX_STRANGERS or names == self._names:
            return False
        self._names = names
        return True

    def _needing_coercion(self, value: dict[str, Any]) -> frozenset[int]:
        folded = {key.upper(): v for key, v in value.items()}
        found = []
        for i, column in enumerate(self._columns):
            item = value.get(column.name, folded.get(column.name))
            if item is not None and i not in self._coerced:
                try:
                    msgspec.convert(_comparable(item), _typed(column.type))
                except msgspec.ValidationError:
                    found.append(i)
        return frozenset(found)


def _lines(data: Sequence[bytes | None]) -> bytes | None:
    """Return a batch as one text of lines; None where a record is missing or is no line."""
    try:
        joined = b"\n".join(data)  # type: ignore[arg-type]
    except TypeError:
        return None
    return joined if joined.count(b"\n") == len(data) - 1 else None


def _comparable(value: Any) -> Any:
    """Return a parsed value with its exact decimals as floats, which is what they are to the typed way."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, list):
        return [_comparable(v) for v in value]
    if isinstance(value, dict):
        return {k: _comparable(v) for k, v in value.items()}
    return value

"""JSON records that differ in their values only, read as columns without an object between.

Most producers write all records alike: the same fields, in the same order, with the same blanks. What stands
between the values is the *shape* of their records. A batch is held against a shape as a whole, and the
values, as slices of its bytes, go to Arrow's parsers. Only flat objects of numbers, booleans and texts
without escapes have a shape; all other records are left to other ways. Whatever is read here, the exact way
would read the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa

from kalam_jupyter.engine.batch import Bools, Int64s
from kalam_jupyter.engine.types import BOOLEAN, DOUBLE, STRING, Column, DataType, storage_type
from kalam_jupyter.ksql.formats.packed import PARSED, Packed, Places

Kind = Literal["text", "number", "boolean"]

#: Records that are looked at for a shape: one that holds a null has none.
SAMPLES = 8
#: One record in so many must have the shape, or it does not pay.
SHARE = 2
#: Most batches in a row that are not looked at because one had no shape.
MAX_PAUSE = 63

_QUOTE, _BACKSLASH, _BLANK = b'"\\ '
_NAME = re.compile(rb'[ \t\r\n]*[{,][ \t\r\n]*"([^"\\\x00-\x1f]*)"[ \t\r\n]*:[ \t\r\n]*')
_VALUE = re.compile(rb'"[^"\\]*"|-?[0-9][-+.eE0-9]*|true|false')
_END = re.compile(rb"[ \t\r\n]*\}[ \t\r\n]*")

_KINDS: dict[DataType, Kind] = {STRING: "text", BOOLEAN: "boolean"}
_TYPES: dict[Kind, DataType] = {"text": STRING, "number": DOUBLE, "boolean": BOOLEAN}


class _Field(NamedTuple):
    """Where one field's values stand; `valid` is False at nulls."""

    starts: Places
    ends: Places
    valid: Bools | None

    def take(self, rows: Int64s) -> _Field:
        return _Field(self.starts[rows], self.ends[rows], None if self.valid is None else self.valid[rows])


@dataclass(frozen=True)
class Shape:
    """What stands between the values of records.

    Attributes
    ----------
    literals : tuple of bytes
        Before each value, and after the last. The quotes of a text belong to the literals.
    kinds : tuple of Kind
        What the values are.
    names : tuple of str
        What the fields are called, all otherwise.
    """

    literals: tuple[bytes, ...]
    kinds: tuple[Kind, ...]
    names: tuple[str, ...]

    @classmethod
    def of(cls, record: bytes) -> Shape | None:
        """Return the shape of a record; None if it has none."""
        literals: list[bytes] = []
        kinds: list[Kind] = []
        names: list[bytes] = []
        quote, at = b"", 0
        while name := _NAME.match(record, at):
            value = _VALUE.match(record, name.end())
            if value is None:
                return None
            before, first = quote, value[0][:1]
            kinds.append("text" if first == b'"' else "boolean" if first in b"tf" else "number")
            quote = b'"' if first == b'"' else b""
            literals.append(before + name[0] + quote)
            names.append(name[1])
            at = value.end()
        end = _END.fullmatch(record, at)
        if end is None or not names or len(set(names)) < len(names):
            return None
        try:
            return cls((*literals, quote + end[0]), tuple(kinds), tuple(n.decode() for n in names))
        except UnicodeDecodeError:
            return None

    @cached_property
    def _quotes(self) -> list[int]:
        return [literal.count(b'"') for literal in self.literals]

    def match(self, packed: Packed) -> tuple[Int64s, list[_Field]]:
        """Return which records have this shape, and their fields."""
        rows, quotes = packed.having(sum(self._quotes), packed.places(_QUOTE))
        begins: list[Places] = []
        number = 0
        for literal, count in zip(self.literals[:-1], self._quotes, strict=False):
            begins.append(quotes[:, number] - literal.index(_QUOTE))
            number += count
        begins.append(packed.ends[rows] - len(self.literals[-1]))
        good = self._plain(packed)[rows]
        good &= begins[0] == packed.starts[rows]
        for literal, begin in zip(self.literals, begins, strict=True):
            good &= packed.hold(literal, begin)
        fields = []
        for i, kind in enumerate(self.kinds):
            starts, ends = begins[i] + len(self.literals[i]), begins[i + 1]
            fits, valid = _values(packed, kind, starts, ends)
            good &= fits
            fields.append(_Field(starts, ends, valid))
        numbers = np.arange(len(packed.starts))[rows]
        if good.all():
            return numbers, fields
        kept = np.flatnonzero(good)
        return numbers[kept], [field.take(kept) for field in fields]

    def _plain(self, packed: Packed) -> Bools:
        """Return which records hold no bytes that may make them no JSON, or a text not what stands there."""
        doubtful: list[Places] = []
        if "text" in self.kinds:
            data = packed.data[: packed.ends[-1]]
            doubtful.append(np.flatnonzero((data < _BLANK) | (data == _BACKSLASH)))
        if "number" in self.kinds:
            doubtful.append(packed.bare_points())
        return packed.without(np.concatenate(doubtful) if doubtful else np.empty(0, dtype=np.int64))


def _values(packed: Packed, kind: Kind, starts: Places, ends: Places) -> tuple[Bools, Bools | None]:
    """Return which slices can be a field's values, and which of those are not null."""
    if kind == "text":
        return starts <= ends, None
    if kind == "number":
        fits = packed.are_numbers(starts, ends)
    else:
        fits = packed.are(b"true", starts, ends) | packed.are(b"false", starts, ends)
    if fits.all():
        return fits, None
    return fits | packed.are(b"null", starts, ends), fits


class ShapeReader:
    """Reads the columns of records that have a shape; remembers the shape, and where there was none.

    Parameters
    ----------
    columns : sequence of Column
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = [(c.name, storage_type(c.type), c.type.arrow) for c in columns]
        self._able = bool(columns) and all(type_ in PARSED for _, type_, _ in self._columns)
        self._shape: Shape | None = None
        self._pause = self._next_pause = 0

    def read(self, records: Sequence[bytes | None]) -> tuple[Int64s, tuple[pa.Array, ...]] | None:
        """Return the records of the shape that most have, and their columns; None if there is no such."""
        if not self._able:
            return None
        if self._pause:
            self._pause -= 1
            return None
        found = self._read(records)
        self._next_pause = 0 if found is not None else min(2 * self._next_pause + 1, MAX_PAUSE)
        self._pause = self._next_pause
        return found

    def _read(self, records: Sequence[bytes | None]) -> tuple[Int64s, tuple[pa.Array, ...]] | None:
        packed = Packed.of(records)
        if packed is None:
            return None
        for shape in self._candidates(records):
            rows, fields = shape.match(packed)
            if SHARE * len(rows) >= len(records):
                self._shape = shape
                try:
                    return rows, self._arrays(shape, packed, fields)
                except pa.ArrowInvalid:  # an integer too large for its column, a text that is no UTF-8
                    return None
        return None

    def _candidates(self, records: Sequence[bytes | None]) -> Iterator[Shape]:
        known = self._shape
        if known is not None:
            yield known
        for record in records[:SAMPLES]:
            shape = Shape.of(record or b"")
            if shape is not None and shape != known and self._sources(shape) is not None:
                yield shape
                return

    def _sources(self, shape: Shape) -> list[int | None] | None:
        """Return which field each column has, None where there is none; None if a kind does not fit."""
        exact = {name: i for i, name in enumerate(shape.names)}
        folded = {name.upper(): i for i, name in enumerate(shape.names)}
        sources = [exact.get(name, folded.get(name)) for name, _, _ in self._columns]
        for i, (_, type_, _) in zip(sources, self._columns, strict=True):
            if i is not None and shape.kinds[i] != _KINDS.get(type_, "number"):
                return None
        return sources

    def _arrays(self, shape: Shape, packed: Packed, fields: Sequence[_Field]) -> tuple[pa.Array, ...]:
        sources = self._sources(shape)
        assert sources is not None
        for i, field in enumerate(fields):
            if i not in sources:  # nobody wants it, but it has to be JSON
                packed.column(_TYPES[shape.kinds[i]], *field)
        return tuple(
            pa.nulls(len(fields[0].starts), arrow) if i is None else packed.column(type_, *fields[i])
            for i, (_, type_, arrow) in zip(sources, self._columns, strict=True)
        )

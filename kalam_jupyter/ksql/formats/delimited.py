"""DELIMITED: one CSV line, quoted by the rules of 15.2."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa

from kalam_jupyter.engine.batch import Row
from kalam_jupyter.engine.types import BOOLEAN, STRING, Array, Column, DataType, Map, Struct, storage_type
from kalam_jupyter.ksql.errors import KsqlError
from kalam_jupyter.ksql.formats.base import (
    UNWRAP_SINGLES,
    Deserializer,
    FormatInfo,
    SerdeError,
    Serializer,
    Side,
    base_name,
    each,
    register,
)
from kalam_jupyter.ksql.formats.columns import SideColumns
from kalam_jupyter.ksql.formats.packed import PARSED, Packed, Places
from kalam_jupyter.ksql.formats.text import text_reader, text_writer

QUOTE = '"'
NAMED_DELIMITERS = {"TAB": "\t", "SPACE": " "}


def _is_alphanumeric(char: str) -> bool:
    return "0" <= char <= "9" or "A" <= char <= "Z" or "a" <= char <= "z"


def quote_field(text: str, delimiter: str, *, first: bool) -> str:
    """Return a field as it stands in a line, quoted if the rules ask for it.

    Parameters
    ----------
    text : str
        A non-null field.
    delimiter : str
    first : bool
        Whether it is the first field of its line.
    """
    if not text:
        return QUOTE * 2 if first else text
    if (
        (first and not _is_alphanumeric(text[0]))
        or text[0] <= "#"
        or text[-1] <= " "
        or delimiter in text
        or QUOTE in text
        or "\n" in text
        or "\r" in text
    ):
        return QUOTE + text.replace(QUOTE, QUOTE * 2) + QUOTE
    return text


def split_line(line: str, delimiter: str) -> list[str]:
    """Split the first line of `line` into its fields, quotes removed.

    Raises
    ------
    SerdeError
        If a quoted field does not end, or is followed by anything but blanks.
    """
    if QUOTE not in line and "\n" not in line and "\r" not in line:
        return line.split(delimiter)
    line = line.lstrip("\r\n")
    fields = []
    at = 0
    while True:
        field, at = _quoted(line, at) if line.startswith(QUOTE, at) else _bare(line, at, delimiter)
        fields.append(field)
        while at < len(line) and line[at] in " \t" and line[at] != delimiter:
            at += 1
        if at >= len(line) or line[at] in "\r\n":
            return fields
        if line[at] != delimiter:
            raise SerdeError("invalid char between encapsulated token and delimiter")
        at += 1


def _quoted(line: str, at: int) -> tuple[str, int]:
    parts = []
    start = at + 1
    while True:
        end = line.find(QUOTE, start)
        if end < 0:
            raise SerdeError("EOF reached before encapsulated token finished")
        parts.append(line[start:end])
        if not line.startswith(QUOTE, end + 1):
            return QUOTE.join(parts), end + 1
        start = end + 2


def _bare(line: str, at: int, delimiter: str) -> tuple[str, int]:
    end = at
    while end < len(line) and line[end] != delimiter and line[end] not in "\r\n":
        end += 1
    return line[at:end], end


class _LineReader:
    """Reads lines that need no quotes, values spelled as we write them, as columns, too."""

    def __init__(self, one_by_one: Deserializer, types: Sequence[DataType], delimiter: int) -> None:
        self._one_by_one = one_by_one
        self._types = types
        self._delimiter = delimiter

    def __call__(self, data: Sequence[bytes | None]) -> tuple[list[Row | None], list[tuple[int, str]]]:
        return self._one_by_one(data)

    def columns(self, data: Sequence[bytes | None]) -> SideColumns | None:
        packed = Packed.of(data)
        if packed is None or (packed.starts == packed.ends).any():
            return None
        if any(len(packed.places(byte)) for byte in b'"\r\n'):
            return None
        _, delimiters = packed.having(len(self._types) - 1, packed.places(self._delimiter))
        if len(delimiters) < len(data):
            return None
        bounds = [packed.starts - 1, *delimiters.T, packed.ends]
        try:
            arrays = [
                _column(packed, type_, bounds[i] + 1, bounds[i + 1]) for i, type_ in enumerate(self._types)
            ]
        except pa.ArrowInvalid:  # an integer too large for its column, a text that is no UTF-8
            return None
        found = tuple(a for a in arrays if a is not None)
        return None if len(found) < len(arrays) else (found, None)


def _column(packed: Packed, type_: DataType, starts: Places, ends: Places) -> pa.Array | None:
    """Return a column of fields, NULL where they are empty; None if one is not spelled as we write it."""
    valid = starts < ends
    if type_ == BOOLEAN:
        fits = packed.are(b"true", starts, ends) | packed.are(b"false", starts, ends)
    else:
        fits = valid if type_ == STRING else packed.are_numbers(starts, ends)
    if not np.array_equal(fits, valid):
        return None
    return packed.column(type_, starts, ends, None if valid.all() else valid)


class DelimitedFormat:
    """Comma-separated values, or separated by any other character."""

    name = "DELIMITED"
    features = frozenset({UNWRAP_SINGLES})
    properties = frozenset({"delimiter"})
    uses_registry = False
    schema_type: str | None = None

    def check(self, columns: Sequence[Column], info: FormatInfo) -> None:
        for column in columns:
            if isinstance(storage_type(column.type), Array | Map | Struct):
                raise KsqlError(
                    f"The 'DELIMITED' format does not support type '{base_name(column.type)}', "
                    f"column: `{column.name}`"
                )

    def serializer(self, side: Side) -> Serializer:
        delimiter = self._delimiter(side)
        writers = [text_writer(c.type) for c in side.columns]

        def write(row: Row) -> bytes:
            fields = [
                "" if v is None else quote_field(w(v), delimiter, first=i == 0)
                for i, (v, w) in enumerate(zip(row, writers, strict=True))
            ]
            return delimiter.join(fields).encode("utf-8", "replace")

        single_key = side.is_key and len(side.columns) == 1
        return lambda rows: [None if r is None or (single_key and r[0] is None) else write(r) for r in rows]

    def deserializer(self, side: Side) -> Deserializer:
        delimiter = self._delimiter(side)
        readers: list[Callable[[str], object]] = [text_reader(c.type) for c in side.columns]

        def read(data: bytes) -> Row:
            line = data.decode("utf-8", "replace")
            if not line.strip("\r\n"):
                raise SerdeError("No fields in record")
            fields = split_line(line, delimiter)
            if len(fields) != len(readers):
                raise SerdeError(
                    f"Unexpected field count, csvFields:{len(fields)} schemaFields:{len(readers)}"
                )
            return tuple([r(f) if f else None for r, f in zip(readers, fields, strict=True)])

        types = [storage_type(c.type) for c in side.columns]
        if PARSED.issuperset(types) and len(delimiter.encode()) == 1:
            return _LineReader(each(read), types, ord(delimiter))
        return each(read)

    def lossless(self, side: Side) -> bool:
        """Empty and null text are one, and a single null leaves an empty line, which cannot be read."""
        texts = any(base_name(c.type) in ("STRING", "BYTES") for c in side.columns)
        return not texts and (len(side.columns) > 1 or (side.is_key and len(side.columns) == 1))

    def _delimiter(self, side: Side) -> str:
        text = side.info.get("delimiter") or ","
        return NAMED_DELIMITERS.get(text.upper(), text)


DELIMITED = register(DelimitedFormat())

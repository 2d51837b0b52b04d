"""AVRO records of one schema read as columns: one field after the other, of all records at once.

Avro has no marks between values, so a cursor in each record goes from field to field. Flat records of
numbers, booleans, texts and bytes can be read so; whatever is unusual about one record leaves the batch to
the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from kalam_jupyter.engine.batch import Bools, Int64s
from kalam_jupyter.engine.types import BYTES, STRING, Column, DataType, physical_type
from kalam_jupyter.ksql.formats.avro_schema import AvroSchema
from kalam_jupyter.ksql.formats.packed import Packed

_MORE, _SEVEN_BITS = 0x80, 0x7F
_LAST_SHIFT = 63


class _UnusualError(Exception):
    """Something that has to be looked at record by record."""


@dataclass(frozen=True)
class FieldPlan:
    """How one field of a schema is read.

    Attributes
    ----------
    kind : str
        Avro's primitive type.
    null_branch : int or None
        Which of two branches is null; None: values cannot be null.
    column : int or None
        Which column it fills; None: none.
    """

    kind: str
    null_branch: int | None
    column: int | None


def plan_of(schema: AvroSchema, columns: Sequence[Column], *, unwrapped: bool) -> list[FieldPlan] | None:
    """Return how records of a schema are read to columns; None where rows have to be."""
    root = schema.resolve(schema.root)
    if unwrapped:
        plan = None if isinstance(root, list) else _field_plan(schema, schema.root, columns[0].type, 0)
        return None if plan is None or plan.null_branch is not None else [plan]
    if not isinstance(root, dict) or root["type"] != "record":
        return None
    names = [field["name"] for field in root["fields"]]
    exact = {name: i for i, name in enumerate(names)}
    folded = {name.upper(): i for i, name in enumerate(names)}
    wanted = {exact.get(c.name, folded.get(c.name)): i for i, c in enumerate(columns)}
    if None in wanted or len(wanted) < len(columns):
        return None
    plans = []
    for i, field in enumerate(root["fields"]):
        at = wanted.get(i)
        plan = _field_plan(schema, field["type"], None if at is None else columns[at].type, at)
        if plan is None:
            return None
        plans.append(plan)
    return plans


def _field_plan(
    schema: AvroSchema, node: Any, type_: DataType | None, column: int | None
) -> FieldPlan | None:
    null_branch = None
    if isinstance(node, list):
        if len(node) != 2 or "null" not in node:
            return None
        null_branch = node.index("null")
    resolved = schema.resolve(node)
    kind = resolved if isinstance(resolved, str) else resolved["type"]
    if kind not in _DECODERS or (type_ is not None and schema.type(node) != type_):
        return None
    return FieldPlan(kind, null_branch, column)


class _Values(NamedTuple):
    """One field of all records: its numbers, or where its bytes stand; `valid` is False at nulls."""

    numbers: Any
    starts: Int64s
    ends: Int64s
    valid: Bools | None


def read_columns(
    packed: Packed, skip: int, plans: Sequence[FieldPlan], types: Sequence[DataType]
) -> tuple[pa.Array, ...] | None:
    """Return the columns of records; None if one of them is unusual.

    Parameters
    ----------
    packed : Packed
    skip : int
        Bytes of each record before its data.
    plans : sequence of FieldPlan
    types : sequence of DataType
        Of the columns.
    """
    at = packed.starts.astype(np.int64) + skip
    found: dict[int, _Values] = {}
    try:
        for plan in plans:
            values, at = _field(packed, plan, at)
            if plan.column is not None:
                found[plan.column] = values
        if (at > packed.ends).any():
            return None
        return tuple(_array(packed, type_, found[i]) for i, type_ in enumerate(types))
    except (_UnusualError, pa.ArrowInvalid):  # an integer too large, a text that is no UTF-8
        return None


def _field(packed: Packed, plan: FieldPlan, at: Int64s) -> tuple[_Values, Int64s]:
    """Return one field's values, and where they end."""
    decode = _DECODERS[plan.kind]
    if plan.null_branch is None:
        return _whole(decode(packed, at))
    branch = packed.data.take(at, mode="clip")
    valid = branch == 2 * (1 - plan.null_branch)
    at = at + 1
    if valid.all():
        return _whole(decode(packed, at))
    if (branch[~valid] != 2 * plan.null_branch).any():
        raise _UnusualError
    rows = np.flatnonzero(valid)
    numbers, starts, ends = decode(packed, at[rows])
    every = np.zeros(len(at), dtype=numbers.dtype)
    every[rows] = numbers
    first, last = at, at.copy()
    first[rows], last[rows] = starts, ends
    return _Values(every, first, last, valid), last


def _whole(decoded: tuple[Any, Int64s, Int64s]) -> tuple[_Values, Int64s]:
    return _Values(*decoded, None), decoded[2]


def _array(packed: Packed, type_: DataType, values: _Values) -> pa.Array:
    if type_ in (STRING, BYTES):
        return packed.column(type_, values.starts, values.ends, values.valid)
    mask = None if values.valid is None else ~values.valid
    numbers = pa.array(values.numbers, mask=mask)
    return numbers.cast(physical_type(type_) or type_.arrow).view(type_.arrow)


# Decoders: from places to (numbers, where the bytes of a text start, where all ends)

_Decoded = tuple[Any, Int64s, Int64s]


def _long(packed: Packed, at: Int64s) -> _Decoded:
    """Zigzag numbers of seven bits a byte."""
    byte = packed.data.take(at, mode="clip")
    value = (byte & _SEVEN_BITS).astype(np.uint64)
    end = at + 1
    more = np.flatnonzero(byte & _MORE)
    shift = 7
    while len(more):
        byte = packed.data.take(end[more], mode="clip")
        if shift == _LAST_SHIFT and (byte > 1).any():
            raise _UnusualError
        value[more] |= (byte & _SEVEN_BITS).astype(np.uint64) << np.uint64(shift)
        end[more] += 1
        more = more[(byte & _MORE) != 0]
        shift += 7
    sign = (value & np.uint64(1)).astype(np.int64)
    return (value >> np.uint64(1)).astype(np.int64) ^ -sign, at, end


def _text(packed: Packed, at: Int64s) -> _Decoded:
    lengths, _, start = _long(packed, at)
    if ((lengths < 0) | (lengths > len(packed.data))).any():
        raise _UnusualError
    return lengths, start, start + lengths


def _boolean(packed: Packed, at: Int64s) -> _Decoded:
    byte = packed.data.take(at, mode="clip")
    if (byte > 1).any():
        raise _UnusualError
    return byte == 1, at, at + 1


def _float(packed: Packed, at: Int64s) -> _Decoded:
    return packed.words(at).astype(np.uint32).view(np.float32).astype(np.float64), at, at + 4


def _double(packed: Packed, at: Int64s) -> _Decoded:
    return packed.words(at).view(np.float64), at, at + 8


_DECODERS: dict[str, Callable[[Packed, Int64s], _Decoded]] = {
    "boolean": _boolean,
    "int": _long,
    "long": _long,
    "float": _float,
    "double": _double,
    "string": _text,
    "bytes": _text,
}

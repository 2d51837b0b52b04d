"""Rows of a running query as Arrow, with the kind of each change: what travels to clients and widgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Context
from decimal import Decimal as PyDecimal
from itertools import accumulate
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kalam_jupyter.engine.types import Array, DataType, Decimal, Map, Struct, to_arrow

#: Kinds of change, as they stand in `Changes.kinds`.
INSERT, UPDATE, DELETE = 0, 1, 2
KIND_NAMES = ("insert", "update", "delete")
#: Holds the digits of any value that Arrow can store.
_DIGITS = Context(prec=80)


@dataclass(frozen=True)
class Changes:
    """Some rows that changed, in order.

    Attributes
    ----------
    batch : pyarrow.RecordBatch
        The rows, n of them: new values of inserts and updates, last known values of deletes (a
        tombstone of a ksqlDB table has only its key columns).
    kinds : numpy int8 array of n
        `INSERT`, `UPDATE` or `DELETE` for each row.
    initial : bool
        Whether these rows were there when the query started (a live query's snapshot).
    """

    batch: pa.RecordBatch
    kinds: npt.NDArray[np.int8]
    initial: bool = False

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        return int(self.batch.num_rows)


class _Row(Protocol):
    @property
    def values(self) -> tuple[Any, ...]: ...
    @property
    def tombstone(self) -> bool: ...


def from_result_rows(
    rows: Sequence[_Row], types: Sequence[DataType], schema: pa.Schema, *, keyed: bool
) -> Changes:
    """Build changes from rows of a ksqlDB query.

    Parameters
    ----------
    rows : sequence
        With `values` and `tombstone`.
    types : sequence of DataType
        Of the columns.
    schema : pyarrow.Schema
    keyed : bool
        Whether a row replaces the row of the same key: then rows are updates and tombstones deletes;
        otherwise every row is an insert.
    """
    values = zip(*(row.values for row in rows), strict=True)
    arrays = [result_array(list(v), t) for v, t in zip(values, types, strict=True)]
    present = UPDATE if keyed else INSERT
    kinds = np.fromiter((DELETE if r.tombstone else present for r in rows), np.int8, len(rows))
    return Changes(pa.RecordBatch.from_arrays(arrays, schema=schema), kinds)


def result_array(values: Sequence[Any], type_: DataType) -> pa.Array:
    """Return a column of a ksqlDB result, as `to_arrow` does, though not all its values may fit the type.

    A DECIMAL may have been rounded to one digit more than its precision (CEIL, CAST): it is kept as it is,
    within collections too. The null key of a map is the text that it is in JSON.
    """
    try:
        return to_arrow(values, type_)
    except pa.ArrowInvalid:
        match type_:
            case Decimal():
                return _decimals(values, type_)
            case Array(element):
                items = result_array([x for v in values for x in v or ()], element)
                return pa.ListArray.from_arrays(_offsets(values), items, type_.arrow)
            case Map(key, item):
                keys = ["null" if k is None else k for v in values for k in v or ()]
                items = result_array([x for v in values for x in (v or {}).values()], item)
                return pa.MapArray.from_arrays(_offsets(values), to_arrow(keys, key), items, type_.arrow)
            case Struct(fields):
                parts = [
                    result_array([None if v is None else v[i] for v in values], field)
                    for i, (_, field) in enumerate(fields)
                ]
                missing = pa.array([v is None for v in values])
                return pa.StructArray.from_arrays(parts, fields=list(type_.arrow), mask=missing)
        raise


def _offsets(values: Sequence[Any]) -> pa.Array:
    """Return where each list or map begins; a NULL one has no beginning."""
    ends = accumulate(map(len, (v or () for v in values)), initial=0)
    return pa.array(
        [None if v is None else at for v, at in zip((*values, ()), ends, strict=True)], pa.int32()
    )


def _decimals(values: Sequence[PyDecimal | None], type_: Decimal) -> pa.Array:
    """Return decimals of which some have a digit too many: Arrow stores them, but checks what it is given."""
    width, scale = type_.arrow.byte_width, type_.arrow.scale
    digits = [0 if v is None else int(v.scaleb(scale, _DIGITS)) for v in values]
    data = b"".join(d.to_bytes(width, "little", signed=True) for d in digits)
    valid = np.packbits([v is not None for v in values], bitorder="little")
    return pa.Array.from_buffers(type_.arrow, len(values), [pa.py_buffer(valid), pa.py_buffer(data)])

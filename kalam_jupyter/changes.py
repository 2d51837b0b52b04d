"""Rows of a running query as Arrow, with the kind of each change: what travels to clients and widgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kalam_jupyter.engine.types import DataType, Decimal, Map, to_arrow

#: Kinds of change, as they stand in `Changes.kinds`.
INSERT, UPDATE, DELETE = 0, 1, 2
KIND_NAMES = ("insert", "update", "delete")


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

    A DECIMAL may have been rounded to one digit more than its precision (CEIL, CAST): it is kept as it is.
    The null key of a map is the text that it is in JSON.
    """
    try:
        return to_arrow(values, type_)
    except pa.ArrowInvalid:
        if isinstance(type_, Decimal):
            wide = pa.decimal128(38, type_.scale) if type_.precision <= 38 else pa.decimal256(76, type_.scale)
            return pa.array(values, wide).view(type_.arrow)
        if isinstance(type_, Map):
            named = [v and {"null" if k is None else k: x for k, x in v.items()} for v in values]
            return to_arrow(named, type_)
        raise

"""The bytes of many records in one buffer, and columns made of slices of it by Arrow's own parsers.

A slice is where one value's text stands in each of some records: an array of starts and one of ends. Nothing
here makes a Python object per record.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kalam_jupyter.engine.batch import Bools, Int64s
from kalam_jupyter.engine.types import (
    BIGINT,
    BOOLEAN,
    BYTES,
    DATE,
    DOUBLE,
    INTEGER,
    STRING,
    TIMESTAMP,
    DataType,
    physical_type,
)

Places = npt.NDArray[np.integer]

#: Types that `Packed.column` makes columns of.
PARSED = frozenset({BOOLEAN, INTEGER, BIGINT, DOUBLE, STRING, DATE, TIMESTAMP})

#: Bytes that are compared at once; as many follow the last record.
_WORD = 8
_MINUS, _POINT, _ZERO, _ONE = b"-.01"
_SMALL_E, _TO_SMALL = ord("e"), 0x20
#: The validity of slots of which every second one is null.
_EVERY_SECOND = 0b01010101


class Packed:
    """The bytes of n records.

    Attributes
    ----------
    data : numpy uint8 array
        All records' bytes, and eight zeros.
    starts, ends : numpy int32 array of n
        Where each record is in `data`.
    """

    def __init__(self, packed: pa.BinaryArray) -> None:
        _, offsets, self._buffer = packed.buffers()
        self._bounds = np.frombuffer(offsets, np.int32, len(packed) + 1)
        self.starts, self.ends = self._bounds[:-1], self._bounds[1:]
        self.data = np.concatenate((np.frombuffer(self._buffer, np.uint8), np.zeros(_WORD, np.uint8)))
        # The eight bytes from each place on, as one number.
        self._words = np.ndarray((len(self.data) - _WORD + 1,), np.uint64, self.data, 0, (1,))

    @classmethod
    def of(cls, records: Sequence[bytes | None]) -> Packed | None:
        """Pack records; None if one is missing, or if they are more than one array holds."""
        packed = pa.array(records, pa.binary())
        return None if packed.null_count or not isinstance(packed, pa.BinaryArray) else cls(packed)

    def places(self, byte: int) -> Int64s:
        """Return where a byte, which is not 0, stands."""
        return np.flatnonzero(self.data == byte)

    def having(self, count: int, places: Int64s) -> tuple[Int64s | slice, Int64s]:
        """Return the records that have exactly `count` of the (ascending) places.

        Returns
        -------
        rows : numpy int64 array of m, or slice of all
        table : numpy int64 array of m x count
            The places of each.
        """
        n = len(self.starts)
        if count and len(places) == n * count:
            table = places.reshape(n, count)
            if (table[:, 0] >= self.starts).all() and (table[:, -1] < self.ends).all():
                return slice(None), table
        bounds = np.searchsorted(places, self._bounds)
        rows = np.flatnonzero(np.diff(bounds) == count)
        return rows, places.take(bounds.take(rows)[:, None] + np.arange(count))

    def without(self, places: Places) -> Bools:
        """Return which records have none of the places."""
        found = np.ones(len(self.starts), dtype=np.bool_)
        if len(places):
            found[np.searchsorted(self._bounds, places, side="right") - 1] = False
        return found

    def hold(self, literal: bytes, starts: Places) -> Bools:
        """Return at which starts the literal stands; it has no zeros. A start is within the records."""
        if len(literal) == 1:
            return np.equal(self.data.take(starts), literal[0])
        found = np.ones(len(starts), dtype=np.bool_)
        for at in range(0, len(literal), _WORD):
            part = literal[at : at + _WORD]
            word = np.frombuffer(part.ljust(_WORD, b"\0"), np.uint64)[0]
            mask = np.frombuffer((b"\xff" * len(part)).ljust(_WORD, b"\0"), np.uint64)[0]
            found &= self.words(starts + at) & mask == word
        return found

    def words(self, starts: Places) -> npt.NDArray[np.uint64]:
        """Return the eight bytes from each start on; of a start beyond the records, any."""
        return self._words[np.clip(starts, 0, len(self._words) - 1)]

    def are(self, literal: bytes, starts: Places, ends: Places) -> Bools:
        """Return which slices are the literal."""
        found = self.hold(literal, starts)
        found &= ends - starts == len(literal)
        return found

    def are_numbers(self, starts: Places, ends: Places) -> Bools:
        """Return which slices are numbers of JSON, if Arrow can parse them at all.

        Arrow's parsers also take ``+1``, ``.5``, ``1.``, ``007``, ``0x1F`` and ``nan``, and ``1.e5``, for
        which see `bare_points`. ``-0`` is left out, too: JSON has it as an integer, without a sign.
        """
        data = self.data
        last = data.take(ends - 1)
        first = data.take(starts)
        negative = first == _MINUS
        if negative.any():
            starts = starts + negative
            first = data.take(starts)
        found = (first - _ONE < 9) & (last - _ZERO < 10) & (starts < ends)
        zero = first == _ZERO
        if zero.any():
            second = data.take(starts + 1)
            alone = (starts + 1 == ends) & ~negative
            found |= (
                zero & (last - _ZERO < 10) & ((second == _POINT) | (second | _TO_SMALL == _SMALL_E) | alone)
            )
        return found

    def bare_points(self) -> Int64s:
        """Return where a point stands that an exponent follows."""
        points = self.places(_POINT)
        return points[np.flatnonzero(self.data.take(points + 1) | _TO_SMALL == _SMALL_E)]

    def column(self, type_: DataType, starts: Places, ends: Places, valid: Bools | None = None) -> pa.Array:
        """Return the values of slices, which do not overlap and ascend.

        Parameters
        ----------
        type_ : DataType
            One of `PARSED`, or BYTES.
        starts, ends : numpy integer arrays of n
        valid : numpy bool array of n, or None
            False where a value is NULL.

        Raises
        ------
        pyarrow.ArrowInvalid
            If a text is no number of the type, or no UTF-8.
        """
        if type_ == BOOLEAN:
            values = self.hold(b"true", starts)
            return pa.array(values, mask=None if valid is None else ~valid)
        n = len(starts)
        bounds = np.empty(2 * n, dtype=np.int32)
        bounds[0::2], bounds[1::2] = starts, ends
        if valid is None:
            bitmap = np.full(-(-2 * n // 8), _EVERY_SECOND, dtype=np.uint8)
        else:
            bitmap = np.packbits(np.stack((valid, np.zeros_like(valid)), axis=1), bitorder="little")
        # The slots of what stands between the slices are null: nobody parses them.
        buffers = [pa.py_buffer(bitmap), pa.py_buffer(bounds), self._buffer]
        slots = pa.Array.from_buffers(pa.string(), max(2 * n - 1, 0), buffers)
        if type_ in (STRING, BYTES):
            texts = slots.view(pa.binary()).take(pa.array(np.arange(0, 2 * n, 2)))
            return texts if type_ == BYTES else texts.cast(pa.string())  # looks whether they are UTF-8
        parsed = slots.cast(physical_type(type_) or type_.arrow)
        dtype = parsed.type.to_pandas_dtype()
        numbers = np.frombuffer(parsed.buffers()[1], dtype, len(parsed))[::2]
        return pa.array(numbers, mask=None if valid is None else ~valid).view(type_.arrow)

"""The wire format of registered schemas: a zero byte, the schema's id in four bytes, then the data."""

from __future__ import annotations

import struct

from kalam_jupyter.ksql.formats.base import SerdeError

_PREFIX = struct.Struct(">bI")
PREFIX_BYTES = _PREFIX.size


def prefix(schema_id: int) -> bytes:
    """Return what precedes data written with a schema."""
    return _PREFIX.pack(0, schema_id)


def schema_id_of(data: bytes) -> int:
    """Return the id that `data` was written with; `SerdeError` if it has none."""
    if len(data) < PREFIX_BYTES or data[0] != 0:
        raise SerdeError("Unknown magic byte!")
    found: int = _PREFIX.unpack_from(data)[1]
    return found

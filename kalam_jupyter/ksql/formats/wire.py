"""The wire format of registered schemas: a zero byte, the schema's id in four bytes, then the data."""

from __future__ import annotations

import struct

from google.protobuf.descriptor import Descriptor

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


# Which message of its file: a count and as many positions, each a zigzag varint; one zero for the first


def message_indexes(message: Descriptor) -> bytes:
    """Return which message of its file this is."""
    path: list[int] = []
    at: Descriptor | None = message
    while at is not None:
        outer = at.containing_type
        siblings = outer.nested_types if outer is not None else list(at.file.message_types_by_name.values())
        path.insert(0, next(i for i, m in enumerate(siblings) if m.full_name == at.full_name))
        at = outer
    if path == [0]:
        return b"\0"
    return b"".join(_varint(2 * n) for n in (len(path), *path))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_indexes(data: bytes) -> tuple[tuple[int, ...], int]:
    """Return which message `data` holds and where it starts; IndexError or ValueError if it does not say."""
    count, at = _read_varint(data, PREFIX_BYTES)
    if count == 0:
        return (0,), at
    found = []
    for _ in range(count):
        index, at = _read_varint(data, at)
        found.append(index)
    return tuple(found), at


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value >> 1, at
        shift += 7
        if shift > 28:
            raise ValueError("message index too long")

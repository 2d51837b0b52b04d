"""Functions of BYTES (function contract section 3)."""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Callable
from typing import Any

from kalam_jupyter.ksql.functions.registry import Library
from kalam_jupyter.ksql.functions.strings import fill_up, slice_bounds
from kalam_jupyter.ksql.values import text as utf16
from kalam_jupyter.ksql.values.convert import decode_base64
from kalam_jupyter.ksql.values.errors import EvaluationError

functions = Library("BYTES")


@functions.scalar("len(bytes BYTES) -> INT")
def len_(data: bytes) -> int:
    """Number of bytes."""
    return len(data)


@functions.scalar("concat(values BYTES...) -> BYTES", nulls=True)
def concat(*values: bytes | None) -> bytes:
    """All arguments after each other; NULLs are skipped."""
    return b"".join([v for v in values if v is not None])


@functions.scalar("concat_ws(separator BYTES, values BYTES...) -> BYTES", nulls=True)
def concat_ws(separator: bytes | None, *values: bytes | None) -> bytes | None:
    """All arguments with a separator between; NULLs are skipped, a NULL separator gives NULL."""
    if not values:
        raise EvaluationError("CONCAT_WS expects at least two input arguments")
    return None if separator is None else separator.join([v for v in values if v is not None])


@functions.scalar(
    "substring(bytes BYTES, position INT) -> BYTES",
    "substring(bytes BYTES, position INT, length INT) -> BYTES",
)
def substring(data: bytes, position: int, length: int | None = None) -> bytes:
    """Part of the bytes from a position (from 1; negative from the end; 0 is 1), to the end or of a
    length.
    """
    start, end = slice_bounds(len(data), position, length)
    return data[start:end]


@functions.scalar("lpad(bytes BYTES, length INT, padding BYTES) -> BYTES")
def lpad(data: bytes, length: int, padding: bytes) -> bytes | None:
    """The bytes filled up on the left, or cut on the right, to a length."""
    if length < 0 or not padding:
        return None
    return fill_up(padding, max(length - len(data), 0)) + data[:length]


@functions.scalar("rpad(bytes BYTES, length INT, padding BYTES) -> BYTES")
def rpad(data: bytes, length: int, padding: bytes) -> bytes | None:
    """The bytes filled up on the right, or cut on the right, to a length."""
    if length < 0 or not padding:
        return None
    return data[:length] + fill_up(padding, max(length - len(data), 0))


@functions.scalar("split(bytes BYTES, delimiter BYTES) -> ARRAY<BYTES>")
def split(data: bytes, delimiter: bytes) -> list[bytes]:
    """Pieces between delimiters, empty ones too; an empty delimiter splits in single bytes."""
    if delimiter:
        return data.split(delimiter)
    return [data[i : i + 1] for i in range(len(data))] or [b""]


def _from_hex(text: str) -> bytes:
    if len(text) % 2 or not re.fullmatch(r"[0-9A-Fa-f]*", text):
        raise EvaluationError(f"Not hexadecimal: '{text}'")
    return bytes.fromhex(text)


_TO_BYTES: dict[str, Callable[[str], bytes]] = {
    "hex": _from_hex,
    "utf8": lambda s: s.encode("utf-8"),
    "ascii": lambda s: utf16.expand(s).encode("ascii", "replace"),
    "base64": decode_base64,
}
_FROM_BYTES: dict[str, Callable[[bytes], str]] = {
    "hex": lambda b: b.hex().upper(),
    "utf8": lambda b: b.decode("utf-8", "replace"),
    "ascii": lambda b: b.decode("ascii", "replace"),
    "base64": lambda b: base64.b64encode(b).decode("ascii"),
}


def _encoding(table: dict[str, Any], name: str) -> Any:
    found = table.get(name.lower())
    if found is None:
        raise EvaluationError(
            f"Unknown encoding type '{name}'. Supported formats are [hex, utf8, ascii, base64]"
        )
    return found


@functions.scalar(
    "to_bytes(text STRING, encoding STRING) -> BYTES",
    examples=[("FROM_BYTES(TO_BYTES('ab', 'utf8'), 'hex')", "6162")],
)
def to_bytes(text: str, encoding: str) -> bytes:
    """Bytes of a text in hex, utf8, ascii or base64 (in any case); malformed text fails."""
    data: bytes = _encoding(_TO_BYTES, encoding)(text)
    return data


@functions.scalar(
    "from_bytes(bytes BYTES, encoding STRING) -> STRING",
    examples=[("FROM_BYTES(TO_BYTES('6162', 'hex'), 'utf8')", "ab")],
)
def from_bytes(data: bytes, encoding: str) -> str:
    """Text of bytes in hex (upper case), utf8, ascii or base64 (in any case)."""
    text: str = _encoding(_FROM_BYTES, encoding)(data)
    return text


_ORDERS = {"big_endian": ">", "little_endian": "<"}


def _number(code: str, size: int, name: str) -> Callable[..., Any]:
    formats = {order: struct.Struct(sign + code) for order, sign in _ORDERS.items()}

    def read(data: bytes, order: str = "big_endian") -> Any:
        found = formats.get(order.lower())
        if found is None:
            raise EvaluationError(f"Byte order must be BIG_ENDIAN or LITTLE_ENDIAN, not '{order}'")
        if len(data) != size:
            raise EvaluationError(f"Number of bytes must be equal to {size} for {name}, not {len(data)}")
        return found.unpack(data)[0]

    read.__doc__ = (
        f"{name} of {size} bytes, BIG_ENDIAN unless LITTLE_ENDIAN is given; "
        "another number of bytes or order fails."
    )
    return read


for _name, _type, _code, _size, _hex, _shown in (
    ("int_from_bytes", "INT", "i", 4, "000007E5", "2021"),
    ("bigint_from_bytes", "BIGINT", "q", 8, "00000000000007E5", "2021"),
    ("double_from_bytes", "DOUBLE", "d", 8, "3FF8000000000000", "1.5"),
):
    functions.scalar(
        f"{_name}(bytes BYTES) -> {_type}",
        f"{_name}(bytes BYTES, byteOrder STRING) -> {_type}",
        examples=[(f"{_name.upper()}(TO_BYTES('{_hex}', 'hex'))", _shown)],
    )(_number(_code, _size, _type))

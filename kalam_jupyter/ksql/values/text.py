"""Strings as Java has them: sequences of UTF-16 code units.

Python strings hold code points. The two differ only beyond U+FFFF, so each helper takes a direct path for
ASCII.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any


def units(text: str) -> bytes:
    """Return the UTF-16 code units, two bytes each, big-endian: they sort as Java sorts strings."""
    return text.encode("utf-16-be", "surrogatepass")


def from_units(data: bytes) -> str:
    """Return the string of UTF-16 code units, two bytes each."""
    return data.decode("utf-16-be", "surrogatepass")


def narrow(text: str) -> bool:
    """Whether every character is one code unit, so that Python's indexes are Java's."""
    return text.isascii() or max(text) <= "\uffff"


def length(text: str) -> int:
    """Return the number of UTF-16 code units."""
    return len(text) if narrow(text) else len(units(text)) // 2


def substring(text: str, start: int, end: int) -> str:
    """Return code units `start` to `end` (exclusive), both within the text."""
    return text[start:end] if narrow(text) else collapse(expand(text)[start:end])


def expand(text: str) -> str:
    """Return the text with one Python character for each UTF-16 code unit; `collapse` undoes it."""
    if narrow(text):
        return text
    data = units(text)
    return "".join(chr(data[i] << 8 | data[i + 1]) for i in range(0, len(data), 2))


def collapse(text: str) -> str:
    """Join surrogate pairs to characters; half a pair becomes ``?``, as Java writes it."""
    if text.isascii() or not _SURROGATE.search(text):
        return text
    return _SURROGATE.sub("?", from_units(units(text)))


_SURROGATE = re.compile("[\ud800-\udfff]")


def sort_key(text: str) -> Any:
    """Return what orders strings as Java does, among other keys of this function."""
    return units(text)


def less(a: str, b: str) -> bool:
    """Whether `a` sorts before `b` by UTF-16 code unit."""
    if a.isascii() or b.isascii():
        return a < b
    return units(a) < units(b)


def signed_bytes(data: bytes) -> bytes:
    """Return what orders BYTES as Java's ByteBuffer does: by signed byte."""
    return data.translate(_SIGNED)


_SIGNED = bytes((b + 128) & 255 for b in range(256))


def java_hash(text: str) -> int:
    """Return Java's String.hashCode, as a signed 32-bit integer."""
    h = 0
    data = units(text)
    for i in range(0, len(data), 2):
        h = (31 * h + (data[i] << 8 | data[i + 1])) & 0xFFFFFFFF
    return h - (1 << 32) if h & 0x80000000 else h


def hash_order(keys: list[str], capacity: int = 1) -> list[str]:
    """Return distinct keys in the order in which a Java HashMap of them iterates (buckets, then insertion).

    The map is one made for that many keys, as deserialized maps are: its capacity is the first power of two
    that holds them at three quarters full. One that was filled key by key has a `capacity` of at least 16.
    """
    while capacity * 3 < len(keys) * 4:
        capacity *= 2

    def bucket(key: str) -> int:
        h = java_hash(key) & 0xFFFFFFFF
        return (h ^ (h >> 16)) & (capacity - 1)

    return sorted(keys, key=bucket)


def map_order(mapping: Mapping[Any, Any], capacity: int = 1) -> list[Any]:
    """Return a map's keys in the order in which Java iterates it; as they come if they are not all texts."""
    keys = list(mapping)
    return hash_order(keys, capacity) if all(isinstance(k, str) for k in keys) else keys

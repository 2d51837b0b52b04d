"""What flows between operators in the row form.

Vocabulary
----------
flat row
    One tuple that expressions read: the value columns, then the key columns, then ROWTIME, ROWPARTITION and
    ROWOFFSET, then WINDOWSTART and WINDOWEND if the key is windowed. After a join it is the left flat row,
    the right flat row and a ROWTIME of the result; after an aggregation the aggregates, the key and the
    window bounds.
record
    A key, a flat row (None: a null value, for a table a tombstone) and where it came from.
change
    A record of a table. `old` is the flat row it replaces where an operator upstream keeps the table's rows,
    else None.
operator
    A step of a topology, as a state machine. `process` takes records in arrival order and returns the outputs
    of the first, then those of the second, and so on; `checkpoint` returns the state as plain data, None if
    there is none, and `restore` goes on from it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

import msgspec

from kalam_jupyter.engine.batch import Headers, Window

Row = tuple[Any, ...]
Key = tuple[Any, ...]


class Record(msgspec.Struct, eq=False, gc=False):
    """One record between operators. Who receives it owns it, and may change it in place."""

    key: Key | None
    row: Row | None
    ts: int
    window: Window | None = None
    headers: Headers = ()
    old: Row | None = None

    def __repr__(self) -> str:
        return f"Record(key={self.key}, row={self.row}, ts={self.ts}, window={self.window}, old={self.old})"


class Stateless:
    """Base of operators without state."""

    def checkpoint(self) -> Any:
        """Nothing to keep."""
        return None

    def restore(self, state: Any) -> None:
        """Nothing to restore."""


def hashable(value: Any) -> Any:
    """Return `value` with its lists and maps made hashable: keys of state stores."""
    if isinstance(value, list):
        return ("[", *map(hashable, value))
    if isinstance(value, dict):
        return ("{", *sorted(((hashable(k), hashable(v)) for k, v in value.items()), key=repr))
    if isinstance(value, tuple):
        return tuple(map(hashable, value))
    return value


def store_key(key: Key) -> Key:
    """Return `key` in a form that a dict takes; almost always the key itself."""
    try:
        hash(key)
    except TypeError:
        return hashable(key)  # type: ignore[no-any-return]
    return key


def key_order(key: Key | None) -> bytes:
    """Return what sorts keys as a state store iterates them: by their bytes, the first bit being no sign.

    One column sorts as in the KAFKA format, several as in JSON, which are the formats of keys unless a source
    says otherwise.
    """
    if key is None:
        return b""
    if len(key) != 1:
        return _as_json(key).encode("utf-8", "surrogatepass")
    return _ORDERED.get(type(key[0]), _by_text)(key[0])


_as_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str).encode


def _by_text(value: Any) -> bytes:
    return repr(value).encode()


_ORDERED: dict[type, Callable[[Any], bytes]] = {
    type(None): lambda _: b"",
    int: lambda v: v.to_bytes(8, "big", signed=True),
    float: struct.Struct(">d").pack,
    str: lambda v: v.encode("utf-8", "surrogatepass"),
    bytes: lambda v: v,
}

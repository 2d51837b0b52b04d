"""Operator state as bytes: exact for every value that a state holds, and nothing but data when read back."""

from __future__ import annotations

import io
import pickle
from typing import Any

#: What a state may refer to by name; everything else in it is built of literals.
_ALLOWED = {
    ("decimal", "Decimal"),
    ("builtins", "set"),
    ("builtins", "frozenset"),
    ("builtins", "bytearray"),
    ("collections", "deque"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.numeric", "_frombuffer"),
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is no part of a query's state")
        return super().find_class(module, name)


def dumps(state: Any) -> bytes:
    """Return a state as bytes."""
    return pickle.dumps(state, protocol=5)


def loads(data: bytes) -> Any:
    """Return the state that `dumps` wrote; UnpicklingError if it holds anything but data."""
    return _Reader(io.BytesIO(data)).load()

"""KalamDB's functions beyond the query engine's own, as vectorised UDFs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa

from kalam_jupyter.engine.clock import Clock
from kalam_jupyter.engine.ids import UNIX_EPOCH_MS, Snowflake, ulid, uuid7

if TYPE_CHECKING:
    from datafusion import ScalarUDF


class Generators:
    """Where generated values come from: one generator each, never decreasing."""

    def __init__(self, clock: Clock, node_id: int = 0) -> None:
        self._clock = clock
        self._snowflake = Snowflake(clock, UNIX_EPOCH_MS)
        self.functions: dict[str, Callable[[], Any]] = {
            "SNOWFLAKE_ID": self._snowflake.next,
            "UUID_V7": lambda: str(uuid7(clock.now_ms())),
            "ULID": lambda: ulid(clock.now_ms()),
        }


def _step(value: Any, key: str) -> Any:
    """Follow one key (text of an object's key or of an array's index); KeyError or IndexError when it is
    not there."""
    if isinstance(value, dict):
        return value[key]
    if isinstance(value, list):
        return value[int(key)]
    raise KeyError(key)


_MISSING = object()


def _lookup(text: str | None, key: str | None) -> Any:
    """Return the JSON value under a key, or _MISSING. Text that is no JSON has no keys."""
    if text is None or key is None:
        return _MISSING
    try:
        return _step(orjson.loads(text), key)
    except (ValueError, KeyError, IndexError):
        return _MISSING


def _json_text(value: Any) -> str | None:
    return None if value is _MISSING else orjson.dumps(value).decode()


def _as_text(value: Any) -> str | None:
    if value is _MISSING or value is None:
        return None
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _typed(*types: type) -> Callable[[Any], Any]:
    def pick(value: Any) -> Any:
        if isinstance(value, bool) and bool not in types:
            return None
        return value if isinstance(value, types) else None

    return pick


def _as_float(value: Any) -> float | None:
    number = _typed(int, float)(value)
    return None if number is None else float(number)


def _as_array(value: Any) -> list[str | None] | None:
    return [_json_text(v) for v in value] if isinstance(value, list) else None


def _keyed(convert: Callable[[Any], Any], type_: pa.DataType) -> Callable[[pa.Array, pa.Array], pa.Array]:
    def apply(texts: pa.Array, keys: pa.Array) -> pa.Array:
        pairs = zip(texts.to_pylist(), keys.to_pylist(), strict=True)
        return pa.array([convert(_lookup(t, k)) for t, k in pairs], type=type_)

    return apply


def _contains(texts: pa.Array, keys: pa.Array) -> pa.Array:
    pairs = zip(texts.to_pylist(), keys.to_pylist(), strict=True)
    return pa.array([None if t is None else _lookup(t, k) is not _MISSING for t, k in pairs], type=pa.bool_())


def _whole(text: str | None, key: str | None) -> Any:
    """The document itself for the empty key: functions that take an optional path."""
    if text is None:
        return _MISSING
    if key:
        return _lookup(text, key)
    try:
        return orjson.loads(text)
    except ValueError:
        return _MISSING


def _length(texts: pa.Array, keys: pa.Array) -> pa.Array:
    found = [_whole(t, k) for t, k in zip(texts.to_pylist(), keys.to_pylist(), strict=True)]
    return pa.array([len(v) if isinstance(v, (dict, list)) else None for v in found], type=pa.int64())


def _object_keys(texts: pa.Array, keys: pa.Array) -> pa.Array:
    found = [_whole(t, k) for t, k in zip(texts.to_pylist(), keys.to_pylist(), strict=True)]
    return pa.array([list(v) if isinstance(v, dict) else None for v in found], type=pa.list_(pa.string()))


_JSON_UDFS: dict[str, tuple[Callable[..., pa.Array], pa.DataType]] = {
    "json_get": (_keyed(_json_text, pa.string()), pa.string()),
    "json_get_json": (_keyed(_json_text, pa.string()), pa.string()),
    "json_as_text": (_keyed(_as_text, pa.string()), pa.string()),
    "json_get_str": (_keyed(_typed(str), pa.string()), pa.string()),
    "json_get_int": (_keyed(_typed(int), pa.int64()), pa.int64()),
    "json_get_float": (_keyed(_as_float, pa.float64()), pa.float64()),
    "json_get_bool": (_keyed(_typed(bool), pa.bool_()), pa.bool_()),
    "json_get_array": (_keyed(_as_array, pa.list_(pa.string())), pa.list_(pa.string())),
    "json_contains": (_contains, pa.bool_()),
    "json_length": (_length, pa.int64()),
    "json_object_keys": (_object_keys, pa.list_(pa.string())),
}


def json_udfs() -> dict[str, ScalarUDF]:
    """Return the JSON functions by name; keys and indexes arrive as text."""
    from datafusion import udf

    return {
        name: udf(function, [pa.string(), pa.string()], returned, "immutable", name)
        for name, (function, returned) in _JSON_UDFS.items()
    }


def generator_udfs(generators: Generators) -> dict[str, ScalarUDF]:
    """Return the per-row generators by the name queries call them.

    What is registered has an internal name and one argument, which only brings the batch's length: see
    `rewrite.ROW_FUNCTIONS`.
    """
    from datafusion import udf

    def make(name: str, type_: pa.DataType) -> Callable[[pa.Array], pa.Array]:
        function = generators.functions[name]
        return lambda column: pa.array([function() for _ in range(len(column))], type=type_)

    types = {"SNOWFLAKE_ID": pa.int64(), "UUID_V7": pa.string(), "ULID": pa.string()}
    return {
        name.lower(): udf(make(name, t), [pa.float64()], t, "volatile", f"kdb_{name.lower()}")
        for name, t in types.items()
    }

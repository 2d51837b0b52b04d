"""Whether one JSON Schema admits every document that another admits.

The check is by structure, keyword by keyword, as registries do it: where it cannot tell (``not``, ``if``),
equal subschemas pass and others do not. It can be lenient about properties that an open content model gains:
documents written before may hold anything under their names, but hardly ever do.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

#: Keywords by which a larger value in the reader admits less, or more.
_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_SAME = ("pattern", "format", "multipleOf", "not", "if", "then", "else", "propertyNames", "contains")
_TYPES = ("null", "boolean", "integer", "number", "string", "array", "object")


def unreadable(reader: Any, writer: Any, *, lenient: bool = False) -> list[str]:
    """Return why a document of `writer` may not be one of `reader`, each with its place; [] if all are."""
    return _Inclusion(reader, writer, lenient).faults(reader, writer, "#")


class _Inclusion:
    def __init__(self, reader: Any, writer: Any, lenient: bool) -> None:
        self._roots = (reader, writer)
        self._lenient = lenient
        self._seen: set[tuple[int, int]] = set()

    def faults(self, reader: Any, writer: Any, at: str) -> list[str]:
        r, w = _deref(reader, self._roots[0]), _deref(writer, self._roots[1])
        if r is True or r == {} or w is False or (id(r), id(w)) in self._seen or r == w:
            return []
        if r is False:
            return [f"{at}: the reader admits nothing"]
        w = {} if w is True else w
        self._seen.add((id(r), id(w)))
        if (branches := _branches(w)) is not None:
            return [f for i, b in enumerate(branches) for f in self.faults(r, b, f"{at}/{i}")]
        if (branches := _branches(r)) is not None:
            if any(not self.faults(b, w, at) for b in branches):
                return []
            return [f"{at}: no alternative of the reader admits the writer's {_shown(w)}"]
        return [fault for check in _CHECKS for fault in check(self, r, w, at)]

    def _types(self, r: Any, w: Any, at: str) -> Iterator[str]:
        admitted, written = _types_of(r), _types_of(w)
        if "number" in admitted:
            admitted = admitted | {"integer"}
        missing = written - admitted
        if missing:
            yield f"{at}: the type {', '.join(sorted(missing))} is not admitted any more"

    def _values(self, r: Any, w: Any, at: str) -> Iterator[str]:
        admitted, written = _enum(r), _enum(w)
        if admitted is not None and (written is None or any(v not in admitted for v in written)):
            yield f"{at}: some values are not admitted any more"

    def _bounds(self, r: Any, w: Any, at: str) -> Iterator[str]:
        for keys, sign in ((_LOWER, 1), (_UPPER, -1)):
            for key in keys:
                if _number(r, key) and not (_number(w, key) and sign * w[key] >= sign * r[key]):
                    yield f"{at}/{key}: the bound is narrower"
        for key in _SAME:
            if key in r and r[key] != w.get(key):
                yield f"{at}/{key}: it was added or changed"
        if r.get("uniqueItems") and not w.get("uniqueItems"):
            yield f"{at}/uniqueItems: it was added"
        for i, part in enumerate(r.get("allOf", ())):
            if part not in w.get("allOf", ()):
                yield from self.faults(part, {k: v for k, v in w.items() if k != "allOf"}, f"{at}/allOf/{i}")

    def _object(self, r: Any, w: Any, at: str) -> Iterator[str]:
        if "object" not in _types_of(w) or "object" not in _types_of(r):
            return
        for name in sorted(set(r.get("required", ())) - set(w.get("required", ()))):
            if "default" not in (r.get("properties") or {}).get(name, {}):
                yield f"{at}/required/{name}: the property became required"
        new, old = r.get("properties") or {}, w.get("properties") or {}
        rest, was_rest = r.get("additionalProperties", True), w.get("additionalProperties", True)
        for name in sorted({*new, *old}):
            admitted, written = new.get(name, rest), old.get(name, was_rest)
            place = f"{at}/properties/{name}"
            if name not in old and was_rest is not False and admitted not in (True, {}):
                found = [] if self._lenient else self.faults(admitted, written, place)
                yield from [f"{place}: the property was added to an open content model"] if found else []
            elif name not in new and rest is False:
                yield f"{place}: the property was removed from a closed content model"
            else:
                yield from self.faults(admitted, written, place)
        yield from self.faults(rest, was_rest, f"{at}/additionalProperties")

    def _array(self, r: Any, w: Any, at: str) -> Iterator[str]:
        if "array" not in _types_of(w) or "array" not in _types_of(r):
            return
        new, old = r.get("items", True), w.get("items", True)
        if not isinstance(new, list) and not isinstance(old, list):
            yield from self.faults(new, old, f"{at}/items")
            return
        rest, was_rest = r.get("additionalItems", True), w.get("additionalItems", True)
        tuples = [x if isinstance(x, list) else [] for x in (new, old)]
        others = [rest if isinstance(new, list) else new, was_rest if isinstance(old, list) else old]
        for i in range(max(map(len, tuples))):
            pair = [t[i] if i < len(t) else o for t, o in zip(tuples, others, strict=True)]
            yield from self.faults(pair[0], pair[1], f"{at}/items/{i}")
        yield from self.faults(others[0], others[1], f"{at}/additionalItems")


_CHECKS = (
    _Inclusion._types,
    _Inclusion._values,
    _Inclusion._bounds,
    _Inclusion._object,
    _Inclusion._array,
)


def _deref(schema: Any, root: Any) -> Any:
    """Follow references inside the document."""
    for _ in range(100):
        reference = schema.get("$ref") if isinstance(schema, dict) else None
        if not isinstance(reference, str) or not reference.startswith("#"):
            return schema
        schema = root
        for part in reference.removeprefix("#").strip("/").split("/"):
            if part:
                key = part.replace("~1", "/").replace("~0", "~")
                schema = schema.get(key, True) if isinstance(schema, dict) else True
    return True


def _branches(schema: Any) -> list[Any] | None:
    for key in ("oneOf", "anyOf"):
        if isinstance(schema.get(key), list):
            return list(schema[key])
    kinds = schema.get("type")
    if isinstance(kinds, list):
        return [{**schema, "type": kind} for kind in kinds]
    return None


def _types_of(schema: Mapping[str, Any]) -> set[str]:
    kind = schema.get("type")
    return set(_TYPES) if kind is None else {kind}


def _enum(schema: Mapping[str, Any]) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    found = schema.get("enum")
    return None if found is None else list(found)


def _number(schema: Mapping[str, Any], key: str) -> bool:
    value = schema.get(key)
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(schema: Any) -> str:
    text = json.dumps(schema)
    return text if len(text) < 60 else f"{text[:57]}..."

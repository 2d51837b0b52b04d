"""Avro's schema resolution: whether a reader's schema takes everything that a writer's may have written.

The rules are those of the section "Schema Resolution" of the Avro specification. Logical types do not count,
as in Avro's own checker, which registries use.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_PROMOTIONS = {
    "int": {"long", "float", "double"},
    "long": {"float", "double"},
    "float": {"double"},
    "string": {"bytes"},
    "bytes": {"string"},
}
_NAMED = ("record", "error", "enum", "fixed")


def unreadable(reader: Any, writer: Any) -> list[str]:
    """Return why data of `writer` cannot be read as `reader`, each reason with its place; [] if it can.

    Parameters
    ----------
    reader, writer : JSON
        Schemas as `json.loads` gives them.
    """
    return _Resolution(_names(reader), _names(writer)).faults(reader, writer, "/")


def _names(schema: Any) -> dict[str, Mapping[str, Any]]:
    """Return the named types of a schema by their full names."""
    found: dict[str, Mapping[str, Any]] = {}

    def walk(node: Any, namespace: str) -> None:
        if isinstance(node, list):
            for part in node:
                walk(part, namespace)
        if not isinstance(node, dict):
            return
        if node.get("type") in _NAMED and "name" in node:
            name = full_name(node, namespace)
            found[name] = {**node, " name": name}
            namespace = name.rpartition(".")[0]
            for field in node.get("fields") or ():
                walk(field.get("type"), namespace)
            return
        for key in ("type", "items", "values"):
            walk(node.get(key), namespace)

    walk(schema, "")
    return found


def with_types(schema: Any, types: Mapping[str, Any]) -> Any:
    """Return a schema in which the first mention of each of `types`, by its full name, is its definition."""
    left = dict(types)

    def put(node: Any) -> Any:
        if isinstance(node, str):
            return put(left.pop(node)) if node in left else node
        if isinstance(node, list):
            return [put(part) for part in node]
        if not isinstance(node, dict):
            return node
        made = {key: put(node[key]) if key in ("type", "items", "values") else node[key] for key in node}
        if "fields" in made:
            made["fields"] = [{**f, "type": put(f["type"])} for f in made["fields"]]
        return made

    return put(schema) if types else schema


def full_name(node: Mapping[str, Any], namespace: str) -> str:
    """Return the full name of a named type, `namespace` being that around it."""
    name = str(node["name"])
    own = node.get("namespace", namespace)
    return name if "." in name or not own else f"{own}.{name}"


class _Resolution:
    def __init__(self, readers: Mapping[str, Any], writers: Mapping[str, Any]) -> None:
        self._readers, self._writers = readers, writers
        #: Pairs under way or settled: a type that contains itself is judged once.
        self._seen: set[tuple[str, str]] = set()

    def faults(self, reader: Any, writer: Any, at: str) -> list[str]:
        r, w = _resolved(reader, self._readers), _resolved(writer, self._writers)
        if isinstance(w, list):
            return [f for i, branch in enumerate(w) for f in self.faults(r, branch, f"{at}{i}/")]
        if isinstance(r, list):
            if any(not self._clone().faults(branch, w, at) for branch in r):
                return []
            return [f"{at}: no branch of the reader's union takes the writer's {_kind(w)}"]
        kind, written = _kind(r), _kind(w)
        if kind != written:
            if kind in _PROMOTIONS.get(written, ()):
                return []
            return [f"{at}: the reader's type {kind} does not take the writer's {written}"]
        check = _CHECKS.get(kind)
        return [] if check is None else list(check(self, r, w, at))

    def _clone(self) -> _Resolution:
        made = _Resolution(self._readers, self._writers)
        made._seen = set(self._seen)
        return made

    def _record(self, r: Any, w: Any, at: str) -> Iterator[str]:
        yield from _name_fault(r, w, at)
        pair = (str(r.get(" name")), str(w.get(" name")))
        if pair in self._seen:
            return
        self._seen.add(pair)
        written = {f["name"]: f for f in w["fields"]}
        for field in r["fields"]:
            names = [field["name"], *field.get("aliases", ())]
            found = next((written[name] for name in names if name in written), None)
            if found is not None:
                yield from self.faults(field["type"], found["type"], f"{at}{field['name']}/")
            elif "default" not in field:
                yield f"{at}{field['name']}: the reader's field has no default and the writer's lacks it"

    def _enum(self, r: Any, w: Any, at: str) -> Iterator[str]:
        yield from _name_fault(r, w, at)
        missing = [s for s in w["symbols"] if s not in r["symbols"]]
        if missing and "default" not in r:
            yield f"{at}: the reader's enum lacks the symbols {', '.join(missing)}"

    def _fixed(self, r: Any, w: Any, at: str) -> Iterator[str]:
        yield from _name_fault(r, w, at)
        if r["size"] != w["size"]:
            yield f"{at}: the reader's fixed has {r['size']} bytes, the writer's {w['size']}"

    def _array(self, r: Any, w: Any, at: str) -> Iterator[str]:
        yield from self.faults(r["items"], w["items"], f"{at}items/")

    def _map(self, r: Any, w: Any, at: str) -> Iterator[str]:
        yield from self.faults(r["values"], w["values"], f"{at}values/")


_CHECKS = {
    "record": _Resolution._record,
    "error": _Resolution._record,
    "enum": _Resolution._enum,
    "fixed": _Resolution._fixed,
    "array": _Resolution._array,
    "map": _Resolution._map,
}


def _resolved(schema: Any, names: Mapping[str, Any]) -> Any:
    """Return a schema with names replaced by what they name, and ``{"type": x}`` by x."""
    while isinstance(schema, dict) and not isinstance(schema.get("type"), str):
        schema = schema["type"]
    if isinstance(schema, dict) and schema["type"] in _NAMED:
        return next((n for n in names.values() if _same_node(n, schema)), schema)
    if isinstance(schema, str):
        return _by_name(schema, names)
    if isinstance(schema, dict) and schema["type"] not in _CHECKS:
        return _by_name(schema["type"], names)
    return schema


def _same_node(named: Mapping[str, Any], schema: Mapping[str, Any]) -> bool:
    return all(named.get(key) is value for key, value in schema.items())


def _by_name(name: str, names: Mapping[str, Any]) -> Any:
    found = names.get(name)
    if found is None:
        found = next((n for full, n in names.items() if full.rpartition(".")[2] == name), name)
    return found


def _kind(schema: Any) -> str:
    return schema if isinstance(schema, str) else str(schema["type"])


def _name_fault(r: Any, w: Any, at: str) -> Iterator[str]:
    """Names must be the same without their namespaces, or the reader's have the writer's as an alias."""
    written = str(w.get(" name", w.get("name")))
    namespace = str(r.get(" name", "")).rpartition(".")[0]
    names = {str(r.get(" name", r.get("name")))}
    names |= {full_name({"name": alias}, namespace) for alias in r.get("aliases", ())}
    if written.rpartition(".")[2] not in {n.rpartition(".")[2] for n in names}:
        yield f"{at}: the reader's {_kind(r)} is called {r['name']}, the writer's {w['name']}"

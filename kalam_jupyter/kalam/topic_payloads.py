"""Payload modes of topic sources: full, key, diff."""

from __future__ import annotations

from typing import Any

from kalam_jupyter.kalam.catalog import TableDef
from kalam_jupyter.kalam.serialize import RowEncoder

Row = tuple[Any, ...]


def _full(
    table: TableDef, encoder: RowEncoder, operation: str, old: Row | None, new: Row, position: int
) -> dict[str, Any]:
    """All columns, `_seq`, `_commit_seq`, `_deleted` (not for streams) and `_table`."""
    found = encoder.object(new)
    if table.type == "stream":
        del found["_deleted"]
    else:
        deleted = found.pop("_deleted")
        found["_commit_seq"] = str(position)
        found["_deleted"] = deleted
    found["_table"] = f"{table.namespace}:{table.name}"
    return found


def _key(
    table: TableDef, encoder: RowEncoder, operation: str, old: Row | None, new: Row, position: int
) -> dict[str, Any]:
    """The primary key alone (`_seq` for tables without one)."""
    name = table.schema.columns[table.key_index].name if table.primary_key is None else table.primary_key.name
    return {name: encoder.object(new)[name]}


def _diff(
    table: TableDef, encoder: RowEncoder, operation: str, old: Row | None, new: Row, position: int
) -> dict[str, Any]:
    """As `full` for inserts; for updates the key, the changed columns and their old values under `_old`."""
    full = _full(table, encoder, operation, old, new, position)
    if operation == "insert" or old is None:
        return full
    before = encoder.object(old)
    key = _key(table, encoder, operation, old, new, position)
    user_columns = [c.name for c in table.columns if c.name not in key]
    changed = [n for n in user_columns if before[n] != full[n]] if operation == "update" else []
    system: dict[str, Any] = {n: full[n] for n in ("_seq", "_commit_seq", "_deleted", "_table") if n in full}
    found: dict[str, Any] = {**key, **{n: full[n] for n in changed}, **system}
    if changed:
        found["_old"] = {n: before[n] for n in changed}
    return found


#: What makes a message's payload, by mode.
PAYLOADS = {"full": _full, "key": _key, "diff": _diff}

"""What ksqlDB's answers say of a type, as SQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kalam_jupyter.ksql.lang.format import format_name


def type_text(schema: Mapping[str, Any], name: Callable[[str], str] = format_name) -> str:
    """Return the SQL type of a schema object.

    Parameters
    ----------
    schema : mapping
        Of DESCRIBE, EXPLAIN or LIST TYPES. A MAP's key type is not in it and is STRING.
    name : callable
        Writes the name of a field.
    """
    kind = str(schema["type"])
    if kind == "STRUCT":
        fields = ", ".join(
            f"{name(f['name'])} {type_text(f['schema'], name)}" for f in schema["fields"] or ()
        )
        return f"STRUCT<{fields}>"
    if kind in ("ARRAY", "MAP"):
        member = type_text(schema["memberSchema"], name)
        return f"ARRAY<{member}>" if kind == "ARRAY" else f"MAP<STRING, {member}>"
    if kind == "DECIMAL" and schema.get("parameters"):
        return "DECIMAL({precision}, {scale})".format_map(schema["parameters"])
    return kind

"""Files on their way into a FILE column, and references to stored ones."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kalam_jupyter.client.errors import ClientError


@dataclass(frozen=True)
class Outgoing:
    """A file to store.

    Attributes
    ----------
    name : str
    data : bytes
    mime : str or None
        None: found out from the content and the name.
    """

    name: str
    data: bytes
    mime: str | None = None


def outgoing(files: Mapping[str, bytes | Path]) -> dict[str, Outgoing]:
    """Read the files of a statement's placeholders.

    Raises
    ------
    ClientError
        If one cannot be read.
    """
    found = {}
    for placeholder, given in files.items():
        if isinstance(given, bytes):
            found[placeholder] = Outgoing(placeholder, given)
            continue
        try:
            found[placeholder] = Outgoing(given.name, given.read_bytes())
        except OSError as error:
            raise ClientError(f"FILE('{placeholder}'): {given}: {error.strerror}") from None
    return found


def multipart(
    sql: str, params: Sequence[Any], namespace: str, files: Mapping[str, Outgoing]
) -> tuple[bytes, str]:
    """Return the body of an upload, and its content type."""
    boundary = secrets.token_hex(16)
    parts = [
        _part(boundary, name, text.encode())
        for name, text in (("sql", sql), ("params", json.dumps(list(params))), ("namespace_id", namespace))
    ]
    parts += [_part(boundary, f"file:{name}", file.data, file.name) for name, file in files.items()]
    return b"".join([*parts, f"--{boundary}--\r\n".encode()]), f"multipart/form-data; boundary={boundary}"


def _part(boundary: str, name: str, data: bytes, filename: str | None = None) -> bytes:
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(name)}"'
    if filename is not None:
        head += f'; filename="{_quoted(filename)}"'
    return f"{head}\r\n\r\n".encode() + data + b"\r\n"


def _quoted(name: str) -> str:
    """Escape a name as browsers do."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def file_path(table: str, reference: str | Mapping[str, Any]) -> tuple[str, str, str, str]:
    """Return namespace, table, folder and id of a stored file.

    Raises
    ------
    ClientError
        If `table` has no namespace, or `reference` is no value of a FILE column.
    """
    namespace, _, name = table.partition(".")
    if not name:
        raise ClientError(f"'{table}': write namespace.table")
    try:
        found = json.loads(reference) if isinstance(reference, str) else reference
        return namespace, name, str(found["sub"]), str(found["id"])
    except (ValueError, TypeError, KeyError):
        raise ClientError(f"{reference!r} is no value of a FILE column") from None

"""Records as test files write them, and the JSON that they stand in: with comments, every number exact."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, cast

_STRING_OR_COMMENT = re.compile(r'"(?:[^"\\]|\\.)*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
WindowKind = Literal["time", "session"]


@dataclass(frozen=True)
class RecordSpec:
    """A record as a case writes it.

    Attributes
    ----------
    key, value
        Parsed JSON; integers are int, all other numbers Decimal with the digits that were written.
    timestamp : int or None
        None where an output's is not checked.
    window : (start, end, kind) or None
    headers : tuple of (str, str or None)
        Values in base64.
    """

    topic: str
    key: Any
    value: Any
    timestamp: int | None
    window: tuple[int, int, WindowKind] | None
    headers: tuple[tuple[str, str | None], ...]


def strip_comments(text: str) -> str:
    """Blank out comments; those inside strings stay, and lines keep their numbers."""

    def replace(match: re.Match[str]) -> str:
        found = match[0]
        return found if found.startswith('"') else re.sub(r"[^\n]", " ", found)

    return _STRING_OR_COMMENT.sub(replace, text)


def parse(text: str) -> Any:
    """Parse JSON with comments, floats as exact decimals."""
    return json.loads(strip_comments(text), parse_float=Decimal)


def exact_json(value: Any) -> str:
    """Write parsed JSON with every number as it was; bytes as base64."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, dict):
        return f"{{{','.join(f'{json.dumps(k)}:{exact_json(v)}' for k, v in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(exact_json, value))}]"
    if isinstance(value, bytes):
        return json.dumps(base64.b64encode(value).decode())
    return json.dumps(value, ensure_ascii=False)


class RecordFormatError(ValueError):
    """A record that is not written as records are."""


def record_of(data: Any, *, is_input: bool) -> RecordSpec:
    """Return the record that parsed JSON describes.

    Raises
    ------
    RecordFormatError
        If a member is missing or of the wrong kind.
    """
    _require(isinstance(data, Mapping), "must be an object")
    _require(isinstance(data.get("topic"), str), "needs a `topic`")
    _require("value" in data, "needs a `value`, which may be null")
    timestamp = data.get("timestamp", 0 if is_input else None)
    _require(timestamp is None or type(timestamp) is int, "`timestamp` must be milliseconds")
    return RecordSpec(
        data["topic"],
        data.get("key"),
        data["value"],
        0 if is_input and timestamp is None else timestamp,
        _window(data.get("window")),
        tuple(_header(h) for h in data.get("headers") or ()),
    )


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise RecordFormatError(message)


def _window(data: Any) -> tuple[int, int, WindowKind] | None:
    if data is None:
        return None
    good = isinstance(data, Mapping) and all(type(data.get(m)) is int for m in ("start", "end"))
    kind = str(data.get("type")).lower() if good else ""
    _require(
        kind in ("time", "session"), '`window` must be {"start": ms, "end": ms, "type": "time" | "session"}'
    )
    return data["start"], data["end"], cast(WindowKind, kind)


def _header(data: Any) -> tuple[str, str | None]:
    text = '`headers` must be a list of {"KEY": text, "VALUE": base64 or null}'
    _require(isinstance(data, Mapping) and isinstance(data.get("KEY"), str), text)
    value = data.get("VALUE")
    if value is not None:
        try:
            base64.b64decode(value, validate=True)
        except (ValueError, TypeError):
            raise RecordFormatError(text) from None
    return data["KEY"], value

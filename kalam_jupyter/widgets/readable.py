"""What an operator does, as a picture says it."""

from __future__ import annotations

import re

_COUNTED = re.compile(r"\bCOUNT\((?:\w+_)?ROWTIME\)")
_JOIN = re.compile(r"\b(STREAM|TABLE)_(STREAM|TABLE)\b")
_DURATION = re.compile(r"\b(\d+) ms\b")
_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"), (1, "ms"))


def readable(detail: str) -> str:
    """Return a node's detail with durations as "1 h 30 min", joins as "stream-table", COUNT(*) as written."""
    text = _JOIN.sub(lambda found: "-".join(found.groups()).lower(), _COUNTED.sub("COUNT(*)", detail))
    return _DURATION.sub(lambda found: _duration(int(found.group(1))), text)


def _duration(ms: int) -> str:
    parts = []
    for size, unit in _UNITS:
        count, ms = divmod(ms, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts) or "0 ms"

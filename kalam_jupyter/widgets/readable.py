"""What an operator does, as a picture says it."""

from __future__ import annotations

import re

_COUNTED = re.compile(r"\bCOUNT\((?:\w+_)?ROWTIME\)")
_DURATION = re.compile(r"\b(\d+) ms\b")
_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"))


def readable(detail: str) -> str:
    """Return a node's detail with durations in their largest whole unit, and COUNT(*) as it was written."""
    return _DURATION.sub(lambda found: _duration(int(found.group(1))), _COUNTED.sub("COUNT(*)", detail))


def _duration(ms: int) -> str:
    return next((f"{ms // size} {unit}" for size, unit in _UNITS if ms and ms % size == 0), f"{ms} ms")

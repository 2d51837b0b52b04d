"""Java's SimpleDateFormat, as PARSE_DATE reads dates: lenient, in GMT, text after the pattern ignored."""

from __future__ import annotations

import re
from functools import lru_cache

from kalam_jupyter.ksql.values import calendar, zones
from kalam_jupyter.ksql.values.calendar import DAY_MS
from kalam_jupyter.ksql.values.errors import EvaluationError
from kalam_jupyter.ksql.values.java_pattern import DAYS, MONTHS

_LETTERS = frozenset("GyYMLwWDdFEuaHkKhmsSzZX")
_NUMERIC = frozenset("yYwWDdFuHkKhmsS")
_TOKEN = re.compile(r"'((?:[^']|'')*)'|([A-Za-z])\2*|(.)", re.DOTALL)
_GREGORIAN_FROM = calendar.epoch_day(1582, 10, 15)
_ZONE = r"[+-]\d{1,2}:?\d{2}|[A-Za-z][A-Za-z0-9_/]*(?:[+-]\d{1,2}(?::?\d{2})?)?"


def _is_number(letter: str, count: int) -> bool:
    return letter in _NUMERIC or (letter in "ML" and count < 3)


def _names(names: tuple[str, ...]) -> str:
    return "|".join(names) + "|" + "|".join(n[:3] for n in names)


_TEXTS = {"M": _names(MONTHS), "L": _names(MONTHS), "E": _names(DAYS), "a": "AM|PM", "G": "AD|BC"}
_TEXTS |= {"z": _ZONE, "Z": _ZONE, "X": r"Z|[+-]\d{2}(?::?\d{2})?"}


@lru_cache(512)
def _compiled(pattern: str) -> tuple[re.Pattern[str], tuple[tuple[str, int], ...]]:
    tokens: list[tuple[str, int] | str] = []
    at = 0
    while at < len(pattern):
        match = _TOKEN.match(pattern, at)
        if match is None or match[3] == "'":
            raise EvaluationError("Unterminated quote")
        if match[2]:
            if match[2] not in _LETTERS:
                raise EvaluationError(f"Illegal pattern character '{match[2]}'")
            tokens.append((match[2], len(match[0])))
        else:
            tokens.append((match[1].replace("''", "'") or "'") if match[1] is not None else match[3])
        at = match.end()
    out, fields = [], []
    for i, token in enumerate(tokens):
        if isinstance(token, str):
            out.append(re.escape(token))
            continue
        letter, count = token
        fields.append(token)
        if _is_number(letter, count):
            following = tokens[i + 1] if i + 1 < len(tokens) else ""
            abutting = isinstance(following, tuple) and _is_number(*following)
            out.append(rf"[ \t]*([+-]?\d{{{count}}})" if abutting else r"[ \t]*([+-]?\d+)")
        else:
            out.append(f"({_TEXTS[letter]})")
    return re.compile("".join(out), re.IGNORECASE | re.ASCII), tuple(fields)


def _value(letter: str, count: int, text: str) -> int:
    if letter in "ML" and count >= 3:
        return next(i for i, n in enumerate(MONTHS, 1) if n.lower().startswith(text.lower()[:3]))
    if letter == "a":
        return int(text.lower() == "pm")
    if letter == "G":
        return int(text.lower() == "bc")
    number = int(text)
    if letter == "y" and count <= 2 and len(text) == 2:
        return 2000 + number
    return number


def parse_date(text: str, pattern: str) -> int:
    """Read a date; return days since 1970-01-01.

    Fields beyond their range carry over, missing ones are those of 1970-01-01; two digits for ``yy`` are of
    this century. Dates before 15 October 1582 are of the Julian calendar, as in Java.

    Raises
    ------
    EvaluationError
        If the text does not match, the pattern is malformed, or there is a time of the day
        (``Date format contains time field.``).
    """
    expression, fields = _compiled(pattern)
    match = expression.match(text)
    if not match:
        raise EvaluationError(
            f"Failed to parse date '{text}' with formatter '{pattern}': Unparseable date: \"{text}\""
        )
    found: dict[str, int] = {}
    offset = 0
    for (letter, count), value in zip(fields, match.groups(), strict=True):
        if letter in "zZX":
            seconds = zones.parse_offset(value)
            offset = zones.zone_in_text(value).offset_at(0) if seconds is None else seconds
        elif letter != "E":
            found["M" if letter == "L" else letter] = _value(letter, count, value)
    if any(abs(value) > 10**9 for value in found.values()):
        raise EvaluationError(f"Failed to parse date '{text}' with formatter '{pattern}': out of range")
    days, rest = divmod(_days(found) * DAY_MS + _time(found) - offset * 1000, DAY_MS)
    if rest:
        raise EvaluationError("Date format contains time field.")
    if not -(1 << 31) <= days < 1 << 31:
        raise EvaluationError(f"Failed to parse date '{text}' with formatter '{pattern}': out of range")
    return days


def _days(found: dict[str, int]) -> int:
    year = found.get("y", 1970)
    if found.get("G"):
        year = 1 - year
    if "D" in found and "M" not in found:
        return _epoch_day(year, 0, found["D"])
    return _epoch_day(year, found.get("M", 1) - 1, found.get("d", 1))


def _epoch_day(year: int, month: int, day: int) -> int:
    """Return the days since the epoch; months count from 0, and fields may be beyond their range.

    The calendar is Java's GregorianCalendar: the Julian one before 15 October 1582.
    """
    years, month = divmod(month, 12)
    gregorian = calendar.epoch_day(year + years, month + 1, 1) + day - 1
    if gregorian >= _GREGORIAN_FROM:
        return gregorian
    return calendar.julian_epoch_day(year + years, month + 1, 1) + day - 1


def _time(found: dict[str, int]) -> int:
    hour = found.get("H", found.get("k", 0) % 24)
    if "h" in found or "K" in found:
        hour = found.get("K", found.get("h", 0) % 12) + 12 * found.get("a", 0)
    return ((hour * 60 + found.get("m", 0)) * 60 + found.get("s", 0)) * 1000 + found.get("S", 0)

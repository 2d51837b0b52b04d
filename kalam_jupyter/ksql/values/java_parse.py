"""Reading dates and times by Java's DateTimeFormatter patterns (function contract 6.1, 6.2).

A pattern is compiled once to a regular expression with one group for each field.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from kalam_jupyter.ksql.values import calendar, zones
from kalam_jupyter.ksql.values.calendar import DAY_MS
from kalam_jupyter.ksql.values.errors import EvaluationError
from kalam_jupyter.ksql.values.java_pattern import DAYS, MONTHS, QUARTERS, Field, Item, Optional, tokenize
from kalam_jupyter.ksql.values.zones import GMT_ZONE, Zone


def _words(names: Sequence[str], count: int) -> str:
    length = {3: 3, 5: 1}.get(count)
    return "|".join(sorted((re.escape(n[:length]) for n in names), key=len, reverse=True))


def _digits(count: int) -> str:
    return r"\d{2}" if count == 2 else r"\d{1,19}" if count == 1 else rf"\d{{{count},19}}"


def _fixed_or_more(count: int) -> str:
    return r"\d{1,19}" if count == 1 else rf"\d{{{count}}}"


def _year_digits(count: int) -> str:
    if count == 2:
        return r"\d{2}"
    if count < 4:
        return rf"-?\d{{{count},19}}"
    return rf"\d{{{count}}}|\+\d{{{count + 1},19}}|-\d{{{count},19}}"


def _month_text(count: int) -> str:
    return _digits(count) if count < 3 else _words(MONTHS, count)


def _upper_x(count: int) -> str:
    return f"Z|{_lower_x(count)}"


def _lower_x(count: int) -> str:
    return {
        1: r"[+-]\d{2}(?:\d{2})?",
        2: r"[+-]\d{4}",
        3: r"[+-]\d{2}:\d{2}",
        4: r"[+-]\d{4}(?:\d{2})?",
    }.get(count, r"[+-]\d{2}:\d{2}(?::\d{2})?")


_GMT_OFFSET = r"GMT(?:[+-]\d{1,2}(?::\d{2})?)?"


def _z_offset(count: int) -> str:
    return r"[+-]\d{4}" if count < 4 else _GMT_OFFSET if count == 4 else _upper_x(5)


_ZONE = r"[+-]\d{1,2}(?::?\d{2})?|[A-Za-z][A-Za-z0-9_/]*(?:[+-]\d{1,2}(?::?\d{2})?)?|" + "|".join(
    sorted((re.escape(n) for names in zones.LONG_NAMES.values() for n in names), key=len, reverse=True)
)


def _weekday_text(count: int) -> str:
    return _words(DAYS, max(count, 3))


#: Regular expression of each letter that can be read, by its count.
_READERS: dict[str, Callable[[int], str]] = {
    "u": _year_digits,
    "y": _year_digits,
    "M": _month_text,
    "L": _month_text,
    "d": _digits,
    "D": lambda count: r"\d{3}" if count == 3 else r"\d{1,3}" if count == 1 else r"\d{2,3}",
    "E": _weekday_text,
    "e": lambda count: r"\d{1,2}" if count < 3 else _weekday_text(count),
    "c": lambda count: r"\d{1,2}" if count < 3 else _weekday_text(count),
    "G": lambda count: "Anno Domini|Before Christ" if count == 4 else "A|B" if count == 5 else "AD|BC",
    "Q": lambda count: r"\d{1,2}" if count < 3 else "Q[1-4]" if count == 3 else "|".join(QUARTERS),
    "q": lambda count: r"\d{1,2}" if count < 3 else "Q[1-4]" if count == 3 else "|".join(QUARTERS),
    "a": lambda count: "AM|PM",
    "H": _digits,
    "k": _digits,
    "K": _digits,
    "h": _digits,
    "m": _digits,
    "s": _digits,
    "S": lambda count: rf"\d{{{count}}}",
    "A": _fixed_or_more,
    "n": _fixed_or_more,
    "N": _fixed_or_more,
    "V": lambda count: _ZONE,
    "z": lambda count: _ZONE,
    "v": lambda count: _ZONE,
    "O": lambda count: _GMT_OFFSET,
    "X": _upper_x,
    "x": _lower_x,
    "Z": _z_offset,
}

Fields = dict[str, Any]


def _reading(items: tuple[Item, ...], fields: list[Field]) -> str:
    out = []
    for item in items:
        match item:
            case str():
                out.append(re.escape(item))
            case Field(letter, count):
                make = _READERS.get(letter)
                if make is None:
                    raise EvaluationError(f"Pattern letter {letter} cannot be parsed")
                fields.append(item)
                out.append(f"({make(count)})")
            case Optional(inner):
                out.append(f"(?:{_reading(inner, fields)})?")
    return "".join(out)


def _index(names: Sequence[str], text: str) -> int:
    return next(i for i, name in enumerate(names) if name.lower().startswith(text.lower()))


def _year_of(count: int) -> Callable[[str], Any]:
    return (lambda text: 2000 + int(text)) if count == 2 else int


def _month_of(count: int) -> Callable[[str], Any]:
    return int if count < 3 else lambda text: _index(MONTHS, text) + 1


def _weekday_of(count: int) -> Callable[[str], Any]:
    return lambda text: (int(text) + 5) % 7 if text.isdigit() else _index(DAYS, text)


def _offset_of(count: int) -> Callable[[str], Any]:
    return lambda text: (
        zones.zone_in_text(text) if text[0] in "Gg" else zones.fixed(zones.parse_offset(text) or 0)
    )


def _zone_of(count: int) -> Callable[[str], Any]:
    return zones.zone_in_text


#: Under which letter a field is kept, and how its text is read; plain numbers are not listed.
_TAKE: dict[str, tuple[str, Callable[[int], Callable[[str], Any]]]] = {
    **dict.fromkeys("uy", ("y", _year_of)),
    **dict.fromkeys("ML", ("M", _month_of)),
    **dict.fromkeys("Eec", ("E", _weekday_of)),
    **dict.fromkeys("XxZ", ("zone", _offset_of)),
    **dict.fromkeys("VzvO", ("zone", _zone_of)),
    **dict.fromkeys("Qq", ("Q", lambda count: str)),
    "a": ("a", lambda count: lambda text: int(text.lower() == "pm")),
    "G": ("G", lambda count: lambda text: text[0].lower()),
    "S": ("S", lambda count: lambda text: int(text.ljust(3, "0")[:3])),
}
_RANGES = {"M": (1, 12), "d": (1, 31), "D": (1, 366), "H": (0, 24), "k": (1, 24), "K": (0, 11), "h": (1, 12)}
_RANGES |= {"m": (0, 59), "s": (0, 59), "A": (0, DAY_MS - 1), "N": (0, DAY_MS * 1_000_000 - 1)}
_RANGES["n"] = (0, 999_999_999)

#: How one group of the regular expression is taken: kept as, read by, smallest and largest value.
Step = tuple[str, Callable[[str], Any], int | None, int | None]


def _step(field: Field) -> Step:
    key, make = _TAKE.get(field.letter, (field.letter, lambda count: int))
    return key, make(field.count), *_RANGES.get(key, (None, None))


@lru_cache(512)
def _parser(pattern: str) -> tuple[re.Pattern[str], tuple[Step, ...], frozenset[str]]:
    fields: list[Field] = []
    source = _reading(tokenize(pattern), fields)
    expression = re.compile(source + r"\Z", re.IGNORECASE | re.ASCII)
    return expression, tuple(map(_step, fields)), frozenset(f.letter for f in fields)


def parse_fields(text: str, pattern: str) -> Fields:
    """Read a text by a pattern, in any case; return the fields found by letter (`y` for `u` and `y`).

    Raises
    ------
    EvaluationError
        If the text does not match, or a field is out of range.
    """
    expression, steps, _ = _parser(pattern)
    match = expression.match(text)
    if not match:
        raise EvaluationError(f"Text '{text}' could not be parsed with pattern '{pattern}'")
    found: Fields = {}
    for (key, read, low, high), group in zip(steps, match.groups(), strict=True):
        if group is None:
            continue
        value = found[key] = read(group)
        if low is not None and high is not None and not low <= value <= high:
            raise EvaluationError(
                f"Invalid value for pattern letter {key} (valid values {low} - {high}): {value}"
            )
    if found.get("G") == "b" and "y" in found:
        found["y"] = 1 - found["y"]
    return found


def time_of(found: Fields) -> int:
    """Return the milliseconds of the day (24:00 is 86400000); missing fields are 0."""
    if "A" in found:
        return int(found["A"])
    if "N" in found:
        return int(found["N"]) // 1_000_000
    hour = found.get("H", found["k"] % 24 if "k" in found else None)
    if hour is None:
        hour = found.get("K", found.get("h", 0) % 12) + 12 * found.get("a", 0)
    milli = found.get("S", found.get("n", 0) // 1_000_000)
    total = ((hour * 60 + found.get("m", 0)) * 60 + found.get("s", 0)) * 1000 + milli
    if total > DAY_MS:
        raise EvaluationError("Invalid value for HourOfDay (valid values 0 - 23): 24")
    return int(total)


def date_of(found: Fields) -> int:
    """Return the days since the epoch; missing fields are those of 1970-01-01.

    A day that its month lacks, up to 31, is that month's last (Java's smart resolving).
    """
    year, month = found.get("y", 1970), found.get("M", 1)
    if abs(year) > calendar.MAX_YEAR:
        raise EvaluationError(f"The year {year} is out of range")
    if "D" in found and "M" not in found:
        if found["D"] == 366 and not calendar.is_leap(year):
            raise EvaluationError(f"Invalid date 'DayOfYear 366' as '{year}' is not a leap year")
        return calendar.epoch_day(year, 1, 1) + int(found["D"]) - 1
    return calendar.epoch_day(year, month, min(found.get("d", 1), calendar.month_days(year, month)))


def _checked_date(found: Fields, text: str) -> int:
    days = date_of(found)
    if "E" in found and {"y", "M", "d"} <= found.keys() and (days + 3) % 7 != found["E"]:
        raise EvaluationError(f"Text '{text}' names another day of the week than its date has")
    return days


def parse_timestamp(text: str, pattern: str, zone: Zone = GMT_ZONE) -> int:
    """Read an instant, in milliseconds since the epoch; a zone in the text wins over `zone`.

    Missing fields are those of 1970-01-01T00:00. Source: function contract 6.2.
    """
    try:
        found = parse_fields(text, pattern)
        local = _checked_date(found, text) * DAY_MS + time_of(found)
    except EvaluationError as error:
        raise EvaluationError(
            f"Failed to parse timestamp '{text}' with formatter '{pattern}': {error}"
        ) from error
    instant: int = found.get("zone", zone).to_utc(local)
    return calendar.checked_instant(instant)


_DATE_LETTERS = frozenset("uyMLdDEecGQqYwW")
_HOURS = ("H", "k", "A", "N")


def parse_time(text: str, pattern: str) -> int:
    """Read a time of the day in milliseconds; it needs an hour, and a pattern with date fields fails."""
    try:
        if _parser(pattern)[2] & _DATE_LETTERS:
            raise EvaluationError("Time format contains date field.")
        found = parse_fields(text, pattern)
        if not any(h in found for h in _HOURS) and not ("a" in found and ("h" in found or "K" in found)):
            raise EvaluationError("Unable to obtain LocalTime: there is no hour")
        return time_of(found) % DAY_MS
    except EvaluationError as error:
        raise EvaluationError(f"Failed to parse time '{text}' with formatter '{pattern}': {error}") from error


def parse_complete_date(text: str, pattern: str) -> int:
    """Read a date that must have year, month and day (or year and day of year); days since the epoch."""
    found = parse_fields(text, pattern)
    if not ({"y", "M", "d"} <= found.keys() or {"y", "D"} <= found.keys()):
        raise EvaluationError(f"Unable to obtain LocalDate from '{text}' with formatter '{pattern}'")
    return _checked_date(found, text)


def timestamp_pattern(pattern: str, zone: Zone = zones.UTC_ZONE) -> Callable[[str], int]:
    """Return the function that reads instants by a pattern, as TIMESTAMP_FORMAT in a WITH clause does.

    Raises
    ------
    EvaluationError
        If the pattern is malformed; the function raises it for a text that does not match.
    """
    _parser(pattern)
    return lambda text: parse_timestamp(text, pattern, zone)

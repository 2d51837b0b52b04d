"""Formatting by Java's DateTimeFormatter patterns (function contract 6.1). Texts are those of Locale.US.

A pattern is compiled once to a list of functions that print.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from kalam_jupyter.ksql.values import calendar, zones
from kalam_jupyter.ksql.values.errors import EvaluationError
from kalam_jupyter.ksql.values.java_pattern import DAYS, MONTHS, QUARTERS, Field, Item, Optional, tokenize
from kalam_jupyter.ksql.values.zones import GMT_ZONE, Zone


class Moment:
    """What is formatted: a date, a time of the day, or both with a zone. None: it has none."""

    __slots__ = ("_date", "days", "instant", "ms", "zone")

    def __init__(
        self, days: int | None, ms: int | None, instant: int | None = None, zone: Zone | None = None
    ) -> None:
        self.days = days
        self.ms = ms
        self.instant = instant
        self.zone = zone
        self._date: tuple[int, int, int] | None = None

    @property
    def date(self) -> tuple[int, int, int]:
        """Year, month and day."""
        if self._date is None:
            self._date = calendar.civil(self.day)
        return self._date

    @property
    def day(self) -> int:
        """Days since the epoch."""
        if self.days is None:
            raise EvaluationError("Unsupported field: a time has no date")
        return self.days

    @property
    def time(self) -> int:
        """Milliseconds of the day."""
        if self.ms is None:
            raise EvaluationError("Unsupported field: a date has no time")
        return self.ms

    @property
    def hour(self) -> int:
        """Hour of the day."""
        return self.time // 3_600_000

    @property
    def day_of_week(self) -> int:
        """0 for Monday to 6 for Sunday."""
        return (self.day + 3) % 7

    @property
    def day_of_year(self) -> int:
        """From 1."""
        return self.day - calendar.epoch_day(self.date[0], 1, 1) + 1

    @property
    def offset(self) -> int:
        """Seconds east of UTC."""
        if self.zone is None or self.instant is None:
            raise EvaluationError("Unsupported field: there is no time zone")
        return self.zone.offset_at(self.instant)


Print = Callable[[Moment], str]


def _number(get: Callable[[Moment], int]) -> Callable[[int], Print]:
    return lambda count: lambda m: str(get(m)).rjust(count, "0")


def _year(get: Callable[[Moment], int]) -> Callable[[int], Print]:
    def printer(count: int) -> Print:
        if count == 2:
            return lambda m: f"{get(m) % 100:02}"

        def text(m: Moment) -> str:
            year = get(m)
            digits = str(abs(year)).rjust(count, "0")
            if year < 0:
                return "-" + digits
            return "+" + digits if count >= 4 and len(digits) > count else digits

        return text

    return printer


def _text(
    get: Callable[[Moment], int], names: Sequence[str], number: Callable[[Moment], int]
) -> Callable[[int], Print]:
    def printer(count: int) -> Print:
        if count < 3:
            return lambda m: str(number(m)).rjust(count, "0")
        if count == 3:
            return lambda m: names[get(m)][:3]
        return (lambda m: names[get(m)]) if count == 4 else (lambda m: names[get(m)][0])

    return printer


def _fraction(count: int) -> Print:
    return lambda m: f"{m.time % 1000:03}000000"[:count]


def _era(count: int) -> Print:
    names = {4: ("Before Christ", "Anno Domini"), 5: ("B", "A")}.get(count, ("BC", "AD"))
    return lambda m: names[m.date[0] > 0]


def _quarter(count: int) -> Print:
    def text(m: Moment) -> str:
        quarter = (m.date[1] + 2) // 3
        return f"Q{quarter}" if count == 3 else QUARTERS[quarter - 1]

    if count < 3 or count == 5:
        return lambda m: str((m.date[1] + 2) // 3).rjust(count if count < 3 else 1, "0")
    return text


def _sunday_week(m: Moment) -> tuple[int, int]:
    """Week-based year and week of the US calendar: weeks begin on Sunday, the first one holds 1 January."""
    year = m.date[0]
    for candidate in (year + 1, year):
        first = calendar.epoch_day(candidate, 1, 1)
        start = first - (first + 4) % 7
        if m.day >= start:
            return candidate, (m.day - start) // 7 + 1
    raise AssertionError


def _week_of_month(m: Moment) -> int:
    first = m.day - m.date[2] + 1
    return (m.day - (first - (first + 4) % 7)) // 7 + 1


def _offset(zero: str, separator: str, minutes: bool) -> Print:
    def text(m: Moment) -> str:
        seconds = m.offset
        if seconds == 0 and zero:
            return zero
        sign, rest = ("-", -seconds) if seconds < 0 else ("+", seconds)
        hours, rest = f"{rest // 3600:02}", rest // 60 % 60
        return f"{sign}{hours}{separator}{rest:02}" if minutes or rest else f"{sign}{hours}"

    return text


_OFFSET_STYLE = {1: ("", False), 2: ("", True), 3: (":", True), 4: ("", True), 5: (":", True)}


def _offset_x(count: int) -> Print:
    return _offset("+00" if count == 1 else "", *_OFFSET_STYLE[min(count, 5)])


def _offset_upper_x(count: int) -> Print:
    return _offset("Z", *_OFFSET_STYLE[min(count, 5)])


def _offset_z(count: int) -> Print:
    if count == 4:
        return _localized_offset(4)
    return _offset("", "", True) if count < 4 else _offset("Z", ":", True)


def _localized_offset(count: int) -> Print:
    def text(m: Moment) -> str:
        seconds = m.offset
        if seconds == 0:
            return "GMT"
        sign, rest = ("-", -seconds) if seconds < 0 else ("+", seconds)
        hours, minutes = rest // 3600, rest // 60 % 60
        if count == 4:
            return f"GMT{sign}{hours:02}:{minutes:02}"
        return f"GMT{sign}{hours}:{minutes:02}" if minutes else f"GMT{sign}{hours}"

    return text


def _zone_of(m: Moment) -> tuple[Zone, int]:
    if m.zone is None or m.instant is None:
        raise EvaluationError("Unsupported field: there is no time zone")
    return m.zone, m.instant


def _zone_name(count: int) -> Print:
    def text(m: Moment) -> str:
        zone, instant = _zone_of(m)
        return zone.name_at(instant, long=count == 4)

    return text


def _zone_id(count: int) -> Print:
    return lambda m: _zone_of(m)[0].id


def _month(m: Moment) -> int:
    return m.date[1] - 1


_PRINTERS: dict[str, Callable[[int], Print]] = {
    "G": _era,
    "u": _year(lambda m: m.date[0]),
    "y": _year(lambda m: m.date[0] if m.date[0] > 0 else 1 - m.date[0]),
    "Y": _year(lambda m: _sunday_week(m)[0]),
    "D": _number(lambda m: m.day_of_year),
    "M": _text(_month, MONTHS, lambda m: m.date[1]),
    "L": _text(_month, MONTHS, lambda m: m.date[1]),
    "d": _number(lambda m: m.date[2]),
    "Q": _quarter,
    "q": _quarter,
    "w": _number(lambda m: _sunday_week(m)[1]),
    "W": _number(_week_of_month),
    "E": lambda count: _text(lambda m: m.day_of_week, DAYS, lambda m: m.day_of_week)(max(count, 3)),
    "e": _text(lambda m: m.day_of_week, DAYS, lambda m: (m.day_of_week + 1) % 7 + 1),
    "c": _text(lambda m: m.day_of_week, DAYS, lambda m: (m.day_of_week + 1) % 7 + 1),
    "F": _number(lambda m: (m.date[2] - 1) % 7 + 1),
    "a": lambda count: lambda m: "PM" if m.hour >= 12 else "AM",
    "H": _number(lambda m: m.hour),
    "k": _number(lambda m: m.hour or 24),
    "K": _number(lambda m: m.hour % 12),
    "h": _number(lambda m: m.hour % 12 or 12),
    "m": _number(lambda m: m.time // 60_000 % 60),
    "s": _number(lambda m: m.time // 1000 % 60),
    "S": _fraction,
    "A": _number(lambda m: m.time),
    "n": _number(lambda m: m.time % 1000 * 1_000_000),
    "N": _number(lambda m: m.time * 1_000_000),
    "V": _zone_id,
    "z": _zone_name,
    "v": _zone_name,
    "O": _localized_offset,
    "X": _offset_upper_x,
    "x": _offset_x,
    "Z": _offset_z,
}


def _printers(items: tuple[Item, ...]) -> list[Print]:
    result: list[Print] = []
    for item in items:
        match item:
            case str():
                result.append(_constant(item))
            case Field(letter, count):
                make = _PRINTERS.get(letter)
                if make is None:
                    raise EvaluationError(f"Unknown pattern letter: {letter}")
                result.append(make(count))
            case Optional(inner):
                result.append(_optional_printer(_printers(inner)))
    return result


def _constant(text: str) -> Print:
    return lambda m: text


def _optional_printer(parts: list[Print]) -> Print:
    def text(m: Moment) -> str:
        try:
            return "".join(p(m) for p in parts)
        except EvaluationError:
            return ""

    return text


@lru_cache(512)
def formatter(pattern: str) -> Callable[[Moment], str]:
    """Return the function that formats by a pattern; EvaluationError if it is not one."""
    parts = _printers(tokenize(pattern))
    return lambda m: "".join([p(m) for p in parts])


def format_date(days: int, pattern: str) -> str:
    """Format a date; a pattern with time fields fails."""
    return formatter(pattern)(Moment(days, None))


def format_time(ms: int, pattern: str) -> str:
    """Format a time of the day; a pattern with date fields fails."""
    return formatter(pattern)(Moment(None, ms))


def format_timestamp(ms: int, pattern: str, zone: Zone = GMT_ZONE) -> str:
    """Format an instant in a zone."""
    return formatter(pattern)(Moment(*zones.local_ms(ms, zone), ms, zone))

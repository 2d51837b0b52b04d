"""The proleptic ISO calendar in integers, and ISO text: of any year, without ``datetime`` objects."""

from __future__ import annotations

import re

from kalam_jupyter.ksql.values.errors import EvaluationError

DAY_MS = 86_400_000

_TIMESTAMP = re.compile(
    r"(?P<year>[+-]?\d{4,9})(?:-(?P<month>\d{2})(?:-(?P<day>\d{2})(?:T(?P<time>[0-9:.,]*))?)?)?(?P<zone>Z|[+-][0-9:]+)?\Z",
    re.ASCII,
)
_DATE = re.compile(r"(\d{4,9})(?:-(\d{1,2})(?:-(\d{1,2}))?)?\Z", re.ASCII)
_TIME = re.compile(r"(\d{2})(?::(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?)?\Z", re.ASCII)
_OFFSET = re.compile(r"([+-])(\d{2})(?::?(\d{2})(?::?(\d{2}))?)?\Z", re.ASCII)

#: Years beyond have dates that a DATE cannot hold.
MAX_YEAR = 5_000_000
MONTH_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def is_leap(year: int) -> bool:
    """Whether the year has a 29th of February."""
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def month_days(year: int, month: int) -> int:
    """Return the number of days of a month (1 to 12)."""
    return 29 if month == 2 and is_leap(year) else MONTH_DAYS[month - 1]


def epoch_day(year: int, month: int, day: int) -> int:
    """Return the days since 1970-01-01 of a valid date."""
    y = year - (month <= 2)
    era = y // 400
    of_era = y - era * 400
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


def julian_epoch_day(year: int, month: int, day: int) -> int:
    """Return the days since 1970-01-01 (Gregorian) of a valid date of the Julian calendar."""
    y = year - (month <= 2)
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return y * 365 + y // 4 + of_year - 719_470


def civil(days: int) -> tuple[int, int, int]:
    """Return (year, month, day) of the days since 1970-01-01."""
    z = days + 719_468
    era = z // 146_097
    doe = z - era * 146_097
    yoe = (doe - doe // 1460 + doe // 36_524 - doe // 146_096) // 365
    doy = doe - (365 * yoe + yoe // 4 - yoe // 100)
    mp = (5 * doy + 2) // 153
    month = mp + (3 if mp < 10 else -9)
    return yoe + era * 400 + (month <= 2), month, doy - (153 * mp + 2) // 5 + 1


def checked_epoch_day(year: int, month: int, day: int) -> int:
    """Return the days since 1970-01-01; EvaluationError for a date that does not exist."""
    if not (1 <= month <= 12 and 1 <= day <= month_days(year, month) and abs(year) <= MAX_YEAR):
        raise EvaluationError(f"Invalid date {year:04}-{month:02}-{day:02}")
    return epoch_day(year, month, day)


def checked_instant(ms: int) -> int:
    """Return the milliseconds; EvaluationError if a TIMESTAMP cannot hold them."""
    if not -(1 << 63) <= ms < 1 << 63:
        raise EvaluationError("The timestamp is out of range")
    return ms


def year_text(year: int) -> str:
    """Return a year as ISO writes it: at least four digits, a sign beyond."""
    if 0 <= year <= 9999:
        return f"{year:04}"
    return f"+{year}" if year > 0 else f"-{-year:04}"


def date_text(days: int) -> str:
    """Return ``yyyy-MM-dd``."""
    year, month, day = civil(days)
    return f"{year_text(year)}-{month:02}-{day:02}"


def time_text(ms: int) -> str:
    """Return ``HH:mm:ss``, or ``HH:mm`` when there are no seconds; milliseconds are dropped."""
    seconds = ms // 1000
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}"
    return f"{text}:{seconds % 60:02}" if seconds % 60 else text


def timestamp_text(ms: int) -> str:
    """Return ``yyyy-MM-dd'T'HH:mm:ss.SSS`` in UTC."""
    days, rest = divmod(ms, DAY_MS)
    seconds, milli = divmod(rest, 1000)
    return f"{date_text(days)}T{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{milli:03}"


def parse_date(text: str) -> int:
    """Parse ``yyyy[-MM[-dd]]`` to days since 1970-01-01; missing parts are 1."""
    match = _DATE.match(text.strip())
    if not match:
        raise EvaluationError(f"Failed to parse date '{text}': yyyy[-MM[-dd]] is expected")
    year, month, day = match.groups()
    return checked_epoch_day(int(year), int(month or 1), int(day or 1))


def parse_time(text: str) -> int:
    """Parse ``HH:mm[:ss[.fraction]]`` to milliseconds of the day."""
    stripped = text.strip()
    match = _TIME.match(stripped)
    if not match or match[2] is None:
        raise EvaluationError(f"Failed to parse time '{text}': HH:mm[:ss[.fraction]] is expected")
    return _time_of(match, text)


def _time_of(match: re.Match[str], text: str) -> int:
    hour, minute, second = (int(g or 0) for g in match.groups()[:3])
    if hour > 23 or minute > 59 or second > 59:
        raise EvaluationError(f"Failed to parse time '{text}': a field is out of range")
    return ((hour * 60 + minute) * 60 + second) * 1000 + int((match[4] or "").ljust(3, "0")[:3])


def parse_timestamp(text: str) -> int:
    """Parse a partial ISO timestamp to milliseconds since the epoch, UTC unless it says a zone.

    ``yyyy[-MM[-dd['T'HH[:mm[:ss[.SSS]]]]]][zone]``: missing parts are minimal, ``T24`` is the end of the day,
    a day up to 31 that its month lacks is that month's last, the zone is ``Z`` or ``±hh[:mm]``. Source:
    language contract section 6, last row of the table.
    """
    stripped = text.strip()
    match = _TIMESTAMP.match(stripped)
    if not match:
        raise EvaluationError(
            f"Failed to parse timestamp '{text}': yyyy[-MM[-dd['T'HH[:mm[:ss[.SSS]]]]]][zone] is expected"
        )
    year, month, day = (int(match[part] or 1) for part in ("year", "month", "day"))
    if 1 <= month <= 12 and day <= 31:
        day = min(day, month_days(year, month))
    days = checked_epoch_day(year, month, day)
    local = days * DAY_MS + _partial_time(match["time"] or "", text)
    return checked_instant(local - _offset_ms(match["zone"]))


def _partial_time(part: str, text: str) -> int:
    if not part:
        return 0
    if re.match(r"24(?::00(?::00(?:[.,]0+)?)?)?\Z", part):
        return DAY_MS
    match = _TIME.match(part)
    if not match:
        raise EvaluationError(f"Failed to parse timestamp '{text}': the time is not HH[:mm[:ss[.SSS]]]")
    return _time_of(match, text)


def _offset_ms(zone: str | None) -> int:
    if zone is None or zone == "Z":
        return 0
    match = _OFFSET.match(zone)
    if not match:
        raise EvaluationError(f"Unknown zone offset '{zone}'")
    sign, hours, minutes, seconds = match.groups()
    value = (int(hours) * 60 + int(minutes or 0)) * 60 + int(seconds or 0)
    return (-value if sign == "-" else value) * 1000

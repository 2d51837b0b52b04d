"""Time zones by the names Java gives them: regions, offsets, and abbreviations found in text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import cache, lru_cache
from zoneinfo import ZoneInfo, available_timezones

from kalam_jupyter.ksql.values.calendar import DAY_MS
from kalam_jupyter.ksql.values.errors import EvaluationError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LOCAL_EPOCH = datetime(1970, 1, 1)
#: Instants that ``datetime`` can hold; rules of a zone do not change beyond.
_FIRST, _LAST = -62_000_000_000_000, 253_300_000_000_000
_OFFSET = re.compile(r"([+-])(\d{1,2})(?::?(\d{2})(?::?(\d{2}))?)?\Z")
_PREFIXED = re.compile(r"(?:UTC|GMT|UT)([+-].+)\Z")

#: Regions of abbreviations, and the long names of standard and summer time.
_NAMES: tuple[tuple[str, str, str, str], ...] = (
    ("America/Los_Angeles", "PST PDT PT", "Pacific Standard Time", "Pacific Daylight Time"),
    ("America/Denver", "MST MDT MT", "Mountain Standard Time", "Mountain Daylight Time"),
    ("America/Chicago", "CST CDT CT", "Central Standard Time", "Central Daylight Time"),
    ("America/New_York", "EST EDT ET", "Eastern Standard Time", "Eastern Daylight Time"),
    ("America/Anchorage", "AKST AKDT", "Alaska Standard Time", "Alaska Daylight Time"),
    ("America/Halifax", "AST ADT", "Atlantic Standard Time", "Atlantic Daylight Time"),
    ("America/St_Johns", "NST NDT", "Newfoundland Standard Time", "Newfoundland Daylight Time"),
    ("America/Sao_Paulo", "BRT", "Brasilia Standard Time", "Brasilia Summer Time"),
    ("Pacific/Honolulu", "HST", "Hawaii-Aleutian Standard Time", "Hawaii-Aleutian Daylight Time"),
    ("Europe/London", "BST", "Greenwich Mean Time", "British Summer Time"),
    ("Europe/Paris", "CET CEST", "Central European Standard Time", "Central European Summer Time"),
    ("Europe/Bucharest", "EET EEST", "Eastern European Standard Time", "Eastern European Summer Time"),
    ("Europe/Lisbon", "WET WEST", "Western European Standard Time", "Western European Summer Time"),
    ("Europe/Moscow", "MSK", "Moscow Standard Time", "Moscow Summer Time"),
    ("Asia/Kolkata", "IST", "India Standard Time", "India Standard Time"),
    ("Asia/Shanghai", "CTT", "China Standard Time", "China Daylight Time"),
    ("Asia/Hong_Kong", "HKT", "Hong Kong Standard Time", "Hong Kong Summer Time"),
    ("Asia/Singapore", "SGT", "Singapore Standard Time", "Singapore Standard Time"),
    ("Asia/Tokyo", "JST", "Japan Standard Time", "Japan Daylight Time"),
    ("Asia/Seoul", "KST", "Korean Standard Time", "Korean Daylight Time"),
    ("Australia/Sydney", "AEST AEDT", "Australian Eastern Standard Time", "Australian Eastern Daylight Time"),
    (
        "Australia/Adelaide",
        "ACST ACDT",
        "Australian Central Standard Time",
        "Australian Central Daylight Time",
    ),
    ("Australia/Perth", "AWST", "Australian Western Standard Time", "Australian Western Daylight Time"),
    ("Pacific/Auckland", "NZST NZDT", "New Zealand Standard Time", "New Zealand Daylight Time"),
)
_REGION_OF = {abbreviation: region for region, names, _, _ in _NAMES for abbreviation in names.split()}
LONG_NAMES = {
    abbreviation: (standard, summer)
    for _, names, standard, summer in _NAMES
    for abbreviation in names.split()
}
_UNIVERSAL = {"UTC": "Coordinated Universal Time", "GMT": "Greenwich Mean Time", "UT": "Universal Time"}


@dataclass(frozen=True)
class Zone:
    """A time zone: its id, its rules, and its offset in seconds if that never changes."""

    id: str
    rules: tzinfo
    seconds: int | None = None

    def offset_at(self, ms: int) -> int:
        """Return the offset from UTC in seconds at an instant."""
        if self.seconds is not None:
            return self.seconds
        moment = _EPOCH + timedelta(milliseconds=min(max(ms, _FIRST), _LAST))
        return _seconds(moment.astimezone(self.rules).utcoffset())

    def to_utc(self, local_ms: int) -> int:
        """Return the instant of a local time, given as if it were UTC.

        Of a time that occurs twice the first; one that is skipped moves on by the gap.
        """
        if self.seconds is not None:
            return local_ms - 1000 * self.seconds
        moment = _LOCAL_EPOCH + timedelta(milliseconds=min(max(local_ms, _FIRST), _LAST))
        return local_ms - 1000 * _seconds(moment.replace(tzinfo=self.rules).utcoffset())

    def name_at(self, ms: int, *, long: bool = False) -> str:
        """Return the zone's short or long name at an instant."""
        if self.id in _UNIVERSAL:
            return _UNIVERSAL[self.id] if long else self.id
        if self.seconds is not None:
            return self.id
        moment = (_EPOCH + timedelta(milliseconds=min(max(ms, _FIRST), _LAST))).astimezone(self.rules)
        short = moment.tzname() or self.id
        if not long:
            return short
        standard, summer = LONG_NAMES.get(short, (self.id, self.id))
        return summer if moment.dst() else standard


def _seconds(offset: timedelta | None) -> int:
    return 0 if offset is None else offset.days * 86_400 + offset.seconds


UTC_ZONE = Zone("UTC", UTC, 0)
GMT_ZONE = Zone("GMT", UTC, 0)


@cache
def _regions() -> dict[str, str]:
    return {name.lower(): name for name in available_timezones()}


def offset_text(seconds: int) -> str:
    """Return an offset as an id: ``Z``, ``+02:00``."""
    if seconds == 0:
        return "Z"
    sign, rest = ("-", -seconds) if seconds < 0 else ("+", seconds)
    text = f"{sign}{rest // 3600:02}:{rest // 60 % 60:02}"
    return f"{text}:{rest % 60:02}" if rest % 60 else text


def parse_offset(text: str) -> int | None:
    """Return the seconds of ``Z``, ``+2``, ``+02``, ``+0200``, ``+02:00[:00]``; None for other text."""
    if text in ("Z", "z"):
        return 0
    match = _OFFSET.match(text)
    if not match:
        return None
    sign, hours, minutes, seconds = match.groups()
    value = (int(hours) * 60 + int(minutes or 0)) * 60 + int(seconds or 0)
    if value > 18 * 3600:
        return None
    return -value if sign == "-" else value


def fixed(seconds: int, id_: str | None = None) -> Zone:
    """Return the zone of a fixed offset."""
    return Zone(id_ or offset_text(seconds), timezone(timedelta(seconds=seconds)), seconds)


@lru_cache(1024)
def find_zone(name: str) -> Zone:
    """Return a zone by its id: a region, an offset, UTC, GMT, UT, or one of these with an offset.

    Raises
    ------
    EvaluationError
        ``Unknown or invalid time zone 'x'``.
    """
    if name in _UNIVERSAL:
        return Zone(name, UTC, 0)
    prefixed = _PREFIXED.match(name)
    seconds = parse_offset(prefixed[1] if prefixed else name)
    if seconds is not None:
        return fixed(seconds, name if prefixed and seconds else None)
    region = _regions().get(name.lower())
    if region is None:
        raise EvaluationError(f"Unknown or invalid time zone '{name}'")
    return Zone(region, ZoneInfo(region))


@lru_cache(1024)
def zone_in_text(name: str) -> Zone:
    """Return the zone that a text names: what `find_zone` takes, or an abbreviation such as PST, in any
    case.
    """
    upper = name.upper()
    if upper in _REGION_OF:
        return find_zone(_REGION_OF[upper])
    return find_zone(upper if upper in _UNIVERSAL or _PREFIXED.match(upper) else name)


def convert(ms: int, source: Zone, target: Zone) -> int:
    """Return the instant moved by the difference of two zones' offsets, both taken at the instant."""
    return ms + 1000 * (target.offset_at(ms) - source.offset_at(ms))


def local_ms(ms: int, zone: Zone) -> tuple[int, int]:
    """Return days since the epoch and milliseconds of the day of an instant in a zone."""
    return divmod(ms + 1000 * zone.offset_at(ms), DAY_MS)

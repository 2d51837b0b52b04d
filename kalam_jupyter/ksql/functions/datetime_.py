"""Functions of dates, times and timestamps (function contract section 6).

A DATE is days, a TIME milliseconds of the day, a TIMESTAMP milliseconds since the epoch, in UTC.
"""

from __future__ import annotations

from kalam_jupyter.ksql.functions.definitions import EvaluationContext
from kalam_jupyter.ksql.functions.registry import Library
from kalam_jupyter.ksql.values import java_format, java_parse, simple_date, zones
from kalam_jupyter.ksql.values.calendar import DAY_MS
from kalam_jupyter.ksql.values.errors import EvaluationError
from kalam_jupyter.ksql.values.numbers import MAX_INT, MAX_LONG, MIN_INT, MIN_LONG

functions = Library("DATE / TIME")


def _day(ms: int) -> int:
    """Whole days, toward zero, of the type's range."""
    days = ms // DAY_MS if ms >= 0 else -(-ms // DAY_MS)
    if not MIN_INT <= days <= MAX_INT:
        raise EvaluationError("The date is out of range")
    return days


def _instant(ms: int) -> int:
    if not MIN_LONG <= ms <= MAX_LONG:
        raise EvaluationError("The timestamp is out of range")
    return ms


@functions.scalar(
    "dateadd(unit INTERVALUNIT, interval INT, date DATE) -> DATE",
    examples=[("DATEADD(DAYS, 5, CAST('2021-01-01' AS DATE))", "2021-01-06")],
)
def dateadd(unit: int, interval: int, date: int) -> int:
    """The date plus a number of units; hours and less count only in whole days."""
    return _day(date * DAY_MS + unit * interval)


@functions.scalar(
    "datesub(unit INTERVALUNIT, interval INT, date DATE) -> DATE",
    examples=[("DATESUB(DAYS, 5, CAST('2021-01-06' AS DATE))", "2021-01-01")],
)
def datesub(unit: int, interval: int, date: int) -> int:
    """The date minus a number of units; hours and less count only in whole days."""
    return _day(date * DAY_MS - unit * interval)


@functions.scalar(
    "timeadd(unit INTERVALUNIT, interval INT, time TIME) -> TIME",
    examples=[("TIMEADD(HOURS, 2, CAST('23:00' AS TIME))", "01:00")],
)
def timeadd(unit: int, interval: int, time: int) -> int:
    """The time plus a number of units, around midnight."""
    return (time + unit * interval) % DAY_MS


@functions.scalar(
    "timesub(unit INTERVALUNIT, interval INT, time TIME) -> TIME",
    examples=[("TIMESUB(HOURS, 2, CAST('01:00' AS TIME))", "23:00")],
)
def timesub(unit: int, interval: int, time: int) -> int:
    """The time minus a number of units, around midnight."""
    return (time - unit * interval) % DAY_MS


@functions.scalar(
    "timestampadd(unit INTERVALUNIT, interval INT, timestamp TIMESTAMP) -> TIMESTAMP",
    examples=[("TIMESTAMPADD(SECONDS, 1, FROM_UNIXTIME(0))", "1970-01-01T00:00:01.000")],
)
def timestampadd(unit: int, interval: int, timestamp: int) -> int:
    """The timestamp plus a number of units."""
    return _instant(timestamp + unit * interval)


@functions.scalar(
    "timestampsub(unit INTERVALUNIT, interval INT, timestamp TIMESTAMP) -> TIMESTAMP",
    examples=[("TIMESTAMPSUB(SECONDS, 1, FROM_UNIXTIME(1000))", "1970-01-01T00:00:00.000")],
)
def timestampsub(unit: int, interval: int, timestamp: int) -> int:
    """The timestamp minus a number of units."""
    return _instant(timestamp - unit * interval)


@functions.scalar(
    "convert_tz(timestamp TIMESTAMP, fromTimeZone STRING, toTimeZone STRING) -> TIMESTAMP",
    examples=[("CONVERT_TZ(FROM_UNIXTIME(0), 'UTC', '+02:00')", "1970-01-01T02:00:00.000")],
)
def convert_tz(timestamp: int, from_zone: str, to_zone: str) -> int:
    """The timestamp moved from one zone's clock to another's; unknown zones fail."""
    return zones.convert(timestamp, zones.find_zone(from_zone), zones.find_zone(to_zone))


@functions.scalar(
    "format_date(date DATE, pattern STRING) -> STRING",
    examples=[("FORMAT_DATE(FROM_DAYS(18993), 'dd-MMM-yyyy')", "01-Jan-2022")],
)
def format_date(date: int, pattern: str) -> str:
    """The date as text by a DateTimeFormatter pattern; patterns with time fields fail."""
    return java_format.format_date(date, pattern)


@functions.scalar(
    "format_time(time TIME, pattern STRING) -> STRING",
    examples=[("FORMAT_TIME(CAST('13:05' AS TIME), 'hh:mm a')", "01:05 PM")],
)
def format_time(time: int, pattern: str) -> str:
    """The time as text by a DateTimeFormatter pattern; patterns with date fields fail."""
    return java_format.format_time(time, pattern)


@functions.scalar(
    "format_timestamp(timestamp TIMESTAMP, pattern STRING) -> STRING",
    "format_timestamp(timestamp TIMESTAMP, pattern STRING, timeZone STRING) -> STRING",
    examples=[
        (
            "FORMAT_TIMESTAMP(FROM_UNIXTIME(0), 'yyyy-MM-dd HH:mm:ss zzz', 'America/Los_Angeles')",
            "1969-12-31 16:00:00 PST",
        )
    ],
)
def format_timestamp(timestamp: int, pattern: str, zone: str = "GMT") -> str:
    """The timestamp as text by a DateTimeFormatter pattern, in a zone (GMT)."""
    return java_format.format_timestamp(timestamp, pattern, zones.find_zone(zone))


@functions.scalar(
    "parse_date(text STRING, pattern STRING) -> DATE",
    examples=[("PARSE_DATE('01-Jan-2022', 'dd-MMM-yyyy')", "2022-01-01")],
)
def parse_date(text: str, pattern: str) -> int:
    """The date that a text says by a SimpleDateFormat pattern, read leniently.

    Missing fields are those of 1970-01-01; a time of the day other than midnight fails.
    """
    return simple_date.parse_date(text, pattern)


@functions.scalar(
    "parse_time(text STRING, pattern STRING) -> TIME",
    examples=[("PARSE_TIME('01:00:05 pm', 'hh:mm:ss a')", "13:00:05")],
)
def parse_time(text: str, pattern: str) -> int:
    """The time that a text says by a DateTimeFormatter pattern, in any case; patterns with date fields
    fail.
    """
    return java_parse.parse_time(text, pattern)


@functions.scalar(
    "parse_timestamp(text STRING, pattern STRING) -> TIMESTAMP",
    "parse_timestamp(text STRING, pattern STRING, timeZone STRING) -> TIMESTAMP",
    examples=[
        ("PARSE_TIMESTAMP('2021-01-01T10:00:00', 'yyyy-MM-dd''T''HH:mm:ss')", "2021-01-01T10:00:00.000"),
        ("PARSE_TIMESTAMP('2021', 'yyyy', '+01:00')", "2020-12-31T23:00:00.000"),
    ],
)
def parse_timestamp(text: str, pattern: str, zone: str = "GMT") -> int:
    """The timestamp that a text says by a DateTimeFormatter pattern, in any case.

    Missing fields are those of 1970-01-01T00:00; a zone in the text wins over the argument (GMT).
    """
    return java_parse.parse_timestamp(text, pattern, zones.find_zone(zone))


@functions.scalar("from_days(days INT) -> DATE", examples=[("FROM_DAYS(1)", "1970-01-02")])
def from_days(days: int) -> int:
    """The date that many days after 1970-01-01."""
    return days


@functions.scalar(
    "from_unixtime(epochMilli BIGINT) -> TIMESTAMP",
    examples=[("FROM_UNIXTIME(1000)", "1970-01-01T00:00:01.000")],
)
def from_unixtime(epoch_ms: int) -> int:
    """The timestamp that many milliseconds after 1970-01-01T00:00 UTC."""
    return epoch_ms


@functions.scalar("unix_date() -> INT", context=True)
def unix_date(context: EvaluationContext) -> int:
    """Days since 1970-01-01 of a date, or of today (UTC)."""
    return context.now_ms // DAY_MS


@functions.scalar("unix_date(date DATE) -> INT", examples=[("UNIX_DATE(FROM_DAYS(5))", "5")])
def unix_date_of(date: int) -> int:
    """Days since 1970-01-01."""
    return date


@functions.scalar("unix_timestamp() -> BIGINT", context=True)
def unix_timestamp(context: EvaluationContext) -> int:
    """Milliseconds since 1970-01-01T00:00 UTC of a timestamp, or of now."""
    return context.now_ms


@functions.scalar(
    "unix_timestamp(timestamp TIMESTAMP) -> BIGINT", examples=[("UNIX_TIMESTAMP(FROM_UNIXTIME(5))", "5")]
)
def unix_timestamp_of(timestamp: int) -> int:
    """Milliseconds since 1970-01-01T00:00 UTC."""
    return timestamp


@functions.scalar(
    "datetostring(epochDays INT, pattern STRING) -> STRING",
    examples=[("DATETOSTRING(18993, 'yyyy-MM-dd')", "2022-01-01")],
)
def datetostring(days: int, pattern: str) -> str:
    """Deprecated: use FORMAT_DATE. Days since 1970-01-01 as text."""
    return java_format.format_date(days, pattern)


@functions.scalar(
    "stringtodate(text STRING, pattern STRING) -> INT",
    examples=[("STRINGTODATE('2022-01-01', 'yyyy-MM-dd')", "18993")],
)
def stringtodate(text: str, pattern: str) -> int:
    """Deprecated: use PARSE_DATE. Days since 1970-01-01 of a complete date in a text."""
    return java_parse.parse_complete_date(text, pattern)


@functions.scalar(
    "stringtotimestamp(text STRING, pattern STRING) -> BIGINT",
    "stringtotimestamp(text STRING, pattern STRING, timeZone STRING) -> BIGINT",
    examples=[("STRINGTOTIMESTAMP('1970-01-01 00:00:01', 'yyyy-MM-dd HH:mm:ss')", "1000")],
)
def stringtotimestamp(text: str, pattern: str, zone: str = "UTC") -> int:
    """Deprecated: use PARSE_TIMESTAMP. Milliseconds since the epoch of a text, in a zone (UTC)."""
    return java_parse.parse_timestamp(text, pattern, zones.find_zone(zone))


@functions.scalar(
    "timestamptostring(epochMilli BIGINT, pattern STRING) -> STRING",
    "timestamptostring(epochMilli BIGINT, pattern STRING, timeZone STRING) -> STRING",
    examples=[("TIMESTAMPTOSTRING(0, 'yyyy-MM-dd HH:mm:ss zzz')", "1970-01-01 00:00:00 UTC")],
)
def timestamptostring(epoch_ms: int, pattern: str, zone: str = "UTC") -> str:
    """Deprecated: use FORMAT_TIMESTAMP. Milliseconds since the epoch as text, in a zone (UTC)."""
    return java_format.format_timestamp(epoch_ms, pattern, zones.find_zone(zone))

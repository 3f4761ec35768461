"""Timestamps (section 5).

`datetime.fromisoformat` is not used: before Python 3.11 it reads little more than its own output,
and from 3.11 on it reads more than the protocol allows.
"""

import re
from datetime import date, datetime, timedelta, timezone

_DATE = r"""
    (?: (?P<year>\d{4}) - (?P<month>\d\d) - (?P<day>\d\d)
      | (?P<year_c>\d{4}) (?P<month_c>\d\d) (?P<day_c>\d\d)
      | (?P<iso_year>\d{4}) -? W (?P<week>\d\d) (?: -? (?P<weekday>\d) )? )
"""
_TIME = r"""
    (?P<hour>\d\d)
    (?: :? (?P<minute>\d\d) (?: :? (?P<second>\d\d) (?: [.,] (?P<fraction>\d+) )? )? )?
"""
_OFFSET = r"""
    (?: (?P<utc>[Zz])
      | (?P<sign>[+-]) (?P<off_hour>\d\d)
        (?: :? (?P<off_minute>\d\d) (?: :? (?P<off_second>\d\d) )? )? )?
"""
_TIMESTAMP = re.compile(f"{_DATE} (?: . {_TIME} {_OFFSET} )?", re.ASCII | re.DOTALL | re.VERBOSE)


def now() -> datetime:
    """Returns the current time in UTC."""
    return datetime.now(timezone.utc)


def parse_timestamp(text: str) -> datetime:
    """Parses a timestamp in any form of section 5; raises ValueError for any other text."""
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        raise ValueError(f"not a timestamp: {text[:100]!r}")
    part = match.groupdict()

    def number(name: str) -> int:
        return int(part[name] or 0)

    if part["iso_year"]:
        day = date.fromisocalendar(number("iso_year"), number("week"), int(part["weekday"] or 1))
    elif part["year_c"]:
        day = date(number("year_c"), number("month_c"), number("day_c"))
    else:
        day = date(number("year"), number("month"), number("day"))
    return datetime(
        day.year,
        day.month,
        day.day,
        number("hour"),
        number("minute"),
        number("second"),
        int((part["fraction"] or "")[:6].ljust(6, "0")),
        _zone(
            part["utc"],
            part["sign"],
            number("off_hour"),
            number("off_minute"),
            number("off_second"),
        ),
    )


def _zone(
    utc: str | None, sign: str | None, hours: int, minutes: int, seconds: int
) -> timezone | None:
    if utc:
        return timezone.utc
    if not sign:
        return None
    if minutes > 59 or seconds > 59:
        raise ValueError("an offset has at most 59 minutes and 59 seconds")
    offset = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    return timezone(-offset if sign == "-" else offset)

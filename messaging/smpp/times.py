"""Parsing and formatting of SMPP's times, `YYMMDDhhmmsstnnp` (SMPP 3.4, 7.1.1). Pure."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

_FORM: Final = re.compile(r"(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d)(\d\d)([+R-])", re.ASCII)
_LONGEST_OFFSET: Final = 48  # quarters of an hour
# Units of a relative time: the specification gives months and years no length.
_DAYS_OF_MONTH, _DAYS_OF_YEAR = 30, 365


def parse_time(written: str, now: datetime) -> datetime:
    """Return that time in UTC. A relative time counts from `now` (aware).

    Raises ValueError for anything but an absolute or a relative time.
    """
    match = _FORM.fullmatch(written)
    if match is None:
        raise ValueError("not 16 characters of the form YYMMDDhhmmsstnnp")
    year, month, day, hour, minute, second, tenth, quarters = map(int, match.groups()[:8])
    sign = match[9]
    if sign == "R":
        return now + timedelta(
            days=year * _DAYS_OF_YEAR + month * _DAYS_OF_MONTH + day,
            hours=hour,
            minutes=minute,
            seconds=second,
        )
    if quarters > _LONGEST_OFFSET:
        raise ValueError("the offset from UTC is over 12 hours")
    # A ValueError, too, where there is no such day or hour.
    local = datetime(2000 + year, month, day, hour, minute, second, tenth * 100_000, UTC)
    offset = timedelta(minutes=15 * quarters)
    return local - offset if sign == "+" else local + offset


def format_time(moment: datetime) -> str:
    """Return an aware time as an absolute one in UTC, such as `260731120000000+`."""
    return f"{moment.astimezone(UTC):%y%m%d%H%M%S}000+"

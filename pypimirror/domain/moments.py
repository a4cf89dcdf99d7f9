"""Moments as upstreams write them, as pages must have them, and as people read them. Pure.

Pages need times in UTC with a `Z` and at most six digits of a second (PEP 700): uv refuses a whole
project for one time without a zone, and pip crashes when it compares that with another. What is
written otherwise, and is a moment all the same, is written anew:

* another offset is subtracted; without one, the time is taken for UTC;
* a space or a small `t` in the place of `T`, a comma in the place of the dot, no seconds;
* of more than six digits of a second, the rest is cut off;
* a leap second is the last microsecond before it is over: no library knows which ones there were.

All else is no moment: dates that no calendar has, years before 1 in UTC, a date without a time, a
number, and what is later than 22:00 on the 30th of December 9999: uv, which leaves room for every
offset, refuses the project of a later one.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_USUAL = re.compile(
    r"[0-9]{4}-[01][0-9]-[0-3][0-9]T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
    r"(?:\.[0-9]{1,6})?Z",
    re.ASCII,
)
_ANY = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]+))?)?"
    r"\ ?(?:[Zz]|([+-])([0-9]{2}):?([0-9]{2})?)?",
    re.ASCII,
)
#: Characters of the longest text that is looked at.
_LONGEST = 64

_LAST_DAY = "9999-12-30"
_LAST = datetime(9999, 12, 30, 22, 0, 0, 999_999, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Years 1 to 9999, less a day for those who write times in a zone of theirs.
_EARLIEST, _LATEST = -62_135_510_400, 253_402_214_400


def in_utc(stated: object) -> str | None:
    """Return a moment as pages have it: as it is written, where it is so already.

    None where it is no moment.
    """
    if not isinstance(stated, str) or len(stated) > _LONGEST:
        return None
    if _USUAL.fullmatch(stated):
        try:
            datetime.fromisoformat(stated[:19])
        except ValueError:
            pass  # a leap second's minute, or no date at all
        else:
            if stated < _LAST_DAY:
                return stated
    found = _parsed(stated)
    if found is None:
        return None
    moment, has_fraction = found
    precision = "microseconds" if has_fraction else "seconds"
    return f"{moment.replace(tzinfo=None).isoformat(timespec=precision)}Z"


def seconds(stated: str | None) -> float | None:
    """Return a moment in seconds since the epoch; None where it is none."""
    found = _parsed(stated) if stated and len(stated) <= _LONGEST else None
    return None if found is None else found[0].timestamp()


def dated(seconds: float) -> datetime:
    """Return seconds since the epoch as a date in UTC; what no calendar has as the nearest one."""
    return _EPOCH + timedelta(seconds=min(max(seconds, _EARLIEST), _LATEST))


def _parsed(text: str) -> tuple[datetime, bool] | None:
    """Return a moment in UTC, and whether a fraction of a second is told."""
    match = _ANY.fullmatch(text)
    if match is None:
        return None
    *numbers, second, fraction, sign, hours, minutes = match.groups()
    is_leap = second == "60"
    micros = 999_999 if is_leap else int((fraction or "0")[:6].ljust(6, "0"))
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    if offset >= timedelta(days=1) or int(minutes or 0) > 59:
        return None
    try:
        year, month, day, hour, minute = map(int, numbers)
        whole = 59 if is_leap else int(second or 0)
        local = datetime(year, month, day, hour, minute, whole, micros, tzinfo=UTC)
        moment = local + offset if sign == "-" else local - offset
    except (ValueError, OverflowError):
        return None
    return None if moment > _LAST else (moment, bool(fraction or is_leap))

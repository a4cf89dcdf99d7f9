"""Times as upstreams write them, and as pages must have them. No I/O.

On pages, times must be in UTC with a `Z` and at most six digits of a second (PEP 700). uv refuses a
whole project if one time has no zone, and pip crashes when it compares such a time with another. A
time in another form is rewritten:

* an offset is subtracted; without an offset, the time is taken as UTC;
* a space or a `t` instead of `T`, a comma instead of the dot, and missing seconds are corrected;
* digits after the sixth of a second are cut off;
* a leap second becomes the last microsecond before its end, because no library knows leap seconds.

Everything else is not a time: impossible dates, years before 1 in UTC, a date without a time, a
number, and any time after 22:00 on 30 December 9999. uv leaves room for every offset, so it would
refuse a project with a later time.
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
#: Most characters of a text that is parsed.
_LONGEST = 64

_LAST_DAY = "9999-12-30"
_LAST = datetime(9999, 12, 30, 22, 0, 0, 999_999, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Years 1 to 9999, minus a day, so that the time can be written in any zone.
_EARLIEST, _LATEST = -62_135_510_400, 253_402_214_400


def in_utc(stated: object) -> str | None:
    """Return a time in the form for pages; unchanged if it has that form. None if it is not a
    time.
    """
    if not isinstance(stated, str) or len(stated) > _LONGEST:
        return None
    if _USUAL.fullmatch(stated):
        try:
            datetime.fromisoformat(stated[:19])
        except ValueError:
            pass  # a leap second, or an impossible date
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
    """Return a time in seconds since the epoch; None if it is not a time."""
    found = _parsed(stated) if stated and len(stated) <= _LONGEST else None
    return None if found is None else found[0].timestamp()


def dated(seconds: float) -> datetime:
    """Return seconds since the epoch as a date in UTC, limited to the range of the calendar."""
    return _EPOCH + timedelta(seconds=min(max(seconds, _EARLIEST), _LATEST))


def _parsed(text: str) -> tuple[datetime, bool] | None:
    """Return a time in UTC, and whether it has a fraction of a second."""
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

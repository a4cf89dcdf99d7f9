"""Dates in the heads of answers: which clock made them, and when to believe them.

`pypimirror.system.clock` has the general rule. If an answer asks to wait until a date, the wait is
counted from the date of that answer, so the two clocks need not agree. No answer causes a wait of
more than `LONGEST`. A Last-Modified in the future is ignored: asking with it would give "not
modified" for years.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from pypimirror.domain import bounded
from pypimirror.system import clock

#: Seconds of the longest wait that is believed. Later runs ask again.
LONGEST = 86_400.0

#: Seconds of the highest age that a cache can have.
_OLDEST = 10**9


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
#: The form that RFC 9110 asks for, such as "Sun, 06 Nov 1994 08:49:37 GMT".
_USUAL = re.compile(
    r"[A-Z][a-z]{2}, ([0-9]{2}) ([A-Z][a-z]{2}) ([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT"
)


def moment(value: str | None) -> float | None:
    """Return a date in seconds since the epoch; None if the text is no date."""
    if not value:
        return None
    try:
        match = _USUAL.fullmatch(value)
        if match is not None and match[2] in _MONTHS:
            day, month, *rest = match.groups()
            year, hour, minute, second = map(int, rest)
            number = _MONTHS.index(month) + 1
            return datetime(year, number, int(day), hour, minute, second, tzinfo=UTC).timestamp()
        from email.utils import parsedate_to_datetime  # imported here because it takes a while

        return parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError):
        return None


def made(headers: Mapping[str, str]) -> float | None:
    """Return the time now by the clock of the server that made an answer, also through a cache."""
    date = moment(headers.get("Date"))
    return None if date is None else date + (bounded.natural(headers.get("Age"), _OLDEST) or 0)


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds that an answer asks to wait; None if it gives no valid time.

    Source: RFC 9110, 10.2.3.
    """
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:10]), LONGEST)
    until, since = moment(value), made(headers)
    if until is None:
        return None
    return min(max(0.0, until - (now if since is None else since)), LONGEST)


def last_modified(headers: Mapping[str, str], now: float) -> str | None:
    """Return the Last-Modified of an answer for the next request; None if it is in the future."""
    value = headers.get("Last-Modified")
    stated = moment(value)
    return value if stated is None or clock.is_past(stated, now) else None

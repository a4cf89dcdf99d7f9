"""Dates in the heads of answers: whose clock they are by, and which can be believed.

The rule is `pypimirror.system.clock`'s. A rest that ends at a date is as long as that is after the
date of the answer itself, so that no clock need agree with another; and nobody rests longer than
`LONGEST` for one answer. A Last-Modified that is ahead of now names no state of anything: to ask
whether something was modified since then is to hear for years that it was not.
"""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from pypimirror.domain import bounded
from pypimirror.system import clock

#: Seconds of the longest rest that is believed: later runs ask again, whatever was said.
LONGEST = 86_400.0

#: Seconds of the highest age that a cache can have.
_OLDEST = 10**9


def moment(value: str | None) -> float | None:
    """Return a date in seconds since the epoch; None where it is none."""
    try:
        return parsedate_to_datetime(value).timestamp() if value else None
    except (ValueError, OverflowError):
        return None


def made(headers: Mapping[str, str]) -> float | None:
    """Return what time it is by the clock of whoever made an answer, and a cache may have held."""
    date = moment(headers.get("Date"))
    return None if date is None else date + (bounded.natural(headers.get("Age"), _OLDEST) or 0)


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds that an answer asks to wait; None where it says nothing sound.

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
    """Return the Last-Modified of an answer, by which to ask again; None where it is ahead."""
    value = headers.get("Last-Modified")
    stated = moment(value)
    return value if stated is None or clock.is_past(stated, now) else None

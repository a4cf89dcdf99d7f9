"""Durations in text form, such as "24h"."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pypimirror.domain.checked import Before

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d|w)")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_duration(value: object) -> timedelta:
    """Parse "24h", "1.5d" and so on. A number without a unit is refused, because it is
    ambiguous.
    """
    if isinstance(value, timedelta):
        return value
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError('must be a number with one of s, m, h, d, w, such as "24h"')
    try:
        return timedelta(**{_UNITS[match[2]]: float(match[1])})
    except OverflowError:
        raise ValueError("is too long") from None


def spoken(seconds: float) -> str:
    """Format a duration in its largest whole unit: 7200 seconds are "2h"."""
    for unit, size in (("w", 604_800), ("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size:.0f}{unit}"
    return f"{seconds:g}s"


def took(seconds: float | None) -> str:
    """Format a duration in seconds for people, such as `3 min 05 s`; "" for None."""
    if not seconds:
        return "" if seconds is None else "0 s"
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


Duration = Annotated[timedelta, Before(parse_duration)]

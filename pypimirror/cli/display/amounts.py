"""Bytes, times and durations as text for people."""

from __future__ import annotations

import math

from pypimirror.domain import moments
from pypimirror.domain.sizes import amount as amount


def when(seconds: float | None) -> str:
    """Return a time, in seconds since the epoch, as text in the local zone; "" for None."""
    return "" if seconds is None else f"{moments.dated(seconds).astimezone():%Y-%m-%d %H:%M:%S}"


def took(seconds: float | None) -> str:
    """Return a duration in seconds as text, such as `3 min 05 s`; "" for None."""
    if seconds is None:
        return ""
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def shared(share: float) -> str:
    """Return a share as text, rounded down: only all is 100%."""
    return f"{math.floor(share * 1000) / 10:g}%"

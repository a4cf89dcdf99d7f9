"""Bytes, times and durations as text for people."""

from __future__ import annotations

import math

from pypimirror.domain import moments


def amount(size: float) -> str:
    """Return a number of bytes as text, such as `1.5 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError("unreachable")


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

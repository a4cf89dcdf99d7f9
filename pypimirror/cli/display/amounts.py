"""Bytes, times and durations as text for people."""

from __future__ import annotations

from pypimirror.domain import moments
from pypimirror.domain.sizes import amount as amount


def when(seconds: float | None) -> str:
    """Return a time, in seconds since the epoch, as text in the local zone; "" for None."""
    return "" if seconds is None else f"{moments.dated(seconds).astimezone():%Y-%m-%d %H:%M:%S}"

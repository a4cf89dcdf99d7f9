"""Bytes, times and durations as text for people."""

from __future__ import annotations

import math

from pypimirror.domain import moments
from pypimirror.domain.sizes import amount as amount


def when(seconds: float | None) -> str:
    """Return a time, in seconds since the epoch, as text in the local zone; "" for None."""
    return "" if seconds is None else f"{moments.dated(seconds).astimezone():%Y-%m-%d %H:%M:%S}"


def shared(share: float) -> str:
    """Return a share as text, rounded down: only all is 100%."""
    return f"{math.floor(share * 1000) / 10:g}%"

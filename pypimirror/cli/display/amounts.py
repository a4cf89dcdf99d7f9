"""Numbers for people: bytes, times and how long something took."""

from __future__ import annotations

from pypimirror.domain import moments


def amount(size: float) -> str:
    """Write a number of bytes for people."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError("unreachable")


def when(seconds: float | None) -> str:
    """Write a time for people, in their zone."""
    return "" if seconds is None else f"{moments.dated(seconds).astimezone():%Y-%m-%d %H:%M:%S}"


def took(seconds: float | None) -> str:
    """Write for people how long something took."""
    if seconds is None:
        return ""
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"

"""Check cron expressions for errors that are visible without a calendar.

An expression has five fields: minute, hour, day of the month, month, day of the week. A field may
have what the scheduler accepts: `*`, numbers, names, ranges, steps and lists of these, `L` for the
last day, and `#` for the n-th weekday of a month.
"""

from __future__ import annotations

import re

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]

#: Name of the field, smallest and largest number, and names of the numbers from the smallest on.
_FIELDS: tuple[tuple[str, int, int, list[str]], ...] = (
    ("minute", 0, 59, []),
    ("hour", 0, 23, []),
    ("day of the month", 1, 31, []),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 7, _DAYS),
)
_PART = re.compile(r"(?P<what>\*|\?|[^/#-]+(?:-[^/#-]+)?)(?:/(?P<step>\d+)|#(?P<nth>[1-5]))?")


def check(text: str) -> None:
    """Raise `ValueError` if an expression of five fields is wrong. The message says why."""
    fields = text.split()
    for field, (name, least, most, names) in zip(fields, _FIELDS, strict=True):
        for part in field.lower().split(","):
            _check(part, name, least, most, names)


def _check(part: str, name: str, least: int, most: int, names: list[str]) -> None:
    bad = f"{part!r} is not a valid {name} of cron: {least} to {most}"
    found = _PART.fullmatch(part)
    if found is None or found["step"] == "0" or (found["nth"] and most != 7):
        raise ValueError(bad)
    if found["what"] in ("*", "?") or (found["what"] == "l" and most == 31):
        return
    ends = [_number(end, least, names) for end in found["what"].split("-")]
    if any(end is None or not least <= end <= most for end in ends):
        raise ValueError(bad)


def _number(text: str, least: int, names: list[str]) -> int | None:
    if text in names:
        return names.index(text) + least
    text = text.removeprefix("l") if least == 0 and names else text  # the last Friday: L5
    return int(text) if text.isascii() and text.isdigit() else None

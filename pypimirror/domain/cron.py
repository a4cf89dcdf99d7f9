"""Cron expressions: errors that are visible without a calendar, and the time between two runs.

An expression has five fields: minute, hour, day of the month, month, day of the week. A field may
have what the scheduler accepts: `*`, numbers, names, ranges, steps and lists of these, `L` for the
last day, and `#` for the n-th weekday of a month.
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from itertools import pairwise

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


def longest_gap(text: str) -> float | None:
    """Return the longest time between two runs of an expression that is right, in seconds.

    None if it is not known: with "L" or "#", or if there are fewer than two runs in five years.
    """
    found = [
        _values(field, least, most, names)
        for field, (_, least, most, names) in zip(text.lower().split(), _FIELDS, strict=True)
    ]
    if None in found:
        return None
    minutes, hours, days, months, weekdays = (each or set() for each in found)
    times = sorted(60 * hour + minute for hour in hours for minute in minutes)
    # If an expression has a day of the month and a weekday, one of them is enough.
    either = not any(field[:1] in ("*", "?") for field in (text.split()[2], text.split()[4]))

    def fits(day: date) -> bool:
        by_day, by_weekday = day.day in days, day.isoweekday() % 7 in {n % 7 for n in weekdays}
        is_right = by_day or by_weekday if either else by_day and by_weekday
        return is_right and day.month in months

    first = date(2023, 1, 1)
    right = [number for number in range(5 * 366) if fits(first + timedelta(number))]
    if len(right) < 2:
        return None
    within = max((later - earlier for earlier, later in pairwise(times)), default=0)
    between = max(later - earlier for earlier, later in pairwise(right)) * 1440
    return 60.0 * max(within, between - times[-1] + times[0])


def _values(field: str, least: int, most: int, names: list[str]) -> set[int] | None:
    """Return the numbers that a field means; None if only a calendar knows them."""
    values: set[int] = set()
    for part in field.split(","):
        what, _, step = part.partition("/")
        if "#" in what or what.startswith("l"):
            return None
        ends = [least, most]
        if what not in ("*", "?"):
            found = [_number(end, least, names) for end in what.split("-")]
            ends = [end for end in found if end is not None]
            if len(ends) == 1:
                ends.append(most if step else ends[0])
        values.update(range(ends[0], ends[1] + 1, int(step or 1)))
    return values


def _number(text: str, least: int, names: list[str]) -> int | None:
    if text in names:
        return names.index(text) + least
    text = text.removeprefix("l") if least == 0 and names else text  # the last Friday: L5
    return int(text) if text.isascii() and text.isdigit() else None

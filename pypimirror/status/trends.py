"""Days as documents, and a forecast from them: when the free space runs out. No I/O."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache

from pypimirror.catalog.records import DayRecord
from pypimirror.domain import moments
from pypimirror.domain.documents import iso
from pypimirror.status.documents import DayFigures, Space
from pypimirror.system.clock import DAY

#: Days whose rows are shown one by one, and months whose last days are shown.
SHOWN, MONTHS = 30, 24
#: Later than this, in seconds from now, nobody can say when the space runs out: ten years.
_FARTHEST = 3650 * DAY


def document(row: DayRecord) -> DayFigures:
    """Return the row of a day as a document."""
    return {
        "day": _date(row.day),
        "projects": row.projects,
        "files": row.files,
        "bytes": row.bytes,
        "free": row.free,
        "backlog": row.backlog,
        "oldest_age": None if row.oldest is None else round(row.oldest, 3),
        "runs": row.runs,
        "undone": row.undone,
        "seconds": round(row.seconds, 3),
        "downloaded": row.downloaded,
        "failures": json.loads(row.failures),
    }


def each_day(days: Sequence[DayFigures], now: float) -> Iterator[tuple[str, DayFigures | None]]:
    """Yield each of the last `SHOWN` days up to the time `now`, also those that have no row.

    Without any rows, there are no days.
    """
    by_day = {row["day"]: row for row in days}
    today = int(now // DAY)
    for number in range(today - SHOWN + 1, today + 1) if days else ():
        day = _date(number)
        yield day, by_day.get(day)


def months(rows: Sequence[DayRecord]) -> list[DayFigures]:
    """Return the last row of each month, of at most `MONTHS` months, the oldest first."""
    last = {_date(row.day)[:7]: row for row in rows}  # a later row replaces an earlier one
    return [document(row) for row in last.values()][-MONTHS:]


def space(rows: Sequence[DayRecord], free: int | None, reserve: int, now: float) -> Space | None:
    """Return the free space, and when downloads will have none left at the pace of these days.

    The pace is the change of the free space between the first of `rows` and now. It needs a day at
    least. None if nobody knows the free space.
    """
    if free is None:
        return None
    found: Space = {
        "free": free,
        "reserve": reserve,
        "per_day": None,
        "full_at": None,
        "full_at_iso": None,
    }
    first = next((row for row in rows if row.free is not None), None)
    # The row was written at some time of its day; its end is the latest.
    passed = 0.0 if first is None else now / DAY - (first.day + 1)
    if first is None or first.free is None or passed < 1:
        return found
    pace = (first.free - free) / passed
    found["per_day"] = round(pace)
    seconds = max(0, free - reserve) / pace * DAY if pace > 0 else _FARTHEST
    if seconds < _FARTHEST:
        found |= {"full_at": now + seconds, "full_at_iso": iso(now + seconds)}
    return found


@lru_cache(1024)
def _date(day: int) -> str:
    return f"{moments.dated(day * DAY):%Y-%m-%d}"

"""How fresh the mirror is, in one word."""

from __future__ import annotations

from pypimirror.catalog.records import RunRecord
from pypimirror.domain.documents import iso
from pypimirror.status.documents import Freshness
from pypimirror.system import clock

#: Highest age, in seconds, of a fresh mirror: a day, and two hours that a daily sync may take.
FRESH = clock.DAY + 7200
#: Highest age, in seconds, of a mirror that is only late.
LATE = 3 * clock.DAY


def of(last: RunRecord | None, now: float) -> Freshness:
    """Return how fresh the mirror is. `last` is its last complete sync.

    What changed upstream after that sync began may be missing here, so the age counts from there.
    """
    if last is None or not clock.is_past(last.started_at, now):
        return {"word": "never", "synced_at": None, "synced_at_iso": None, "age": None}
    age = clock.since(last.started_at, now)
    return {
        "word": "fresh" if age <= FRESH else "late" if age <= LATE else "stale",
        "synced_at": last.started_at,
        "synced_at_iso": iso(last.started_at),
        "age": round(age, 3),
    }

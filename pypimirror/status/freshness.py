"""How fresh the mirror is, in one word."""

from __future__ import annotations

from functools import lru_cache

from pypimirror.catalog.records import RunRecord
from pypimirror.domain import cron
from pypimirror.domain.documents import iso
from pypimirror.domain.durations import parse_duration
from pypimirror.status.documents import Freshness
from pypimirror.system import clock

#: Seconds that a sync may take: a younger mirror misses none.
_TAKES = 7200.0
#: Highest age, in seconds, of a fresh mirror and of one that is only late, if no schedule is known.
FRESH, LATE = clock.DAY + _TAKES, 3 * clock.DAY
#: Triggers of runs that Prefect has started; see `flows.running`.
_OF_PREFECT = frozenset({"schedule", "deployment", "retry"})


def of(last: RunRecord | None, now: float, schedule: str) -> Freshness:
    """Return how fresh the mirror is. `last` is its last complete sync.

    What changed upstream after that sync began may be missing here, so the age counts from there.
    `schedule` is `[schedule] sync`. It counts if Prefect has started that sync.
    """
    if last is None or not clock.is_past(last.started_at, now):
        return {"word": "never", "synced_at": None, "synced_at_iso": None, "age": None}
    age = clock.since(last.started_at, now)
    fresh, late = _limits(schedule if last.trigger in _OF_PREFECT else "")
    return {
        "word": "fresh" if age <= fresh else "late" if age <= late else "stale",
        "synced_at": last.started_at,
        "synced_at_iso": iso(last.started_at),
        "age": round(age, 3),
    }


@lru_cache(maxsize=4)
def _limits(schedule: str) -> tuple[float, float]:
    """Return the highest age of a fresh mirror, and of one that has missed a single sync."""
    interval: float | None = None
    if " " in schedule:
        interval = cron.longest_gap(schedule)
    elif schedule:
        interval = parse_duration(schedule).total_seconds()
    if not interval:
        return FRESH, LATE
    takes = min(_TAKES, interval)
    return interval + takes, 2 * interval + takes

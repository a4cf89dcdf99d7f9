"""Clocks: what passes of time, and which of the times that were noted can be believed.

**The rule.** What is noted as having happened has happened by now. A time that is ahead of now was
noted while a clock was wrong: it is not believed, anywhere. What follows is what would follow had
nothing been noted: bytes that were proven then are read again, what was withdrawn has its grace
from now on, what was read is asked for anew. `pypimirror.catalog.clocks` makes that of what the
catalog holds when a run begins; who only reads asks `is_past`, `believed` or `since`. A time that
is to come, such as the next try or the end of a lease, is no later than the longest wait there is.

Nor has anything happened before this program was made (`FIRST`): a machine without a battery begins
in 1970. Where an early time only makes something due, such as a proof that is made again, that is
harmless; where bytes would go for it, the time is not believed either.

Dates that others send (`pypimirror.download.dates`) are held against the clock they were made by.
When a file was uploaded is the upstream's word and nothing that was noted here: it is told as it is
said, and selected by, since the clock that is wrong may be this machine's.

How long something took is measured by `steady`, which no setting of the clock moves.

Standard library only: also checks that find nothing ask.
"""

from __future__ import annotations

import time

#: Seconds that the clocks of machines which share a mirror may differ, and a clock be adjusted by.
SLACK = 300.0

#: Seconds since the epoch, before which nothing was mirrored by this program: 2026-01-01.
FIRST = 1_767_225_600.0


def now() -> float:
    """Return the time in seconds since the epoch, as this machine's clock has it."""
    return time.time()


def is_past(moment: float, now: float) -> bool:
    """Whether a time that was noted can be believed."""
    return moment <= now + SLACK


def since(moment: float, now: float) -> float:
    """Return the seconds since a time that was noted; without end where it is not believed."""
    return max(0.0, now - moment) if is_past(moment, now) else float("inf")


def believed(moment: float | None, now: float) -> float | None:
    """Return a time that was noted; 0, which is long ago, where it is not believed."""
    return moment if moment is None or is_past(moment, now) else 0.0


def steady() -> float:
    """Return seconds that never go back, and go on while the machine sleeps."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()

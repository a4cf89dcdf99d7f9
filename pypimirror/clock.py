"""Clocks: what passes of time, and which of the times that were noted can be believed.

**The rule.** What is noted as having happened has happened by now. A time that is ahead of now was
noted while a clock was wrong: it is not believed, anywhere. What follows is what would follow had
nothing been noted: bytes that were proven then are read again, what was withdrawn has its grace
from now on, what was read is asked for anew. `pypimirror.catalog.clocks` makes that of what the
catalog holds when a run begins; who only reads asks `is_past`. A time that is to come, such as the
next try or the end of a lease, is no later than the longest wait there is.

How long something took is measured by `steady`, which no setting of the clock moves.

Standard library only: also checks that find nothing ask.
"""

from __future__ import annotations

import time

#: Seconds that the clocks of machines which share a mirror may differ, and a clock be adjusted by.
SLACK = 300.0


def now() -> float:
    """Return the time in seconds since the epoch, as this machine's clock has it."""
    return time.time()


def is_past(moment: float, now: float) -> bool:
    """Whether a time that was noted can be believed."""
    return moment <= now + SLACK


def since(moment: float, now: float) -> float:
    """Return the seconds since a time that was noted; without end where it is not believed."""
    return max(0.0, now - moment) if is_past(moment, now) else float("inf")


def steady() -> float:
    """Return seconds that never go back, and go on while the machine sleeps."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()

"""Clocks: the time, and which stored times can be trusted.

**The rule.** A stored time of an event must be in the past. If it is in the future, a clock was
wrong when it was stored, and it is trusted nowhere. The program then acts as if no time had been
stored: bytes that were proven then are read again, the grace period of withdrawn files begins now,
and pages and lists are read again. `pypimirror.catalog.clocks` corrects the catalog when a run
begins. Code that only reads uses `is_past`, `believed` or `since`. A planned time, such as the next
try or the end of a lease, is never later than the longest possible wait.

No event is earlier than this program (`FIRST`): a machine without a battery starts in 1970. If an
early time only makes something due, such as another proof, it is harmless. If bytes would be
removed because of it, it is not trusted either.

Dates from other machines (`pypimirror.download.dates`) are compared with the clock that made them.
The upload time of a file is a claim of the upstream and not a stored event: it is shown and used
for the selection as it is, because this machine's clock may be the wrong one.

`steady` measures how long something takes. Setting the clock does not affect it.

This module uses only the standard library, because checks without findings use it.
"""

from __future__ import annotations

import time

#: Seconds of a day.
DAY = 86_400.0

#: Seconds by which clocks of machines that share a mirror may differ, or a clock may be adjusted.
SLACK = 300.0

#: Nothing was mirrored by this program before this time, in seconds since the epoch: 2026-01-01.
FIRST = 1_767_225_600.0


def now() -> float:
    """Return the time of this machine's clock, in seconds since the epoch."""
    return time.time()


def is_past(moment: float, now: float) -> bool:
    """Whether a stored time can be trusted."""
    return moment <= now + SLACK


def since(moment: float, now: float) -> float:
    """Return the seconds since a stored time; infinity if it is not trusted."""
    return max(0.0, now - moment) if is_past(moment, now) else float("inf")


def believed(moment: float | None, now: float) -> float | None:
    """Return a stored time; 0, which is long ago, if it is not trusted."""
    return moment if moment is None or is_past(moment, now) else 0.0


def steady() -> float:
    """Return seconds that never go back, and that count while the machine sleeps."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()

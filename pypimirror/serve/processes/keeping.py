"""Keep a child process running: start it again when it ends, after growing pauses."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from gevent import subprocess
from gevent.event import Event

#: Seconds before an ended process is started again. The pause doubles up to `LONGEST`, until a
#: process has lived for `LIVED` seconds.
FIRST = 0.5
LONGEST = 60.0
LIVED = 60.0

#: Seconds that a process without a server gets to end.
GRACE = 2.0


def keep(stopping: Event, once: Callable[[], str], meanwhile: str) -> None:
    """Call `once` again and again. It runs the process and says how it ended.

    `meanwhile` is a clause for a message: what works without the process.
    """
    pause = FIRST
    while not stopping.is_set():
        began = time.monotonic()
        why = once()
        if stopping.is_set():
            return
        pause = FIRST if time.monotonic() - began > LIVED else pause
        told = f"{why}. It is started again in {pause:g} s; {meanwhile}"
        print(f"pypimirror: {told}.", file=sys.stderr)
        stopping.wait(pause)
        pause = min(2 * pause, LONGEST)


def ended(process: subprocess.Popen[bytes]) -> int:
    """Wait for the end of a process without a server, and return its exit code."""
    try:
        return int(process.wait(GRACE))
    except subprocess.TimeoutExpired:
        process.kill()
        return int(process.wait())

"""Wait for another run on the same mirror to end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TypeVar

from pypimirror.domain.durations import spoken
from pypimirror.domain.errors import LockedError

#: Seconds between two attempts: first and longest pause. Each attempt opens the catalog.
FIRST, LONGEST = 0.5, 5.0

T = TypeVar("T")


@contextmanager
def patiently(
    open_: Callable[[], AbstractContextManager[T]], wait: float, announce: Callable[[str], None]
) -> Iterator[T]:
    """Enter `open_()`. If it raises `LockedError`, try again until `wait` seconds are over.

    Then raise the error. `announce` is told which run it waits for.
    """
    until = time.monotonic() + wait
    pause, holder = FIRST, ""
    with ExitStack() as stack:
        while True:
            try:
                opened = stack.enter_context(open_())
                break
            except LockedError as error:
                seconds_left = until - time.monotonic()
                if seconds_left <= 0:
                    raise _in_vain(error, wait) from None
                if error.holder != holder:
                    holder = error.holder
                    announce(f"waiting for {holder} to end, at most {spoken(round(seconds_left))}")
            time.sleep(min(pause, seconds_left))
            pause = min(2 * pause, LONGEST)
        yield opened


def _in_vain(error: LockedError, wait: float) -> LockedError:
    """Return the error with the time that was waited."""
    if not wait:
        return error
    return LockedError(f"{error}. Gave up after waiting for {spoken(wait)}", error.holder)

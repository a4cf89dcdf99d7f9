"""Waiting for a mirror that another run works on. The rules:

* Whoever is to wait says for how long; nobody waits without a bound.
* It is said at once for which run, and again when that gave way to another one.
* Nothing is held meanwhile, neither lock nor catalog, and a signal ends the waiting at once.
* There is no queue: of several that wait, any may be the next.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TypeVar

from pypimirror.domain.durations import spoken
from pypimirror.domain.errors import LockedError

#: Seconds between two attempts: at first, and at most, since each opens the catalog.
FIRST, LONGEST = 0.5, 5.0

T = TypeVar("T")


@contextmanager
def patiently(
    open_: Callable[[], AbstractContextManager[T]], wait: float, announce: Callable[[str], None]
) -> Iterator[T]:
    """Enter what `open_` makes, again and again while that raises `LockedError`.

    Raises it when `wait` seconds are over. Of what it waits for, `announce` is told.
    """
    until = time.monotonic() + wait
    pause, said = FIRST, ""
    with ExitStack() as stack:
        while True:
            try:
                opened = stack.enter_context(open_())
                break
            except LockedError as error:
                left = until - time.monotonic()
                if left <= 0:
                    raise _in_vain(error, wait) from None
                if error.holder != said:
                    said = error.holder
                    announce(f"waiting for {said} to end, for {spoken(round(left))} at most")
            time.sleep(min(pause, left))
            pause = min(2 * pause, LONGEST)
        yield opened


def _in_vain(error: LockedError, wait: float) -> LockedError:
    if not wait:
        return error
    return LockedError(f"{error}. It was waited for, for {spoken(wait)}", error.holder)

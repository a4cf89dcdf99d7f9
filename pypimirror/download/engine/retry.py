"""Decide when to try again: backoff, and pauses of a host. Nothing waits here."""

from __future__ import annotations

import random
import time
from collections.abc import Callable


def backoff_delay(
    failures: int,
    base: float,
    longest: float,
    chance: Callable[[], float] = random.random,
) -> float:
    """Return the seconds to wait after `failures` failures: exponential, with full jitter."""
    return chance() * min(longest, base * 2.0 ** min(failures - 1, 32))


#: Seconds of a host's first pause, even if the answer asks for a longer one.
_FIRST = 2.0


class Cooldowns:
    """Pauses that hosts have asked for, and when they end.

    A 429 or 503 may concern its whole host or one resource only, and does not say which. The rules:

    1. `Attempts` pauses the resource for as long as the answer says.
    2. If the host has given a good answer since that request began, it is not overloaded, and other
       jobs go on.
    3. Else all jobs of the host pause: at first for a moment only, even if the answer asks for
       more. The pause doubles with each further answer of this kind, up to the time that the
       answers ask for. The first good answer ends it. If it comes before the requested time is
       over, the host itself did not need the pause, and the next one is shorter.
    4. A host that asks for more time than a run waits, and still does so after pauses as long as a
       run waits, is not asked again until its time is over.
    """

    def __init__(
        self, base: float, longest: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._base = base
        self.longest = longest
        self._clock = clock
        self._until: dict[str, float] = {}
        self._level: dict[str, int] = {}
        self._good: dict[str, float] = {}
        self._wanted: dict[str, float] = {}
        self._needless: dict[str, int] = {}
        self._closed: dict[str, float] = {}

    def remaining(self, host: str) -> float:
        """Return the seconds for which `host` still gets no request."""
        return self._left(self._until, host)

    def closed(self, host: str) -> float:
        """Return the seconds for which `host` wants no requests at all, longer than a run waits."""
        return self._left(self._closed, host)

    def _left(self, until: dict[str, float], host: str) -> float:
        return max(0.0, until[host] - self._clock()) if host in until else 0.0

    def throttle(self, host: str, retry_after: float | None, asked: float) -> None:
        """Note that `host` answered with a request for a pause.

        `retry_after` is the length of the pause in seconds, if the answer says. `asked` is the time
        at which the request began.
        """
        now = self._clock()
        if self._good.get(host, -1.0) >= asked or self._until.get(host, 0.0) > now:
            return  # the host answers other requests, or this overload is noted already
        level = self._level.get(host, 0)
        self._level[host] = min(level + 1, 32)
        shortest = self._base
        if retry_after is not None:
            shortest = _FIRST / 2.0 ** self._needless.get(host, 0)
        rest = min(shortest * 2.0**level, self.longest)
        self._until[host] = now + (rest if retry_after is None else min(rest, retry_after))
        self._wanted[host] = now + (retry_after or 0.0)
        if rest == self.longest and retry_after is not None and retry_after > rest:
            self._closed[host] = now + retry_after

    def relieve(self, host: str) -> None:
        """Note that `host` gave a good answer."""
        now = self._good[host] = self._clock()
        if self._level and self._level.pop(host, 0):
            is_needless = now < self._wanted[host]
            self._needless[host] = min(self._needless.get(host, 0) + 1, 32) if is_needless else 0

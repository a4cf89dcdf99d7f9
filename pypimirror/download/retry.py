"""When to try again: backoff, Retry-After, and leaving a host alone. Decides; does not wait."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime


def backoff_delay(
    failures: int,
    base: float,
    longest: float,
    chance: Callable[[], float] = random.random,
) -> float:
    """Return the seconds to wait after so many failures: exponential, with full jitter."""
    return chance() * min(longest, base * 2.0 ** min(failures - 1, 32))


def parse_retry_after(value: str | None, now: float) -> float | None:
    """Return the seconds that a Retry-After header asks for; None where it says nothing sound.

    `now` is in seconds since the epoch. Source: RFC 9110, 10.2.3.
    """
    if not value:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:10])
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, OverflowError):
        return None


class Cooldowns:
    """Hosts that asked to be left alone, and until when.

    All jobs of a host share its cooldown, so that one answer of 429 quiets all of them. Without
    a Retry-After the pause doubles with each further such answer and ends with the first good
    one.
    """

    def __init__(
        self, base: float, longest: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._base = base
        self._longest = longest
        self._clock = clock
        self._until: dict[str, float] = {}
        self._level: dict[str, int] = {}

    def remaining(self, host: str) -> float:
        """Return the seconds for which `host` is still to be left alone."""
        if not self._until:
            return 0.0
        until = self._until.get(host)
        if until is None:
            return 0.0
        return max(0.0, until - self._clock())

    def throttle(self, host: str, retry_after: float | None) -> None:
        """Note that `host` asked to be left alone, for `retry_after` seconds if it said so."""
        now = self._clock()
        if retry_after is None:
            if self._until.get(host, 0.0) > now:
                return  # a neighbour's answer to the same overload
            level = self._level.get(host, 0)
            self._level[host] = min(level + 1, 32)
            retry_after = self._base * 2.0**level
        until = now + min(retry_after, self._longest)
        self._until[host] = max(until, self._until.get(host, 0.0))

    def relieve(self, host: str) -> None:
        """Note that `host` gave a good answer."""
        if self._level:
            self._level.pop(host, None)

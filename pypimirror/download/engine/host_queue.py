"""A queue of requests to one host. `concurrency` decides how many may pass at once."""

from __future__ import annotations

import time
from collections import deque
from typing import Self

from gevent.hub import Waiter, get_hub

from pypimirror.domain.model import Reason
from pypimirror.download.engine.concurrency import MODEST, Concurrency
from pypimirror.download.failure import FetchError

#: Failures that fewer requests may cure. Answers that ask for fewer requests are others.
_OVERLOAD = frozenset({Reason.CONNECTION, Reason.TIMEOUT})


class HostQueue:
    """The requests that one host gets at once; the others wait, in their order."""

    def __init__(self, cap: int, modest: int = MODEST) -> None:
        self._control = Concurrency(cap, modest)
        self._running = 0
        self._waiting: deque[Waiter[None]] = deque()
        self._answered = False  # whether the host has answered since the limit was last halved

    @property
    def limit(self) -> int:
        """How many may pass at once, now."""
        return self._control.limit

    def received(self, count: int) -> None:
        """Count bytes that have come from the host."""
        self._control.received(count, time.monotonic(), self._running)

    def turn(self) -> Self:
        """Wait for a turn and hold it: a context manager, for any number at once."""
        return self

    def __enter__(self) -> None:
        if self._waiting or self._running >= self._control.limit:
            turn: Waiter[None] = Waiter()  # costs a fifth of an `Event`
            self._waiting.append(turn)
            turn.get()  # `__exit__` has already counted this request
        else:
            self._running += 1

    def __exit__(self, *_: object) -> None:
        self._running -= 1
        while self._waiting and self._running < self._control.limit:
            self._running += 1
            get_hub().loop.run_callback(self._waiting.popleft().switch, None)

    def went_well(self) -> None:
        """Note that the host has given an answer of any kind."""
        self._answered = True
        self._control.done(time.monotonic(), self._running)

    def went_wrong(self, error: FetchError) -> None:
        """Note how a request failed.

        A host that answers nothing at all is down and not overloaded. Fewer requests at once would
        only delay the moment when all of them have failed.
        """
        if error.throttled or (error.reason in _OVERLOAD and self._answered):
            self._answered = False
            self._control.failed(time.monotonic(), self._running)
        elif error.reason not in _OVERLOAD:
            self.went_well()

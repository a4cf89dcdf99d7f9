"""Turns: of the threads that do batches side by side, one is at work, and the others wait.

Python runs one thread at a time whatever their number. Where several have something to do, each
call of the system hands the interpreter over to another, and waking that one costs more than most
of the calls do. So a stage takes its turn and gives it up where it has to wait: for workers, for
the disk. No lock may be held meanwhile that another thread could want in its turn.

Who has work for the download workers goes first: while they are busy, all else can be done.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class PriorityLock:
    """Who is at work."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._busy = False
        #: Locks that their threads wait for: those that go first, and the others.
        self._waiting: tuple[deque[threading.Lock], ...] = (deque(), deque())
        self._mine = threading.local()

    @contextmanager
    def taken(self, *, first: bool) -> Iterator[None]:
        """Wait for this thread's turn and hold it; with `first`, before those without."""
        self._mine.place = 0 if first else 1
        self._take()
        try:
            yield
        finally:
            self._give_up()

    @contextmanager
    def given_up(self) -> Iterator[None]:
        """Let others have their turn while this thread waits; nothing where it holds none."""
        if not self._give_up():
            yield
            return
        try:
            yield
        finally:
            self._take()

    def _take(self) -> None:
        with self._guard:
            waits = self._busy
            if waits:
                turn = threading.Lock()
                turn.acquire()
                self._waiting[self._mine.place].append(turn)
            self._busy = True
        if waits:
            turn.acquire()  # whoever releases it hands over the turn
        self._mine.held = True

    def _give_up(self) -> bool:
        """Give up the turn; whether this thread held it."""
        if not getattr(self._mine, "held", False):
            return False
        self._mine.held = False
        with self._guard:
            waiting = next(filter(None, self._waiting), None)
            if waiting is None:
                self._busy = False
            else:
                waiting.popleft().release()
        return True

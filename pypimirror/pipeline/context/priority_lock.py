"""Priority lock: of the threads that work on batches in parallel, only one works at a time.

Python runs one thread at a time anyway. If several threads have work, each system call hands the
interpreter over to another thread, and that costs more than most of the calls. So a stage takes
this lock and gives it up where it waits: for workers or for the disk. A thread must then hold no
other lock that another thread may need.

Threads with work for the download workers go first: while downloads run, the other work can be
done.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class PriorityLock:
    """A lock with three queues: threads that go first, those that have gone first, the others."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._busy = False
        self._waiting: tuple[deque[threading.Lock], ...] = (deque(), deque(), deque())
        self._mine = threading.local()

    @contextmanager
    def taken(self, *, first: bool, once: bool = False) -> Iterator[None]:
        """Hold the lock. With `first`, wait only behind other threads with `first`.

        With `once`, only until it is held: after `given_up`, wait behind others with `first`, too.
        """
        self._mine.place = 0 if first else 2
        self._take()
        if once:
            self._mine.place = 1
        try:
            yield
        finally:
            self._give_up()

    @contextmanager
    def given_up(self) -> Iterator[None]:
        """Give up the lock while this thread waits. Does nothing if the thread does not hold it."""
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
            turn.acquire()  # the thread that releases it hands over the priority lock
        self._mine.held = True

    def _give_up(self) -> bool:
        """Release the lock. Return whether this thread held it."""
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

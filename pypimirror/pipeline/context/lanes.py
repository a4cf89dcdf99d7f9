"""The locks of a run's lanes. A lane is a thread with its own batch; some work must take turns."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from pypimirror.pipeline.context.priority_lock import PriorityLock


class Lanes:
    """Locks that the lanes of one run share."""

    def __init__(self) -> None:
        #: Held by the one thread that works.
        self.priority = PriorityLock()
        #: Called once, when a thread first waits for workers: work that will be needed later.
        self.meanwhile: Callable[[], None] | None = None
        self._large_pages = threading.RLock()

    def waiting(self) -> AbstractContextManager[None]:
        """Return a context in which a thread waits for workers, while others work."""
        meanwhile = self.meanwhile
        if meanwhile is None:
            return self.priority.given_up()
        self.meanwhile = None
        return self._after(meanwhile)

    @contextmanager
    def _after(self, meanwhile: Callable[[], None]) -> Iterator[None]:
        with self.priority.given_up():
            meanwhile()
            yield

    @contextmanager
    def large_pages(self) -> Iterator[None]:
        """Wait until no other batch has large pages in memory, and keep others from having any."""
        with self.priority.given_up():  # the holder may need this lock to finish
            self._large_pages.acquire()
        try:
            yield
        finally:
            self._large_pages.release()

"""The locks of a run's lanes. A lane is a thread with its own batch; some work must take turns."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pypimirror.pipeline.context.priority_lock import PriorityLock


class Lanes:
    """Locks that the lanes of one run share."""

    def __init__(self) -> None:
        #: Held by the one thread that works.
        self.priority = PriorityLock()
        self._large_pages = threading.RLock()

    @contextmanager
    def large_pages(self) -> Iterator[None]:
        """Wait until no other batch has large pages in memory, and keep others from having any."""
        with self.priority.given_up():  # the holder may need this lock to finish
            self._large_pages.acquire()
        try:
            yield
        finally:
            self._large_pages.release()

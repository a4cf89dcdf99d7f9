"""The lanes of a run: what its threads, each with a batch of its own, must not do all at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pypimirror.pipeline.context.priority_lock import PriorityLock


class Lanes:
    """What the lanes of one run take in turn."""

    def __init__(self) -> None:
        #: Which of the threads is at work.
        self.priority = PriorityLock()
        self._large_pages = threading.RLock()

    @contextmanager
    def large_pages(self) -> Iterator[None]:
        """Wait until no other batch has large pages in hand, and keep others from having any."""
        with self.priority.given_up():  # whoever has some may wait for its turn
            self._large_pages.acquire()
        try:
            yield
        finally:
            self._large_pages.release()

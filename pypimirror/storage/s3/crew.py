"""Threads that send many requests at once.

Only a few jobs wait for each thread; further jobs are not read yet. So the pages of a batch, or the
files of a mirror, are never all in memory.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext

#: Jobs that wait for each thread.
_WAITING = 2


class Crew:
    """Threads for requests, at most `size`. They start when there is work."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._pool = ThreadPoolExecutor(size, thread_name_prefix="s3")
        #: Held during work that only one thread may do at a time.
        self.alone = threading.RLock()

    def do(
        self,
        jobs: Iterable[Callable[[], object]],
        waiting: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """Do all jobs, in any order. Raise the first error when no job is in progress any more.

        After an error, no further job begins. `waiting` returns a context to enter while the caller
        waits.
        """
        stop = threading.Event()

        def one(job: Callable[[], object]) -> None:
            if stop.is_set():
                return
            try:
                job()
            except BaseException:
                stop.set()
                raise

        begun: deque[Future[None]] = deque()
        failed: list[BaseException] = []

        def wait() -> None:
            with waiting():
                error = begun.popleft().exception()
            if error is not None:
                failed.append(error)

        try:
            for job in jobs:
                if stop.is_set():
                    break
                begun.append(self._pool.submit(one, job))
                while len(begun) >= _WAITING * self._size:
                    wait()
        except BaseException:
            stop.set()
            raise
        finally:
            while begun:
                wait()
        if failed:
            raise failed[0]

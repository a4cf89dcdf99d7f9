"""Threads: a pool of them, and a call that is done once for all that want its result at a time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class _Slot:
    """A thread that waits for a job. It takes `job` only after `turn` was released for it."""

    def __init__(self) -> None:
        self.job: Callable[[], None] | None = None
        self.turn = threading.Lock()
        self.turn.acquire()


class Threads:
    """Threads that do jobs in the order in which they come.

    They are started at once: later, each start would keep a client waiting. The one that has waited
    least gets the next job. A queue would wake two of them for each.
    """

    def __init__(self, number: int, name: str) -> None:
        self._lock = threading.Lock()
        self._jobs: deque[Callable[[], None]] = deque()
        self._idle = [_Slot() for _ in range(number)]
        for each, slot in enumerate(list(self._idle)):
            work = threading.Thread(target=self._work, args=(slot,), name=f"{name}-{each}")
            work.daemon = True
            work.start()

    def do(self, job: Callable[[], None]) -> None:
        """Do a job soon. It must not fail."""
        with self._lock:
            if not self._idle:
                self._jobs.append(job)
                return
            slot = self._idle.pop()
        slot.job = job
        slot.turn.release()

    def _work(self, slot: _Slot) -> None:
        while True:
            slot.turn.acquire()
            job = slot.job
            while job is not None:
                job()
                with self._lock:
                    job = self._jobs.popleft() if self._jobs else None
                    if job is None:
                        self._idle.append(slot)  # from now on, `do` may give it another job


class Once(Generic[K, T]):
    """Calls under way, by key. `waiting` returns a context to enter while a thread waits."""

    def __init__(self, waiting: Callable[[], AbstractContextManager[None]] = nullcontext) -> None:
        self._waiting = waiting
        self._under_way: dict[K, Future[T]] = {}
        self._lock = threading.Lock()

    def do(self, key: K, call: Callable[[], T]) -> T:
        """Return the result of `call`, or of another thread's call for the same key.

        Raises what that call raises.
        """
        with self._lock:
            theirs = self._under_way.get(key)
            if theirs is None:
                self._under_way[key] = Future()
        if theirs is not None:
            with self._waiting():
                return theirs.result()
        try:
            result = call()
        except BaseException as error:
            self._end(key).set_exception(error)
            raise
        self._end(key).set_result(result)
        return result

    def _end(self, key: K) -> Future[T]:
        with self._lock:
            return self._under_way.pop(key)

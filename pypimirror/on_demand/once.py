"""Do a call once for all threads that want its result at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


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

"""Values that are believed for some time. Their number is bounded: the oldest are dropped first."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Remembered(Generic[K, V]):
    """Values, each with the time until which it is believed."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[K, tuple[float, V]] = OrderedDict()

    def note(self, key: K, value: V, seconds: float) -> None:
        """Believe a value for some seconds from now on."""
        self._values[key] = (time.monotonic() + seconds, value)
        self._values.move_to_end(key)
        if len(self._values) > self._most:
            self._values.popitem(last=False)

    def forget(self, key: K) -> None:
        """Forget a value."""
        self._values.pop(key, None)

    def believed(self, key: K) -> V | None:
        """Return the value if it is still believed."""
        found = self._values.get(key)
        return found[1] if found is not None and time.monotonic() < found[0] else None

    def last(self, key: K) -> V | None:
        """Return the value, believed or not."""
        found = self._values.get(key)
        return None if found is None else found[1]

    def __iter__(self) -> Iterator[tuple[K, V, float]]:
        """Yield all keys and values that are still believed, with the time until which they are."""
        now = time.monotonic()
        return iter([(key, value, end) for key, (end, value) in self._values.items() if now < end])

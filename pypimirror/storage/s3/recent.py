"""What this process has learned of objects in the last minute.

S3 is consistent: an object that was put or looked at a moment ago need not be looked at again. A
batch places files, checks that they are there, writes pages and notes their stamps. Without this
memory, each of these steps would ask the server once more.
"""

from __future__ import annotations

import threading
import time

from pypimirror.storage.s3.objects import Head

_SECONDS = 60.0
_MOST = 50_000


class Recent:
    """Heads of objects, also of missing ones, by key."""

    def __init__(self) -> None:
        self._heads: dict[str, tuple[float, Head | None]] = {}
        self._lock = threading.Lock()

    def find(self, key: str) -> tuple[bool, Head | None]:
        """Return whether the object is known, and its head; None if it is missing."""
        found = self._heads.get(key)
        if found is None or time.monotonic() - found[0] > _SECONDS:
            return False, None
        return True, found[1]

    def add(self, key: str, head: Head | None) -> None:
        """Note what an object is now."""
        with self._lock:
            if len(self._heads) >= _MOST:
                self._heads.clear()
            self._heads[key] = time.monotonic(), head

    def drop(self, key: str) -> None:
        """Forget an object that is about to change."""
        with self._lock:
            self._heads.pop(key, None)

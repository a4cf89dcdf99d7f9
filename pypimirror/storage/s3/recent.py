"""Facts that this process has learned about objects in the last minute.

S3 is consistent, so a process need not ask about an object again that it has just put or seen. A
batch places files, checks that they are there, writes pages and notes their stamps. It also reads
the core metadata that it has just put. Without this memory, each of these steps would send another
request.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

from pypimirror.domain.layout import METADATA_SUFFIX
from pypimirror.storage.s3.objects import ObjectHead

_SECONDS = 60.0
_MOST = 50_000
_MOST_KEPT = 16 << 20  #: bytes of contents


class Recent:
    """Heads of objects, also of missing ones; some contents; directories without any object."""

    def __init__(self) -> None:
        self._heads: dict[str, tuple[float, ObjectHead | None]] = {}
        self._empty: dict[str, float] = {}
        self._contents: dict[str, bytes] = {}
        self._kept = 0  # bytes of all contents
        self._lock = threading.Lock()

    def find(self, key: str) -> tuple[bool, ObjectHead | None]:
        """Return whether the object is known, and its head; None if it is missing."""
        found = self._heads.get(key)
        if found is not None and found[0] > time.monotonic() - _SECONDS:
            return True, found[1]
        return self.is_empty(key.rpartition("/")[0]), None

    def is_empty(self, directory: str) -> bool:
        """Whether it is known that there is no object in a directory."""
        last = time.monotonic() - _SECONDS
        return self._empty.get(directory, last) > last

    def add(self, key: str, head: ObjectHead | None, content: bytes | Path | None = None) -> None:
        """Note the head of an object. The `content` is kept if it may be read again soon."""
        with self._lock:
            if len(self._heads) >= _MOST:
                self._heads.clear()
            self._heads[key] = time.monotonic(), head
            self._forget(key)
            if isinstance(content, bytes) and key.endswith(METADATA_SUFFIX):
                self._keep(key, content)

    def _keep(self, key: str, content: bytes) -> None:
        if self._kept + len(content) > _MOST_KEPT:
            self._contents.clear()
            self._kept = 0
        self._contents[key] = content
        self._kept += len(content)

    def _forget(self, key: str) -> None:
        self._kept -= len(self._contents.pop(key, b""))

    def add_empty(self, directory: str) -> None:
        """Note that there is no object below a directory."""
        with self._lock:
            if len(self._empty) >= _MOST:
                self._empty.clear()
            self._empty[directory] = time.monotonic()

    def content(self, key: str) -> bytes | None:
        """Return the content of an object that was put in the last minute; None if unknown."""
        content = self._contents.get(key)
        return content if content is not None and self.find(key)[1] is not None else None

    def drop(self, key: str) -> None:
        """Forget an object that is about to change."""
        with self._lock:
            self._heads.pop(key, None)
            self._forget(key)
            self._empty.pop(key.rpartition("/")[0], None)

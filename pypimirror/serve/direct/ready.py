"""Answers that are ready to send: rendered headers, and the bytes of small pages.

An answer is used again while the file at its path is the one that it was made from: the same inode,
size and times. This is checked for each request, so clients see a new page at once, and a removed
page no longer. A file that has just changed could change again with the same time stamp, so no
answer with it is kept.
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import NamedTuple

from pypimirror.serve.files import OpenedFile

FileState = tuple[int, ...]

#: Most bytes of all kept answers, in each process of the web server.
MOST = 32 << 20
#: Bytes that an answer takes besides those of its page.
_OVERHEAD = 1500

#: Nanoseconds after which two changes have different time stamps.
_SETTLED = 2_000_000_000

#: Headers of the bytes, which an answer without bytes (304) does not have.
_OF_CONTENT = frozenset({"Content-Type", "Content-Length", "Last-Modified"})


class ReadyAnswer(NamedTuple):
    """An answer to GET."""

    state: FileState  #: of the file
    etag: str  #: with its quotes
    shared: bytes  #: headers of 200 and 304, each with its end of line
    content: bytes  #: further headers of 200
    size: int  #: bytes of the body
    body: bytes | None  #: None: they are in the file


def state_of(found: os.stat_result) -> FileState:
    """Return values that change when another file replaces this one."""
    return found.st_ino, found.st_ctime_ns, found.st_mtime_ns, found.st_size, found.st_dev


def make(file: OpenedFile, headers: Mapping[str, str], body: bytes | None) -> ReadyAnswer:
    """Return the answer with a file; `headers` are its headers."""
    said = {
        **headers,
        "Content-Length": str(file.size),
        "Accept-Ranges": "bytes",
        "X-Content-Type-Options": "nosniff",
    }
    lines = {name: f"{name}: {value}\r\n".encode("latin-1") for name, value in said.items()}
    shared = b"".join(line for name, line in lines.items() if name not in _OF_CONTENT)
    content = b"".join(line for name, line in lines.items() if name in _OF_CONTENT)
    return ReadyAnswer(state_of(file.stat), said["ETag"], shared, content, file.size, body)


class Kept:
    """Answers by the path of their file. The least recently used ones are dropped first."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._answers: OrderedDict[str, ReadyAnswer] = OrderedDict()
        self._size = 0

    def get(self, path: str) -> ReadyAnswer | None:
        """Return the answer with the file at a path, if it is kept."""
        found = self._answers.get(path)
        if found is not None:
            self._answers.move_to_end(path)
        return found

    def noted(self, path: str, ready: ReadyAnswer, file: OpenedFile) -> ReadyAnswer:
        """Keep an answer, unless its file could still change without a trace. Return it."""
        if (old := self._answers.pop(path, None)) is not None:
            self._size -= _weight(old)
        is_settled = time.time_ns() - file.stat.st_ctime_ns > _SETTLED
        if is_settled and file.modified_is_settled():
            self._answers[path] = ready
            self._size += _weight(ready)
            while self._size > self._most:
                self._size -= _weight(self._answers.popitem(last=False)[1])
        return ready


def _weight(ready: ReadyAnswer) -> int:
    return _OVERHEAD + len(ready.body or b"")

"""Files below the mirror root: which there are, and whether they were touched. Writes nothing.

Imports nothing that is slow: also checks that find nothing ask. What is served is written by
`pypimirror.storage.posix` alone; where things belong is said by `pypimirror.domain.layout`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator

from pypimirror.system import regular

_BUFFER = 1 << 16  #: bytes


def stamp(path: str, root: str = "") -> int:
    """Return a number that changes when a file is written or replaced, without reading it.

    It is a digest of inode, size and mtime: enough for `verify --quick`, which only asks whether
    somebody touched a file, and no proof of its bytes. On `root`, and what is raised where there is
    no file, see `regular.status`.
    """
    return stamp_of([regular.status(path, root)])


def stamp_of(statuses: Iterable[os.stat_result]) -> int:
    """Return the same of several files together, in their order."""
    text = " ".join([f"{s.st_ino} {s.st_size} {s.st_mtime_ns}" for s in statuses])
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def sha256_of(paths: Iterable[str], root: str, buffer: memoryview | None = None) -> bytes:
    """Return the digest of the bytes of files below `root`, one after the other.

    Raises `OSError`.
    """
    state = hashlib.sha256()
    buffer = buffer or memoryview(bytearray(_BUFFER))
    for path in paths:
        with regular.opened(path, root) as (descriptor, _):
            while count := os.readv(descriptor, [buffer]):
                state.update(buffer[:count])
    return state.digest()


def walk(
    root: str, relative: str, on_error: Callable[[OSError], None] | None = None
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield path and entry of all files below a directory, without following symbolic links.

    Raises `OSError` where a directory cannot be read; with `on_error`, which hears of it, goes on.
    """
    waiting = [relative] if os.path.isdir(f"{root}/{relative}") else []  # noqa: PTH112
    while waiting:
        directory = waiting.pop()
        try:
            with os.scandir(f"{root}/{directory}") as entries:
                for entry in entries:
                    path = f"{directory}/{entry.name}"
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(path)
                    else:
                        yield path, entry
        except OSError as error:
            if on_error is None:
                raise
            on_error(error)

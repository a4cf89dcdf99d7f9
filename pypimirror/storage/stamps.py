"""Stamps of files below the mirror root: whether a file was touched. Writes nothing.

This module imports nothing slow, because checks without findings use it. Only
`pypimirror.storage.posix` writes served files. `pypimirror.domain.layout` defines the paths.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator

from pypimirror.system import regular

_BUFFER = 1 << 16  #: bytes


def stamp(path: str, root: str = "") -> int:
    """Return a number that changes when a file is written or replaced. The file is not read.

    It is a digest of inode, size and mtime. It shows whether somebody touched a file, which is
    enough for `verify --quick`; it does not prove the bytes. `regular.status` explains `root` and
    the errors.
    """
    return stamp_of([regular.status(path, root)])


def stamp_of(statuses: Iterable[os.stat_result]) -> int:
    """Return one stamp for several files, in their order."""
    text = " ".join([f"{s.st_ino} {s.st_size} {s.st_mtime_ns}" for s in statuses])
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def sha256_of(paths: Iterable[str], root: str, buffer: memoryview | None = None) -> bytes:
    """Return one digest for the bytes of several files below `root`. Raises `OSError`."""
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
    """Yield path and entry of all files below a directory. Symbolic links are not followed.

    If a directory cannot be read, raises `OSError`; with `on_error`, calls it and continues.
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

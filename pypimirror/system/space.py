"""Disk space: how much is free, how much must stay free, and how much is reserved for downloads.

This module reads the state of file systems and writes nothing. Free space is what this user may
still write, which is less than root sees. It also has the advice for errors of the disk.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Protocol

from pypimirror.domain.model import Problem, Reason

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


#: The advice for errors of the disk.
_REMEDIES = {
    errno.ENOSPC: "Free some space and run again.",
    errno.EDQUOT: "The quota is used up: free some space and run again.",
    errno.EACCES: "Check who may write there, and run again.",
    errno.EPERM: "Check who may write there, and run again.",
    errno.EROFS: "The file system is read-only: mount it for writing and run again.",
    errno.EXDEV: "The whole mirror root must be on one file system.",
    errno.ENOENT: "Something removed it or a directory above it: run again.",
}


def remedy(error: OSError, path: Path | str | None = None) -> str:
    """Return the next step after this error at `path`."""
    where = path or error.filename
    if where is not None and error.errno in (errno.EACCES, errno.EPERM):
        return _of_another(Path(os.fsdecode(where))) or _REMEDIES[errno.EACCES]
    if where is not None and error.errno in (errno.EEXIST, errno.ENOTDIR):
        in_the_way = _no_directory(Path(os.fsdecode(where)))
        if in_the_way is not None and error.filename2 is None:
            return (
                f"{in_the_way} is in the way, and no directory: move it away, or name another "
                "place, and run again."
            )
    if where is not None and error.errno == errno.ENOSPC and _inodes_are_gone(where):
        return (
            "There is free space, but the file system can hold no more files (df -i): remove some, "
            "or use one that is made for more, and run again."
        )
    return _REMEDIES.get(error.errno or 0, "Check the disk and the path, and run again.")


def _no_directory(path: Path) -> Path | None:
    """Return what is at `path` or above it, and is no directory; None: nothing is."""
    there = next((each for each in (path, *path.parents) if os.path.lexists(each)), path)
    return None if os.path.isdir(there) else there  # noqa: PTH112 - `is_dir` may raise


def _of_another(path: Path) -> str:
    """Return the advice if `path`, or a directory above it, belongs to another user."""
    me = os.geteuid()
    for each in (path, *path.parents):
        try:
            owner = each.lstat().st_uid
        except OSError:
            continue
        if owner != me and not (each.is_dir() and os.access(each, os.W_OK | os.X_OK)):
            return (
                f"{'It' if each == path else each} belongs to user {owner}, and this is user {me}: "
                f"run this as that user, or give it to this one (chown -R {me} {each})."
            )
        if each.is_dir():
            break
    return ""


def _inodes_are_gone(path: Path | str | bytes) -> bool:
    for each in (Path(os.fsdecode(path)), *Path(os.fsdecode(path)).parents):
        with contextlib.suppress(OSError):
            status = os.statvfs(each)
            return status.f_files > 0 and status.f_favail == 0
    return False


def free(path: Path) -> int | None:
    """Return the free bytes of the file system of `path`; None if the system does not know.

    Raises `OSError`.
    """
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize if status.f_blocks else None


def readable(size: int) -> str:
    """Format a number of bytes for people."""
    value, unit = float(size), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.1f} {_UNITS[unit]}" if unit else f"{size} bytes"


class Shared(Protocol):
    """The bytes that several processes expect on the same disk; `storage.slots` implements it."""

    def put(self, size: int) -> None:
        """Set the bytes that this process still expects."""

    def others(self) -> int:
        """Return the bytes that all other processes still expect."""

    def alone(self) -> AbstractContextManager[None]:
        """Keep the other processes from claiming room."""


class Room:
    """The free space below `directory`. `reserve` bytes of it are never used for downloads.

    Safe to use from several threads: space that one batch has claimed is not free for another. With
    `shared`, the same is true for several processes.
    """

    def __init__(self, directory: Path, reserve: int, shared: Shared | None = None) -> None:
        self._directory = directory
        self._reserve = reserve
        self._shared = shared
        self._due: dict[int, int] = {}  # bytes that are still expected, by file
        self._expected = 0  # their sum
        self._lock = threading.Lock()

    def claim(self, sizes: Mapping[int, int]) -> tuple[set[int], Problem | None]:
        """Claim space for files, given by id. Return the ids that got space, and the problem if not
        all did.

        Small files come first, so that one claimed size decides nothing for the others. Space that
        was claimed before and is not yet used is not free. Raises `OSError`.
        """
        shared = self._shared
        with self._lock, nullcontext() if shared is None else shared.alone():
            claimed = self._expected + (0 if shared is None else shared.others())
            problem = self.shortage(claimed + sum(sizes.values()))
            left = None if problem is None else free(self._directory)
            if left is None:
                taken = set(sizes)
            else:
                taken = set(_fitting(sizes, left - self._reserve - claimed))
            self._expect({number: sizes[number] for number in taken})
        return taken, problem

    def received(self, file_id: int, size: int) -> None:
        """Subtract bytes of a file that have arrived."""
        with self._lock:
            if file_id in self._due:
                self._expect({file_id: max(0, self._due[file_id] - size)})

    def settle(self, ids: Iterable[int]) -> None:
        """Forget files that have arrived, or will not arrive."""
        with self._lock:
            for file_id in ids:
                self._expected -= self._due.pop(file_id, 0)
            self._expect({})

    def _expect(self, sizes: Mapping[int, int]) -> None:
        self._expected += sum(size - self._due.get(number, 0) for number, size in sizes.items())
        self._due.update(sizes)
        if self._shared is not None:
            self._shared.put(self._expected)

    def shortage(self, needed: int = 0) -> Problem | None:
        """Return the problem if `needed` more bytes do not fit, else None.

        Raises `OSError`.
        """
        left = free(self._directory)
        if left is None or left >= needed + self._reserve:
            return None
        wanted = f"{readable(needed)} are needed, " if needed else ""
        return Problem(
            Reason.DISK,
            f"{self._directory}: not enough space: {wanted}{readable(left)} are free, and "
            f"[mirror] reserve keeps {readable(self._reserve)} of them. Free some space or select "
            "less, and run again",
        )


def _fitting(sizes: Mapping[int, int], room: int) -> Iterator[int]:
    """Yield the ids of as many files as fit together."""
    for number, size in sorted(sizes.items(), key=lambda item: item[1]):
        room -= size
        if room < 0:
            return
        yield number

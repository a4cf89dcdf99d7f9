"""How writes become durable: a whole file system at once, or file by file.

Both keep the same order, which `pypimirror.storage.posix` asks for: the bytes of a file before the
rename that shows it, the names in a directory after it. Nothing here writes.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol


class Durability(Protocol):
    """What `PosixStorage` tells of its writes. All methods raise `OSError`."""

    def settle(self, path: str | Path) -> None:
        """A file is about to be renamed to where it is seen; `before_renames` follows."""

    def before_renames(self) -> None:
        """Return when the bytes of all settled files would survive a power cut."""

    def changed(self, directory: str | Path) -> None:
        """A name in this directory was made, replaced or removed."""

    def flush(self) -> None:
        """Return when everything so far would survive a power cut."""


class Batch:
    """One flush of the file system for many writes: its cost does not grow with their number.

    `catalog` may be on another file system; what was committed to it is flushed along.
    """

    def __init__(self, directory: Path, catalog: Path | None = None) -> None:
        self._directory = directory
        self._catalog = catalog

    def settle(self, path: str | Path) -> None:
        """Nothing: `before_renames` does it for all."""

    def before_renames(self) -> None:
        """Flush the file system."""
        self.flush()

    def changed(self, directory: str | Path) -> None:
        """Nothing: `flush` does it for all."""

    def flush(self) -> None:
        """Flush the file system."""
        sync_file_system(self._directory)
        if self._catalog is not None and _device(self._catalog.parent) != _device(self._directory):
            sync_file_system(self._catalog.parent)


class Single:
    """A flush for each file and each directory, for systems where there is nothing better.

    `catalog`, an SQLite file, is flushed along: it leaves that to its checkpoints.
    """

    def __init__(self, catalog: Path | None = None) -> None:
        self._log = None if catalog is None else Path(f"{catalog}-wal")
        self._changed: set[str] = set()

    def settle(self, path: str | Path) -> None:
        """Flush the file."""
        sync_file(path)

    def before_renames(self) -> None:
        """Flush what was committed to the catalog: each file was flushed by itself."""
        self._flush_log()

    def changed(self, directory: str | Path) -> None:
        """Remember the directory."""
        self._changed.add(str(directory))

    def flush(self) -> None:
        """Flush the directories that have changed, and what was committed to the catalog."""
        while self._changed:
            sync_directory(self._changed.pop())
        self._flush_log()

    def _flush_log(self) -> None:
        if self._log is not None:
            with contextlib.suppress(FileNotFoundError):
                sync_file(self._log)


def choose(
    mode: Literal["batch", "file"], directory: Path, catalog: Path | None = None
) -> Durability:
    """Return what `[mirror] durability` asks for, so far as this system has it."""
    if mode == "batch" and _syncfs() is not None:
        return Batch(directory, catalog)
    return Single(catalog)


def sync_file_system(path: Path) -> None:
    """Flush the file system that `path` is on, with all that was written to it."""
    syncfs = _syncfs()
    assert syncfs is not None
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))
    finally:
        os.close(descriptor)


def sync_file(path: str | Path) -> None:
    """Flush the bytes of a file to the disk itself, not only to its cache."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        _full_sync(descriptor)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(descriptor)


def sync_directory(path: str) -> None:
    """Flush the names in a directory; one that was removed since has none."""
    try:
        sync_file(path)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno != errno.EINVAL:  # file systems that do not flush directories
            raise


def _full_sync(descriptor: int) -> None:
    command = getattr(fcntl, "F_FULLFSYNC", None)  # macOS: its fsync stops at the disk's cache
    if command is not None:
        with contextlib.suppress(OSError):  # not every file system there has it
            fcntl.fcntl(descriptor, command)
            return
    os.fsync(descriptor)


def _device(path: Path) -> int:
    return os.stat(path).st_dev  # noqa: PTH116 - as elsewhere in what is called for each batch


@functools.cache
def _syncfs() -> Callable[[int], int] | None:
    return getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)

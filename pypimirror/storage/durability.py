"""How writes become durable: a whole file system at once, or file by file.

Both ways keep the order that `pypimirror.storage.posix` needs: the bytes of a file before the
rename that shows it, and the names in a directory after the rename. Nothing here writes.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sys
from pathlib import Path
from typing import Literal, Protocol

_HAS_SYNCFS = sys.platform == "linux"


class Durability(Protocol):
    """What `PosixStorage` reports about its writes. All methods raise `OSError`."""

    def settle(self, path: str | Path) -> None:
        """Note that a file will be renamed to its visible name after `before_renames`."""

    def before_renames(self) -> None:
        """Make the bytes of all settled files durable."""

    def changed(self, directory: str | Path) -> None:
        """Note that a name in this directory was created, replaced or removed."""

    def flush(self) -> None:
        """Make everything so far durable."""


class WholeFileSystem:
    """One flush of the whole file system for many writes. Its cost does not grow with their number.

    If `catalog` is on another file system, that one is flushed too.
    """

    def __init__(self, directory: Path, catalog: Path | None = None) -> None:
        self._directory = directory
        self._catalog = catalog

    def settle(self, path: str | Path) -> None:
        """Do nothing: `before_renames` flushes everything."""

    def before_renames(self) -> None:
        """Flush the file system."""
        self.flush()

    def changed(self, directory: str | Path) -> None:
        """Do nothing: `flush` flushes everything."""

    def flush(self) -> None:
        """Flush the file system."""
        sync_file_system(self._directory)
        if self._catalog is not None and _device(self._catalog.parent) != _device(self._directory):
            sync_file_system(self._catalog.parent)


class FileByFile:
    """One flush for each file and directory, for systems that have nothing better.

    `catalog`, an SQLite file, is flushed too: SQLite itself flushes it only at checkpoints.
    """

    def __init__(self, catalog: Path | None = None) -> None:
        self._log = None if catalog is None else Path(f"{catalog}-wal")
        self._changed: set[str] = set()

    def settle(self, path: str | Path) -> None:
        """Flush the file."""
        sync_file(path)

    def before_renames(self) -> None:
        """Flush the catalog's commits. The files were flushed by `settle`."""
        self._flush_log()

    def changed(self, directory: str | Path) -> None:
        """Remember the directory."""
        self._changed.add(str(directory))

    def flush(self) -> None:
        """Flush the changed directories and the catalog's commits."""
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
    """Return the way that `[mirror] durability` asks for, if this system supports it."""
    if mode == "batch" and _HAS_SYNCFS:
        return WholeFileSystem(directory, catalog)
    return FileByFile(catalog)


def sync_file_system(path: Path) -> None:
    """Flush the file system of `path`."""
    import ctypes  # slow to import, and a run that finds no change writes nothing

    syncfs = ctypes.CDLL(None, use_errno=True).syncfs
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))
    finally:
        os.close(descriptor)


def sync_file(path: str | Path) -> None:
    """Flush a file to the disk, not only to the disk's cache."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        _full_sync(descriptor)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(descriptor)


def sync_directory(path: str) -> None:
    """Flush the names in a directory. A removed directory needs no flush."""
    try:
        sync_file(path)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems do not flush directories
            raise


def _full_sync(descriptor: int) -> None:
    command = getattr(fcntl, "F_FULLFSYNC", None)  # macOS: fsync only writes to the disk's cache
    if command is not None:
        with contextlib.suppress(OSError):  # not every file system supports it
            fcntl.fcntl(descriptor, command)
            return
    os.fsync(descriptor)


def _device(path: Path) -> int:
    return os.stat(path).st_dev  # noqa: PTH116 - called for each batch

"""The definition of a file, and the only place that opens files for reading.

**The rule.** A path has a file if it leads to a regular file without any link: the name itself is
not a symbolic link, and every directory between it and its top (`simple`, `packages`, `pypi`,
`.pypimirror`) is a real directory. The operator may let the mirror root and the tops be links.
Everything else, such as a link, a directory, a FIFO, a socket or a device, is not a file: it is
never read, and nobody waits for it. Verification, sync and server all use this module, so they
agree on what is a file.

Files in the private directory are always new files, made by `create`. No existing file is written
to, except databases and continued transfers (`pypimirror.storage.hard_links` separates these from
copies): it may be a hard link, made by `cp -al`, to a file that another mirror serves.

A file that an operator names (the configuration, lists of names) may be a symbolic link. It must
still lead to a regular file, and its size is limited.

This module imports nothing slow, because checks without findings use it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BufferedReader, FileIO

#: O_NONBLOCK: opening a FIFO must not wait for a writer.
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW

#: Most bytes of a page, or of any other file that is read at once.
MOST = 1 << 30
#: Most bytes of a file that an operator writes, such as a list of names.
MOST_WRITTEN = 64 << 20

_BUFFER = 1 << 18  #: bytes
_TOGETHER = 1 << 20  #: bytes that are written at once

#: Errors that mean that the path, or a directory above it, is not what it should be.
_NO_FILE = {errno.ELOOP, errno.ENXIO, errno.ENODEV, errno.EMLINK, errno.EISDIR}

_KINDS = {
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symbolic link",
    stat.S_IFIFO: "FIFO",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


class NotAFileError(FileNotFoundError):
    """The path has something other than a regular file, so there is no file with this name."""

    def __init__(self, path: str, mode: int | None = None) -> None:
        super().__init__(errno.ENOENT, f"is a {_kind(mode)} and no file", path)


def status(path: str, root: str = "") -> os.stat_result:
    """Return the status of the file at `path`.

    With `root`, a prefix of the path, the directories below it are checked too. Raises `OSError`,
    and `NotAFileError` if it is not a file.
    """
    check_way(path, root)
    found = os.lstat(path)
    if not stat.S_ISREG(found.st_mode):
        raise NotAFileError(path, found.st_mode)
    return found


def is_here(path: str, root: str = "") -> bool:
    """Whether there is a file at `path`, as `status` defines it. Raises nothing."""
    try:
        status(path, root)
    except (OSError, ValueError):
        return False
    return True


def open_file(path: str, root: str = "", *, follow: bool = False) -> tuple[int, os.stat_result]:
    """Open the file at `path` for reading. Return its descriptor and its status.

    Only with `follow` may it be a symbolic link. Raises the errors of `status`.
    """
    check_way(path, root)
    try:
        descriptor = os.open(path, _FLAGS if follow else _FLAGS | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno in _NO_FILE:
            raise NotAFileError(path, _mode(path)) from error
        raise
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise NotAFileError(path, found.st_mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, found


@contextmanager
def opened(path: str, root: str = "") -> Iterator[tuple[int, os.stat_result]]:
    """Yield the result of `open_file`, and close the file afterwards."""
    descriptor, found = open_file(path, root)
    try:
        yield descriptor, found
    finally:
        os.close(descriptor)


def stream(path: str, root: str = "") -> BufferedReader[FileIO]:
    """Open the file at `path` for reading and seeking. Raises the errors of `status`."""
    return BufferedReader(FileIO(open_file(path, root)[0], "rb"), _BUFFER)


def read(path: str, root: str = "", *, most: int = MOST, follow: bool = False) -> bytes:
    """Return the bytes of the file at `path`.

    Raises the errors of `status`, and `OSError` if it has more than `most` bytes.
    """
    descriptor, found = open_file(path, root, follow=follow)
    with FileIO(descriptor, "rb") as file:
        if found.st_size > most:
            raise OSError(errno.EFBIG, f"has more than {most} bytes", path)
        return file.readall()[:most]  # `read(most)` would first make room for that many bytes


def read_written(path: str | os.PathLike[str], most: int = MOST_WRITTEN) -> bytes:
    """Return the bytes of a file that an operator has named. Raises the errors of `read`."""
    return read(os.fspath(path), most=most, follow=True)


def create(path: str) -> int:
    """Create a new file at `path` and return its descriptor. An old file is removed first.

    Raises `OSError`, for example if a directory is there.
    """
    try:
        return os.open(path, _NEW, 0o644)
    except FileExistsError:
        os.unlink(path)  # noqa: PTH108
        return os.open(path, _NEW, 0o644)


def write_new(path: str, chunks: Iterable[bytes]) -> int:
    """Write a new file, as `create` makes it, and return its size in bytes. Raises `OSError`.

    A Python stream would make four system calls more.
    """
    size = 0
    descriptor = create(path)
    try:
        for part in _together(chunks):
            left = memoryview(part)
            while left:
                left = left[os.write(descriptor, left) :]
            size += len(part)
    finally:
        os.close(descriptor)
    return size


def _together(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Join chunks to larger ones."""
    held: list[bytes] = []
    size = 0
    for chunk in chunks:
        held.append(chunk)
        size += len(chunk)
        if size >= _TOGETHER:
            yield b"".join(held)
            held, size = [], 0
    yield b"".join(held)


def check_way(path: str, root: str) -> None:
    """Raise `OSError` if a component between the top and the file is not a real directory."""
    if not root:
        return
    root = root.rstrip("/")
    assert path.startswith(f"{root}/")
    end = path.find("/", len(root) + 1)  # of the top
    while (end := path.find("/", end + 1) if end != -1 else -1) != -1:
        above = path[:end]
        mode = os.lstat(above).st_mode
        if not stat.S_ISDIR(mode):
            raise NotAFileError(above, mode)


def kind_of(path: str) -> str:
    """Return the word for what is at `path`."""
    return _kind(_mode(path))


def _kind(mode: int | None) -> str:
    return _KINDS.get(stat.S_IFMT(mode), "file") if mode is not None else "thing"


def _mode(path: str) -> int | None:
    try:
        return os.lstat(path).st_mode
    except OSError:
        return None

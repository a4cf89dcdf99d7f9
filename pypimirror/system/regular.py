"""What a file is here, and the one place that opens one.

**The rule.** A file is here when its path leads to a regular file by itself: the name is that of a
regular file and of no symbolic link, and so is every directory between it and its top (`simple`,
`packages`, `pypi`, `.pypimirror`) a directory and no link. Where root and tops themselves lead is
the operator's business. All else that a path can be, such as a link, a directory, a FIFO, a socket
or a device, is no file: it is never read, and nobody waits for it. Verification, sync and server
ask here, so that none of them takes for a file what another does not.

What is made in the private directory is a new file, by `create`. Nothing is ever written into a
file that is there, but for databases and what a transfer continues (`pypimirror.storage.links`
parts these from copies): by a hard link, as `cp -al` makes, it may be one that another mirror
serves.

What operators name (the configuration, lists of names) may be a link, but has to be a regular file
as well, and has a bound.

Imports nothing that is slow: also checks that find nothing ask.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader, FileIO

#: O_NONBLOCK: to open a FIFO must not wait for whoever writes to it.
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW

#: Bytes of a page, or of anything else that is read at once.
MOST = 1 << 30
#: Bytes of a file that an operator writes, such as a list of names.
MOST_WRITTEN = 64 << 20

_BUFFER = 1 << 18  #: bytes

#: Errors that say that something else than a file is there, or something on the way to it.
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
    """What is there is no regular file: there is no file of this name."""

    def __init__(self, path: str, mode: int | None = None) -> None:
        super().__init__(errno.ENOENT, f"is a {_kind(mode)} and no file", path)


def status(path: str, root: str = "") -> os.stat_result:
    """Return the status of the file at `path`.

    With `root`, which it begins with, the way from there is looked at, too. Raises `OSError`;
    where it is no file, `NotAFileError`.
    """
    check_way(path, root)
    found = os.lstat(path)
    if not stat.S_ISREG(found.st_mode):
        raise NotAFileError(path, found.st_mode)
    return found


def is_here(path: str, root: str = "") -> bool:
    """Whether there is a file at `path`; see `status`. Raises nothing."""
    try:
        status(path, root)
    except (OSError, ValueError):
        return False
    return True


def open_file(path: str, root: str = "", *, follow: bool = False) -> tuple[int, os.stat_result]:
    """Open the file at `path` for reading; return its descriptor, and its status then.

    It may be a symbolic link only with `follow`. Raises as `status`.
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
    """Give what `open_file` returns, and close it."""
    descriptor, found = open_file(path, root)
    try:
        yield descriptor, found
    finally:
        os.close(descriptor)


def stream(path: str, root: str = "") -> BufferedReader[FileIO]:
    """Open the file at `path` to be read and sought in; raises as `status`."""
    return BufferedReader(FileIO(open_file(path, root)[0], "rb"), _BUFFER)


def read(path: str, root: str = "", *, most: int = MOST, follow: bool = False) -> bytes:
    """Return the bytes of the file at `path`.

    Raises as `status`; an `OSError` as well where they are more than `most`.
    """
    descriptor, found = open_file(path, root, follow=follow)
    with os.fdopen(descriptor, "rb") as file:
        if found.st_size > most:
            raise OSError(errno.EFBIG, f"has more than {most} bytes", path)
        return file.read(most)


def read_written(path: str | os.PathLike[str], most: int = MOST_WRITTEN) -> bytes:
    """Return the bytes of a file that an operator has written and named; raises as `read`."""
    return read(os.fspath(path), most=most, follow=True)


def create(path: str) -> int:
    """Make a new file at `path`, in the place of whatever is there; return its descriptor.

    Raises `OSError`, also where a directory is there.
    """
    try:
        return os.open(path, _NEW, 0o644)
    except FileExistsError:
        os.unlink(path)  # noqa: PTH108
        return os.open(path, _NEW, 0o644)


def check_way(path: str, root: str) -> None:
    """Raise `OSError` where what is between the top and a path is no directory of its own."""
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
    """Say in a word what is at `path`."""
    return _kind(_mode(path))


def _kind(mode: int | None) -> str:
    return _KINDS.get(stat.S_IFMT(mode), "file") if mode is not None else "thing"


def _mode(path: str) -> int | None:
    try:
        return os.lstat(path).st_mode
    except OSError:
        return None

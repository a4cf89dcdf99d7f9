"""Errors of the disk: what they say to people, and whether they are of one path alone.

One path that cannot be read, replaced or removed (a bad sector, a symbolic link to itself, a file
that is immutable or another user's, a name that is too long) is the failure of one file or project,
and stops no other (promise 7). All other errors are of the disk as a whole, of the network that
leads to it, or of this process: whoever goes on would meet them again at each path, and they say
nothing about any of them.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pypimirror.domain.model import Problem, PypimirrorError, Reason
from pypimirror.system import regular
from pypimirror.system.space import remedy

#: Errors that tell of something that is in the way, and not of the disk.
IN_THE_WAY = (IsADirectoryError, NotADirectoryError, FileExistsError, regular.NotAFileError)

_OF_ONE_PATH = {
    *(errno.EIO, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG, errno.EBUSY),
    *(errno.ETXTBSY, errno.EINVAL, errno.EFBIG, errno.ENOTEMPTY, errno.EMLINK, errno.EILSEQ),
    *(getattr(errno, name) for name in ("EBADMSG", "EUCLEAN") if hasattr(errno, name)),
}


class StorageError(PypimirrorError):
    """The mirror root cannot be used or written; the message names the path."""

    def __init__(self, path: Path | str, error: OSError, *, is_of_path: bool = False) -> None:
        super().__init__(f"{path}: {error.strerror or error}. {remedy(error, path)}")
        self.problem = Problem(Reason.DISK, str(self))
        self.is_of_path = is_of_path  #: whether others may go on


def is_of_path(error: OSError, top: str) -> bool:
    """Whether an error is of one path below `top` alone.

    It is not where nothing could be done with any path there: `top` is no directory, or this user
    may not write to it.
    """
    of_one = isinstance(error, IN_THE_WAY) or error.errno in _OF_ONE_PATH
    return of_one and os.path.isdir(top) and os.access(top, os.W_OK | os.X_OK)  # noqa: PTH112


@contextmanager
def told(path: Path, top: str = "") -> Iterator[None]:
    """Translate the system's errors, naming `path`; with `top`, on which see `is_of_path`."""
    try:
        yield
    except OSError as error:
        apart = bool(top) and is_of_path(error, top)
        raise StorageError(path, error, is_of_path=apart) from error

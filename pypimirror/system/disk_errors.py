"""Errors of the disk: their messages, and whether they concern only one path.

An error may concern a single path: a bad sector, a symbolic link to itself, a file that is
immutable or belongs to another user, a name that is too long. Then one file or project fails, and
no other is stopped (promise 7). All other errors concern the whole disk, the network behind it, or
this process. They would happen again at every path and say nothing about a single one.
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

#: Errors that mean that something else is at the path, not that the disk fails.
IN_THE_WAY = (IsADirectoryError, NotADirectoryError, FileExistsError, regular.NotAFileError)

_OF_ONE_PATH = {
    *(errno.EIO, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG, errno.EBUSY),
    *(errno.ETXTBSY, errno.EINVAL, errno.EFBIG, errno.ENOTEMPTY, errno.EMLINK, errno.EILSEQ),
    *(getattr(errno, name) for name in ("EBADMSG", "EUCLEAN") if hasattr(errno, name)),
}


class StorageError(PypimirrorError):
    """The mirror root cannot be read or written. The message names the path."""

    def __init__(self, path: Path | str, error: OSError, *, is_of_path: bool = False) -> None:
        super().__init__(f"{path}: {error.strerror or error}. {remedy(error, path)}")
        self.problem = Problem(Reason.DISK, str(self))
        self.is_of_path = is_of_path  #: whether work on other paths may go on


def is_of_path(error: OSError, top: str) -> bool:
    """Whether an error concerns only one path below `top`.

    It does not if no path there can be used: `top` is not a directory, or this user may not write
    to it.
    """
    of_one = isinstance(error, IN_THE_WAY) or error.errno in _OF_ONE_PATH
    return of_one and os.path.isdir(top) and os.access(top, os.W_OK | os.X_OK)  # noqa: PTH112


@contextmanager
def storage_errors(path: Path, top: str = "") -> Iterator[None]:
    """Turn the system's errors into `StorageError` with `path`. `is_of_path` explains `top`."""
    try:
        yield
    except OSError as error:
        apart = bool(top) and is_of_path(error, top)
        raise StorageError(path, error, is_of_path=apart) from error

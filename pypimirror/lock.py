"""One run at a time: an operating-system lock on the mirror, which dies with its holder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pypimirror.errors import PypimirrorError

if TYPE_CHECKING:
    from pathlib import Path


class LockedError(PypimirrorError):
    """Another run holds the lock; the message says which process."""


class LockError(PypimirrorError):
    """The lock file cannot be used; the message says why."""


@contextmanager
def hold(path: Path | str, holder: str = "another run") -> Iterator[None]:
    """Hold the lock file `path`; raises `LockedError` at once when another process does.

    `holder` says in its message what that process is.
    """
    # The file stays: removing it would let two runs lock two files of one name.
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise LockError(f"{path}: cannot be opened: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            process = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
            raise LockedError(
                f"{holder} (process {process or 'unknown'}) is working on this mirror; "
                "wait for it to end, or stop it"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)

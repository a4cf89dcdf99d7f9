"""One run at a time: an operating-system lock on the mirror, which dies with its holder.

The lock file says who holds it: the process, and the run once it has a name.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from pypimirror.domain.errors import LockedError, PypimirrorError, refusal
from pypimirror.system import regular

if TYPE_CHECKING:
    from pathlib import Path

#: Bytes of the lock file that are read at most.
_LENGTH = 200


class LockError(PypimirrorError):
    """The lock file cannot be used; the message says why."""


class HeldLock:
    """The lock, held by this process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.name("")

    def name(self, run: str) -> None:
        """Tell those who find it locked which run this process is, or what else it is known by."""
        text = "".join(f"{line}\n" for line in (os.getpid(), run) if line).encode()
        with suppress(OSError):  # no space: the lock is held all the same
            os.pwrite(self._descriptor, text, 0)
            os.ftruncate(self._descriptor, len(text))


@contextmanager
def hold(path: Path | str, holder: str = "another run") -> Iterator[HeldLock]:
    """Hold the lock file `path`; raises `LockedError` at once when another process does.

    `holder` says in its message what that process is.
    """
    # The file stays: removing it would let two runs lock two files of one name.
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        from pypimirror.system.space import remedy

        said = f"{path}: cannot be opened: {error.strerror}. {remedy(error, path)}"
        raise LockError(said) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            process, run = _told(descriptor)
            raise LockedError(*refusal(holder, run, f"process {process}")) from None
        yield HeldLock(descriptor)
    finally:
        os.close(descriptor)


def holder_of(path: Path | str) -> tuple[int, str] | None:
    """Return process and name of whoever holds the lock file; None: nobody, as far as is known."""
    try:
        with regular.opened(str(path)) as (descriptor, _):
            process, name = _told(descriptor)
            if process.isdecimal() and _is_there(int(process)):  # else it is about to be taken
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(process), name
    except OSError:
        pass
    return None


def _told(descriptor: int) -> tuple[str, str]:
    """Return what the lock file says: the process, and its name, which may be empty."""
    process, _, rest = os.pread(descriptor, _LENGTH, 0).decode(errors="replace").partition("\n")
    return process.strip() or "unknown", rest.partition("\n")[0].strip()


def _is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True

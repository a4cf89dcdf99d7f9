"""One run at a time: an operating-system lock on the mirror that dies with its holder.

The lock file names the holder: its process id, and the name of its run.
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

#: Most bytes of the lock file that are read.
_LENGTH = 200


class LockError(PypimirrorError):
    """The lock file cannot be used. The message says why."""


class HeldLock:
    """The lock, held by this process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.name("")

    def name(self, run: str) -> None:
        """Write this process's id and the name of its run into the lock file, for others to see."""
        text = "".join(f"{line}\n" for line in (os.getpid(), run) if line).encode()
        with suppress(OSError):  # no space left: the lock is held anyway
            os.pwrite(self._descriptor, text, 0)
            os.ftruncate(self._descriptor, len(text))


@contextmanager
def hold(path: Path | str, holder: str = "another run") -> Iterator[HeldLock]:
    """Hold the lock file `path`. Raises `LockedError` at once if another process holds it.

    `holder` is the word for that process in the message.
    """
    # Never remove the file: two runs could then lock two different files with the same name.
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        from pypimirror.system.space import remedy

        message = f"{path}: cannot be opened: {error.strerror}. {remedy(error, path)}"
        raise LockError(message) from error
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
    """Return process id and name of the holder of the lock file; None if there is none."""
    try:
        with regular.opened(str(path)) as (descriptor, _):
            process, name = _told(descriptor)
            if process.isdecimal() and _is_there(int(process)):  # else somebody is just taking it
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(process), name
    except OSError:
        pass
    return None


def _told(descriptor: int) -> tuple[str, str]:
    """Return the process id and the name in the lock file. The name may be ""."""
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

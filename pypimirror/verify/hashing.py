"""Read files and compute their digests. Imports little, for child processes that start fast.

`pypimirror.verify.digests` compares digests with claims.
"""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import threading
from collections.abc import Iterable

from pypimirror.storage.stamps import stamp_of
from pypimirror.system import regular

TYPE_CHECKING = False  # the module typing is slow to import
if TYPE_CHECKING:
    from typing import Any

_BUFFER = 1 << 20  # bytes

_of_thread = threading.local()

#: Errors of one file. All other errors may come from the disk, from the network that leads to it or
#: from this process, and say nothing about the file.
UNREADABLE = {
    *(errno.EIO, errno.EACCES, errno.EPERM),
    *(getattr(errno, name) for name in ("EBADMSG", "EUCLEAN") if hasattr(errno, name)),
}


#: Size in bytes; digests, algorithm to lower-case hex; stamp (`stamps.stamp`).
Hashed = tuple[int, dict[str, str], int]


class ChangedError(OSError):
    """A file was changed while it was read, so the bytes read may mix two versions."""


def new_hash(algorithm: str) -> Any:
    """Return a hash object for one of `pypimirror.domain.model.ALGORITHMS`."""
    if algorithm == "blake2b_256":
        return hashlib.blake2b(digest_size=32)
    # Here, md5 and sha1 are claims and no protection, so they are allowed under FIPS as well.
    return hashlib.new(algorithm, usedforsecurity=False)


def hash_file(
    path: str | os.PathLike[str], algorithms: Iterable[str] = (), root: str = ""
) -> Hashed:
    """Return size, digests and stamp of a file: the requested digests, and always sha256.

    On `root`, see `regular.status`. Raises `OSError`, and `ChangedError` if the file was changed
    in the meantime.
    """
    hashes = {name: new_hash(name) for name in {*algorithms, "sha256"}}
    states = list(hashes.values())
    size = 0
    descriptor, found = regular.open_file(os.fspath(path), root)
    try:
        buffer = _buffer()
        # All bytes up to the length of the file are read. The check below notices if it has grown.
        while size < found.st_size and (count := os.readv(descriptor, [buffer])):
            size += count
            piece = buffer[:count]
            for state in states:
                state.update(piece)
        if _version(found) != _version(os.fstat(descriptor)):
            raise ChangedError(errno.EBUSY, "it was written while it was read", os.fspath(path))
    finally:
        os.close(descriptor)
    return size, {name: state.hexdigest() for name, state in hashes.items()}, stamp_of([found])


def hash_sidecar(path: str, root: str = "") -> str:
    """Return the sha256 of a sidecar as hex; "" if it is absent or unreadable, or if `path` is "".

    Raises `OSError` for errors that say nothing about the file.
    """
    try:
        return hash_file(path, (), root)[1]["sha256"] if path else ""
    except OSError as error:
        if is_absent(error) or error.errno in UNREADABLE:
            return ""
        raise


def is_absent(error: OSError) -> bool:
    """Whether the file is absent, perhaps because a part of its path is no directory."""
    return isinstance(error, FileNotFoundError | NotADirectoryError)


def _buffer() -> memoryview:
    """Return the buffer of this thread. Making a new one takes longer than hashing a small file.

    It begins at a page of memory: the system copies bytes to there faster than to a `bytearray`.
    After a fork, each process has its own.
    """
    found: memoryview | None = getattr(_of_thread, "buffer", None)
    if found is None:
        found = _of_thread.buffer = memoryview(
            mmap.mmap(-1, _BUFFER, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        )
    return found


def _version(found: os.stat_result) -> tuple[int, int, int]:
    """Return the values from which a stamp is made."""
    return found.st_ino, found.st_size, found.st_mtime_ns

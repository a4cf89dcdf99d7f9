"""Compute digests, and compare them with claims.

All claimed digests must agree, and a claimed size too. `pypimirror.verify.proof` says what this
proves.
"""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import Struct

from pypimirror.domain.model import ALGORITHMS, Problem, Reason
from pypimirror.storage.stamps import stamp_of
from pypimirror.system import regular

_BUFFER = 1 << 20  # bytes

_of_thread = threading.local()


class Claims(Struct, frozen=True):
    """The expected digests and size of a file."""

    digests: Mapping[str, str]  #: algorithm to lower-case hex
    size: int | None = None  #: bytes


def new_hash(algorithm: str) -> Any:
    """Return a hash object for one of `pypimirror.domain.model.ALGORITHMS`."""
    if algorithm == "blake2b_256":
        return hashlib.blake2b(digest_size=ALGORITHMS[algorithm])
    # Here, md5 and sha1 are claims and no protection, so they are allowed under FIPS as well.
    return hashlib.new(algorithm, usedforsecurity=False)


class Hashed(NamedTuple):
    """The computed digests and size of a file."""

    size: int  #: bytes
    digests: dict[str, str]  #: algorithm to lower-case hex
    #: The stamp of the file, the same before and after it was read; see `stamps.stamp`.
    stamp: int


class ChangedError(OSError):
    """A file was changed while it was read, so the bytes read may mix two versions."""


def hash_file(path: str | Path, algorithms: Iterable[str], root: str = "") -> Hashed:
    """Return the size and digests of a file: the requested ones, and always sha256.

    On `root`, see `regular.status`. Raises `OSError`, and `ChangedError` if the file was changed
    in the meantime.
    """
    hashes = {name: new_hash(name) for name in {*algorithms, "sha256"}}
    states = list(hashes.values())
    size = 0
    descriptor, found = regular.open_file(str(path), root)
    try:
        buffer = _buffer()
        # All bytes up to the length of the file are read. The check below notices if it has grown.
        while size < found.st_size and (count := os.readv(descriptor, [buffer])):
            size += count
            piece = buffer[:count]
            for state in states:
                state.update(piece)
        if _version(found) != _version(os.fstat(descriptor)):
            raise ChangedError(errno.EBUSY, "it was written while it was read", str(path))
    finally:
        os.close(descriptor)
    digests = {name: state.hexdigest() for name, state in hashes.items()}
    return Hashed(size, digests, stamp_of([found]))


def _buffer() -> memoryview:
    """Return the buffer of this thread. Making a new one takes longer than hashing a small file."""
    found: memoryview | None = getattr(_of_thread, "buffer", None)
    if found is None:
        found = _of_thread.buffer = memoryview(bytearray(_BUFFER))
    return found


def _version(found: os.stat_result) -> tuple[int, int, int]:
    """Return the values from which a stamp is made."""
    return found.st_ino, found.st_size, found.st_mtime_ns


def check(claims: Claims, size: int, digests: Mapping[str, str]) -> Problem | None:
    """Return the problem of bytes with this size and these digests, or None."""
    if claims.size is not None and claims.size != size:
        return Problem(Reason.SIZE_MISMATCH, f"has {size} bytes where {claims.size} were announced")
    for algorithm, claimed in claims.digests.items():
        if digests.get(algorithm) != claimed:
            return Problem(
                Reason.DIGEST_MISMATCH,
                f"has {algorithm} {digests.get(algorithm)} where {claimed} was announced",
            )
    return None

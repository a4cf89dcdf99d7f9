"""Checks the free space on disk: bytes and inodes."""

from __future__ import annotations

import os
from collections.abc import Iterator

from pypimirror.config.settings import Config
from pypimirror.doctor.finding import Finding, failed, ok, skipped, warning
from pypimirror.system.space import free, readable

#: Warn if less than this many times the reserve is free.
_LITTLE = 4
#: Warn if fewer inodes are free: each file, page and directory takes one.
_FEW = 10_000


def check(config: Config) -> Iterator[Finding]:
    """Check the free space on the file system where the mirror root is, or will be."""
    root = config.directory
    where = next(path for path in (root, *root.parents) if path.exists())
    left, reserve = free(where), int(config.mirror.reserve)
    if left is None:
        yield skipped("space", f"{where}: the system does not say how much is free")
        return
    seen = f"{readable(left)} free; [mirror] reserve keeps {readable(reserve)} of it"
    if left < reserve:
        remedy = "Free some space or select less: until then, syncs download nothing"
        yield failed("space", seen, remedy)
    elif left < _LITTLE * reserve:
        yield warning("space", seen, "Free some space, or select less")
    else:
        yield ok("space", seen)
    status = os.statvfs(where)
    if status.f_files and status.f_favail < _FEW:
        remedy = "Use a file system with more of them: each file and page takes one"
        yield warning("inodes", f"{status.f_favail} of {status.f_files} are free", remedy)

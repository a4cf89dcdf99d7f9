"""Whether everything below the mirror root is as the catalog says: by its looks, or byte by byte.

`pypimirror verify` of a mirror that is as it was seen last finds nothing; this says so. Whatever
is not so, lacks or is too much is for a whole verification to tell.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from stat import S_ISREG

from pypimirror.catalog.queries.holdings import Holdings, Seen
from pypimirror.domain.layout import page_paths
from pypimirror.storage.stamps import sha256_of, stamp_of, walk

#: More bytes than this are read by a verification that is on record meanwhile, as are those for
#: which the disk takes more seconds than this.
MOST, PATIENCE = 2 << 30, 15.0

_BUFFER = 1 << 18  #: bytes that are read at once


def all_of(held: Holdings, root: str, formats: Sequence[str]) -> bool:
    """Whether what is `held`, with pages in these `formats`, is below `root`, untouched, and alone.

    Raises `OSError`.
    """
    return _are_files(held.files, root) and _are_pages(held.pages, root, formats)


def _are_files(files: dict[str, Seen], root: str) -> bool:
    found = 0
    for path, entry in walk(root, "packages"):
        seen = files.get(path)
        if seen is None:
            return False
        status = entry.stat(follow_symlinks=False)
        if not S_ISREG(status.st_mode) or seen.stamp not in (None, stamp_of([status])):
            return False
        found += 1
    return found == len(files)


def _are_pages(pages: Sequence[tuple[str | None, Seen]], root: str, formats: Sequence[str]) -> bool:
    found = {
        path: entry.stat(follow_symlinks=False)
        for top in ("simple", "pypi")
        for path, entry in walk(root, top)
    }
    number = 0
    for project, seen in pages:
        statuses = [found.get(path) for path in page_paths(project, formats).values()]
        known = [s for s in statuses if s is not None and S_ISREG(s.st_mode)]
        if len(known) != len(statuses) or stamp_of(known) != seen.stamp:
            return False
        number += len(known)
    return number == len(found)


def every_byte_of(held: Holdings, root: str, formats: Sequence[str], threads: int) -> bool:
    """Whether the bytes of all that is `held` are those that they were; False where it is slow.

    A daemon thread for each core reads: nobody waits for one that a disk holds up.
    """
    if held.size > MOST:
        return False
    wanted = [([f"{root}/{path}"], seen.sha256) for path, seen in held.files.items()]
    wanted += [
        ([f"{root}/{path}" for path in page_paths(project, formats).values()], seen.sha256)
        for project, seen in held.pages
    ]
    deadline = time.monotonic() + PATIENCE
    wrong = threading.Event()
    workers = [
        threading.Thread(target=_read, args=(wanted, f"{root}/", wrong, deadline), daemon=True)
        for _ in range(threads)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(max(0.0, deadline - time.monotonic()))
    return not wrong.is_set() and not any(worker.is_alive() for worker in workers)


def _read(
    wanted: list[tuple[list[str], bytes]], root: str, wrong: threading.Event, deadline: float
) -> None:
    buffer = memoryview(bytearray(_BUFFER))
    try:
        while not wrong.is_set():
            try:
                paths, sha256 = wanted.pop()
            except IndexError:
                return
            if time.monotonic() > deadline or sha256_of(paths, root, buffer) != sha256:
                break
    except OSError:
        pass
    wrong.set()

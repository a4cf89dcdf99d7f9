"""Whether everything below the mirror root is as the catalog says, by looks alone.

`pypimirror verify --quick` reads only what inode, size and mtime say was touched. Where nothing
was, and nothing lacks or is too much, this says so; all else is a whole verification's to tell.
"""

from __future__ import annotations

from collections.abc import Sequence

from pypimirror.catalog.holdings import Holdings
from pypimirror.paths import page_paths, stamp_of, walk


def all_of(held: Holdings, root: str, formats: Sequence[str]) -> bool:
    """Whether what is `held`, with pages in these `formats`, is below `root`, untouched, and alone.

    Raises `OSError`.
    """
    return _are_files(held.files, root) and _are_pages(held, root, formats)


def _are_files(files: dict[str, int | None], root: str) -> bool:
    found = 0
    for path, entry in walk(root, "packages"):
        expected = files.get(path, 0)  # which no stamp is, but once in 2^64 times
        if expected is not None and stamp_of([entry.stat()]) != expected:
            return False
        found += 1
    return found == len(files)


def _are_pages(held: Holdings, root: str, formats: Sequence[str]) -> bool:
    found = {path: entry.stat() for top in ("simple", "pypi") for path, entry in walk(root, top)}
    number = 0
    for project, stamp in [(None, held.root), *held.pages]:
        statuses = [found.get(path) for path in page_paths(project, formats).values()]
        known = [status for status in statuses if status is not None]
        if len(known) != len(statuses) or stamp_of(known) != stamp:
            return False
        number += len(known)
    return number == len(found)

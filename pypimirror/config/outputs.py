"""Files that a run writes because the configuration says so. They must not overwrite the mirror.

`[publish] changes` and `[metrics] textfile` may name any path, with these exceptions: the
configuration, the catalog, and everything in this program's own directories of the mirror root,
through any link. `[mirror] catalog` must not be in the mirror root, because web servers serve
everything in it except the private directory, and follow links out of it. It may be in the private
directory, but not in the directories that each run sweeps.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote

from pypimirror.domain.layout import OWN


def fault(path: Path, root: Path, kept: Iterable[Path]) -> str | None:
    """Return why this file must not be written, as a clause about it; None if it may be.

    `kept` are files that must not be overwritten.
    """
    real, base = _real(path), _real(root)
    if real == base or real in base.parents:
        return "is a directory that contains the mirror"
    if (own := _holding(real, root, OWN)) is not None:
        return f"is in {own}, which belongs to the mirror; name a file outside of it"
    for each in kept:
        if real in (_real(each), *(_real(Path(f"{each}{end}")) for end in ("-wal", "-shm"))):
            return f"is {each}, which a run must not overwrite; name another file"
    return None


def fault_of_catalog(url: str, root: Path) -> str | None:
    """Return why the catalog must not be in the file of this URL, or None."""
    scheme, _, rest = url.partition(":///")
    path = unquote(rest.partition("?")[0]).removeprefix("file:")
    if scheme.partition("+")[0] != "sqlite" or path in ("", ":memory:"):
        return None
    remedy = f"write 'sqlite', or name a file outside of {root}"
    private = root / ".pypimirror"
    for place in (_real(Path(path)), Path(os.path.abspath(path))):  # noqa: PTH100 - links stay
        if (own := _holding(place, private, ("staging", "quarantine"))) is not None:
            return f"{path} is in {own}, which each run sweeps; {remedy}"
        if _holding(place, root, (".",)) and not _holding(place, private, (".",)):
            return f"{path} is in the mirror root, which is served; {remedy}"
    return None


def _holding(real: Path, root: Path, names: Iterable[str]) -> Path | None:
    """Return the directory below `root`, one of `names`, that contains a file; None if there is
    none.
    """
    for name in names:
        for own in (_real(root / name), Path(os.path.abspath(root / name))):  # noqa: PTH100
            if real == own or own in real.parents:
                return root / name
    return None


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))

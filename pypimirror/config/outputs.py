"""Files that the configuration has a run write: never over what the mirror needs.

`[publish] changes` and `[metrics] textfile` name any path. The rule: neither the configuration nor
the catalog, and nothing in the directories of the mirror root that are this program's own,
whichever way a path leads there. `[mirror] catalog` may name no file in the mirror root: web
servers serve all of it but the private directory, and follow links that lead out of it. There a
catalog may be, but not among the bytes that each run sweeps.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote

from pypimirror.domain.layout import OWN


def fault(path: Path, root: Path, kept: Iterable[Path]) -> str | None:
    """Return why this file is not to be written: a clause on it. None where it may be.

    `kept` are the files that stay as they are.
    """
    real, base = _real(path), _real(root)
    if real == base or real in base.parents:
        return "is a directory that holds the mirror"
    if (own := _holding(real, root, OWN)) is not None:
        return f"is in {own}, which is the mirror's own; name a file outside of it"
    for each in kept:
        if real in (_real(each), *(_real(Path(f"{each}{end}")) for end in ("-wal", "-shm"))):
            return f"is {each}, which a run must not overwrite; name another file"
    return None


def fault_of_catalog(url: str, root: Path) -> str | None:
    """Return why the catalog is not to be in the file that this URL names, or None."""
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
    """Return which of these directories below `root` a file is in, if in any."""
    for name in names:
        for own in (_real(root / name), Path(os.path.abspath(root / name))):  # noqa: PTH100
            if real == own or own in real.parents:
                return root / name
    return None


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))

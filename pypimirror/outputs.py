"""Files that a run writes for others, by the configuration: never over what the mirror needs.

`[publish] changes` and `[metrics] textfile` name any path. The rule: neither the configuration nor
the catalog, and nothing in the directories of the mirror root that are this program's own,
whichever way a path leads there.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from pypimirror.paths import OWN


def fault(path: Path, root: Path, kept: Iterable[Path]) -> str | None:
    """Return why this file is not to be written: a clause on it. None where it may be.

    `kept` are the files that stay as they are.
    """
    real, base = _real(path), _real(root)
    if real == base or real in base.parents:
        return "is a directory that holds the mirror"
    for name in OWN:
        own = _real(root / name)
        if real == own or own in real.parents:
            return f"is in {root / name}, which is the mirror's own; name a file outside of it"
    for each in kept:
        if real in (_real(each), *(_real(Path(f"{each}{end}")) for end in ("-wal", "-shm"))):
            return f"is {each}, which a run must not overwrite; name another file"
    return None


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))

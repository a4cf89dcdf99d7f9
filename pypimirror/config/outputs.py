"""Files that the configuration has a run write: never over what the mirror needs.

`[publish] changes` and `[metrics] textfile` name any path. The rule: neither the configuration nor
the catalog, and nothing in the directories of the mirror root that are this program's own,
whichever way a path leads there. `[mirror] catalog` may name a file in the private directory, and
none in those that are served: whoever reads the mirror would read it too, and `verify --repair`
removes what no page has.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote

from pypimirror.storage.paths import OWN, SERVED


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
    if (own := _holding(_real(Path(path)), root, SERVED)) is None:
        return None
    return f"{path} is in {own}, which is served; name a file outside of it"


def _holding(real: Path, root: Path, names: Iterable[str]) -> Path | None:
    """Return which of these directories below `root` a file is in, if in any."""
    for name in names:
        own = _real(root / name)
        if real == own or own in real.parents:
            return root / name
    return None


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))

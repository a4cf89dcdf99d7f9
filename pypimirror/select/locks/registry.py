"""The formats of locks, each with its reader. A new format needs a line here and a module."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from pypimirror.select.locks import pdm, pins, pipfile, poetry, pylock, uv
from pypimirror.select.locks.lock import Lock, UnreadableLockError

#: The reader for each file name; the first that matches counts. The name may have a prefix, as in
#: `web-uv.lock`.
FORMATS: tuple[tuple[re.Pattern[str], Callable[[Path], Lock]], ...] = (
    (re.compile(r"(?:.*[^A-Za-z0-9])?uv\.lock|.*\.py\.lock"), uv.read),
    (re.compile(r"(?:.*[^A-Za-z0-9])?pylock(?:\.[^.]+)?\.toml"), pylock.read),
    (re.compile(r"(?:.*[^A-Za-z0-9])?poetry\.lock"), poetry.read),
    (re.compile(r"(?:.*[^A-Za-z0-9])?pdm\.lock"), pdm.read),
    (re.compile(r"(?:.*[^A-Za-z0-9])?Pipfile\.lock"), pipfile.read),
    (re.compile(r".*\.(?:txt|in|pip)|[^.]*"), pins.read),
)


def read(path: Path) -> Lock:
    """Read a lock file; raises `UnreadableLockError`, whose message names file, line and cause."""
    for names, reader in FORMATS:
        if names.fullmatch(path.name):
            return reader(path)
    if not path.exists():
        raise UnreadableLockError(f"{path}: there is no such file")
    raise UnreadableLockError(
        f"{path}: is none of the locks that are known by their names: uv.lock, pylock.toml, "
        "poetry.lock, pdm.lock, Pipfile.lock, and requirements in a .txt file"
    )

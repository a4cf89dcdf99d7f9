"""The formats of locks: which file is read by whom. A new format is a line here and a module."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from pypimirror.select.locks import pylock, uv
from pypimirror.select.locks.lock import Lock, LockError

#: By the name of the file: who reads it. The first that matches counts; a word may stand in
#: front, as in `web-uv.lock`.
FORMATS: tuple[tuple[re.Pattern[str], Callable[[Path], Lock]], ...] = (
    (re.compile(r"(?:.*[^A-Za-z0-9])?uv\.lock|.*\.py\.lock"), uv.read),
    (re.compile(r"(?:.*[^A-Za-z0-9])?pylock(?:\.[^.]+)?\.toml"), pylock.read),
)


def read(path: Path) -> Lock:
    """Read a lock file; raises `LockError`, whose message names file, line and cause."""
    for names, reader in FORMATS:
        if names.fullmatch(path.name):
            return reader(path)
    raise LockError(f"{path}: is no lock that is known by its name, such as uv.lock")

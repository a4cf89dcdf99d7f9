"""Hard links: files of a copy made by `cp -al`, which are those of the original as well.

What is replaced by a rename is parted by that. A database is written in place: two mirrors would
write one, by two names, each with a log of its own.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path


def part(files: Sequence[Path]) -> None:
    """Give each file that has another name as well bytes of its own; raises `OSError`.

    The first is parted last: a copy that ends in between begins anew.
    """
    if not files[0].exists() or files[0].stat().st_nlink == 1:
        return
    for file in reversed(files):
        if file.name.endswith("-shm"):
            file.unlink(missing_ok=True)  # SQLite makes it anew of the log
        elif file.exists():
            fresh = file.with_name(f"{file.name}.parted")
            fresh.unlink(missing_ok=True)
            shutil.copy2(file, fresh)
            with fresh.open("rb+") as stream:
                os.fsync(stream.fileno())
            fresh.replace(file)

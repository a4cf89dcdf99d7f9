"""Hard links: files that a copy made by `cp -al` shares with the original.

A file that is replaced by a rename is no longer shared. A database is written in place, so two
mirrors would write to the same database under two names, each with its own log.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


def part(files: Sequence[Path]) -> None:
    """Give each file that has another name its own bytes. Raises `OSError`.

    The first file comes last: if this is interrupted, the next call starts again.
    """
    if not files[0].exists() or files[0].stat().st_nlink == 1:
        return
    import shutil  # it imports compressors, and few mirrors are copied so

    for file in reversed(files):
        if file.name.endswith("-shm"):
            file.unlink(missing_ok=True)  # SQLite creates it again from the log
        elif file.exists():
            fresh = file.with_name(f"{file.name}.parted")
            fresh.unlink(missing_ok=True)
            shutil.copy2(file, fresh)
            with fresh.open("rb+") as stream:
                os.fsync(stream.fileno())
            fresh.replace(file)

"""A temporary directory to try things in, inside the mirror's private directory."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pypimirror.config.settings import Config
from pypimirror.system import clock, interrupts

_PREFIX = "doctor."
_OLD = 3600.0  # seconds; an older directory was left by a doctor that was killed


@contextmanager
def scratch(config: Config) -> Iterator[Path | None]:
    """Yield an empty directory, removed at the end; None if there is no private directory yet.

    Raises `OSError` if the directory cannot be made.
    """
    if not config.private.is_dir():
        yield None
        return
    for left in config.private.glob(f"{_PREFIX}*"):
        if clock.since(left.stat().st_mtime, clock.now()) > _OLD:
            shutil.rmtree(left, ignore_errors=True)
    with (
        interrupts.raised(),
        tempfile.TemporaryDirectory(
            prefix=_PREFIX, dir=config.private, ignore_cleanup_errors=True
        ) as made,
    ):
        yield Path(made)

"""A directory to try things in: in the private part of the mirror root, gone afterwards."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pypimirror.config.settings import Config
from pypimirror.system import clock, interrupts

_PREFIX = "doctor."
_OLD = 3600.0  # seconds; what a killed doctor left behind


@contextmanager
def scratch(config: Config) -> Iterator[Path | None]:
    """Give an empty directory below the private one; None where that is not there yet.

    Raises `OSError` where it cannot be made.
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

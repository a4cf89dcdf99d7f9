"""Begins a verification before the rest of the program is imported.

A child hashes files ahead. Its answers count for files that nobody has touched since.
"""

from __future__ import annotations

from pypimirror.config.settings import Config
from pypimirror.system.children import start_apart, start_early
from pypimirror.verify import hash_worker


def begin(config: Config) -> None:
    """Start a child that hashes the files of a mirror, if they are in a directory."""
    if config.bucket is None:
        root = str(config.directory.resolve())
        start_early("pypimirror.verify.hash_worker", hash_worker.message(root), start_apart)

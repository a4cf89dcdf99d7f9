"""Chooses the storage of a mirror: the only place that does.

Runs, dry runs, `explain` and `doctor` all get their storage from here, so another kind of storage
is added here alone.
"""

from __future__ import annotations

from pypimirror.storage import posix
from pypimirror.storage.durability import Durability
from pypimirror.storage.storage import Storage
from pypimirror.storage.workspace import Workspace


def open_storage(workspace: Workspace, durability: Durability | None = None) -> Storage:
    """Return the storage of a mirror. Nothing is created: a dry run may open it, too.

    `durability` says how writes are flushed; None is for callers that only read, or only try.
    """
    return posix.PosixStorage(workspace, durability=durability)

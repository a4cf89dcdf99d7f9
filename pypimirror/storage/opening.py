"""Chooses the storage of a mirror: the only place that does.

Runs, dry runs, `explain` and `doctor` all get their storage from here. So a new kind of storage is
added only here.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from pypimirror.domain.objects.bucket import Bucket
from pypimirror.storage import posix
from pypimirror.storage.durability import Durability
from pypimirror.storage.storage import MakeStorage, Storage
from pypimirror.storage.workspace import Workspace


def open_storage(
    workspace: Workspace, durability: Durability | None = None, bucket: Bucket | None = None
) -> Storage:
    """Return the storage of a mirror: the bucket, or else the directory of the workspace.

    Nothing is created and no request is sent: a dry run may open it, too. `durability` says how
    writes to a directory are flushed; None is for callers that only read, or only try.
    """
    if bucket is None:
        return posix.PosixStorage(workspace, durability=durability)
    from pypimirror.storage.s3.storage import S3Storage  # no other mirror needs it

    return S3Storage(workspace, bucket)


def has_pages(directory: Path, bucket: Bucket | None) -> bool:
    """Whether a mirror has a root index, or pages without one. Raises `StorageError`."""
    if bucket is None:  # a run that reached no upstream leaves an empty directory
        try:
            with os.scandir(directory / "simple") as entries:
                return next(entries, None) is not None
        except OSError:
            return False
    return open_storage(Workspace(directory), None, bucket).has("simple")


def has_files(directory: Path, bucket: Bucket | None) -> bool:
    """Whether a mirror has files. Raises `StorageError`."""
    if bucket is None:
        return any(directory.glob("packages/*"))
    return open_storage(Workspace(directory), None, bucket).has("packages")


def opener(bucket: Bucket | None) -> MakeStorage:
    """Return `open_storage` for a mirror that is in this bucket, or in a directory."""
    return partial(open_storage, bucket=bucket)

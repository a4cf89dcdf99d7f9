"""Where the storages of tests keep a mirror: what the pipeline gets, what a reader sees, and decay.

A place stays the same from run to run. Decay is what happens behind a storage's back: bytes rot, or
what was not flushed is lost. A bucket has nothing of the latter: a PUT is durable when it is
answered, and `S3Storage.flush` does nothing.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Protocol

import pytest

from pypimirror.storage.posix import PosixStorage
from pypimirror.storage.s3.clients import Clients
from pypimirror.storage.s3.storage import S3Storage
from pypimirror.storage.storage import Storage
from pypimirror.storage.workspace import Workspace
from tests import buckets
from tests.storages import MemoryStorage, damaged

SERVED = ("simple", "packages")


class Place(Protocol):
    """Where a mirror is kept."""

    def open(self, workspace: Workspace) -> Storage:
        """Return the storage for a run."""

    def export(self, root: Path) -> None:
        """Write everything that is served below a directory."""

    def rot(self, key: str, *, truncate: bool) -> None:
        """Flip a bit of an object, or cut it. The storage does not notice."""

    def flushed(self) -> None:
        """Note that everything so far is durable."""

    def lose(self) -> None:
        """Lose what was not flushed, as in a power cut."""


class InMemory:
    """In a dictionary of this process."""

    def __init__(self, root: Path) -> None:
        self._memory = MemoryStorage(Workspace(root))

    def open(self, workspace: Workspace) -> Storage:
        """Return the dictionary."""
        workspace.create()
        return self._memory

    def export(self, root: Path) -> None:
        """Write all of it."""
        self._memory.export(root)

    def rot(self, key: str, *, truncate: bool) -> None:
        """Change it."""
        self._memory.rot(key, truncate=truncate)

    def flushed(self) -> None:
        """It knows that itself."""

    def lose(self) -> None:
        """Forget."""
        self._memory.lose()


class InDirectory:
    """In a directory."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._durable = root.parent / "durable"

    def open(self, workspace: Workspace) -> Storage:
        """Return its storage."""
        workspace.create()
        return PosixStorage(workspace)

    def export(self, root: Path) -> None:
        """Copy what is served."""
        for name in SERVED:
            if (self._root / name).exists():
                shutil.copytree(self._root / name, root / name, dirs_exist_ok=True)

    def rot(self, key: str, *, truncate: bool) -> None:
        """Write to the file. A disk that rots changes no time."""
        path = self._root / key
        status = path.stat()
        path.write_bytes(damaged(path.read_bytes(), truncate=truncate))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    def flushed(self) -> None:
        """Keep a copy."""
        shutil.rmtree(self._durable, ignore_errors=True)
        self.export(self._durable)

    def lose(self) -> None:
        """Let the directory be as it was when it was flushed."""
        for name in SERVED:
            shutil.rmtree(self._root / name)
            (self._root / name).mkdir()
            if (self._durable / name).exists():
                shutil.copytree(self._durable / name, self._root / name, dirs_exist_ok=True)


class InBucket:
    """In a part of a bucket."""

    def __init__(self, server: buckets.Server) -> None:
        self._bucket = server.bucket()

    def open(self, workspace: Workspace) -> Storage:
        """Return its storage."""
        workspace.create()
        return S3Storage(workspace, self._bucket, clients=Clients(self._bucket, buckets.HASTY))

    def export(self, root: Path) -> None:
        """Fetch all objects."""
        for key, content in buckets.content(self._bucket).items():
            (root / key).parent.mkdir(parents=True, exist_ok=True)
            (root / key).write_bytes(content)

    def rot(self, key: str, *, truncate: bool) -> None:
        """Replace the bytes; the digest that was stored with them stays."""
        store = buckets.client(self._bucket.endpoint)
        at = {"Bucket": self._bucket.name, "Key": self._bucket.key(key)}
        told = store.get_object(**at)
        content = damaged(told["Body"].read(), truncate=truncate)
        store.put_object(**at, Body=content, Metadata=told["Metadata"])

    def flushed(self) -> None:
        """Everything is durable always."""

    def lose(self) -> None:
        """There is nothing to lose."""
        raise AssertionError("a PUT that was answered is durable")


def place(request: pytest.FixtureRequest, kind: str, root: Path) -> Place:
    """Return a place of a kind: memory, posix, or a fixture of a server of object storage."""
    if kind == "memory":
        return InMemory(root)
    if kind == "posix":
        return InDirectory(root)
    request.getfixturevalue("keys_of_the_bucket")
    return InBucket(request.getfixturevalue(kind))

"""The interface to the storage of a mirror: objects by key, such as `simple/six/index.html`.

The rules for every implementation (`tests/storage/test_contract.py` checks them):

1. A reader sees an old object or a new one, never a part of one.
2. An object is durable before `place` or `write` makes it visible. Its visibility is durable after
   the next `flush`.
3. A fault of a single key stops no other key. It is reported for that key.
4. A file keeps its stamp (`storage.stamps.stamp`) when it is placed, or `place` returns the new
   one.
5. `guard` is called before each change. It stops a process that may no longer write.

The callers choose the order of changes: bytes, pages, root index; for removals the other way round.
`PosixStorage` (`storage.posix`) is a directory, `S3Storage` (`storage.s3`) a part of a bucket.
`storage.opening` chooses the storage of a mirror. The `Workspace` is the private part, and always a
local directory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

from pypimirror.domain.model import Problem
from pypimirror.storage.changes import Journal
from pypimirror.storage.durability import Durability
from pypimirror.storage.workspace import Workspace
from pypimirror.system import regular
from pypimirror.system.disk_errors import StorageError

#: Most bytes of a note.
MOST_NOTED = 4096


class Local(NamedTuple):
    """The local path of an object. The file exists only if the object does."""

    path: str
    root: str = ""  #: the directory that the path must be in
    stamp: int | None = None  #: the stamp of the object, if the file is a copy of it
    #: Whether whoever reads the file removes it afterwards; see `pipeline.context.stored_files`.
    is_copy: bool = False


class Seen(NamedTuple):
    """The facts about an object that are known without reading it."""

    size: int  #: bytes
    stamp: int
    sha256: bytes | None  #: None if the storage keeps no digests


class Storage(Protocol):
    """The served files of a mirror. Keys have only checked components."""

    #: Called before each change. It raises an error to stop the change.
    guard: Callable[[], None]
    #: Returns a context to enter while a thread waits for the storage.
    waiting: Callable[[], AbstractContextManager[None]]
    #: The list of changes, if one is made.
    changes: Journal | None

    @property
    def shown(self) -> str:
        """The name in messages."""

    @property
    def directory(self) -> Path | None:
        """The mirror root, if the objects are files in it; None if they are elsewhere."""

    @property
    def at_once(self) -> int:
        """How many questions to ask it at the same time; 1 if it answers at once."""

    def create(self) -> None:
        """Create what must exist before the first object. Raises `StorageError`."""

    def free(self) -> int | None:
        """Return the free bytes; None if unknown or unlimited."""

    def identity(self) -> str:
        """Return a text that changes when served files are restored from a copy. Raises `OSError`.

        "" if nothing shows that; see `storage.generation`.
        """

    # Reading

    def keys(self, prefix: str, unreadable: Callable[[StorageError], None]) -> Iterator[str]:
        """Yield all keys below `prefix`. `unreadable` is called for each part that cannot be
        read.
        """

    def has(self, key: str) -> bool:
        """Whether something exists at `key`."""

    def has_below(self, directory: str) -> bool:
        """Whether there is any object below a directory."""

    def lists(self, key: str) -> bool:
        """Whether an object exists with exactly this spelling."""

    def size(self, key: str) -> int | None:
        """Return the size of the object at `key` in bytes; None if it cannot be read.

        Raises `StorageError` if the storage itself cannot be read. So do the methods below.
        """

    def seen(self, key: str) -> Seen | None:
        """Return the facts about the object at `key`; None if it is missing or cannot be read.

        Raises `StorageError` if the storage itself cannot be read.
        """

    def opened(self, key: str) -> tuple[Seen, Iterator[bytes]]:
        """Return the facts about an object, and its bytes in chunks. Both are of one version.

        Raises `OSError` if this object cannot be read (`FileNotFoundError` if it is missing), and
        `StorageError` if the storage cannot; reading the chunks, too.
        """

    def stamp(self, key: str) -> int:
        """Return a number that changes when the object at `key` is replaced by other bytes.

        Raises `OSError` if there is none.
        """

    def stamp_of_all(self, keys: Iterable[str]) -> int | None:
        """Return one stamp for several objects; None if one is missing."""

    def sha256_of_all(self, keys: Iterable[str]) -> bytes | None:
        """Return one digest for the bytes of several objects; None if one cannot be read."""

    def read(self, key: str, most: int = regular.MOST) -> bytes | None:
        """Return an object's bytes; None if it cannot be read or has more than `most` bytes.

        Raises `StorageError` if the storage itself cannot be read.
        """

    def says(self, key: str, chunks: Iterable[bytes]) -> bool:
        """Whether the object at `key` has this content. Raises the errors of `read`."""

    def local(self, key: str) -> Local:
        """Return the local path of the object at `key`. It may be that of a copy in staging."""

    # Changing

    def place(
        self,
        moves: Sequence[tuple[Path | str, str]],
        blocked: dict[str, Problem] | None = None,
        digests: Mapping[str, bytes] | None = None,
    ) -> dict[str, int]:
        """Move each source, a verified file of the workspace, to its key in one step.

        Return the stamps, by key, that differ from those of the sources. `digests` has the sha256
        of verified bytes by key. A storage that reads the source puts no others; a directory
        renames.
        If only one key is affected by a fault, it is noted in `blocked`, and the others are placed.
        Without `blocked`, such a fault is an error like any other. Raises `StorageError`.
        """

    def write(
        self,
        pages: Iterable[tuple[str, Iterable[bytes]]],
        blocked: dict[str, Problem] | None = None,
    ) -> int:
        """Write pages and return their number. Pages with the same content are not written.

        `blocked` is as in `place`. Raises `StorageError`.
        """

    def remove(self, key: str) -> None:
        """Remove an object. A missing object is no error. Raises `StorageError`."""

    def take(self, key: str, target: Path) -> None:
        """Move an object to a path of the workspace, out of the served files. Raises `OSError`."""

    def refresh(self) -> None:
        """Forget the known facts about objects: other processes may have changed them."""

    def flush(self) -> None:
        """Make everything so far durable. Raises `StorageError`."""

    # Notes: facts that the mirror root stores about itself. They are not served.

    def note(self, name: str) -> str | None:
        """Return the text of a note; None if there is none, or if it is not a short text.

        Raises `StorageError`, whose `is_of_path` says whether only this note cannot be read.
        """

    def write_note(self, name: str, text: str, *, durable: bool = False) -> None:
        """Write a note: readers see the old or the new one. It need not survive a power cut unless
        `durable` asks for that. Raises `StorageError`.
        """


#: Opens the storage of a mirror and creates nothing; see `storage.opening.open_storage`.
MakeStorage = Callable[[Workspace, Durability | None], Storage]
